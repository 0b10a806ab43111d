"""The node's own PyTorch, which an environment may use: is it still the one that the environment was made with?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from bringup.errors import ConfigError, InstallError
from bringup.formats.wheel_installed import dist_info_installed, record_of_installed, version_of_dist_info
from bringup.model.node_torch import NOTE, NodeTorch
from bringup.model.verify import Check, Status
from bringup.system.fs import sha256_of
from bringup.verify.native_code import shorten

BACK = "put the node's PyTorch back as it was, or install a bundle that was made without --without-torch"
ANEW = "install the bundle again; nothing may be installed over torch or removed in the environment"


def read_note(place: Path) -> NodeTorch | None:
    """Return which PyTorch of the node an environment uses, None if it has its own.

    Raises:
        ConfigError: the note is damaged.
    """
    file = place / NOTE
    try:
        return msgspec.json.decode(file.read_bytes(), type=NodeTorch)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        msg = f"{file}: not what installation writes: {exc}"
        raise ConfigError(msg, hint="install the bundle again") from exc


def check_node_torch(site: Path, note: NodeTorch) -> Check:
    """Compare the node's torch and its libraries with what was noted, and the environment's links with them.

    Args:
        site: site-packages of the environment.
        note: what was taken when the environment was made.
    """
    now: dict[str, Any] = {"version_py": _hash(Path(note.site) / "torch/version.py"), "records": {}}
    problems = [] if now["version_py"] == note.version_py else [_changed(Path(note.site) / "torch/version.py", now)]
    here: list[str] = []
    for name, taken in note.distributions.items():
        place = Path(taken.site)
        info = dist_info_installed(place, name)
        now["records"][name] = record = _hash(info / "RECORD") if info else ""
        if info is None:
            problems.append(f"{name} {taken.version} is gone from {place}")
        elif record != taken.record:
            version = version_of_dist_info(info)
            problems.append(f"{name} in {place} is {version}, another installation than the {taken.version} of then")
        else:
            gone, other = _links(site, place, name)
            problems += gone
            here += other
    what = f"torch {note.torch} for CUDA {note.cuda} of {note.python}, in {note.site}"
    drift = [f"{name} {one.version}" for name, one in note.distributions.items() if _differs(one.version, one.pinned)]
    why = f"the environment uses the node's own {what}, as it was when the environment was made"
    if problems:
        why = f"the node's own PyTorch is not the one of the installation ({what}): {shorten(problems)}; {BACK}"
    elif here:
        why = f"the environment does not use the node's own {what} any more: {shorten(here)}; {ANEW}"
    elif drift:
        why += f"; not in the lock's version: {', '.join(drift)}"
    evidence = {
        **msgspec.to_builtins(note), "now": now, "problems": [*problems, *here][:50], "other_than_locked": drift,
    }  # fmt: skip
    status = Status.FAIL if problems or here else Status.OK
    return Check(id="static.node-torch", status=status, why=why, required=True, evidence=evidence)


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return ""


def _changed(path: Path, now: dict[str, Any]) -> str:
    return f"{path} has changed" if now["version_py"] else f"{path} is gone"


def _differs(version: str, pinned: str) -> bool:
    return version.partition("+")[0] != pinned.partition("+")[0]


def _links(site: Path, place: Path, name: str) -> tuple[list[str], list[str]]:
    """Return which of the node's files are gone, and which in the environment are not the node's any more."""
    gone, other = [], []
    try:
        paths = record_of_installed(place, name)
    except InstallError as exc:
        return [exc.message], []
    for path in paths:
        link = site / path
        if path.startswith(("/", "../")) or path.endswith(".pyc"):
            continue
        if not (place / path).is_file():
            gone.append(f"{place / path} is gone")
        elif not os.path.lexists(link):
            other.append(f"{path} of {name} is gone from the environment")
        elif name == "torch" and not (link.is_symlink() and link.readlink() == place / path):
            other.append(f"{path} in the environment is another file than the node's")
    return gone, other
