"""Results on disk: for each command a list of what it read, and for each state of that the files it wrote.

Everything is written beside its place and renamed. A result carries the hash of its content; what does not fit is
removed and made again. Formats are plain lines: modules that read better ones take longer to import than a hit takes.
"""

from __future__ import annotations

import os
import time
import zlib
from _blake2 import blake2b  # what hashlib gives, without its start-up time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bringup.system.compilercache.share import Redis, SharedFolder

# Raised when the shape or the meaning of the files changes.
LAYOUT = b"1"
# States of the files of one command that are kept: branches that are switched between.
STATES = 8
KEY_LENGTH = 32
MOST_HASHES = 30_000
TICK_NS = 2_000_000_000
HOUR_NS = 3_600_000_000_000


class State:
    """What a command had read when it made a result: paths with hashes."""

    __slots__ = ("files", "result")

    def __init__(self, result: str, files: list[tuple[str, str]]) -> None:
        self.result = result
        self.files = files


class Hashes:
    """Hashes of files, remembered with size, times and inode: headers are read once for all units.

    Attributes:
        newest: modification time (ns) of the newest file that was asked for.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: dict[str, str] | None = None
        self._new: dict[str, str] = {}
        self._now = time.time_ns()
        self.newest = 0

    def of(self, path: str) -> str:
        """Return the hash of a file; "" if it cannot be read, "?" if its result would depend on the time."""
        try:
            stat = os.stat(path)  # noqa: PTH116 - speed
        except OSError:
            return ""
        self.newest = max(self.newest, stat.st_mtime_ns)
        stamp = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino} {stat.st_ctime_ns} "
        entry = self._new.get(path) or self._load().get(path, "")
        if entry.startswith(stamp):
            return entry[len(stamp) :]
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                data = file.read()
        except OSError:
            return ""
        found = "?" if b"__TIMESTAMP__" in data else blake2b(data, digest_size=16).hexdigest()
        # Two edits within a tick of the clock leave the same times: such a file is read again next time.
        if stat.st_mtime_ns + TICK_NS < self._now and not set(path) & {"\t", "\n"}:
            self._new[path] = stamp + found
        return found

    def _load(self) -> dict[str, str]:
        if self._known is None:
            self._known = {}
            try:
                with open(self._path, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
                    for line in file.read().split("\n"):
                        path, tab, known = line.partition("\t")
                        if tab:
                            self._known[path] = known
            except OSError:
                pass
        return self._known

    def save(self) -> None:
        """Keep what is new; two at a time may lose some of it, which costs a read."""
        if not self._new:
            return
        known = self._load()
        merged = {**(known if len(known) < MOST_HASHES else {}), **self._new}
        text = "\n".join(f"{path}\t{one}" for path, one in merged.items())
        write_atomic(self._path, text.encode("utf-8", "surrogateescape"))


class Results:
    """The cache.

    Args:
        root: its folder.
        shared: where else to look, and to send what is new.
    """

    def __init__(self, root: str, shared: SharedFolder | Redis | None) -> None:
        self._root = root
        self._shared = shared

    def states(self, command: str) -> list[State]:
        """Return the known states of a command's files, newest first."""
        found = _states_in(self._read(f"{command}-m"))
        if self._shared:
            known = {state.result for state in found}
            found += [state for state in _states_in(self._shared.get(f"{command}-m")) if state.result not in known]
        return found

    def load(self, result: str) -> dict[str, bytes] | None:
        """Return the files of a result by kind, if it is there and whole."""
        name = f"{result}-r"
        data = self._read(name)
        files = _unpack(data)
        if files is None and data is not None:
            remove(self._path(name))
        if files is None and self._shared:
            data = self._shared.get(name)
            files = _unpack(data)
            if files is not None and data is not None:
                write_atomic(self._path(name), data)
        if files is not None:
            self._used(self._path(name))
        return files

    def save(self, command: str, state: State, files: dict[str, bytes]) -> None:
        """Keep a result and the state it is of."""
        known = [one for one in self.states(command) if one.result != state.result]
        listed = "\n".join(
            f"={one.result}\n" + "\n".join(f"{path}\t{digest}" for path, digest in one.files)
            for one in [state, *known][:STATES]
        )
        data = zlib.compress(listed.encode("utf-8", "surrogateescape"), 1)
        for name, content in ((f"{state.result}-r", _pack(files)), (f"{command}-m", data)):
            write_atomic(self._path(name), content)
            if self._shared:
                self._shared.put(name, content)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}"

    def _read(self, name: str) -> bytes | None:
        try:
            with open(self._path(name), "rb") as file:  # noqa: PTH123
                return file.read()
        except OSError:
            return None

    def _used(self, path: str) -> None:
        """Note for `gc` that a result was used; once an hour is enough."""
        try:
            stat = os.stat(path)  # noqa: PTH116
            now = time.time_ns()
            if abs(now - stat.st_atime_ns) > HOUR_NS:
                os.utime(path, ns=(now, min(stat.st_mtime_ns, now)))
        except OSError:
            return


def write_atomic(path: str, data: bytes) -> bool:
    """Write a file so that nobody sees a part of it; False, and nothing is written, where the disk is full."""
    fresh = f"{path}.{os.getpid()}.new"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
        with open(fresh, "wb") as file:  # noqa: PTH123
            file.write(data)
        os.replace(fresh, path)  # noqa: PTH105
    except OSError:
        remove(fresh)
        return False
    return True


def remove(path: str) -> None:
    """Remove a file if it is there and may be removed."""
    try:
        os.unlink(path)  # noqa: PTH108
    except OSError:
        return


def _states_in(data: bytes | None) -> list[State]:
    """Read a list of states; what is damaged holds none."""
    try:
        text = zlib.decompress(data).decode("utf-8", "surrogateescape") if data else ""
    except zlib.error:
        return []
    found: list[State] = []
    for line in text.split("\n"):
        path, tab, digest = line.partition("\t")
        if line.startswith("="):
            found.append(State(line[1:], []))
        elif tab and found:
            found[-1].files.append((path, digest))
    return [state for state in found if state.files and len(state.result) == KEY_LENGTH and state.result.isalnum()]


def _pack(files: dict[str, bytes]) -> bytes:
    head = " ".join(f"{name}={len(data)}" for name, data in files.items()).encode() + b"\n"
    data = head + zlib.compress(b"".join(files.values()), 1)
    return LAYOUT + blake2b(data, digest_size=16).digest() + data


def _unpack(data: bytes | None) -> dict[str, bytes] | None:
    """Return the files of a result; None if it is damaged or of another version."""
    if data is None or data[:1] != LAYOUT or blake2b(data[17:], digest_size=16).digest() != data[1:17]:
        return None
    head, _, rest = data[17:].partition(b"\n")
    files, at = {}, 0
    try:
        body = zlib.decompress(rest)
        for word in head.decode().split():
            name, _, size = word.partition("=")
            files[name] = body[at : at + int(size)]
            at += int(size)
    except (ValueError, zlib.error):
        return None
    return files if at == len(body) else None
