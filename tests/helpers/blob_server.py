"""A real HTTP server that keeps what is PUT to it, and can lie, hang, dawdle or fail."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self


class BlobServer:
    """Serves a folder on a free port.

    Attributes:
        mode: "", "lie" (other bytes than were put), "hang", "slow" (a byte now and then), "fail" (500) or "read-only".
        asked: method and path of each request.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mode = ""
        self.asked: list[str] = []
        self._stop = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_args: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                server.answer(self)

            def do_HEAD(self) -> None:
                server.answer(self)

            def do_PUT(self) -> None:
                server.answer(self)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.005})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/store"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(f"{request.command} {request.path}")
        if self.mode == "hang":
            self._stop.wait(60)
            return
        if self.mode == "fail":
            request.send_error(500)
            return
        path = self.root / request.path.removeprefix("/store/")
        if request.command == "PUT":
            self._put(request, path)
        elif path.is_file():
            self._give(request, path.read_bytes())
        else:
            request.send_error(404)

    def _put(self, request: BaseHTTPRequestHandler, path: Path) -> None:
        data = request.rfile.read(int(request.headers["Content-Length"]))
        if self.mode == "read-only":
            request.send_error(403)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        request.send_response(201)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _give(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        if self.mode == "lie" and "/blobs/" in request.path:
            data = data[:-1] + bytes([data[-1] ^ 1])
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if request.command == "HEAD":
            return
        if self.mode == "slow" and "/blobs/" in request.path:
            try:
                for byte in data:
                    request.wfile.write(bytes([byte]))
                    request.wfile.flush()
                    if self._stop.is_set():
                        return
                    time.sleep(0.2)
            except OSError:
                return
        else:
            request.wfile.write(data)
