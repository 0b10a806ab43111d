"""A real git server on loopback: bare repositories with submodules and tags, over `git daemon` or smart http.

Nothing of the machine's git settings enters the repositories, so commit ids are the same in every run.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STAMP = "2026-05-28T12:00:00+00:00"
GIT_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    **{f"GIT_{who}_NAME": "A Developer" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "dev@example.org" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_DATE": STAMP for who in ("AUTHOR", "COMMITTER")},
}


def run_git(*args: str | Path, cwd: Path, data: bytes | None = None) -> str:
    """Run git with a fixed author, date and no settings; return what it prints."""
    done = subprocess.run(["git", *map(str, args)], cwd=cwd, env=GIT_ENV, input=data, capture_output=True, check=False)
    if done.returncode != 0:
        msg = f"git {' '.join(map(str, args))}: {done.stderr.decode()}"
        raise AssertionError(msg)
    return done.stdout.decode().strip()


@dataclass(kw_only=True)
class Repositories:
    """A folder of bare repositories that is served."""

    root: Path

    def path(self, name: str) -> Path:
        return self.root / f"{name}.git"

    def add(
        self,
        name: str,
        *,
        folder: Path | None = None,
        files: Mapping[str, str] | None = None,
        submodules: Mapping[str, tuple[str, str]] | None = None,
        tag: str = "",
        message: str = "First",
    ) -> str:
        """Commit a folder or files, with `submodules` as {path: (address, commit)}, on top of what is there.

        Returns the commit.
        """
        bare = self.path(name)
        if not bare.exists():
            run_git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", bare, cwd=self.root)
        work = self.root.parent / f"work-{name}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        if folder is not None:
            shutil.copytree(folder, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("build", "*.egg-info"))
        for path, text in (files or {}).items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text)
        return self._commit(bare, work, submodules or {}, tag, message)

    def _commit(self, bare: Path, work: Path, submodules: Mapping[str, tuple[str, str]], tag: str, message: str) -> str:
        entries = [
            f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n' for path, (url, _) in sorted(submodules.items())
        ]
        if entries:
            (work / ".gitmodules").write_text("".join(entries))
        here = ("--git-dir", bare, "--work-tree", work)
        (bare / "index").unlink(missing_ok=True)
        run_git(*here, "add", "--all", "--force", ".", cwd=work)
        for path, (_, commit) in submodules.items():
            run_git(*here, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}", cwd=work)
        run_git(*here, "commit", "--quiet", "--allow-empty", "-m", message, cwd=work)
        if tag:
            run_git(*here, "tag", "--force", "-a", "-m", tag, tag, cwd=work)
        shutil.rmtree(work)
        return run_git("rev-parse", "HEAD", cwd=bare)


@dataclass(kw_only=True)
class GitServer:
    """A running server."""

    repositories: Repositories
    base: str
    requests: list[str] = field(default_factory=list)
    failures: int = 0  # so many requests are answered with 503 first
    token: str = ""  # user:password that is asked for

    def url(self, name: str) -> str:
        return f"{self.base}/{name}.git"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def git_daemon(root: Path) -> Iterator[GitServer]:
    """Serve by `git daemon`, which has no protection and no certificates: git:// on a free port."""
    repositories = _repositories(root)
    port = free_port()
    argv = ["git", "daemon", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", "--export-all"]
    argv += [f"--base-path={repositories.root}", str(repositories.root)]
    process = subprocess.Popen(argv, env=GIT_ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        yield GitServer(repositories=repositories, base=f"git://127.0.0.1:{port}")
    finally:
        # git daemon is a child of git; ending git ends it with SIGTERM.
        process.terminate()
        process.wait(timeout=10)


@contextmanager
def git_http(root: Path, *, old_protocol: bool = False) -> Iterator[GitServer]:
    """Serve by http through `git http-backend`.

    Args:
        root: folder to work in.
        old_protocol: speak protocol version 0 only, which refuses commits by id that no branch or tag points at.
    """
    repositories = _repositories(root)

    class Handler(_Backend):
        pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = GitServer(repositories=repositories, base=f"http://127.0.0.1:{httpd.server_port}")
    Handler.server_state, Handler.old_protocol = server, old_protocol
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def _repositories(root: Path) -> Repositories:
    folder = root / "repositories"
    folder.mkdir(parents=True, exist_ok=True)
    return Repositories(root=folder)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


class _Backend(BaseHTTPRequestHandler):
    """Hands each request to `git http-backend`, as a web server would by CGI."""

    server_state: GitServer
    old_protocol: bool = False

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            body = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._serve(body)

    def _serve(self, body: bytes) -> None:
        state = self.server_state
        state.requests.append(f"{self.command} {self.path}")
        if state.failures > 0:
            state.failures -= 1
            self.send_error(503)
            return
        wanted = "Basic " + base64.b64encode(state.token.encode()).decode()
        if state.token and self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._answer(self._backend(body))

    def _backend(self, body: bytes) -> bytes:
        path, _, query = self.path.partition("?")
        env = GIT_ENV | {
            "GIT_PROJECT_ROOT": str(self.server_state.repositories.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        if not self.old_protocol:
            env["GIT_PROTOCOL"] = self.headers.get("Git-Protocol", "")
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        return done.stdout

    def _answer(self, reply: bytes) -> None:
        head, _, content = reply.partition(b"\r\n\r\n")
        headers = [line.partition(": ") for line in head.decode().split("\r\n") if line]
        status = next((int(value.split()[0]) for name, _, value in headers if name == "Status"), 200)
        self.send_response(status)
        for name, _, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""
