"""PyTorch 2.6.0 from package registries: assembled, configured for real, the first libraries and CUDA units compiled.

Everything goes the product's own way with the recipe's data, but for one thing: of CUDA's libraries only the stubs are
there, since nothing is run. That leaves 1.35 GB to fetch, CUDA's headers most of it (Debian has them in one package
with the static libraries), and 2 GB on disk. BRINGUP_TEST_CACHE=FOLDER keeps what was fetched. With two compilers at a
time the largest pair takes 4 GB of memory.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bringup.building.build_environment import build_environment
from bringup.building.cmake_cache import refresh_stale
from bringup.building.configure import check_parts, configure, generate
from bringup.building.unit_history import read_units
from bringup.context import Context
from bringup.engine import execute, take_ready_tools
from bringup.errors import BuildError
from bringup.formats.elf import read_elf
from bringup.formats.fatbin import device_code, summarise
from bringup.model.plan import Package, Phase, Request
from bringup.report import Silent
from bringup.session import open_session
from bringup.system import process
from bringup.system.jobbudget import JobBudget
from bringup.system.jobclients import Client, find_clients
from bringup.system.jobcontrol import Control
from bringup.system.jobserver import JobServer
from bringup.system.layout import Settings

ROOT = Path(__file__).resolve().parents[2]
NATIVE = "caffe2/CMakeFiles/torch_cuda.dir/__/aten/src/ATen"
HOPPER_UNIT = "caffe2/CMakeFiles/torch_cuda.dir/__/torch/csrc/distributed/c10d/cuda/AsyncMM.cu.o"
UV_UNIT = "caffe2/CMakeFiles/torch_cpu.dir/__/torch/csrc/distributed/c10d/TCPStoreLibUvBackend.cpp.o"
# CUTLASS for Hopper's tensor cores (CMake adds sm_90a for it), cub, element-wise operations, reductions, gloo.
CUDA_UNITS = {
    HOPPER_UNIT: {"sm_90", "sm_90a"},
    f"{NATIVE}/cuda/cub.cu.o": {"sm_90"},
    f"{NATIVE}/native/cuda/CrossKernel.cu.o": {"sm_90"},
    f"{NATIVE}/native/cuda/Reduce.cu.o": {"sm_90"},
    "third_party/gloo/gloo/CMakeFiles/gloo_cuda.dir/cuda.cu.o": {"sm_90"},
}
pytestmark = [pytest.mark.network, pytest.mark.compile]


class Tree:
    """The tree of PyTorch, prepared, with the environment that its build is given."""

    def __init__(self, root: Path, **asked: Any) -> None:
        settings = Settings(data=root / "data", build=root / "build", cache=root / "cache")
        variants = {"pytorch": "serving+old-abi"}
        request = Request(
            gpu="h200", stack="registry", variants=variants, only=("pytorch",), jobs=2, **{"toolkit": "debs", **asked}
        )
        session = open_session(request, settings, Silent())
        wanted = {step.id for step in session.plan.steps if step.phase in (Phase.FETCH, Phase.PATCH, Phase.PREPARE)}
        execute(session, only=lambda step: step.id in wanted)
        session = open_session(request, settings, Silent())
        take_ready_tools(session.context)
        self.root = root
        self.ctx: Context = session.context
        self.package: Package = session.plan.packages["pytorch"]
        self.source = self.ctx.layout.source("pytorch")
        step = session.plan.step("pytorch:build")
        self.env = build_environment(self.package, step, self.ctx, 2)
        self.bin = self.ctx.layout.build_env("pytorch", step.fingerprint) / "bin"
        self.log = self.ctx.layout.log("pytorch:build")

    def fresh(self) -> list[str]:
        return list(refresh_stale(self.package, self.source, self.env, self.ctx))

    def configure(self) -> list[str]:
        said: list[str] = []
        configure(
            self.package,
            self.source,
            self.bin / "python",
            units=ROOT / "recipes/units/pytorch.toml",
            env=self.env,
            log=self.log,
            memory_bytes=8 << 30,
            say=said.append,
        )
        return said

    def generate(self) -> None:
        generate(self.package, self.source, self.bin / "python", env=self.env, log=self.log)

    def cache(self) -> dict[str, str]:
        text = (self.source / "build/CMakeCache.txt").read_text()
        return dict(re.findall(r"^([A-Za-z0-9_]+):[A-Z]+=(.*)$", text, re.MULTILINE))

    def ninja(self, *words: str) -> str:
        argv = [self.bin / "ninja", "-C", "build", "-j2", *words]
        return process.run(argv, env=self.env, cwd=self.source, timeout=560).output

    def compile(self, *units: str) -> None:
        """Compile units two at a time, as ninja would; it alone would first make protoc, which they do not need."""
        missing = [unit for unit in units if not (self.source / "build" / unit).exists()]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._compile, missing))

    def _compile(self, unit: str) -> None:
        folder = self.source / "build"
        argv = [self.bin / "ninja", "-C", folder, "--quiet", "-t", "commands", "-s", unit]
        command = process.run(argv, env=self.env, cwd=folder).output
        (folder / unit).parent.mkdir(parents=True, exist_ok=True)
        process.run(["/bin/sh", "-c", command], env=self.env, cwd=folder, timeout=560, log=self.log)


def write_data(folder: Path) -> None:
    """Link the product's data, with copies of recipes that want no library of the toolkit beside nvml and nvtx."""
    folder.mkdir()
    for name in ("patches", "toolchains"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    for recipe in sorted((folder / "recipes").glob("*.toml")):
        few = 'toolkit_groups = ["nvml", "nvtx"]'
        text, count = re.subn(r"toolkit_groups = \[.*\]", few, recipe.read_text())
        recipe.write_text(text)
        assert count or recipe.name != "pytorch.toml"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Tree]:
    root = tmp_path_factory.mktemp("registry")
    write_data(root / "data")
    (root / "cache").mkdir()
    (root / "cache/downloads").symlink_to(downloads)
    yield Tree(root)
    shutil.rmtree(root)


def test_a_missing_part_is_named_with_the_key_that_provides_it(tree: Tree):
    check_parts(tree.package, tree.source)
    folder = tree.source / "third_party/fmt"
    folder.rename(folder.with_name("gone"))
    with pytest.raises(BuildError, match="third_party/fmt is missing or empty") as caught:
        check_parts(tree.package, tree.source)
    folder.with_name("gone").rename(folder)
    assert "versions[2.6.0].sources.registry.parts[3] of recipes/pytorch.toml provides it" in caught.value.hint


def test_configures_with_our_compilers_toolkit_and_architecture(tree: Tree):
    assert tree.fresh() == []
    said = tree.configure()
    cache = tree.cache()
    assert cache["CMAKE_CUDA_COMPILER"] == str(tree.bin / "nvcc")
    assert cache["CMAKE_CXX_COMPILER"] == cache["CMAKE_CUDA_HOST_COMPILER"] == str(tree.bin / "g++")
    assert process.run([tree.bin / "g++", "-dumpversion"], env=tree.env).output.strip() == "12"
    assert cache["CUDA_TOOLKIT_ROOT_DIR"] == str(tree.ctx.layout.toolchains / Path(tree.env["CUDA_HOME"]).name)
    assert cache["TORCH_CUDA_ARCH_LIST"] == "9.0"
    assert cache["CUDA_VERSION"] == "12.4"
    assert cache["NCCL_LIBRARIES"].endswith("nvidia/nccl/lib/libnccl.so.2")
    assert cache["GLIBCXX_USE_CXX11_ABI"] == "0"
    assert re.fullmatch(r"2\d\d long units come first, 10 large ones 1 at a time", *said)
    assert tree.configure() == []  # done once


def test_long_units_come_first(tree: Tree):
    tree.configure()
    lines = (tree.source / "build/build.ninja").read_text().splitlines()
    builds = [line.split(":")[0].removeprefix("build ") for line in lines if line.startswith("build ")]
    assert builds[0].endswith("cub-RadixSortPairs.cu.o")
    assert builds[1].endswith("Indexing.cu.o")


def test_libraries_of_the_old_abi_without_paths_of_this_machine_after_install(tree: Tree):
    tree.configure()
    tree.ninja("c10", "c10_cuda")
    for name in ("libc10.so", "libc10_cuda.so"):
        elf = read_elf(tree.source / "build/lib" / name)
        assert not [symbol.name for symbol in elf.symbols if "__cxx11" in symbol.name]
    script = (tree.source / "build/c10/cuda/cmake_install.cmake").read_text()
    (after,) = set(re.findall(r'NEW_RPATH "([^"]*)"', script))
    assert all(folder.startswith("\\$ORIGIN") for folder in after.split(":"))
    assert "nvidia/cuda_runtime/lib" in after


SHOW_BUILD = """
from tools.setup_helpers import cmake
maker = cmake.CMake()
maker.run = lambda words, env: print(*words)
maker.build({})
"""


def test_its_own_build_takes_part_in_the_budget_of_jobs(tree: Tree, tmp_path: Path):
    """setup.py passes no -j then. The lock's ninja knows no FIFO, and starts all the same what it has tokens for."""
    tree.configure()
    lines = (tree.source / "build/build.ninja").read_text()
    units = re.findall(r"^build (c10/CMakeFiles/c10\.dir/util/\S+\.o):", lines, re.MULTILINE)[:6]
    for unit in units:
        (tree.source / "build" / unit).unlink(missing_ok=True)
    said: list[str] = []
    server = JobServer(Control(jobs=1, memory_bytes=8 << 30), roots=process.live, say=said.append)
    try:
        budget = JobBudget(server, records=tmp_path / "units.jsonl", cache=tmp_path, env=tree.ctx.env, say=said.append)
        ctx = replace(tree.ctx, budget=budget)
        env = build_environment(tree.package, tree.ctx.plan.step("pytorch:build"), ctx, 2)
        assert "MAX_JOBS" not in env
        shown = process.run([tree.bin / "python", "-c", SHOW_BUILD], env=env, cwd=tree.source).output.splitlines()[-1]
        assert shown == "--build . --target install --config Release"
        words = shown.replace("install", " ".join(units)).split()
        seen: list[Client] = []
        done = process.run(
            [tree.bin / "cmake", *words], env=env, cwd=tree.source / "build",
            on_line=lambda _line: seen.extend(find_clients(process.live(), server.pipe)),
        )  # fmt: skip
    finally:
        server.close()
        tree.env = build_environment(tree.package, tree.ctx.plan.step("pytorch:build"), tree.ctx, 2)
    assert "[6/6] Building CXX object" in done.output
    ninjas = [client for client in seen if client.name == "ninja"]
    assert ninjas
    # Left to itself it starts two more than there are cores, and the launcher holds them back.
    assert all(client.takes_part and client.children <= 1 and not client.jobs_flag for client in ninjas)
    assert len(list(read_units(tmp_path / "units.jsonl"))) == len(units) == 6
    assert said == []
    assert tree.env["MAX_JOBS"] == "2"


def test_units_hold_machine_code_for_the_gpu_and_libuv(tree: Tree):
    tree.configure()
    tree.generate()
    tree.compile(*CUDA_UNITS, UV_UNIT)
    for name, wanted in CUDA_UNITS.items():
        assert set(summarise(device_code(tree.source / "build" / name))["cubin"]) == wanted, name
    argv = [tree.ctx.tools.cuda.root / "bin/cuobjdump", "-sass", "-arch", "sm_90a", tree.source / "build" / HOPPER_UNIT]
    assert "HGMMA" in subprocess.run(argv, env=tree.env, capture_output=True, text=True, check=True).stdout
    assert b"\0uv_run\0" in (tree.source / "build" / UV_UNIT).read_bytes()  # in its table of undefined names


def changed(tree: Tree, **asked: Any) -> tuple[Tree, str]:
    """Ask for another tool; return the tree after it was configured afresh, and why that was."""
    tree.configure()
    mark = tree.source / "build/of-the-old-configuration"
    mark.touch()
    assert tree.fresh() == []  # for the same tools it stays
    other = Tree(tree.root, **asked)
    (said,) = other.fresh()
    other.configure()
    assert not mark.exists()
    return other, said.removeprefix("build/ is configured afresh: ")


def test_another_host_compiler_or_toolkit_is_configured_afresh(tree: Tree, monkeypatch: pytest.MonkeyPatch):
    """First for gcc 12 unpacked from Debian's packages, then for a toolkit that the machine has."""
    gcc, nvcc = tree.ctx.tools.gcc, tree.ctx.tools.cuda
    other, said = changed(tree, host_compiler="debs")
    unpacked = other.ctx.tools.gcc
    assert unpacked.gxx.is_relative_to(tree.ctx.layout.toolchains)
    assert said == (
        f"host compiler was gcc {gcc.version} at {gcc.gcc} and is now gcc {unpacked.version} at {unpacked.gcc}"
    )
    cache = other.cache()
    assert cache["CMAKE_CXX_COMPILER"] == cache["CMAKE_CUDA_HOST_COMPILER"] == str(other.bin / "g++")
    assert (other.bin / "g++").resolve() == unpacked.gxx.resolve() != gcc.gxx.resolve()

    home = tree.root / "site-cuda"
    shutil.copytree(nvcc.root, home, symlinks=True)
    monkeypatch.setenv("CUDA_HOME", str(home))
    third, said = changed(other, host_compiler="debs", toolkit="system")
    assert said == f"toolkit was nvcc {nvcc.version} in {nvcc.root} and is now nvcc {nvcc.version} in {home}"
    assert third.cache()["CUDA_TOOLKIT_ROOT_DIR"] == str(home)
    assert str(home / "bin/nvcc") in (third.bin / "nvcc").read_text()  # a script that names the host compiler too


def test_other_content_at_the_same_path_is_configured_afresh(tree: Tree):
    """What a package manager does to /usr/bin/g++-12: the path stays, the compiler does not."""
    copy = tree.root / "stale"
    (copy / "build").mkdir(parents=True)
    list(refresh_stale(tree.package, copy, tree.env, tree.ctx))  # leaves its stamp
    cache = copy / "build/CMakeCache.txt"
    cache.write_text(f"CMAKE_CXX_COMPILER:FILEPATH={tree.bin / 'g++'}\n")
    (copy / "build/build.ninja").touch()  # CMake came to its end
    assert list(refresh_stale(tree.package, copy, tree.env, tree.ctx)) == []
    gcc = replace(tree.ctx.tools.gcc, identity="0" * 64)
    ctx = replace(tree.ctx, tools=replace(tree.ctx.tools, gcc=gcc))
    (said,) = refresh_stale(tree.package, copy, tree.env, ctx)
    assert said == "build/ is configured afresh: host compiler changed since"
    assert not cache.exists()
