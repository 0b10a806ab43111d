"""Machines that share wheels through an HTTP server, as whole runs of the program; and a server that misbehaves."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.blob_server import BlobServer
from helpers.machines import Machines
from helpers.program import finish


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BlobServer]:
    with BlobServer(tmp_path / "served") as running:
        yield running


@pytest.fixture
def machines(tmp_path: Path, server: BlobServer) -> Machines:
    return Machines(tmp_path, server.url)


def test_what_one_machine_built_another_installs(machines: Machines, server: BlobServer):
    machines.build("one", "--remote-store-write")
    assert machines.compiled() == 1
    document = json.loads(machines.machine("two").run("plan", "--remote-store", machines.url, "--json").out)
    decisions = {f"{one['package']}:{one['phase']}": one for one in document["steps"]}
    assert decisions["alpha:build"]["decision"] == "reuse"
    assert decisions["alpha:build"]["why"].startswith(f"its wheel is in the remote store {server.url} (")
    assert decisions["alpha:fetch"]["decision"] == "skip"
    server.asked.clear()
    text = machines.build("two")
    assert machines.compiled() == 1
    assert "warning" not in text
    assert machines.machine("two").python("import alpha; print(alpha.VALUE)") == "1"
    assert not [one for one in server.asked if one.startswith("PUT")]
    server.asked.clear()
    assert "nothing to do" in machines.build("two")
    assert server.asked == []


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("lie", "has alpha-1.0-py3-none-any.whl with another content than it says: it is ignored"),
        ("hang", "no answer within 1 s; this run goes on without it"),
        ("slow", "this run goes on without it"),
        ("fail", "HTTP 500 Internal Server Error; this run goes on without it"),
    ],
)
def test_a_server_that_misbehaves_costs_one_warning_and_a_build(
    machines: Machines, server: BlobServer, mode: str, reason: str
):
    machines.build("one", "--remote-store-write")
    server.mode = mode
    text = machines.build("two", "--remote-store-write")
    assert machines.compiled() == 2
    assert reason in text
    assert text.count("warning: ") == 1
    server.mode = ""
    machines.build("three")
    assert machines.compiled() == 2


def test_a_server_that_is_not_there(tmp_path: Path):
    machines = Machines(tmp_path, "http://127.0.0.1:9/store")
    text = machines.build("one", "--remote-store-write")
    assert machines.compiled() == 1
    assert text.count("warning: ") == 1
    assert "Connection refused; this run goes on without it" in text


def test_a_server_that_refuses_writers(machines: Machines, server: BlobServer):
    server.mode = "read-only"
    text = machines.build("one", "--remote-store-write")
    assert text.count("warning: ") == 1
    assert "cannot be written: HTTP 403 Forbidden" in text


def test_offline_asks_nobody(machines: Machines, server: BlobServer):
    machines.machine("one").run("plan", "--remote-store", machines.url, "--offline")
    assert server.asked == []


def test_two_machines_build_and_write_at_the_same_time(machines: Machines):
    programs = [machines.machine(name) for name in ("one", "two")]
    running = [program.start("build", "--remote-store", machines.url, "--remote-store-write") for program in programs]
    ended: list[str] = []
    threads = [threading.Thread(target=lambda one=one: ended.append(finish(one, 0, 120).text)) for one in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 2
    before = machines.compiled()
    assert "warning" not in machines.build("three")
    assert machines.compiled() == before


def test_an_address_that_is_none_is_wrong_use(tmp_path: Path):
    machines = Machines(tmp_path, "ftp://example.org/x")
    done = machines.machine("one").run("plan", "--remote-store", machines.url, code=2)
    assert "wants http://..., https://..., s3://... or the absolute path of a folder" in done.err


NGINX = """{user}daemon off; pid {root}/pid; error_log {root}/error.log;
events {{}}
http {{
  access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  server {{
    listen unix:{root}/unused.sock; listen 127.0.0.1:{port};
    location /store/ {{ alias {root}/data/; dav_methods PUT; create_full_put_path on; client_max_body_size 0; }}
  }}
}}
"""


@pytest.mark.skipif(shutil.which("nginx") is None, reason="there is no nginx")
def test_nginx_is_a_remote_store(tmp_path: Path):
    """Debian's nginx with its DAV module takes PUT; the configuration is that of docs/how-to/caches.md."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = tmp_path / "nginx"
    (root / "data").mkdir(parents=True)
    (root / "conf").write_text(NGINX.format(root=root, port=port, user="user root; " if os.geteuid() == 0 else ""))
    program = subprocess.Popen(["nginx", "-p", str(root), "-c", str(root / "conf")], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            threading.Event().wait(0.05)
        machines = Machines(tmp_path, f"http://127.0.0.1:{port}/store")
        assert "warning" not in machines.build("one", "--remote-store-write")
        assert "warning" not in machines.build("two")
        assert machines.compiled() == 1
    finally:
        program.terminate()
        program.wait()
