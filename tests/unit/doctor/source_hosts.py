"""A server on loopback that answers as a source host and a package index do, and a port where nobody listens."""

import functools
import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

METADATA = b"Metadata-Version: 2.1\nName: packaging\nVersion: 24.2\n"
WHEEL = "packaging-24.2-py3-none-any.whl"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
INDEX = (
    f'<a href="/files/{WHEEL}#sha256={"0" * 64}" '
    f'data-dist-info-metadata="sha256={hashlib.sha256(METADATA).hexdigest()}">{WHEEL}</a>'
)


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        answers = {
            "/simple/packaging/": ("text/html", INDEX.encode()),
            f"/files/{WHEEL}.metadata": ("application/octet-stream", METADATA),
        }
        if path.endswith("/info/refs"):  # git's protocol of plain files
            answers[path] = ("text/plain", f"{COMMIT}\trefs/heads/main\n".encode())
        elif path.endswith("/HEAD"):
            answers[path] = ("text/plain", b"ref: refs/heads/main\n")
        kind, body = answers.get(path, ("", b""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@functools.cache
def open_address() -> str:
    """Return the address of the server, which runs as long as the tests do."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


@functools.cache
def _held() -> socket.socket:
    """A port that is taken and not listened at: whoever connects is refused, and nobody else gets it."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


def closed_address() -> str:
    """Return an address where every connection is refused."""
    return f"http://127.0.0.1:{_held().getsockname()[1]}"
