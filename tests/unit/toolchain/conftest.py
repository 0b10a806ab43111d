"""A small web server with faults to order, and packages made byte by byte."""

import hashlib
import io
import lzma
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Server:
    """Serves `files`; `cuts` says for a path how many bytes go out before the connection ends, once for each entry."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cuts: dict[str, list[int]] = {}
        self.statuses: dict[str, list[int]] = {}
        self.requests: list[tuple[str, str]] = []
        self.authorizations: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, wanted = request.path, request.headers.get("Range", "")
        self.requests.append((path, wanted))
        self.authorizations.append(request.headers.get("Authorization", ""))
        status = self.statuses[path].pop(0) if self.statuses.get(path) else 200
        data = self.files.get(path)
        if data is None or status != 200:
            request.send_error(404 if data is None else status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start and start >= len(data):
            request.send_error(416)
            return
        request.send_response(206 if wanted else 200)
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        end = start + self.cuts[path].pop(0) if self.cuts.get(path) else len(data)
        request.wfile.write(data[start:end])


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    thread = threading.Thread(target=one.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield one
    one.http.shutdown()
    one.http.server_close()
    thread.join()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def deb_bytes(files: dict[str, bytes | str]) -> bytes:
    """Return a Debian package; a str is the target of a symlink, and what is in a bin folder is executable."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size, info.mode = len(content), 0o755 if "/bin/" in name else 0o644
                tar.addfile(info, io.BytesIO(content))
    out = b"!<arch>\n"
    for name, data in (("debian-binary", b"2.0\n"), ("data.tar.xz", lzma.compress(buffer.getvalue()))):
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


@pytest.fixture
def mirror_folder(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, tuple[str, int, str]]]]:
    """Return a maker of mirrors: packages by name -> folder, and hash, size and pool path of each package."""

    def make(
        packages: dict[str, dict[str, bytes | str]], *, suite: str = "trixie", version: str = "1.0-1"
    ) -> tuple[Path, dict[str, tuple[str, int, str]]]:
        root = tmp_path / "mirror"
        known, paragraphs = {}, []
        for name, files in packages.items():
            data = deb_bytes(files)
            path = f"pool/main/{name[0]}/{name}/{name}_{version}_amd64.deb"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
            known[name] = (sha256(data), len(data), path)
            paragraphs.append(
                f"Package: {name}\nVersion: {version}\nDescription: text\n more: text\nFilename: {path}\n"
                f"Size: {len(data)}\nSHA256: {sha256(data)}\n"
            )
        index = root / f"dists/{suite}/main/binary-amd64/Packages.xz"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_bytes(lzma.compress("\n".join(paragraphs).encode()))
        return root, known

    return make
