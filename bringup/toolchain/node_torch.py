"""The node's own PyTorch in an environment: one symbolic link a file, for torch and the libraries that it needs.

Not a path entry and not an environment on the node's Python: both would let everything in that the node has installed.
Not a link to a folder: removing torch from the environment would then remove the node's files, and a loader or a
reader that follows `$ORIGIN` or walks the folder would see half of it. With links to files an uninstall removes links.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bringup.errors import InstallError
from bringup.formats.wheel_installed import dist_info_installed, record_of_installed, version_of_dist_info
from bringup.model.node_torch import NodeTorch, Taken, TorchFacts, TorchWanted
from bringup.system.fs import sha256_of, storage_errors

REMEDY = "make the bundle again without --without-torch; it then carries PyTorch"


def parse_facts(text: str) -> TorchFacts:
    """Read what carried/find_torch.py printed.

    Raises:
        InstallError: it is something else.
    """
    lines = (line.partition("=") for line in text.splitlines())
    try:
        return msgspec.convert({name: value for name, equals, value in lines if equals}, TorchFacts)
    except msgspec.ValidationError as exc:
        msg = f"the search for PyTorch gave no answer that can be read: {exc}: {text[:300]!r}"
        raise InstallError(msg) from exc


def check_facts(facts: TorchFacts, wanted: TorchWanted) -> None:
    """Fail unless Python tag, version of torch and CUDA are those of the lock.

    Raises:
        InstallError: one differs, or what is there cannot be used; the message has all three, seen and wanted.
    """
    seen = f"Python {facts.tag}, torch {facts.torch or 'none'}, CUDA {facts.cuda or 'none'} ({facts.python})"
    if facts.problem or (facts.tag, facts.torch, facts.cuda) != (wanted.tag, wanted.torch, wanted.cuda):
        msg = f"the bundle wants {wanted} of the node, and this is {seen}"
        raise InstallError(f"{msg}: {facts.problem}" if facts.problem else msg, hint=REMEDY)


def take_torch(facts: TorchFacts, pinned: Mapping[str, str], site: Path) -> NodeTorch:
    """Link the node's distributions into site-packages and return what was taken.

    Args:
        facts: where the node's torch is.
        pinned: the distributions that are wanted, with the lock's versions.
        site: site-packages of the environment; files that are there stay.

    Raises:
        InstallError: a file that RECORD lists is missing.
        StorageError: disk full or no permission.
    """
    taken, absent = {}, []
    for name, version in pinned.items():
        places = [Path(facts.site)] if name == "torch" else [Path(one) for one in facts.path.split(os.pathsep)]
        place = next((one for one in places if _recorded(one, name)), None)
        if place is None:
            absent.append(name)
        else:
            taken[name] = _link(name, place, site, version)
    if "torch" not in taken:
        msg = f"{facts.site} has no RECORD of torch"
        raise InstallError(msg, hint=REMEDY)
    return NodeTorch(
        python=facts.python,
        site=facts.site,
        tag=facts.tag,
        torch=facts.torch,
        cuda=facts.cuda,
        git=facts.git,
        version_py=sha256_of(Path(facts.site) / "torch/version.py"),
        distributions=taken,
        absent=tuple(absent),
    )


def _recorded(place: Path, name: str) -> bool:
    info = dist_info_installed(place, name)
    return info is not None and (info / "RECORD").is_file()


def _link(name: str, place: Path, site: Path, pinned: str) -> Taken:
    info = dist_info_installed(place, name)
    assert info is not None
    with storage_errors(site, every=True):
        for path in sorted(record_of_installed(place, name)):
            source, link = place / path, site / path
            if path.startswith(("/", "../")) or os.path.lexists(link):
                continue  # programs of the node's Python, or a file that a package of ours has too
            if not source.is_file():
                if source.suffix == ".pyc":
                    continue
                msg = f"{name} of the node is not whole: {source} is missing"
                raise InstallError(msg, hint=f"install {name} there again, or {REMEDY}")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)
    record = sha256_of(info / "RECORD")
    return Taken(version=version_of_dist_info(info), site=str(place), record=record, pinned=pinned)
