"""A small web server with faults to order, and packages made byte by byte."""

import hashlib
import io
import lzma
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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
