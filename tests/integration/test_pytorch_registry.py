"""PyTorch 2.6.0 from package registries: assembled, configured for real, the first libraries and CUDA units compiled.

What it fetches (1.3 GB, CUDA's packages most of it) is kept in the folder that BRINGUP_TEST_CACHE names.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bringup.building.build_environment import build_environment
from bringup.building.cmake_cache import refresh_stale
from bringup.building.configure import configure
from bringup.context import Context
from bringup.engine import execute, take_ready_tools
from bringup.formats.elf import read_elf
from bringup.formats.fatbin import device_code, summarise
from bringup.model.plan import Package, Phase, Request
from bringup.report import Silent
from bringup.session import open_session
from bringup.system import process
from bringup.system.layout import Settings

ROOT = Path(__file__).resolve().parents[2]
CUDA_UNITS = {
    "__/aten/src/ATen/native/cuda/FillKernel.cu.o": {"sm_90"},
    "__/torch/csrc/distributed/c10d/cuda/AsyncMM.cu.o": {"sm_90", "sm_90a"},  # CMake adds sm_90a for this one
    "__/torch/csrc/distributed/c10d/CUDASymmetricMemoryOps.cu.o": {"sm_90"},
}
pytestmark = [
    pytest.mark.network,
    pytest.mark.compile,
    pytest.mark.skipif(
        not os.environ.get("BRINGUP_TEST_CACHE"), reason="BRINGUP_TEST_CACHE=FOLDER: fetches 1.3 GB, compiles 5 minutes"
    ),
]


class Tree:
    """The tree of PyTorch, prepared, with the environment that its build is given."""

    def __init__(self, root: Path) -> None:
        settings = Settings(data=ROOT, build=root / "build", cache=root / "cache")
        request = Request(gpu="h200", stack="registry", only=("pytorch",), toolkit="debs", jobs=2)
        session = open_session(request, settings, Silent())
        wanted = {step.id for step in session.plan.steps if step.phase in (Phase.FETCH, Phase.PATCH, Phase.PREPARE)}
        execute(session, only=lambda step: step.id in wanted)
        session = open_session(request, settings, Silent())
        take_ready_tools(session.context)
        self.ctx: Context = session.context
        self.package: Package = session.plan.packages["pytorch"]
        self.source = self.ctx.layout.source("pytorch")
        step = session.plan.step("pytorch:build")
        self.env = build_environment(self.package, step, self.ctx, 2)
        self.bin = self.ctx.layout.build_env("pytorch", step.fingerprint) / "bin"

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
            log=self.ctx.layout.log("pytorch:build"),
            memory_bytes=8 << 30,
            say=said.append,
        )
        return said

    def cache(self) -> dict[str, str]:
        text = (self.source / "build/CMakeCache.txt").read_text()
        return dict(re.findall(r"^([A-Za-z0-9_]+):[A-Z]+=(.*)$", text, re.MULTILINE))

    def ninja(self, *targets: str) -> None:
        process.run([self.bin / "ninja", "-C", "build", "-j2", *targets], env=self.env, cwd=self.source, timeout=560)


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree(Path(os.environ["BRINGUP_TEST_CACHE"]).absolute())


def test_configures_with_our_compilers_toolkit_and_architecture(tree: Tree):
    tree.fresh()
    tree.configure()
    cache = tree.cache()
    assert cache["CMAKE_CUDA_COMPILER"] == str(tree.bin / "nvcc")
    assert cache["CMAKE_CXX_COMPILER"] == cache["CMAKE_CUDA_HOST_COMPILER"] == str(tree.bin / "g++")
    assert cache["TORCH_CUDA_ARCH_LIST"] == "9.0"
    assert cache["CUDA_VERSION"] == "12.4"
    assert cache["NCCL_LIBRARIES"].endswith("nvidia/nccl/lib/libnccl.so.2")
    assert cache["GLIBCXX_USE_CXX11_ABI"] == "0"


def test_long_units_come_first(tree: Tree):
    tree.configure()
    lines = (tree.source / "build/build.ninja").read_text().splitlines()
    builds = [line.split(":")[0].removeprefix("build ") for line in lines if line.startswith("build ")]
    assert builds[0].endswith("cub-RadixSortPairs.cu.o")
    assert builds[1].endswith("Indexing.cu.o")
    assert tree.configure() == []  # done once


def test_libraries_of_the_old_abi_without_paths_of_this_machine_after_install(tree: Tree):
    tree.ninja("c10", "c10_cuda")
    for name in ("libc10.so", "libc10_cuda.so"):
        elf = read_elf(tree.source / "build/lib" / name)
        assert not [symbol.name for symbol in elf.symbols if "__cxx11" in symbol.name]
    script = (tree.source / "build/c10/cuda/cmake_install.cmake").read_text()
    (after,) = set(re.findall(r'NEW_RPATH "([^"]*)"', script))
    assert all(folder.startswith("\\$ORIGIN") for folder in after.split(":"))
    assert "nvidia/cuda_runtime/lib" in after


def test_cuda_units_hold_machine_code_for_the_gpu(tree: Tree):
    place = Path("caffe2/CMakeFiles/torch_cuda.dir")
    tree.ninja(*(str(place / name) for name in CUDA_UNITS))
    for name, wanted in CUDA_UNITS.items():
        found = summarise(device_code(tree.source / "build" / place / name))
        assert set(found.get("cubin", found)) >= wanted, found


def test_tcp_store_has_libuv(tree: Tree):
    unit = "caffe2/CMakeFiles/torch_cpu.dir/__/torch/csrc/distributed/c10d/TCPStoreLibUvBackend.cpp.o"
    tree.ninja(unit)
    assert b"\0uv_run\0" in (tree.source / "build" / unit).read_bytes()  # in its table of undefined names


def test_another_toolkit_or_host_compiler_is_configured_afresh(tree: Tree):
    """The tree is copied as far as the caches go: what is compiled stays for the next run."""
    text = (tree.source / "build/CMakeCache.txt").read_text()
    assert tree.fresh() == []
    copy = tree.ctx.layout.work("pytorch") / "stale"
    for change in ({"CXX": "/opt/other/bin/g++"}, {"CUDA_HOME": "/opt/cuda-12.6"}):
        (copy / "build").mkdir(parents=True, exist_ok=True)
        (copy / "build/CMakeCache.txt").write_text(text)
        (said,) = refresh_stale(tree.package, copy, {**tree.env, **change}, tree.ctx)
        assert said.startswith("build/ is configured afresh: ")
        assert next(iter(change.values())) in said
        assert not (copy / "build/CMakeCache.txt").exists()


def test_other_content_at_the_same_path_is_configured_afresh(tree: Tree):
    ctx = replace(tree.ctx, tools=replace(tree.ctx.tools, gcc=None))
    copy = tree.ctx.layout.work("pytorch") / "stale"
    text = (tree.source / "build/CMakeCache.txt").read_text()
    list(refresh_stale(tree.package, copy, tree.env, tree.ctx))
    (copy / "build/CMakeCache.txt").write_text(text)
    (said,) = refresh_stale(tree.package, copy, tree.env, ctx)
    assert "host compiler changed since" in said
