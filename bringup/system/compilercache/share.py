"""Where machines share compiler results: a folder, or a Redis server. Out of reach or slow means not there."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

TIMEOUT_SECONDS = 2.0
PREFIX = "bringup:cc:"
MAX_BYTES = 256 << 20

Failed = Callable[[str], None]


class SharedFolder:
    """A folder that machines mount; it has to exist."""

    def __init__(self, root: str, failed: Failed) -> None:
        self._root = root
        self._failed = failed

    def get(self, name: str) -> bytes | None:
        """Return what is there under a name."""
        try:
            with open(f"{self._root}/{name[:2]}/{name}", "rb") as file:  # noqa: PTH123
                return file.read()
        except FileNotFoundError:
            if not os.path.isdir(self._root):  # noqa: PTH112
                self._failed(f"{self._root}: no such folder")
        except OSError as exc:
            self._failed(f"{self._root}: {exc.strerror or exc}")
        return None

    def put(self, name: str, data: bytes) -> None:
        """Write beside its place and rename."""
        path = f"{self._root}/{name[:2]}/{name}"
        fresh = f"{path}.{socket.gethostname()}.{os.getpid()}.new"
        try:
            if os.path.isdir(self._root):  # noqa: PTH112
                os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
                with open(fresh, "wb") as file:  # noqa: PTH123
                    file.write(data)
                os.replace(fresh, path)  # noqa: PTH105
        except OSError as exc:
            self._failed(f"{self._root}: {exc.strerror or exc}")


class Redis:
    """A Redis server, by the few words of its protocol that are needed."""

    def __init__(self, address: str, failed: Failed) -> None:
        rest = address.removeprefix("redis://")
        login, _, place = rest.rpartition("@")
        host, _, port = place.partition("/")[0].partition(":")
        self._where = (host or "127.0.0.1", int(port) if port.isdigit() else 6379)
        self._user, _, self._password = login.rpartition(":")
        self._failed = failed
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._off = False

    def get(self, name: str) -> bytes | None:
        """Return what is there under a name."""
        found = self._ask(b"GET", (PREFIX + name).encode())
        return found if isinstance(found, bytes) else None

    def put(self, name: str, data: bytes) -> None:
        """Keep something under a name; the server's own limit decides how long."""
        if len(data) <= MAX_BYTES:
            self._ask(b"SET", (PREFIX + name).encode(), data)

    def _ask(self, *words: bytes) -> bytes | str | None:
        if self._off:
            return None
        try:
            if self._socket is None:
                self._connect()
            return self._send(*words)
        except (OSError, ValueError) as exc:
            self._off = True
            self._failed(f"redis {self._where[0]}:{self._where[1]}: {exc}")
            return None

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._where, timeout=TIMEOUT_SECONDS)
        if self._password:
            login = [one.encode() for one in (self._user, self._password) if one]
            self._send(b"AUTH", *login)

    def _send(self, *words: bytes) -> bytes | str | None:
        assert self._socket is not None
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
        self._socket.sendall(b"".join(parts))
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise ValueError(rest.decode("utf-8", "replace"))
        if kind != b"$":
            return rest.decode("utf-8", "replace")
        size = int(rest)
        if size < 0:
            return None
        if size > MAX_BYTES:
            msg = f"an answer of {size} bytes"
            raise ValueError(msg)
        return self._exactly(size + 2)[:-2]

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _exactly(self, size: int) -> bytes:
        parts, have = [self._buffer], len(self._buffer)
        while have < size:
            self._buffer = b""
            self._more()
            parts.append(self._buffer)
            have += len(self._buffer)
        data = b"".join(parts)
        self._buffer = data[size:]
        return data[:size]

    def _more(self) -> None:
        assert self._socket is not None
        chunk = self._socket.recv(1 << 18)
        if not chunk:
            msg = "the connection was closed"
            raise ValueError(msg)
        self._buffer += chunk


def open_shared(address: str, failed: Failed) -> SharedFolder | Redis | None:
    """Return what an address of the settings names; None for none."""
    if not address:
        return None
    if address.startswith("redis://"):
        return Redis(address, failed)
    return SharedFolder(address.removeprefix("file://"), failed)
