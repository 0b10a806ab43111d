"""Named bytes elsewhere: an HTTP server that takes GET, HEAD and PUT, a bucket of S3, or a folder that machines share.

Nothing here is retried and nothing waits long: whoever asks can do without. What goes wrong is a `BlobError`, whatever
its cause.
"""

from __future__ import annotations

import contextlib
import http
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from bringup.errors import BringupError
from bringup.system.download import basic_authorization, opener, shown
from bringup.system.fs import make_dir, write_atomic

BLOCK = 1 << 18
TIMEOUT_SECONDS = 5.0
# A transfer slower than this is given up: building may be faster.
SLOWEST_BYTES_PER_SECOND = 1 << 18
MAX_SMALL = 4 << 20


class BlobError(Exception):
    """The place cannot be used: out of reach, too slow, full, or it answered what makes no sense."""


class Blobs(Protocol):
    """A place of named bytes; names are relative paths without dots."""

    @property
    def name(self) -> str:
        """Address without secrets."""

    def read(self, name: str) -> bytes | None:
        """Return a small blob, None if it is not there. Raises BlobError."""

    def fetch(self, name: str, dest: Path, size: int) -> bool:
        """Copy a blob of about `size` bytes to a new file; False if it is not there. Raises BlobError."""

    def has(self, name: str) -> bool:
        """Tell whether a blob is there. Raises BlobError."""

    def write(self, name: str, source: Path | bytes) -> None:
        """Write a blob, so that nobody ever sees a part of it. Raises BlobError."""


class FolderBlobs:
    """A folder, usually on a network file system."""

    def __init__(self, root: Path) -> None:
        """`root` has to exist: what is missing may be a file system that is not mounted."""
        self._root = root

    @property
    def name(self) -> str:
        """The folder."""
        return str(self._root)

    def read(self, name: str) -> bytes | None:
        """Return a small blob."""
        with self._errors():
            path = self._path(name)
            return path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_SMALL else None

    def fetch(self, name: str, dest: Path, size: int) -> bool:
        """Copy a blob out; never linked, since the other file is somebody else's."""
        del size
        with self._errors():
            path = self._path(name)
            if not path.is_file():
                return False
            with path.open("rb") as source, dest.open("xb") as sink:
                while block := source.read(BLOCK):
                    sink.write(block)
        return True

    def has(self, name: str) -> bool:
        """Tell whether a blob is there."""
        with self._errors():
            return self._path(name).is_file()

    def write(self, name: str, source: Path | bytes) -> None:
        """Write beside its place and rename."""
        with self._errors():
            path = self._path(name)
            make_dir(path.parent)
            if isinstance(source, bytes):
                write_atomic(path, source)
                return
            fresh = path.with_name(f".{path.name}.{os.uname().nodename}-{os.getpid()}")
            try:
                with source.open("rb") as read, fresh.open("wb") as sink:
                    while block := read.read(BLOCK):
                        sink.write(block)
                    sink.flush()
                    os.fsync(sink.fileno())
                fresh.replace(path)
            finally:
                fresh.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not self._root.is_dir():
            msg = "no such folder"
            raise BlobError(msg)
        return self._root / name

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise BlobError(exc.strerror or str(exc)) from exc
        except BringupError as exc:
            raise BlobError(exc.message) from exc


class HttpBlobs:
    """A server that keeps what is PUT to it and gives it back to GET."""

    def __init__(self, url: str, *, timeout: float) -> None:
        """`timeout` in seconds is for the first answer; the rest may take as long as the slowest rate allows."""
        self._url = shown(url).rstrip("/")
        self._authorization = basic_authorization(url)
        self._timeout = timeout

    @property
    def name(self) -> str:
        """The address without user name and password."""
        return self._url

    def read(self, name: str) -> bytes | None:
        """Return a small blob."""
        found = bytearray()
        with self._open("GET", name) as (response, end):
            if response is None:
                return None
            for block in _blocks(response, end):
                found += block
                if len(found) > MAX_SMALL:
                    msg = f"{name} is larger than {MAX_SMALL >> 20} MiB"
                    raise BlobError(msg)
        return bytes(found)

    def fetch(self, name: str, dest: Path, size: int) -> bool:
        """Fetch a blob; more bytes than `size` are not taken."""
        with self._open("GET", name, size) as (response, end):
            if response is None:
                return False
            got = 0
            with dest.open("xb") as sink:
                for block in _blocks(response, end):
                    got += len(block)
                    if got > size:
                        break
                    sink.write(block)
        return True

    def has(self, name: str) -> bool:
        """Ask with HEAD."""
        with self._open("HEAD", name) as (response, _end):
            return response is not None

    def write(self, name: str, source: Path | bytes) -> None:
        """Send with PUT; servers put such a file in place when it is whole."""
        if isinstance(source, bytes):
            with self._open("PUT", name, len(source), data=source):
                return
        with source.open("rb") as data:
            size = os.fstat(data.fileno()).st_size
            with self._open("PUT", name, size, data=data):
                return

    @contextlib.contextmanager
    def _open(
        self, method: str, name: str, size: int = 0, data: bytes | IO[bytes] | None = None
    ) -> Iterator[tuple[http.client.HTTPResponse | None, float]]:
        """Send a request; None stands for 404. The second value is when the whole transfer has to be over."""
        end = time.monotonic() + self._timeout + size / SLOWEST_BYTES_PER_SECOND
        try:
            with opener().open(self._request(method, name, size, data), timeout=self._timeout) as response:
                yield response, end
        except urllib.error.HTTPError as exc:
            with exc:
                refusal = self._refusal(exc)
            if method != "PUT" and self._is_absent(exc.code, refusal):
                yield None, end
                return
            raise BlobError(refusal) from exc
        except TimeoutError as exc:
            raise BlobError(self._slow()) from exc
        except urllib.error.URLError as exc:
            if isinstance(exc.reason, TimeoutError):
                raise BlobError(self._slow()) from exc
            if data is not None and isinstance(exc.reason, BrokenPipeError | ConnectionResetError):
                msg = "the server hung up before it had everything: this user may not write there, or not so much"
                raise BlobError(msg) from exc
            raise BlobError(str(exc.reason)) from exc
        except (http.client.HTTPException, OSError, ValueError) as exc:
            raise BlobError(str(exc) or type(exc).__name__) from exc

    def _request(self, method: str, name: str, size: int, data: bytes | IO[bytes] | None) -> urllib.request.Request:
        headers = {"User-Agent": "bringup"}
        if data is not None:
            headers |= {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        url = f"{self._url}/{urllib.parse.quote(name)}"
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - see open_blobs
        for key, value in self._headers_of(method, url, data).items():
            request.add_unredirected_header(key, value)  # another host gets no password
        return request

    def _headers_of(self, method: str, url: str, data: bytes | IO[bytes] | None) -> dict[str, str]:
        """Return the headers that say who asks; they go to this host alone."""
        del method, url, data
        return self._authorization

    def _refusal(self, exc: urllib.error.HTTPError) -> str:
        """Return what is said of an answer that is an error."""
        return f"HTTP {exc.code} {exc.reason}"

    def _is_absent(self, code: int, refusal: str) -> bool:
        """Tell whether an error only means that a blob is not there."""
        del refusal
        return code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE)

    def _slow(self) -> str:
        return f"no answer within {self._timeout:g} s"


def _blocks(response: http.client.HTTPResponse, end: float) -> Iterator[bytes]:
    while block := response.read1(BLOCK):
        yield block
        if time.monotonic() > end:
            msg = f"slower than {SLOWEST_BYTES_PER_SECOND >> 10} KiB/s"
            raise BlobError(msg)
