"""A whole bundle: built, written in parts, installed by its install.sh and verified there, with and without PyTorch.

The packages are tiny, PyTorch among them, and come from an index on loopback; Python 3.11, gcc 12 and what bringup
itself needs are the real ones (93 MB from Debian's mirror, kept in the folder that BRINGUP_TEST_CACHE names).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.data_root import STACK, pin, write_data, write_lock
from helpers.node_bundle import VERSION_PY, write_distribution, write_torch
from helpers.program import Program, finish
from helpers.sdists import local_recipe

from bringup.config.catalogue import load_catalogue
from bringup.formats.wheel import make_wheel
from bringup.harvest import what_it_fits
from bringup.harvest_pack import pack
from bringup.model.plan import Request
from bringup.report import Silent
from bringup.session import open_session
from bringup.system.layout import Settings

PYTHON311 = next((path for name in ("python3.11",) if (path := shutil.which(name))), None)
pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(PYTHON311 is None, reason="needs a Python 3.11, which plays the node's"),
]
TORCH = """
schema = 1
name = "pytorch"
distribution = "torch"
module = "torch"
summary = "Sample"
homepage = "https://example.org"
license = "Apache-2.0"
[[versions]]
version = "2.11.0"
  [versions.sources.wheel]
  kind = "wheel"
  project = "torch"
  sha256 = "{sha256}"
[build]
backend = "repack"
cuda = false
"""


@dataclass
class Site:
    """A machine with a network, and what was built there."""

    folder: Path
    program: Program

    def bundle(self, name: str, *flags: str) -> Path:
        out = self.folder / name
        out.mkdir()  # an empty folder is filled, as a mounted disk would be
        finish(self.program.start("bundle", "--part-size", "20M", "--output", str(out), *flags), 0, timeout=300)
        return out


def make_index(folder: Path) -> dict[str, str]:
    """Write wheels in the shape of a package index; returns their hashes."""
    trees = {
        "torch": {"torch/__init__.py": "from torch import version\n__version__ = version.__version__\n",
                  "torch/version.py": VERSION_PY.format(version="2.11.0+cu130", cuda="'13.0'")},
        "nvidia-cublas": {"nvidia/cu13/lib/libcublas.so.13": "library"},
        "nvidia-ml-py": {"pynvml.py": ""},
    }  # fmt: skip
    hashes = {}
    for name, files in trees.items():
        tree = folder / "trees" / name
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        place = folder / "simple" / name
        place.mkdir(parents=True)
        version = "2.11.0" if name == "torch" else "1.0"
        requires = ("nvidia-cublas==1.0",) if name == "torch" else ()
        wheel = make_wheel(tree, place, name=name, version=version, tag="py3-none-any", requires=requires)
        hashes[name] = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return hashes


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    hashes = make_index(folder / "index")
    data = write_data(folder / "data", local_recipe(folder / "src", "alpha", needs=("pytorch",)), lock=True)
    (data / "recipes/pytorch.toml").write_text(TORCH.format(sha256=hashes["torch"]))
    stack = data / f"recipes/stacks/{STACK}.toml"
    line = '[packages]\npytorch = { version = "2.11.0", source = "wheel" }\n'
    stack.write_text(stack.read_text().replace("[packages]\n", line))
    write_lock(
        data,
        pin("nvidia-cublas", digest=hashes["nvidia-cublas"], via="torch"),
        pin("nvidia-ml-py", digest=hashes["nvidia-ml-py"], via="-r packages.in"),
        pin("torch", "2.11.0", hashes["torch"], via="-r packages.in"),
    )
    handler = functools.partial(_Quiet, directory=str(folder / "index"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        program = Program.at(folder, data)
        for name in ("UV_DEFAULT_INDEX", "UV_HTTP_RETRIES"):
            del program.env[name]
        settings = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_"))}
        program.env |= settings | {"UV_CACHE_DIR": str(folder / "uv")}
        program.env["UV_INDEX"] = f"http://127.0.0.1:{server.server_port}/simple"
        if kept := os.environ.get("BRINGUP_TEST_CACHE"):
            (folder / "cache").mkdir()
            (folder / "cache/downloads").symlink_to(kept)
        finish(program.start("build"), 0, timeout=300)
        yield Site(folder=folder, program=program)
        server.shutdown()


def compiled_against(header: Path, site: Site) -> None:
    """Let the wheels in the store say that this header of the machine was compiled in."""
    header.write_text("int printf(const char *, ...);\n")
    for path in (site.folder / "cache/store").glob("??/*/entry.json"):
        entry = json.loads(path.read_text())
        path.write_text(json.dumps(entry | {"outside": {str(header): hashlib.sha256(header.read_bytes()).hexdigest()}}))


@contextlib.contextmanager
def without_file(path: Path) -> Iterator[None]:
    """Take a file away for as long as the block runs."""
    text = path.read_text()
    path.unlink()
    try:
        yield
    finally:
        path.write_text(text)


@pytest.fixture(scope="module")
def without(site: Site) -> Path:
    return site.bundle("without.bundle", "--without-torch")


@pytest.fixture
def node(tmp_path: Path) -> tuple[Path, Path]:
    """Make the node's Python with a torch that fits; returns its program and site-packages."""
    subprocess.run([str(PYTHON311), "-m", "venv", "--without-pip", tmp_path / "nodepy"], check=True, timeout=120)
    (packages,) = (tmp_path / "nodepy").glob("lib/python3.*/site-packages")
    write_torch(packages, tag="cp311-cp311-linux_x86_64")
    write_distribution(packages, "nvidia-cublas", "1.0", {"nvidia/cu13/lib/libcublas.so.13": "library"})
    write_distribution(packages, "transformers", "9.9", {"transformers.py": ""})
    return tmp_path / "nodepy/bin/python", packages


def call(code: int, *words: str | Path, timeout: float = 300) -> str:
    env = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
    argv = [str(word) for word in words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == code, done.stdout + done.stderr
    assert "a bug in bringup" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def static_level(dest: Path) -> dict[str, dict]:
    (file,) = dest.glob("build/h200-*/verify.json")
    level = next(one for one in json.loads(file.read_text())["levels"] if one["level"] == "static")
    return {check["id"]: check for check in level["checks"]}


def test_a_bundle_with_everything_installs_and_verifies(site: Site, tmp_path: Path) -> None:
    header = site.folder / "stdio.h"
    compiled_against(header, site)
    bundle = site.bundle("whole.bundle")
    script = (bundle / "install.sh").read_text()
    release = load_catalogue(site.program.data).cuda["13.0"]
    assert f"DRIVER={release.driver_compat}\n" in script  # from the toolchain data
    assert re.search(r"^GLIBC=2\.[0-9]+$", script, re.MULTILINE)
    module = tmp_path / "proc/driver/nvidia/version"
    module.parent.mkdir(parents=True)
    module.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n")
    refused = call(3, "/usr/bin/env", f"BRINGUP_ROOT={tmp_path}", "/bin/sh", bundle / "install.sh", tmp_path / "old")
    assert f"driver here is 535.104.05; CUDA 13.0 needs driver {release.driver_compat}" in refused
    assert not (tmp_path / "old").exists()
    dest = tmp_path / "with spaces/h200 node"
    with without_file(header):  # a node has other headers than the machine that compiled, or none
        text = call(0, "/bin/sh", bundle / "install.sh", dest)
    assert f"next: '{dest}/bin/bringup' verify" in text
    assert "static      OK" in call(0, dest / "bin/bringup", "verify", "--level", "static", "--level", "import")
    assert "static.node-torch" not in static_level(dest)
    if shutil.which("nvidia-smi") is None:
        assert "no GPU is visible here" in call(0, dest / "bin/bringup", "verify", "--level", "torch")
        assert "is required and is SKIPPED" in call(9, dest / "bin/bringup", "verify", "--require", "torch")
    assert not (dest / "wheels").exists()
    assert "carry it to a machine" not in call(0, dest / "bin/bringup", "build")
    assert "--gpu b200: this bundle is for h200 alone" in call(2, dest / "bin/bringup", "verify", "--gpu", "b200")
    (tmp_path / "build.log").write_text("x.cu:1:10: fatal error: cuda_fp8.h: No such file or directory\n")
    assert "cuda_fp8.h" in call(10, dest / "bin/bringup", "diagnose", tmp_path / "build.log")
    assert f"is removed with its folder: rm -rf '{dest}'" in call(2, dest / "bin/bringup", "clean", "--all")
    check_harvest_of_another_node(site, dest, tmp_path)
    moved = dest.with_name("moved")
    dest.rename(moved)
    assert "was moved from" in call(8, moved / "bin/bringup", "verify")


def check_harvest_of_another_node(site: Site, dest: Path, tmp_path: Path) -> None:
    """Install what another node compiled; what was compiled for something else is refused and changes nothing."""
    settings = Settings(data=site.program.data, build=dest / "build", cache=dest / "cache", bundle=dest)
    facts = what_it_fits(open_session(Request(gpu="h200", stack=STACK), settings, Silent()).context)
    (tmp_path / "manager.py").touch()
    entry = tmp_path / "harvest/graph/triton/KEY/kernel.cubin"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"machine code")
    items = [{"cache": "triton", "name": "kernel", "files": ["KEY/kernel.cubin"]}]
    (tmp_path / "harvest/graph/manifest.json").write_text(json.dumps({"items": items}))
    for name, fits in (("other", facts | {"gpu": "sm_100a"}), ("same", facts)):
        made = pack(
            tmp_path / "harvest", into=tmp_path / name, installed=tmp_path / "none", facts=fits,
            manager=tmp_path / "manager.py",
        )  # fmt: skip
        assert made.wheel
        code, text = (9, "does not fit") if name == "other" else (0, "is installed in")
        assert text in call(code, dest / "bin/bringup", "install", "--harvest", made.wheel)
        call(0, dest / "bin/bringup", "verify", "--level", "static")
        found = static_level(dest).get("static.harvest")
        assert (found is not None and found["status"] == "OK") == (name == "same")
    assert "no such file" in call(2, dest / "bin/bringup", "install", "--harvest", tmp_path / "none.whl")


def test_the_nodes_torch_is_used_recorded_and_watched(without: Path, node: tuple[Path, Path], tmp_path: Path) -> None:
    known = json.loads(subprocess.run(
        f"cat {without}/part-* | tar -xO -f - bundle.json", shell=True, check=True, capture_output=True
    ).stdout)["node_torch"]  # fmt: skip
    assert known == {
        "tag": "cp311", "torch": "2.11.0+cu130", "cuda": "13.0", "left_out": ["nvidia-cublas", "torch"],
    }  # fmt: skip
    python, packages = node
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    dest = tmp_path / "link/h200"
    text = call(0, "/bin/sh", without / "install.sh", "--python", python, dest)
    assert "the node's own PyTorch fits" in text
    verify = (dest / "bin/bringup", "verify", "--level", "static", "--level", "import")
    call(0, *verify)
    check = static_level(dest)["static.node-torch"]
    assert check["status"] == "OK"
    assert check["evidence"]["site"] == str(packages)
    (env,) = (tmp_path / "real/h200/build").glob("h200-*/env")
    code = "import torch, pynvml, alpha; print(torch.__file__, torch.__version__)\nimport transformers"
    done = subprocess.run([env / "bin/python", "-c", code], capture_output=True, text=True, check=False)
    assert f"{env}/lib/python3.11/site-packages/torch/__init__.py 2.11.0+cu130" in done.stdout
    assert "No module named 'transformers'" in done.stderr  # of what else the node has nothing is seen
    # later the node's administrator upgrades
    shutil.rmtree(packages / "torch-2.11.0.dist-info")
    write_torch(packages, "2.12.0+cu130", tag="cp311-cp311-linux_x86_64")
    text = " ".join(call(9, *verify).split())
    assert "torch/version.py has changed" in text
    assert "is 2.12.0, another installation than the 2.11.0 of then" in text
    assert "put the node's PyTorch back as it was" in text


def test_a_torch_that_does_not_import_leaves_nothing(without: Path, node: tuple[Path, Path], tmp_path: Path) -> None:
    python, packages = node
    text = "raise ImportError('libcudnn.so.9: cannot open shared object file')\n"
    version = VERSION_PY.format(version="2.11.0+cu130", cuda="'13.0'")
    write_distribution(packages, "torch", "2.11.0", {"torch/__init__.py": text, "torch/version.py": version})
    text = call(8, "/bin/sh", without / "install.sh", "--python", python, tmp_path / "h200")
    assert "libcudnn.so.9: cannot open shared object file" in text
    assert "the end of the log:" in text
    assert "  log: " not in text  # it goes with the rest
    assert "make the bundle again without --without-torch" in text
    assert not (tmp_path / "h200").exists()
    assert (packages / "torch/__init__.py").exists()


def test_an_interrupted_installation_leaves_the_nodes_torch_and_starts_over(
    without: Path, node: tuple[Path, Path], tmp_path: Path
) -> None:
    python, packages = node
    before = {path: path.read_bytes() for path in packages.rglob("*") if path.is_file()}
    dest = tmp_path / "h200"
    command = ["/bin/sh", str(without / "install.sh"), "--python", str(python), str(dest)]
    for number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(
            command, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        limit = time.monotonic() + 120
        mark, half = dest / ".incomplete", "build/h200-*/envs/*/lib/python3.11/site-packages"
        while time.monotonic() < limit:
            begun = mark.is_file() and mark.read_text().startswith(f"bringup bundle {process.pid} ")
            if begun and list(dest.glob(half)):
                break
            time.sleep(0.01)
        os.killpg(process.pid, number)
        process.wait(timeout=60)
        assert process.returncode != 0
        assert not (dest / "bin").exists()
    assert not list(dest.iterdir())  # what the first left is gone with the second
    call(0, *command)
    call(0, dest / "bin/bringup", "verify", "--level", "static")
    shutil.rmtree(dest)
    assert {path: path.read_bytes() for path in packages.rglob("*") if path.is_file()} == before


def test_what_cannot_be_left_to_the_node(site: Site) -> None:
    for name in ("a file", "full/of something"):
        place = site.folder / name
        place.parent.mkdir(exist_ok=True)
        place.write_text("mine")
        said = " ".join(
            site.program.run("bundle", "--output", str(site.folder / name.split("/")[0]), code=2).text.split()
        )
        assert "is no folder" in said or "is not empty" in said
        assert place.read_text() == "mine"
    flags = ("--without-torch", "--sources", "--output", str(site.folder / "no.bundle"))
    assert "exclude each other" in site.program.run("bundle", *flags, code=2).text
    for size, says in (("0", "at least 1M"), ("1K", "at least 1M"), ("many", "--part-size many"), ("-5M", "-5M")):
        text = site.program.run("bundle", "--part-size", size, "--output", str(site.folder / "no.bundle"), code=2).text
        assert says in text
    assert not (site.folder / "no.bundle").exists()
    assert not list(site.folder.glob(".*.new"))


def test_an_installed_toolkit_does_not_travel(tmp_path: Path) -> None:
    program = Program.at(tmp_path, write_data(tmp_path / "data", local_recipe(tmp_path / "src", "alpha", cuda=True)))
    program.run("build")
    for flag in ("--sources", "--with-toolkit"):
        text = program.run("bundle", flag, "--output", str(tmp_path / "no.bundle"), code=2).text
        assert f"{flag} carries the CUDA toolkit, and the one at {tmp_path / 'cuda'} is installed there" in text
        assert "--toolkit wheels" in text
    assert not (tmp_path / "no.bundle").exists()


def test_a_bundle_of_sources_is_built_on_the_node_without_a_network(site: Site, tmp_path: Path) -> None:
    """For a computer without a GPU, so that no toolkit has to be put together."""
    alpha = local_recipe(tmp_path / "src", "alpha")
    data = write_data(tmp_path / "data", alpha, gpus=("cpu",))
    stack = data / f"recipes/stacks/{STACK}.toml"
    stack.write_text(stack.read_text().replace("lock = ", "accelerator = false\nlock = "))
    program = Program(folder=tmp_path, data=data, build_dir=tmp_path / "build", env=site.program.env)
    target = ("--gpu", "cpu")
    flags = ("--sources", "--only", "alpha", "--part-size", "20M", "--output", str(tmp_path / "sources.bundle"))
    assert "invoke prepare" in program.run("bundle", *flags, target=target, code=8).err
    finish(program.start("prepare", "--only", "alpha", target=target), 0, timeout=300)
    finish(program.start("bundle", *flags, target=target), 0, timeout=300)
    shutil.rmtree(tmp_path / "src")  # what the archive was fetched from
    dest = tmp_path / "node"
    call(0, "/bin/sh", tmp_path / "sources.bundle/install.sh", dest)
    assert re.search(r"run +alpha build", call(0, dest / "bin/bringup", "plan"))
    assert re.search(r"done +alpha build .*alpha-1\.0", call(0, dest / "bin/bringup", "build"))
    assert "nothing to do" in call(0, dest / "bin/bringup", "build")
