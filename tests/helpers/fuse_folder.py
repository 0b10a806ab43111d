"""A folder mounted through FUSE, by a server of this file: a file system whose kinds of locks a test can choose.

"refused" answers every lock with ENOLCK, as NFS does without its lock daemon. "local" leaves locks to the kernel, for
each mount by itself, as NFS does with local_lock or nolock: two mounts of one folder are two machines that do not see
each other's locks. Nothing is cached, so that what one mount writes the other reads at once.

It speaks the kernel's protocol (include/uapi/linux/fuse.h, version 7.31) and needs root, /dev/fuse and no library.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HEADER, ATTR = struct.Struct("<IIQQIIIHH"), struct.Struct("<QQQQQQIIIIIIIIII")
MAX_WRITE = 1 << 17
BIG_WRITES, POSIX_LOCKS, FLOCK_LOCKS = 1 << 5, 1 << 1, 1 << 10
MNT_DETACH = 2


class NotMountedError(Exception):
    """This machine does not let us mount; the text says why."""


@contextlib.contextmanager
def fuse_folder(source: Path, place: Path, *, locks: str) -> Iterator[Path]:
    """Mount a folder at a new place until the block ends.

    Raises:
        NotMountedError: no root, no FUSE, or mounting is not permitted.
    """
    place.mkdir()
    argv = [sys.executable, __file__, str(source), str(place), locks]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        said = server.stdout.readline().strip()
        if said != "mounted":
            raise NotMountedError(said)
        yield place
    finally:
        ctypes.CDLL(None).umount2(bytes(place), MNT_DETACH)
        server.wait(10)
        assert server.stdout is not None
        server.stdout.close()


class Server:
    """Answers the kernel's requests from a folder; nodes are known by their path."""

    def __init__(self, source: Path, device: int, *, locks: str) -> None:
        self._root, self._device = str(source), device
        self._lock_flags = POSIX_LOCKS | FLOCK_LOCKS if locks == "refused" else 0
        self._paths, self._nodes = {1: ""}, {"": 1}
        self._work: dict[int, Callable[[int, bytes], bytes]] = {
            1: self.lookup, 3: self.getattr, 4: self.setattr, 5: self.readlink, 6: self.symlink, 9: self.mkdir,
            10: self.unlink, 11: self.rmdir, 12: self.rename, 13: self.link, 14: self.open, 15: self.read,
            16: self.write, 17: self.statfs, 18: self.release, 20: self.fsync, 25: self.nothing, 26: self.init,
            27: self.opendir, 28: self.readdir, 29: self.nothing, 30: self.nothing, 31: self.refuse, 32: self.refuse,
            33: self.refuse, 35: self.create, 45: self.rename2,
        }  # fmt: skip

    def serve(self) -> None:
        """Answer until the folder is unmounted."""
        while True:
            try:
                request = os.read(self._device, MAX_WRITE + 4096)
            except InterruptedError:
                continue
            except OSError as exc:
                if exc.errno == errno.ENOENT:  # a request was taken back
                    continue
                return
            _, code, unique, node, *_ = HEADER.unpack_from(request)
            if code in (2, 36, 42):  # forget, interrupt: no answer
                continue
            error, body = 0, b""
            try:
                body = self._work.get(code, self.unknown)(node, request[HEADER.size :])
            except OSError as exc:
                error = -(exc.errno or errno.EIO)
            except KeyError:
                error = -errno.ESTALE
            with contextlib.suppress(FileNotFoundError):
                os.write(self._device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)

    def unknown(self, _node: int, _body: bytes) -> bytes:
        raise OSError(errno.ENOSYS, "not known")

    def refuse(self, _node: int, _body: bytes) -> bytes:
        raise OSError(errno.ENOLCK, "no locks here")

    def nothing(self, _node: int, _body: bytes) -> bytes:
        return b""

    def init(self, _node: int, body: bytes) -> bytes:
        _, _, ahead, _ = struct.unpack_from("<IIII", body)
        flags = BIG_WRITES | self._lock_flags
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, ahead, flags, 16, 12, MAX_WRITE, 1, 0, 0, 0)

    def path(self, node: int, name: bytes = b"") -> str:
        path = self._paths[node]
        return f"{path}/{os.fsdecode(name.rstrip(chr(0).encode()))}" if name else path

    def real(self, path: str) -> str:
        return self._root + path

    def entry(self, path: str) -> bytes:
        found = os.lstat(self.real(path))
        node = self._nodes.setdefault(path, max(self._paths) + 1)
        self._paths[node] = path
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + attributes(found)

    def lookup(self, node: int, body: bytes) -> bytes:
        return self.entry(self.path(node, body))

    def getattr(self, node: int, _body: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + attributes(os.lstat(self.real(self.path(node))))

    def setattr(self, node: int, body: bytes) -> bytes:
        valid, _, _, size, _, atime, mtime, _, ansec, mnsec, _, mode = struct.unpack_from("<IIQQQQQQIIII", body)
        real = self.real(self.path(node))
        if valid & 1:
            Path(real).chmod(stat.S_IMODE(mode))
        if valid & 8:
            os.truncate(real, size)
        if valid & (16 | 32):
            now = os.lstat(real)
            times = [now.st_atime_ns, now.st_mtime_ns]
            if valid & 16:
                times[0] = None if valid & 128 else atime * 10**9 + ansec
            if valid & 32:
                times[1] = None if valid & 256 else mtime * 10**9 + mnsec
            if None in times:
                os.utime(real)
            else:
                os.utime(real, ns=(times[0], times[1]))
        return self.getattr(node, body)

    def readlink(self, node: int, _body: bytes) -> bytes:
        return bytes(Path(self.real(self.path(node))).readlink())

    def symlink(self, node: int, body: bytes) -> bytes:
        name, target, _ = body.split(b"\0")
        Path(self.real(self.path(node, name))).symlink_to(os.fsdecode(target))
        return self.entry(self.path(node, name))

    def mkdir(self, node: int, body: bytes) -> bytes:
        path = self.path(node, body[8:])
        Path(self.real(path)).mkdir(struct.unpack_from("<I", body)[0] & 0o777)
        return self.entry(path)

    def unlink(self, node: int, body: bytes) -> bytes:
        path = self.path(node, body)
        Path(self.real(path)).unlink()
        self.forget(path)
        return b""

    def rmdir(self, node: int, body: bytes) -> bytes:
        path = self.path(node, body)
        Path(self.real(path)).rmdir()
        self.forget(path)
        return b""

    def forget(self, path: str) -> None:
        self._nodes.pop(path, None)

    def rename(self, node: int, body: bytes, skip: int = 8) -> bytes:
        (target,) = struct.unpack_from("<Q", body)
        old, new, _ = body[skip:].split(b"\0")
        before, after = self.path(node, old), self.path(target, new)
        Path(self.real(before)).rename(self.real(after))
        self.forget(after)
        for path in [path for path in self._nodes if path == before or path.startswith(before + "/")]:
            moved = self._nodes.pop(path)
            self._nodes[after + path[len(before) :]] = moved
            self._paths[moved] = after + path[len(before) :]
        return b""

    def rename2(self, node: int, body: bytes) -> bytes:
        if struct.unpack_from("<I", body, 8)[0]:
            raise OSError(errno.EINVAL, "no flags")
        return self.rename(node, body, 16)

    def link(self, node: int, body: bytes) -> bytes:
        path = self.path(node, body[8:])
        os.link(self.real(self.path(struct.unpack_from("<Q", body)[0])), self.real(path), follow_symlinks=False)
        return self.entry(path)

    def open(self, node: int, body: bytes) -> bytes:
        flags = struct.unpack_from("<I", body)[0] & (os.O_ACCMODE | os.O_TRUNC)
        return self.opened(os.open(self.real(self.path(node)), flags))

    def opened(self, handle: int) -> bytes:
        return struct.pack("<QII", handle, 1, 0)  # direct I/O: no page is kept

    def create(self, node: int, body: bytes) -> bytes:
        flags, mode = struct.unpack_from("<II", body)
        path = self.path(node, body[16:])
        kept = os.O_ACCMODE | os.O_TRUNC | os.O_EXCL | os.O_CREAT
        handle = os.open(self.real(path), (flags & kept) | os.O_CREAT, mode & 0o777)
        return self.entry(path) + self.opened(handle)

    def read(self, _node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(handle, size, offset)

    def write(self, _node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(handle, body[40 : 40 + size], offset), 0)

    def statfs(self, _node: int, _body: bytes) -> bytes:
        found = os.statvfs(self._root)
        counts = (found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree)
        return struct.pack("<QQQQQIIII24x", *counts, found.f_bsize, found.f_namemax, found.f_frsize, 0)

    def release(self, _node: int, body: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", body)[0])
        return b""

    def fsync(self, _node: int, body: bytes) -> bytes:
        os.fsync(struct.unpack_from("<Q", body)[0])
        return b""

    def opendir(self, _node: int, _body: bytes) -> bytes:
        return self.opened(0)

    def readdir(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        found = bytearray()
        with os.scandir(self.real(self.path(node)) or "/") as there:
            entries = sorted(there, key=lambda one: one.name)
        for index, entry in enumerate(entries[offset:], offset + 1):
            name = os.fsencode(entry.name)
            kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) >> 12
            one = struct.pack("<QQII", entry.inode(), index, len(name), kind) + name
            one += bytes(-len(one) % 8)
            if len(found) + len(one) > size:
                break
            found += one
        return bytes(found)


def attributes(found: os.stat_result) -> bytes:
    """Return struct fuse_attr of a file."""
    times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    return ATTR.pack(
        found.st_ino, found.st_size, found.st_blocks, *(one // 10**9 for one in times), *(one % 10**9 for one in times),
        found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_rdev & 0xFFFFFFFF, 4096, 0,
    )  # fmt: skip


def main() -> int:
    """Mount, say so, serve."""
    source, place, locks = sys.argv[1:]
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as exc:
        print(f"/dev/fuse: {exc.strerror}", flush=True)
        return 1
    library = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()}"
    if library.mount(b"folder", os.fsencode(place), b"fuse", 0, options.encode()):
        print(f"mount of FUSE: {os.strerror(ctypes.get_errno())}", flush=True)
        return 1
    print("mounted", flush=True)
    Server(Path(source), device, locks=locks).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
