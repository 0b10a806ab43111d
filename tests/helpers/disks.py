"""Small real file systems: a tmpfs, and an ext4 in a file. Root only."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from helpers.fuse_folder import NotMountedError


@contextlib.contextmanager
def small_disk(kind: str, folder: Path, mib: int) -> Iterator[Path]:
    """Mount a file system of this size below a folder until the block ends.

    Raises:
        NotMountedError: this machine does not let us.
    """
    place = folder / kind
    place.mkdir()
    if kind == "tmpfs":
        argv = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", place]
    else:
        if shutil.which("mkfs.ext4") is None:
            msg = "there is no mkfs.ext4"
            raise NotMountedError(msg)
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, capture_output=True)
        argv = ["mount", "-o", "loop", image, place]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMountedError(done.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path, *, leave: int) -> Path:
    """Fill a file system to its last block but for `leave` bytes; return the file that takes the room."""
    ballast = place / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
        file.truncate(max(0, file.tell() - leave))
    return ballast
