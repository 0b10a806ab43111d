"""OpenStack Swift of PyPI as an S3 server: it verifies each request's signature (version 4), region and clock."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bringup.system.pypi import find_uv

REQUIREMENTS = ("swift==2.38.3", "pyeclib==1.8.0")
REGION = "lab-1"
# Access key and secret of tempauth's one user; the tests look for the secret where it must not be.
KEY, SECRET = "lab:builder", "correct-horse-battery-staple"

# swift reads /etc/swift/swift.conf; this makes it another file, before anything has read it.
LAUNCH = "import sys; from swift.common import utils; utils.SWIFT_CONF_FILE = sys.argv[1]; del sys.argv[1]; "
RINGS = """
from swift.common.ring import RingBuilder
for kind, port in zip(sys.argv[1::2], sys.argv[2::2]):
    ring = RingBuilder(2, 1, 0)
    ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1.0})
    ring.rebalance()
    ring.get_ring().save(f"{kind}.ring.gz")
"""
START = "from swift.common.wsgi import run_wsgi; sys.exit(run_wsgi(sys.argv[1], sys.argv[2]))"
PROXY = f"""\
[pipeline:main]
pipeline = catch_errors s3api tempauth proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:s3api]
use = egg:swift#s3api
location = {REGION}
[filter:tempauth]
use = egg:swift#tempauth
user_lab_builder = {SECRET} .admin
user_lab_guest = only-a-guest
"""
STORAGE = "[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n"


class NotInstalledError(Exception):
    """Swift cannot be had here; the text says why."""


def install(folder: Path) -> Path:
    """Return a Python that has Swift; it is installed from PyPI into `folder` if it is not there."""
    python = folder / "bin/python"
    if (folder / "complete").exists():
        return python
    commands = (
        [find_uv(), "venv", "-q", "--clear", "--python", sys.executable, folder],
        [find_uv(), "pip", "install", "-q", "--only-binary", ":all:", "--python", python, *REQUIREMENTS],
    )
    for argv in commands:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotInstalledError(done.stderr.strip()[-500:])
    (folder / "complete").touch()
    return python


@dataclass(frozen=True, kw_only=True)
class Swift:
    """A running server."""

    endpoint: str
    log: Path


@contextlib.contextmanager
def swift(python: Path, folder: Path) -> Iterator[Swift]:
    """Run account, container, object and proxy server below `folder` until the block ends."""
    kinds = ("account", "container", "object", "proxy")
    ports = dict(zip(kinds, _free_ports(len(kinds)), strict=True))
    (folder / "disks/d1").mkdir(parents=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = lab\n")
    rings = [word for kind in kinds[:3] for word in (kind, str(ports[kind]))]
    subprocess.run([python, "-c", LAUNCH + RINGS, folder / "swift.conf", *rings], cwd=folder, check=True)
    servers = []
    with (folder / "log").open("wb") as log:
        try:
            for kind in kinds:
                _write_conf(folder, kind, ports[kind])
                argv = [python, "-c", LAUNCH + START, folder / "swift.conf", folder / f"{kind}.conf", f"{kind}-server"]
                servers.append(subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log))
            for kind in kinds:
                _wait(ports[kind], folder / "log")
            yield Swift(endpoint=f"http://127.0.0.1:{ports['proxy']}", log=folder / "log")
        finally:
            for one in servers:
                one.terminate()
            for one in servers:
                one.wait()


def _write_conf(folder: Path, kind: str, port: int) -> None:
    head = (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nswift_dir = {folder}\n"
        f"devices = {folder / 'disks'}\nmount_check = false\nuser = {_user()}\nlog_address = {folder / 'no-syslog'}\n"
        "log_level = INFO\n"
    )
    rest = PROXY if kind == "proxy" else STORAGE.format(kind=kind)
    (folder / f"{kind}.conf").write_text(head + rest)


def _user() -> str:
    import pwd  # noqa: PLC0415

    return pwd.getpwuid(os.geteuid()).pw_name


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(port: int, log: Path) -> None:
    for _ in range(600):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    msg = f"no server on port {port}: {log.read_text(errors='replace')[-2000:]}"
    raise AssertionError(msg)
