"""The default pipeline on four packages in real shapes, from real git repositories with submodules on loopback.

Compilers are real; the build requirements come from PyPI once, so these tests need a network.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gitserver import GitServer, free_port, git_http
from sample_data import ROOT, Sample, make_patch, write_data

from bringup.building.unit_history import read_units
from bringup.toolchain.facts import FactCache
from bringup.toolchain.programs import find_program

CUDA_HOME = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda-13.0"))
pytestmark = [
    pytest.mark.network,
    pytest.mark.compile,
    pytest.mark.skipif(not (CUDA_HOME / "bin/nvcc").exists(), reason="needs an installed CUDA 13.0 toolkit"),
]


@dataclass(kw_only=True)
class Pipeline:
    """Runs the program on one data folder, with folders of its own."""

    folder: Path
    sample: Sample
    cuda: Path = CUDA_HOME
    build: Path | None = None

    @property
    def build_dir(self) -> Path:
        return self.build or self.folder / "build"

    def start(self, task: str, *flags: str) -> subprocess.Popen[str]:
        env = {name: os.environ[name] for name in os.environ if not name.startswith(("GIT_", "BRINGUP_"))}
        env |= {
            "BRINGUP_CACHE": str(self.folder / "cache"),
            "BRINGUP_CONFIG": "/nonexistent",
            "CUDA_HOME": str(self.cuda),
        }
        argv = [sys.executable, "-c", "from bringup.cli import main; main()", task, "--gpu", "h200", "--stack", "mini"]
        argv += ["--data", str(self.sample.data), "--build-dir", str(self.build_dir), "--toolkit", "system"]
        return subprocess.Popen(
            [*argv, *flags], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, task: str, *flags: str, code: int = 0) -> str:
        process = self.start(task, *flags)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == code, output[-6000:]
        return output

    def plan(self) -> dict[str, str]:
        """Decision of each step by `package:phase`, in the order of the plan."""
        document = json.loads(self.run("plan", "--json"))
        return {f"{step['package']}:{step['phase']}": step["decision"] for step in document["steps"]}

    def python(self, code: str) -> str:
        (target,) = self.build_dir.glob("h200-*")
        done = subprocess.run([target / "env/bin/python", "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def log(self, step: str) -> str:
        (target,) = self.build_dir.glob("h200-*")
        return (target / "logs" / f"{step}.log").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with git_http(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def built(server: GitServer, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Everything built once; tests that change something come after those that look at it."""
    folder = tmp_path_factory.mktemp("pipeline")
    pipeline = Pipeline(folder=folder, sample=write_data(folder / "data", server))
    pipeline.run("build")
    return pipeline


@pytest.fixture
def other_cuda(tmp_path: Path) -> Iterator[Path]:
    """A toolkit at another place, one of whose programs differs: bytes behind the end of an ELF file change nothing."""
    place = tmp_path / "cuda"
    place.mkdir()
    for entry in CUDA_HOME.iterdir():
        if entry.name != "bin":
            (place / entry.name).symlink_to(entry)
    shutil.copytree(CUDA_HOME / "bin", place / "bin")
    with (place / "bin/fatbinary").open("ab") as program:
        program.write(b"other")
    yield place
    shutil.rmtree(place)


def test_order_follows_the_needs(built: Pipeline):
    decisions = built.plan()
    steps = list(decisions)
    assert steps.index("minicuda:build") < steps.index("miniext:build")
    assert set(decisions.values()) <= {"reuse", "skip"}


def test_patched_tree_with_nested_submodules_is_what_was_built(built: Pipeline):
    (source,) = built.build_dir.glob("h200-*/work/minicuda/source")
    assert (source / "third_party/minimath/third_party/minibits/minibits.h").exists()
    assert not (source / "third_party/minimath/NEWS").exists()  # on the branch, not in the recorded commit
    assert "Patched submodule" in (source / "third_party/minimath/include/minimath.h").read_text()
    assert built.python("import minicuda; print(minicuda.greeting, minicuda.scale_host(4))") == "patched 8.0"


def test_built_with_the_toolchain_of_the_target(built: Pipeline):
    nvcc, host, arch = built.python(
        "import minicuda; print(minicuda.nvcc, minicuda.host_compiler, minicuda.arch_list)"
    ).split()
    (target,) = built.build_dir.glob("h200-*")
    assert Path(nvcc).is_relative_to(target)
    assert Path(host).is_relative_to(target)
    assert arch == "9.0a"


def test_every_compiler_stood_behind_the_launcher(built: Pipeline):
    (records,) = built.build_dir.glob("h200-*/units.jsonl")
    units = list(read_units(records))
    assert {unit.package for unit in units} >= {"minicuda", "miniext", "minikernels"}
    # minikernels compiles and links with one command of nvcc.
    assert {(unit.package, unit.lang) for unit in units} >= {("minicuda", "cuda"), ("minikernels", "link")}
    assert {unit.exit for unit in units} == {0}


def test_extension_was_built_against_our_package(built: Pipeline):
    assert built.python("import miniext; print(miniext.quadruple(2), miniext.abi)") == "8.0 7"
    ours = built.python("import minicuda, miniext; print(minicuda.__version__, miniext.built_against)").split()
    assert ours[0] == ours[1] == "1.0.0+cu130.src"


def test_dependency_is_handed_over_and_not_cloned(built: Pipeline):
    assert built.python("import minikernels as m; print(m.head_dim('f32_64'), len(m.names))") == "64 4"
    assert "git clone" not in built.log("minikernels.build")


def test_rust_extension(built: Pipeline):
    cargo = find_program("cargo>=1.70", facts=FactCache(built.folder / "cache/facts.json"), env=os.environ)
    if cargo.path is None:
        plan = " ".join(built.run("plan").split())  # long lines are wrapped
        assert f"minirust: variant plain instead of rust, because cargo>=1.70 {cargo.why}" in plan
        pytest.skip(f"cargo {cargo.why}")
    assert built.python("import minirust; print(minirust.triple(4), minirust.has_extension)") == "12 True"


def test_second_run_does_nothing_and_works_offline(built: Pipeline, server: GitServer):
    server.requests.clear()
    started = time.monotonic()
    output = built.run("build", "--offline")
    assert time.monotonic() - started < 10
    assert server.requests == []
    assert "nothing" in output.lower()


def test_empty_build_folder_is_filled_from_the_store(built: Pipeline, server: GitServer, tmp_path: Path):
    server.requests.clear()
    again = Pipeline(folder=built.folder, sample=built.sample, build=tmp_path / "build")
    again.run("build", "--offline")
    assert again.python("import miniext; print(miniext.quadruple(1))") == "4.0"
    assert server.requests == []
    assert not list(tmp_path.glob("build/h200-*/work/*/source"))


def test_other_toolkit_configures_afresh_offline(built: Pipeline, server: GitServer, other_cuda: Path):
    """What depends on the toolkit is built again, from the mirrors alone, and not in what the old one configured."""
    (source,) = built.build_dir.glob("h200-*/work/minicuda/source")
    cache = source / "build/CMakeCache.txt"
    old = cache.read_text()
    server.requests.clear()
    changed = Pipeline(folder=built.folder, sample=built.sample, cuda=other_cuda)
    decisions = changed.plan()
    rebuilt = {package for package in ("minicuda", "miniext", "minikernels") if decisions[f"{package}:build"] == "run"}
    assert {"minicuda", "minikernels"} <= rebuilt
    output = changed.run("build", "--offline")
    assert "minicuda: build/ is configured afresh: toolkit was nvcc " in output
    assert server.requests == []
    assert cache.read_text() != old
    assert built.python("import minicuda, miniext; print(minicuda.greeting, miniext.quadruple(2))") == "patched 8.0"


def test_patch_that_does_not_apply(server: GitServer, tmp_path: Path):
    pipeline = Pipeline(folder=tmp_path, sample=write_data(tmp_path / "data", server))
    file = "0001-Say-that-it-is-patched.patch"
    text = make_patch("csrc/minicuda.cu", "one\ntwo\n", "one\nTWO\n")
    (pipeline.sample.data / "patches/minicuda/1.0.0" / file).write_text(text)
    output = pipeline.run("patch", code=5)
    assert file in output
    assert "csrc/minicuda.cu, hunk 1 of 1" in output
    assert not list(tmp_path.glob("build/h200-*/work/minicuda/source"))


def test_unreachable_host_is_named_before_anything_is_compiled(server: GitServer, tmp_path: Path):
    base = f"http://127.0.0.1:{free_port()}"
    pipeline = Pipeline(folder=tmp_path, sample=write_data(tmp_path / "data", server, base=base))
    started = time.monotonic()
    output = pipeline.run("build", code=4)
    assert time.monotonic() - started < 10
    assert f"{base.removeprefix('http://')} is out of reach" in output
    assert "--mirror" in output
    assert "--stack kernels" in output
    assert not list(tmp_path.glob("build/h200-*/work"))
    # The named way out works.
    pipeline.run("fetch", "--mirror", f"{base}/={server.base}/")


def test_variant_without_rust(built: Pipeline, tmp_path: Path):
    plain = Pipeline(folder=built.folder, sample=built.sample, build=tmp_path / "build")
    plain.run("build", "--variant", "minirust=plain")
    assert plain.python("import minirust; print(minirust.triple(4), minirust.has_extension)") == "12 False"


def descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def test_resume_after_a_kill_in_the_middle_of_a_compile(server: GitServer, tmp_path: Path):
    """As when a machine goes down: program, ninja and compilers are gone at once."""
    pipeline = Pipeline(folder=tmp_path, sample=write_data(tmp_path / "data", server))
    process = pipeline.start("build", "--only", "minikernels", "--jobs", "1")

    def objects() -> dict[Path, int]:
        found = tmp_path.glob("build/h200-*/work/minikernels/source/build/generated/*.o")
        return {path: path.stat().st_mtime_ns for path in found}

    deadline = time.monotonic() + 300
    while len(objects()) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    for pid in descendants(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()
    before = objects()
    assert 2 <= len(before) < 4, "not killed in the middle"
    assert pipeline.plan()["minikernels:build"] == "run"
    pipeline.run("build", "--only", "minikernels", "--jobs", "1")
    after = objects()
    assert len(after) == 4
    assert [path for path in before if after[path] == before[path]], "nothing of what was compiled was kept"
    assert pipeline.plan()["minikernels:build"] == "reuse"
