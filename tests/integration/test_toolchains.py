"""Real toolchains from real packages: they compile, link, and are found by CMake, without root.

Downloads go to the folder that BRINGUP_TEST_CACHE names, so that a second run fetches nothing.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bringup.model.toolchain import CudaRelease, GccRelease, PythonRelease
from bringup.system.downloads import DownloadCache
from bringup.system.environ import base_environment
from bringup.system.pypi import IndexFile, fetch_index_file, locate
from bringup.toolchain.cuda import Provider, provide_cuda
from bringup.toolchain.driver_stub import make_driver_stub
from bringup.toolchain.elf_rpath import set_rpath
from bringup.toolchain.facts import FactCache
from bringup.toolchain.gcc_debs import provide_gcc
from bringup.toolchain.host_compiler import Gcc, find_gcc
from bringup.toolchain.interpreter import PythonPlaces
from bringup.toolchain.links import link_tools
from bringup.toolchain.python import provide_python
from bringup.toolchain.toolkit import Toolkit

pytestmark = [pytest.mark.network, pytest.mark.compile]
ROOT = Path(__file__).resolve().parents[2]

KERNEL = """
#include <cuda.h>
#include <cuda_bf16.h>
#include <curand_kernel.h>
#include <cub/block/block_reduce.cuh>
#include <cstdio>
__global__ void kernel(__nv_bfloat16 *out) {
  curandState state;
  curand_init(1, threadIdx.x, 0, &state);
  using Reduce = cub::BlockReduce<float, 32>;
  __shared__ typename Reduce::TempStorage storage;
  out[threadIdx.x] = __float2bfloat16(Reduce(storage).Sum(curand_uniform(&state)));
}
int main() {
  std::printf("driver %d, launch ", cuInit(0) != CUDA_SUCCESS);
  kernel<<<1, 32>>>(nullptr);
  std::printf("%d\\n", cudaGetLastError() != cudaSuccess);
}
"""
CMAKE = """
cmake_minimum_required(VERSION 3.18)
project(small LANGUAGES CXX CUDA)
find_package(CUDAToolkit REQUIRED)
add_executable(small main.cu)
set_target_properties(small PROPERTIES CUDA_ARCHITECTURES 90a)
target_link_libraries(small PRIVATE CUDA::cudart CUDA::cuda_driver)
message(STATUS "toolkit ${CUDAToolkit_VERSION} in ${CUDAToolkit_BIN_DIR}")
"""
CXX = """
#include <cmath>
#include <iostream>
#include <linux/futex.h>
int main() {
  double sum = 0;
#pragma omp parallel for reduction(+ : sum)
  for (int i = 0; i < 100; i++) sum += std::sqrt(double(i) * i);
  std::cout << sum << std::endl;
}
"""


@pytest.fixture(scope="module")
def cache(downloads: Path) -> DownloadCache:
    return DownloadCache(downloads)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("toolchains")
    yield folder
    shutil.rmtree(folder)


def cuda_release(version: str) -> CudaRelease:
    return msgspec.toml.decode((ROOT / f"toolchains/cuda/{version}.toml").read_bytes(), type=CudaRelease)


@pytest.fixture(scope="module")
def unpacked_gcc(cache: DownloadCache, trees: Path) -> Gcc:
    release = msgspec.toml.decode((ROOT / "toolchains/gcc/12.toml").read_bytes(), type=GccRelease)
    return provide_gcc(release, dest_root=trees, cache=cache)


def toolkit(
    version: str,
    provider: Provider,
    gcc: Gcc,
    cache: DownloadCache,
    trees: Path,
    groups: frozenset[str] = frozenset({"curand"}),
) -> Toolkit:
    return provide_cuda(
        cuda_release(version),
        provider,
        groups=groups,
        dest_root=trees,
        cache=cache,
        facts=FactCache(trees / "facts.json"),
        cc=gcc.gcc,
        env=base_environment(),
        user_env={},
    )


def run(command: list[str | Path], path: Path | None = None, **more: str) -> str:
    env = {"PATH": f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **more}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def compiles_and_links(kit: Toolkit, gcc: Gcc, folder: Path) -> None:
    """Compile by nvcc on PATH as a build would, link to the stub of libcuda, and start the program."""
    (folder / "main.cu").write_text(KERNEL)
    link_tools(folder / "bin", gcc, kit, {})
    run(
        ["nvcc", "-gencode=arch=compute_90a,code=sm_90a", "-o", folder / "small", folder / "main.cu", "-lcuda"],
        folder / "bin",
    )
    assert "libcuda.so.1" in run(["readelf", "-d", folder / "small"])
    # With the stub there is a libcuda.so.1 to load, and it answers every call with an error.
    assert run([folder / "small"], LD_LIBRARY_PATH=str(kit.root / "driver-stub")) == "driver 1, launch 1\n"


def cmake_finds(kit: Toolkit, gcc: Gcc, folder: Path) -> None:
    cmake = shutil.which("cmake", path="/usr/bin:/usr/local/bin")
    if cmake is None:
        pytest.skip("no cmake on this machine")
    (folder / "main.cu").write_text(KERNEL)
    (folder / "CMakeLists.txt").write_text(CMAKE)
    link_tools(folder / "bin", gcc, kit, {})
    options = [f"-DCMAKE_CUDA_COMPILER={kit.nvcc}", f"-DCMAKE_CUDA_HOST_COMPILER={gcc.gxx}"]
    told = run([cmake, "-S", folder, "-B", folder / "build", *options], folder / "bin")
    assert f"toolkit {kit.version} in {kit.root}/bin" in told
    run([cmake, "--build", folder / "build"], folder / "bin")
    assert (folder / "build/small").is_file()


def test_cuda_13_from_wheels(cache, trees, tmp_path):
    release = cuda_release("13.0")
    gcc = find_gcc(release.host, facts=FactCache(trees / "facts.json"))
    kit = toolkit("13.0", "wheels", gcc, cache, trees)
    assert kit.version in run([kit.nvcc, "--version"])
    assert toolkit("13.0", "wheels", gcc, cache, trees) == kit
    compiles_and_links(kit, gcc, tmp_path)
    cmake_finds(kit, gcc, tmp_path)


def test_driver_stub_is_the_same_each_time(cache, trees, tmp_path):
    gcc = find_gcc(cuda_release("13.0").host, facts=FactCache(trees / "facts.json"))
    kit = toolkit("13.0", "wheels", gcc, cache, trees)
    for name in ("one", "two"):
        count = make_driver_stub(
            kit.root / "include", tmp_path / name / "libcuda.so", cc=gcc.gcc, env=base_environment()
        )
        assert count > 500
    made = [(tmp_path / name / "libcuda.so").read_bytes() for name in ("one", "two")]
    assert made[0] == made[1] == (kit.root / "lib64/stubs/libcuda.so").read_bytes()
    assert str(tmp_path).encode() not in made[0]


def test_unpacked_gcc_builds_cxx_and_cuda_with_nothing_of_the_system(unpacked_gcc, cache, trees, tmp_path):
    (tmp_path / "main.cpp").write_text(CXX)
    # No PATH at all: assembler, linker and headers are those of the tree.
    command = [unpacked_gcc.gxx, "-O2", "-flto", "-fopenmp", "-v", tmp_path / "main.cpp", "-o", tmp_path / "main"]
    env = {"PATH": "/nonexistent"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert " /usr/include" not in done.stderr
    assert run([tmp_path / "main"]) == "4950\n"
    versions = run(["readelf", "-V", tmp_path / "main"])
    assert "GLIBC_2.3" in versions
    assert not [f"GLIBC_2.{minor}" for minor in range(37, 60) if f"GLIBC_2.{minor}" in versions]
    kit = toolkit("13.0", "wheels", unpacked_gcc, cache, trees)
    compiles_and_links(kit, unpacked_gcc, tmp_path)


def test_unpacked_python_runs_anywhere(cache, trees, tmp_path):
    release = msgspec.toml.decode((ROOT / "toolchains/python/3.11.toml").read_bytes(), type=PythonRelease)
    places = PythonPlaces(
        dest_root=trees, cache=cache, facts=FactCache(trees / "facts.json"), user_env={"PATH": "/nonexistent"}
    )
    found = provide_python(release, places, providers=["system", "debs"])
    assert found.provider == "debs"
    question = (
        "import bz2, ctypes, curses, hashlib, lzma, readline, sqlite3, ssl, sys, uuid, zlib;"
        "print(sys.prefix); ssl.create_default_context();"
        "print(*sorted({line.split()[-1] for line in open('/proc/self/maps') if '.so' in line}), sep='\\n')"
    )
    prefix, *libraries = run([found.executable, "-I", "-c", question]).splitlines()
    assert Path(prefix) == found.executable.parent.parent
    own = [Path(path).name for path in libraries if path.startswith(str(trees))]
    for name in ("libssl.so.3", "libcrypto.so.3", "libsqlite3.so", "libffi.so", "liblzma.so", "libz.so"):
        assert any(one.startswith(name) for one in own), name
    assert found.include is not None
    assert (found.include / "Python.h").is_file()
    run([found.executable, "-m", "venv", "--without-pip", tmp_path / "env"])
    inside = run([tmp_path / "env/bin/python", "-c", "import sqlite3, sysconfig; print(sysconfig.get_path('include'))"])
    assert (Path(inside.strip()) / "Python.h").is_file()


def test_library_path_is_used_by_the_loader(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "a.c").write_text("int answer(void) { return 42; }\n")
    (tmp_path / "b.c").write_text("int answer(void);\nint main(void) { return answer() != 42; }\n")
    run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "lib/libanswer.so", tmp_path / "a.c"])
    run(["gcc", "-o", tmp_path / "bin/ask", tmp_path / "b.c", f"-L{tmp_path}/lib", "-lanswer"])
    before = subprocess.run([tmp_path / "bin/ask"], env={}, capture_output=True, check=False)
    assert before.returncode == 127
    set_rpath(tmp_path / "bin/ask", "$ORIGIN/../lib")
    run([tmp_path / "bin/ask"])


def test_cuda_12_from_debs(cache, trees, tmp_path):
    """Without optional parts, so that it fetches nothing beside what PyTorch's test does."""
    release = cuda_release("12.4")
    gcc = find_gcc(release.host, facts=FactCache(trees / "facts.json"), cuda="12.4")
    kit = toolkit("12.4", "debs", gcc, cache, trees, groups=frozenset())
    assert kit.version in run([kit.nvcc, "--version"])
    compiles_and_links(kit, gcc, tmp_path)
    cmake_finds(kit, gcc, tmp_path)
    assert not list((kit.root / "lib64").glob("libcublas*_static.a"))


def test_index_files_are_found_without_naming_an_index(cache):
    sdist = IndexFile(
        name="flashinfer-python",
        version="0.6.8.post1",
        sha256="b18e4121baf9b93fa9a9f368ba9b981a0342895f50ab9dddc224aeb964ed346f",
    )
    older = IndexFile(name="Flashinfer.Python", version="0.6.3", sha256="00" * 32)
    found = locate([sdist, older])
    assert set(found) == {sdist.sha256}
    assert found[sdist.sha256].filename == "flashinfer_python-0.6.8.post1.tar.gz"
    assert fetch_index_file(sdist.name, sdist.version, sdist.sha256, cache).stat().st_size == 6_675_885
