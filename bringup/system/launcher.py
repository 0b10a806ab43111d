"""Makes the compiler launcher from its C source, once, and puts it in front of compilers in a folder of programs."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bringup.errors import BuildError
from bringup.system.fs import make_dir, storage_errors
from bringup.system.process import run

SOURCE = Path(__file__).resolve().parents[1] / "launcher"
NAME = "bringup-launcher"
BEHIND = ".behind"
FLAGS = ("-O2", "-std=gnu11")


def source_digest() -> str:
    """Return a digest of the launcher's source."""
    digest = hashlib.sha256()
    for path in sorted(SOURCE.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def make_launcher(cache: Path, compilers: Sequence[Path | str], env: Mapping[str, str]) -> tuple[Path | None, str]:
    """Return the compiled launcher, from the cache if it is there, and "" or the reason why there is none.

    Args:
        cache: folder that keeps it.
        compilers: C compilers to try, in this order; linked statically where the C library allows it.
        env: environment to compile in.

    Raises:
        StorageError: the cache cannot be written.
    """
    place = cache / "launcher" / f"{os.uname().machine}-{source_digest()[:16]}" / NAME
    if place.is_file():
        return place, ""
    make_dir(place.parent)
    fresh = place.with_name(f".{NAME}.{os.getpid()}")
    reason = "there is no C compiler"
    for compiler in compilers:
        for more in (("-static",), ()):
            argv = [compiler, *FLAGS, *more, "-o", fresh, SOURCE / "launcher.c"]
            try:
                run(argv, env=env, what="compile the launcher")
                # It has to run, too: --version of a compiler goes straight through.
                run([fresh, compiler, "--version"], env=env, what="try the launcher")
            except BuildError as exc:
                reason = exc.message.splitlines()[-1].strip()
                continue
            with storage_errors(place):
                fresh.replace(place)
            return place, ""
    fresh.unlink(missing_ok=True)
    return None, reason


def put_in_front(launcher: Path, program: Path, real: Path) -> None:
    """Make `program` the launcher and have it start `real`; what is right already is not touched."""
    behind = make_dir(program.parent / BEHIND) / program.name
    if not (behind.is_symlink() and behind.readlink() == real):
        fresh = behind.with_name(f".{behind.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(real)
        fresh.replace(behind)
    if not program.is_symlink() and program.is_file() and program.read_bytes() == launcher.read_bytes():
        return
    fresh = program.with_name(f".{program.name}.{os.getpid()}")
    shutil.copy(launcher, fresh)
    fresh.replace(program)
