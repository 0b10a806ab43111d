"""What a fault changes on a node, and how it is put back: files of an environment, a toolkit, memory of the GPU.

Nothing is written into a file that is there: installers make environments of hard links, so a write would reach the
cache. Files are moved aside and others put in their place; a journal says what, so that also a run that was killed
is put right by the next one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Changes:
    """Changes of one environment, undone in reverse order.

    Args:
        site: site-packages of the environment.
        aside: folder on the same file system where originals wait; also holds the journal.
    """

    def __init__(self, site: Path, aside: Path) -> None:
        self.site, self.aside = site, aside
        self._journal = aside / "journal.json"
        self._done: list[dict[str, str]] = []

    def undo(self) -> int:
        """Put everything back that the journal names; returns how much it was."""
        entries = json.loads(self._journal.read_text()) if self._journal.exists() else []
        for entry in reversed(entries):
            made, original = Path(entry["made"]) if entry["made"] else None, entry["kept"]
            if made is not None and (made.exists() or made.is_symlink()):
                shutil.rmtree(made) if made.is_dir() and not made.is_symlink() else made.unlink()
            if original and Path(original).exists():
                Path(original).rename(entry["place"])
        shutil.rmtree(self.aside, ignore_errors=True)
        self._done = []
        return len(entries)

    def _note(self, *, place: Path, kept: Path | None, made: Path | None) -> None:
        # Written before the change: undoing what was not done does no harm.
        self.aside.mkdir(parents=True, exist_ok=True)
        self._done.append({"place": str(place), "kept": str(kept or ""), "made": str(made or "")})
        part = self._journal.with_suffix(".part")
        part.write_text(json.dumps(self._done))
        part.replace(self._journal)

    def _put_aside(self, place: Path, *, made: Path | None) -> Path:
        kept = self.aside / f"{len(self._done)}-{place.name}"
        if not place.exists():
            raise FileNotFoundError(f"{place}: the fault wants to change it, and it is not there")
        self._note(place=place, kept=kept, made=made)
        place.rename(kept)
        return kept

    def replace(self, name: str, content: bytes) -> None:
        """Put a file with another content in the place of one."""
        place = self.site / name
        kept = self._put_aside(place, made=place)
        place.write_bytes(content)
        place.chmod(kept.stat().st_mode & 0o777)

    def edit(self, name: str, find: str, replace: str) -> None:
        """Replace the one match of an expression in a file."""
        text, count = re.subn(find, replace, (self.site / name).read_text("utf-8"))
        if count == 0:
            raise ValueError(f"{self.site / name}: nothing matches {find}")
        self.replace(name, text.encode("utf-8"))

    def move(self, name: str, to: str) -> None:
        """Give a folder another name, as a copy made of hard links."""
        place, target = self.site / name, self.site / to
        kept = self._put_aside(place, made=target)
        shutil.copytree(kept, target, copy_function=os.link)

    def remove(self, name: str) -> None:
        """Take a file or folder away."""
        self._put_aside(self.site / name, made=None)

    def apply(self, fault: Mapping[str, Any], files: Path) -> None:
        """Make all changes of a fault; `files` is the folder of what it puts in."""
        for one in fault.get("move", ()):
            self.move(one["path"], one["to"])
        for one in fault.get("remove", ()):
            self.remove(one["path"])
        for one in fault.get("file", ()):
            self.replace(one["path"], (files / one["from"]).read_bytes())
        for one in fault.get("edit", ()):
            self.edit(one["path"], one["find"], one["replace"])


def toolkit_without(toolkit: Path, header: str, into: Path) -> Path:
    """Return a copy of a CUDA toolkit made of links that lacks one header.

    nvcc follows a link to itself and looks for everything beside the real file, so the small files of bin/ are copied.
    """
    real = toolkit.resolve()
    for folder, folders, names in os.walk(real):
        here = into / Path(folder).relative_to(real)
        here.mkdir(parents=True, exist_ok=True)
        for name in list(folders):
            if (source := Path(folder, name)).is_symlink():
                inside = source.resolve().is_relative_to(real)
                target = into / source.resolve().relative_to(real) if inside else source.resolve()
                (here / name).symlink_to(target)
            elif folder == str(real) and name in ("doc", "extras", "samples", "nsightee_plugins", "gds"):
                folders.remove(name)
        for name in names:
            if name == header:
                continue
            if name in ("nvcc", "nvcc.profile"):
                shutil.copy2(Path(folder, name).resolve(), here / name)
            else:
                (here / name).symlink_to(Path(folder, name))
    return into


HOLD = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
take = free - int(float(sys.argv[1]) * 2**30)
held = torch.empty(max(take, 0), dtype=torch.uint8, device="cuda").fill_(1)
torch.cuda.synchronize()
print("holding", flush=True)
sys.stdin.read()
"""


@contextmanager
def memory_holder(python: Path, leaves_gib: float | None) -> Iterator[int | None]:
    """Let another process hold all memory of the GPU but `leaves_gib` GiB; yields its pid, None if nothing is asked."""
    if leaves_gib is None:
        yield None
        return
    with subprocess.Popen(
        [str(python), "-c", HOLD, str(leaves_gib)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            if child.stdout is None or "holding" not in child.stdout.readline():
                raise RuntimeError("the process that should hold GPU memory did not start")
            yield child.pid
        finally:
            child.kill()


def scrub(text: str, known: Mapping[str, str]) -> str:
    """Take names of this machine out of a log: its paths, its host name, addresses, GPU ids, process ids."""
    for name in sorted((one for one in known if len(one) > 3), key=len, reverse=True):
        text = text.replace(name, known[name])
    text = re.sub(r"GPU-[0-9a-f]{8}-[0-9a-f-]{27}", "GPU-uuid", text)
    text = re.sub(r"\b(?!127\.0\.0\.1)(?:\d{1,3}\.){3}\d{1,3}(?=[:/\s]|$)(?<!0\.0\.0\.0)", "0.0.0.0", text)
    return re.sub(r"/tmp/tmp\w+", "/tmp/tmp", text)
