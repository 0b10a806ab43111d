"""Faults that are put into the healthy machine: one function each, with the check that must see it."""

import os
import time
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from elf_files import A
from healthy_root import SITE, TORCH_SYMBOL, kernels
from source_hosts import closed_address

FLASHINFER = "home/.cache/flashinfer/0.6.8.post1/90a/cached_ops"


@dataclass(frozen=True)
class Fault:
    """What is broken (`make`), what must say so (`check`, `issue`), and what else may be said of it (`also`).

    `site`: seen in an environment only; `machine`: seen before a build only. Two that touch the same may cancel out.
    """

    name: str
    make: Any
    check: str
    issue: str | None
    site: bool = False
    touches: frozenset = frozenset()
    also: frozenset = field(default_factory=frozenset)
    says: str = ""
    machine: bool = False


FAULTS: list[Fault] = []


def fault(check, issue, *, site=False, touches=(), also=(), says="", machine=False):
    def add(make):
        name = make.__name__
        FAULTS.append(
            Fault(name, make, check, issue, site, frozenset([check, *touches]), frozenset(also), says, machine)
        )
        return make

    return add


# --- driver and GPU ---------------------------------------------------------------------------------------------


def _driver(machine, version):
    machine.write("proc/driver/nvidia/version", f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  x\n")
    machine.write(f"usr/lib/x86_64-linux-gnu/libcuda.so.{version}")
    machine.link("usr/lib/x86_64-linux-gnu/libcuda.so.1", f"libcuda.so.{version}")


@fault("driver.cuda", "torch-driver-too-old", touches=["driver"], says="535.54.03")
def driver_too_old(machine):
    _driver(machine, "535.54.03")


@fault("driver.cuda", "ptx-unsupported-toolchain", touches=["driver"], says="no PTX")
def driver_without_ptx(machine):
    _driver(machine, "580.65.06")


@fault("driver.library", "driver-library-version-mismatch", touches=["driver"])
def driver_updated_without_reboot(machine):
    machine.write("usr/lib/x86_64-linux-gnu/libcuda.so.590.44.01")
    machine.link("usr/lib/x86_64-linux-gnu/libcuda.so.1", "libcuda.so.590.44.01")


@fault("driver.loader", "libcuda-so-1-missing", touches=["host"])
def libcuda_not_found(machine):
    machine.host = replace(machine.host, loadable={**machine.host.loadable, "libcuda.so.1": False})


@fault("gpu.present", "no-kernel-image", says="A100")
def another_gpu(machine):
    machine.script("usr/bin/nvidia-smi", "echo 'NVIDIA A100-SXM4-80GB, 8.0, 580.95.05, 81920'")


@fault("gpu.machine", None, touches=["host"])
def another_cpu(machine):
    machine.host = replace(machine.host, arch="aarch64")


def _many_gpus(machine, state):
    """Two GPUs on NVSwitch, as nvidia-smi tells of them."""
    one = "NVIDIA H200, 9.0, 580.95.05, 143771"
    fabric = f"    Fabric\\n        State                         : {state}\\n"
    machine.script("usr/bin/nvidia-smi", f"[ \"$1\" = -q ] && printf '{fabric}' && exit\nprintf '{one}\\n{one}\\n'")
    machine.go_deep()


@fault("driver.fabric", "cuda-error-802-fabric-manager", touches=["gpu.present", "host", "network.reach"],
       says="In Progress")  # fmt: skip
def fabric_manager_does_not_run(machine):
    _many_gpus(machine, "In Progress")


# --- the stack ---------------------------------------------------------------------------------------------------

# What a machine for CUDA 13 holds is of another release than this stack's.
OF_CUDA_12 = (
    "stack", "toolkit", "CUDA_HOME", "PATH", "LD_LIBRARY_PATH", "driver", "gpu.present", "toolkit.library-path",
    "cache.flashinfer", "cache.tvm-ffi", "cache.torch-extensions", "cache.locks",
)  # fmt: skip


def _registry_stack(machine, **variants):
    """The stack with PyTorch 2.6 and a published kernel package, on a machine that is right for it."""
    machine.stack, machine.variants = "registry", variants
    machine.remove("usr/local/cuda-13.0")
    machine.toolkit("usr/local/cuda-12.4", "12.4.131", 12040)
    machine.remove("usr/local/cuda-12.4/include/cuda_fp4.h")
    machine.link("usr/local/cuda", "cuda-12.4")
    machine.remove("home/.cache")
    machine.path("home/.cache").mkdir()


@fault("stack.abi", "sgl-kernel-common-ops-undefined-symbol", touches=OF_CUDA_12, machine=True,
       says="sgl-kernel 0.1.0 was published for a PyTorch with the old C++ ABI")  # fmt: skip
def kernels_published_for_the_old_abi(machine):
    _registry_stack(machine, pytorch="full")


@fault("stack.abi", "sgl-kernel-common-ops-undefined-symbol", touches=OF_CUDA_12, machine=True,
       says="sgl-kernel 0.1.0 was published for a PyTorch with the new C++ ABI")  # fmt: skip
def kernels_published_for_the_new_abi(machine):
    _registry_stack(machine)
    recipe = machine.catalogue.recipes["sgl-kernel"]
    versions = tuple(
        msgspec.structs.replace(one, cxx11_abi=True) if one.version == "0.1.0" else one for one in recipe.versions
    )
    recipes = {**machine.catalogue.recipes, "sgl-kernel": msgspec.structs.replace(recipe, versions=versions)}
    machine.catalogue = replace(machine.catalogue, recipes=recipes)


@fault("tools.cmake", "cmake4-minimum-removed", touches=OF_CUDA_12, machine=True, says="cmake 4.1.2")
def cmake_too_new_for_the_stack(machine):
    _registry_stack(machine)
    machine.script("usr/bin/cmake", "echo 'cmake version 4.1.2'")


# --- toolkits ---------------------------------------------------------------------------------------------------


@fault("toolkit.headers", "flashinfer-jit-cuda-fp8-header-missing", touches=["toolkit"], says="cuda_fp8.h")
def no_cuda_fp8(machine):
    machine.remove("usr/local/cuda-13.0/include/cuda_fp8.h")


@fault("toolkit.headers", "flashinfer-ninja-build-failed", touches=["toolkit"], says="curand_kernel.h")
def no_curand(machine):
    machine.remove("usr/local/cuda-13.0/include/curand_kernel.h")


@fault("toolkit.headers", "cuda13-cccl-headers-moved", touches=["toolkit"], says="cub/cub.cuh")
def no_cccl(machine):
    machine.remove("usr/local/cuda-13.0/include/cub/cub.cuh")


@fault("toolkit.usable", "cuda-home-not-set", machine=True, says="no usable CUDA 13.0 toolkit is installed",
       touches=["stack", "toolkit", "CUDA_HOME", "PATH", "LD_LIBRARY_PATH", "toolkit.gpu"],
       also=["cache.flashinfer"])  # fmt: skip
def no_toolkit_and_none_may_be_made(machine):
    machine.stack, machine.toolkit_from = "sglang-0.5.12", "system"
    machine.remove("usr/local")
    machine.env["CUDA_HOME"] = None


@fault("toolkit.mixed", "cuda-compiler-and-headers-incompatible", touches=["toolkit"], says="12.8")
def headers_of_another_release(machine):
    machine.write("usr/local/cuda-13.0/include/cuda.h", "#define CUDA_VERSION 12080\n")


@fault("toolkit.parts", "flashinfer-could-not-find-nvcc", touches=["toolkit"], says="cicc")
def no_cicc(machine):
    machine.remove("usr/local/cuda-13.0/nvvm/bin/cicc")


@fault("toolkit.parts", "flashinfer-could-not-find-nvcc", touches=["toolkit"], says="libcudart",
       also=["toolkit.links"])  # fmt: skip
def no_runtime(machine):
    machine.remove("usr/local/cuda-13.0/lib64/libcudart.so.13")


@fault("toolkit.links", "cuda-home-not-set", touches=["CUDA_HOME", "PATH", "toolkit"], says="cuda-12.6",
       also=["cache.flashinfer"])  # fmt: skip
def link_to_a_removed_toolkit(machine):
    machine.link("usr/local/cuda", "cuda-12.6")
    machine.env["CUDA_HOME"] = str(machine.path("usr/local/cuda-13.0"))
    machine.env["PATH"] = f"{machine.path('usr/local/cuda-13.0/bin')}:{machine.env['PATH']}"


@fault("toolkit.home", "cuda-home-not-set", touches=["CUDA_HOME", "toolkit"], says="does not exist")
def cuda_home_is_gone(machine):
    machine.env["CUDA_HOME"] = str(machine.path("usr/local/cuda-12.1"))


@fault("toolkit.home", "flashinfer-could-not-find-nvcc", touches=["CUDA_HOME", "toolkit"], says="has no bin/nvcc",
       also=["toolkit.headers", "toolkit.parts"])  # fmt: skip
def cuda_home_without_nvcc(machine):
    machine.path("opt/runtime/lib64").mkdir(parents=True)
    machine.env["CUDA_HOME"] = str(machine.path("opt/runtime"))


@fault("toolkit.one", "pytorch-findcuda-headers-mismatch", touches=["PATH", "toolkit"], says="12.8.93")
def another_nvcc_on_path(machine):
    machine.toolkit("opt/cuda-12.8", "12.8.93", 12080)
    machine.env["PATH"] = f"{machine.path('opt/cuda-12.8/bin')}:{machine.env['PATH']}"


@fault("toolkit.release", "torch-ext-cuda-version-mismatch", site=True, touches=["CUDA_HOME", "PATH", "toolkit"],
       says="12.8.93")  # fmt: skip
def toolkit_of_another_major(machine):
    machine.toolkit("opt/cuda-12.8", "12.8.93", 12080)
    machine.env["CUDA_HOME"] = str(machine.path("opt/cuda-12.8"))
    machine.env["PATH"] = f"{machine.path('opt/cuda-12.8/bin')}:{machine.env['PATH']}"


@fault("toolkit.gpu", "nvcc-unsupported-gpu-arch-too-new", touches=["CUDA_HOME", "PATH", "toolkit"], says="11.8.89",
       also=["toolkit.release", "toolkit.ptxas", "compiler.inherited"])  # fmt: skip
def toolkit_older_than_the_gpu(machine):
    machine.toolkit("opt/cuda-11.8", "11.8.89", 11080)
    machine.remove("opt/cuda-11.8/include/cuda_fp4.h")
    machine.env["CUDA_HOME"] = str(machine.path("opt/cuda-11.8"))
    machine.env["PATH"] = f"{machine.path('opt/cuda-11.8/bin')}:{machine.env['PATH']}"


@fault("toolkit.distribution", "flashinfer-cub-no-member-nvcc12", touches=["CUDA_HOME", "PATH", "toolkit"],
       also=["toolkit.release", "toolkit.gpu", "toolkit.headers", "compiler.inherited"])  # fmt: skip
def distribution_nvcc_first(machine):
    machine.script("usr/bin/nvcc", "echo 'Cuda compilation tools, release 11.8, V11.8.89'")
    machine.write("usr/include/cuda.h", "#define CUDA_VERSION 11080\n")
    machine.env["CUDA_HOME"] = None
    machine.env["PATH"] = f"{machine.path('usr/bin')}:{machine.path('sbin')}"


@fault("toolkit.include-path", "flashinfer-cccl-qualified-name-fast-mod-div")
def cuda_in_cpath(machine):
    machine.env["CPLUS_INCLUDE_PATH"] = "/usr/local/cuda-12.8/include"


@fault("toolkit.library-path", "libcudart-undefined-symbol-by-version", touches=["LD_LIBRARY_PATH"])
def older_runtime_first(machine):
    machine.write("opt/old/lib64/libcudart.so.12")
    machine.env["LD_LIBRARY_PATH"] = str(machine.path("opt/old/lib64"))


@fault("toolkit.library-path", "cudnn-runtime-version-incompatible", touches=["LD_LIBRARY_PATH"])
def another_cudnn_first(machine):
    machine.write("opt/cudnn/lib/libcudnn.so.9")
    machine.env["LD_LIBRARY_PATH"] = str(machine.path("opt/cudnn/lib"))


@fault("toolkit.stub", "libcuda-so-1-missing", touches=["LD_LIBRARY_PATH"])
def stub_on_library_path(machine):
    machine.env["LD_LIBRARY_PATH"] = str(machine.path("usr/local/cuda-13.0/lib64/stubs"))


@fault("toolkit.ptxas", "triton-ptxas-gpu-name-undefined", site=True, says="11.8")
def old_ptxas_in_triton(machine):
    machine.script(f"{SITE}/triton/backends/nvidia/bin/ptxas", "echo 'Cuda compilation tools, release 11.8, V11.8.89'")


# --- compilers, host, tools -----------------------------------------------------------------------------------


@fault("compiler.usable", "nvcc-unsupported-gnu-version", touches=["gcc"], says="16.1.0",
       also=["compiler.inherited"])  # fmt: skip
def only_a_gcc_that_is_too_new(machine):
    for name in ("gcc-12", "g++-12"):
        machine.remove(f"usr/bin/{name}")
    machine.gcc("usr/bin", "", "16.1.0")


@fault("compiler.inherited", "nvcc-unsupported-gnu-version", says="16.1.0")
def host_compiler_variable_too_new(machine):
    machine.gcc("opt/gcc/bin", "", "16.1.0")
    machine.env["CUDAHOSTCXX"] = str(machine.path("opt/gcc/bin/g++"))


@fault("compiler.inherited", "nvcc-unsupported-gnu-version", says="does not exist")
def compiler_variable_leads_nowhere(machine):
    machine.env["CUDAHOSTCXX"] = "/opt/none/bin/g++"


@fault("compiler.inherited", None, says="8.5.0")
def host_compiler_variable_too_old(machine):
    machine.gcc("opt/gcc/bin", "", "8.5.0")
    machine.env["CUDAHOSTCXX"] = str(machine.path("opt/gcc/bin/g++"))


@fault("compiler.c", "triton-no-c-compiler", touches=["gcc"])
def no_plain_compiler(machine):
    for name in ("gcc", "g++", "cc"):
        machine.remove(f"usr/bin/{name}")


@fault("host.glibc", None, touches=["host"])
def old_c_library(machine):
    machine.host = replace(machine.host, glibc=(2, 17))


@fault("host.disk", "build-no-space-left", machine=True)
def little_disk(machine):
    machine.disk_bytes = 2 << 30


@fault("host.writable", None, says="(build)")
def build_folder_is_a_file(machine):
    machine.remove("build")  # root may write into a folder of any mode
    machine.write("build", "a file")


@fault("host.noexec", "so-failed-to-map-segment-noexec", touches=["mounts"])
def temporary_folder_noexec(machine):
    text = f"/dev/sda1 / ext4 rw,relatime 0 0\ntmpfs {machine.path('tmp')} tmpfs rw,nosuid,noexec 0 0\n"
    machine.write("proc/self/mounts", text)


@fault("host.network-home", "flashinfer-jit-hang-stale-lock", touches=["mounts"])
def home_on_nfs(machine):
    text = f"/dev/sda1 / ext4 rw,relatime 0 0\nserver:/home {machine.path('home')} nfs4 rw 0 0\n"
    machine.write("proc/self/mounts", text)


@fault("host.memory", "build-oom-cc1plus-killed", touches=["host"], machine=True)
def little_memory(machine):
    machine.host = replace(machine.host, memory_bytes=2 << 30, available_bytes=1 << 30)


@fault("host.limits", None, touches=["host"])
def few_open_files(machine):
    machine.host = replace(machine.host, nofile=256)


@fault("host.shm", "nccl-shm-too-small", touches=["host"])
def small_shared_memory(machine):
    machine.host = replace(machine.host, shm_bytes=64 << 20)


@fault("host.libnuma", "libnuma-missing", touches=["host"])
def no_libnuma(machine):
    machine.host = replace(machine.host, loadable={**machine.host.loadable, "libnuma.so.1": False})


@fault("tools.ninja", "ninja-missing", site=True)
def no_ninja(machine):
    machine.remove("env/bin/ninja")
    machine.remove("usr/bin/ninja")


@fault("tools.ldconfig", "triton-ldconfig-missing")
def no_ldconfig(machine):
    machine.remove("sbin/ldconfig")


@fault("tools.git", None, touches=["stack"], machine=True, says="flashinfer")
def no_git(machine):
    machine.stack = "sglang-0.5.12"
    machine.remove("usr/bin/git")


@fault("tools.recipes", "rust-compiler-missing-setuptools-rust", touches=["stack"], machine=True, says="cargo>=1.85")
def no_cargo(machine):
    machine.stack = "sglang-0.5.12"
    machine.remove("usr/bin/cargo")


@fault("tools.recipes", "cargo-edition2024-required", touches=["stack"], machine=True, says="1.75.0")
def cargo_too_old(machine):
    machine.stack = "sglang-0.5.12"
    machine.script("usr/bin/cargo", "echo 'cargo 1.75.0'")


@fault("tools.recipes", "rust-compiler-missing-setuptools-rust", touches=["stack"], machine=True, says="does not run")
def cargo_without_a_toolchain(machine):
    machine.stack = "sglang-0.5.12"
    machine.script("usr/bin/rustup", "exit 0")
    machine.script("usr/bin/cargo", "echo 'error: rustup could not choose a version of cargo to run' >&2; exit 1")


@fault("tools.recipes", "rust-protoc-missing", touches=["stack"], machine=True, says="protoc (not installed)")
def no_protoc(machine):
    machine.stack = "sglang-0.5.12"
    machine.remove("usr/bin/protoc")


@fault("python.target", "rust-compiler-missing-setuptools-rust", touches=["python"], machine=True,
       says="no Python 3.11")  # fmt: skip
def no_python_of_the_target(machine):
    machine.remove("usr/bin/python3.11")


@fault("network.reach", None, touches=["stack"], machine=True, says="is out of reach: unable to access")
def source_host_refuses(machine):
    machine.stack = "sglang-0.5.12"
    machine.go_deep(sources=closed_address())


@fault("network.reach", None, says="package index")
def package_index_refuses(machine):
    machine.go_deep(index=closed_address())


# --- variables --------------------------------------------------------------------------------------------------


@fault("variables.arch", "flashinfer-requires-sm75-arch-list", says="5.2")
def arch_list_of_an_image(machine):
    machine.env["TORCH_CUDA_ARCH_LIST"] = "5.2 6.0 6.1 7.0 7.5 8.0 8.6 9.0+PTX"


@fault("variables.arch", "flashinfer-no-supported-cuda-archs")
def arch_list_of_another_gpu(machine):
    machine.env["FLASHINFER_CUDA_ARCH_LIST"] = "10.0a 12.0a"


@fault("variables.flags", None)
def inherited_flags(machine):
    machine.env["NVCC_PREPEND_FLAGS"] = "-ccbin /opt/conda/bin/g++"


@fault("variables.python", None)
def inherited_pythonpath(machine):
    machine.env["PYTHONPATH"] = "/opt/site"


@fault("variables.allocator", "sglang-custom-allreduce-ipc-invalid-argument")
def expandable_segments(machine):
    machine.env["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"


@fault("variables.conda", "glibcxx-not-found-conda", says="CMAKE_PREFIX_PATH")
def conda_prefix_path(machine):
    machine.env["CONDA_PREFIX"] = "/opt/conda/envs/x"
    machine.env["CMAKE_PREFIX_PATH"] = "/opt/conda/envs/x"


@fault("variables.conda", "glibcxx-not-found-conda", says="3.4.29")
def conda_old_libstdcxx(machine):
    machine.write("conda/lib/libstdc++.so.6", "GLIBCXX_3.4.9 GLIBCXX_3.4.29")
    machine.write("usr/lib/x86_64-linux-gnu/libstdc++.so.6", "GLIBCXX_3.4.30")
    machine.env["CONDA_PREFIX"] = str(machine.path("conda"))


@fault("variables.proxy", None, touches=["network.reach"], says="no_proxy")
def proxy_for_this_machine_too(machine):
    machine.env["https_proxy"] = machine.env["http_proxy"] = "http://proxy.example:3128"


# --- caches -----------------------------------------------------------------------------------------------------


@fault("cache.flashinfer", "flashinfer-ninja-build-failed", says="0.2.5")
def cache_of_another_flashinfer(machine):
    machine.write("home/.cache/flashinfer/0.2.5/90/cached_ops/norm/norm.so")


@fault("cache.flashinfer", "flashinfer-ninja-build-failed", says="which is gone")
def cache_of_a_removed_toolkit(machine):
    machine.write(f"{FLASHINFER}/page/build.ninja", "nvcc = /opt/cuda-12.1/bin/nvcc\n")


@fault("cache.tvm-ffi", "libcudart-undefined-symbol-by-version", says="libcudart.so.12")
def module_of_another_runtime(machine):
    machine.elf("home/.cache/tvm-ffi/rope_77/rope.so", needed=["libcudart.so.12"])


@fault("cache.triton", None, says="cp312")
def launchers_of_another_python(machine):
    machine.write("home/.triton/cache/BBBB/__triton_launcher.cpython-312-x86_64-linux-gnu.so")


@fault("cache.torch-extensions", None, says="py310_cu128")
def extensions_of_another_torch(machine):
    machine.write("home/.cache/torch_extensions/py310_cu128/ours/ours.so")


@fault("cache.locks", "flashinfer-jit-hang-stale-lock")
def lock_of_a_killed_compile(machine):
    lock = machine.write(f"{FLASHINFER}/tmp/batch_prefill.lock")
    os.utime(lock, (time.time() - 86400,) * 2)


# --- an environment -----------------------------------------------------------------------------------------------


@fault("environment.torch", "torchvision-pulls-pypi-torch", site=True, touches=["torch"], says="without CUDA",
       also=["environment.kernel-torch"])  # fmt: skip
def torch_for_the_cpu(machine):
    machine.write(f"{SITE}/torch/version.py", "__version__ = '2.11.0+cpu'\ncuda: Optional[str] = None\n")


@fault("environment.torch", "torchvision-pulls-pypi-torch", site=True, touches=["torch"], says="one was put over",
       also=["environment.torchvision", "environment.kernel-torch"])  # fmt: skip
def torch_put_over_another(machine):
    machine.write(f"{SITE}/torch/version.py", "__version__ = '2.9.1+cu130'\ncuda: Optional[str] = '13.0'\n")


@fault("environment.torch", "torchvision-pulls-pypi-torch", site=True, touches=["torch"], says="replaced")
def our_torch_replaced(machine):
    machine.write("env/constraints.txt", "torch==2.11.0+h200\n")


@fault("environment.cuda-majors", "torch-nccl-undefined-symbol", site=True)
def two_nccls(machine):
    machine.dist("nvidia-nccl-cu12", "2.27.5")


@fault("environment.torchvision", "torchvision-nms-missing", site=True, touches=["torch"])
def torchvision_of_another_torch(machine):
    machine.undist("torchvision")
    machine.dist("torchvision", "0.24.1")


@fault("environment.kernel-package", "sgl-kernel-cannot-import-name", site=True)
def both_kernel_packages(machine):
    machine.dist("sgl-kernel", "0.3.21")


@fault(
    "environment.kernel-torch", "sgl-kernel-common-ops-undefined-symbol", site=True, touches=["sglang-kernel", "torch"]
)
def kernels_for_another_torch(machine):
    machine.undist("sglang-kernel")
    machine.dist("sglang-kernel", "0.4.1.post1")
    machine.write(f"{SITE}/sglang/srt/entrypoints/engine.py", "")


@fault("environment.flashinfer", "flashinfer-cubin-version-mismatch", site=True)
def another_cubin_package(machine):
    machine.dist("flashinfer-cubin", "0.6.3")


@fault(
    "environment.floors",
    "sglang-assert-pkg-version-too-old",
    site=True,
    touches=["sglang-kernel", "flashinfer"],
    says="0.6.11",
)
def floor_of_sglang(machine):
    text = 'assert_pkg_version("flashinfer_python", "0.6.11.post1", "hint")\n'
    machine.write(f"{SITE}/sglang/srt/entrypoints/engine.py", text)


@fault("environment.runtime-files", "flashinfer-nvidia-nvshmem-module-missing", site=True, touches=["files"])
def no_nvshmem(machine):
    machine.remove(f"{SITE}/nvidia/nvshmem")


@fault("environment.runtime-files", "flashinfer-cutlass-header-missing", site=True, touches=["files"])
def no_cutlass(machine):
    machine.remove(f"{SITE}/flashinfer/data/cutlass/include/cutlass/cutlass.h")


@fault(
    "environment.combinations", None, site=True, touches=["transformers"], says="kernels 0.15.2 with transformers 5.6.0"
)
def kernels_with_transformers(machine):
    machine.undist("kernels")
    machine.dist("kernels", "0.15.2")


@fault("environment.combinations", "flashinfer-allreduce-tilelang-cudart-stub", site=True, touches=["flashinfer"],
       also=["cache.flashinfer", "environment.flashinfer"])  # fmt: skip
def flashinfer_with_tilelang(machine):
    machine.undist("flashinfer-python")
    machine.dist("flashinfer-python", "0.6.14", "apache-tvm-ffi")
    machine.dist("tilelang", "0.1.6")


@fault(
    "environment.requirements",
    "sgl-kernel-opnamespace-no-attribute",
    site=True,
    touches=["transformers"],
    says="transformers==5.6.0",
)
def requirement_not_met(machine):
    machine.undist("transformers")
    machine.dist("transformers", "4.57.0")


@fault("environment.files", None, site=True, says="two dist-info folders", also=["environment.requirements"])
def two_tritons(machine):
    machine.dist("triton", "3.4.0")


@fault("environment.files", None, site=True, says="torch/_C.so")
def file_is_gone(machine):
    machine.write(f"{SITE}/torch-2.11.0.dist-info/RECORD", "torch/version.py,,\ntorch/_C.so,,\n")


@fault("environment.user-site", "torchvision-pulls-pypi-torch", site=True, touches=["python"])
def torch_in_the_home(machine):
    machine.write("env/pyvenv.cfg", f"home = {machine.root}/usr/bin\nversion_info = 3.11.9\n"
                  "include-system-site-packages = true\n")  # fmt: skip
    machine.write("home/.local/lib/python3.11/site-packages/torch-2.4.0.dist-info/METADATA", "Name: torch\n")


@fault("environment.python", "triton-python-h-missing", site=True, touches=["python"],
       also=["python.target"])  # fmt: skip
def no_python_headers(machine):
    machine.remove("usr/include/python3.11/Python.h")


@fault("environment.python", "rust-compiler-missing-setuptools-rust", site=True, touches=["python"], says="3.13.1",
       also=["cache.triton", "cache.torch-extensions"])  # fmt: skip
def python_without_wheels(machine):
    machine.write("env/pyvenv.cfg", f"home = {machine.root}/usr/bin\nversion_info = 3.13.1\n")
    machine.write("usr/include/python3.13/Python.h")


@fault("environment.native-code", "no-kernel-image", site=True, touches=["sgl_kernel"], says="sm_80")
def kernels_for_another_gpu(machine):
    kernels(machine, arch=80, flags=0)


@fault("environment.native-code", "sgl-kernel-gb10-no-sm121", site=True, touches=["sgl_kernel"], says="sm_120a")
def kernels_for_the_wrong_blackwell(machine):
    kernels(machine, arch=120, flags=A)


@fault("environment.abi", "sgl-kernel-common-ops-undefined-symbol", site=True, touches=["sgl_kernel"],
       says="_ZN3c1013MessageLoggerC1E")  # fmt: skip
def kernels_built_for_another_abi(machine):
    kernels(machine, undefined=(TORCH_SYMBOL, "_ZN3c1013MessageLoggerC1E"))


@fault("environment.abi", "sgl-kernel-common-ops-undefined-symbol", site=True, touches=["sgl_kernel"],
       says="old C++ ABI")  # fmt: skip
def kernels_built_with_the_old_abi(machine):
    kernels(machine, undefined=(TORCH_SYMBOL, "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs"))


@fault("environment.abi", "sgl-kernel-common-ops-undefined-symbol", site=True, touches=["sgl_kernel"],
       says="new C++ ABI")  # fmt: skip
def kernels_built_with_the_new_abi(machine):
    symbol = "_ZN3c106detail14torchCheckFailEPKcS2_jRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
    kernels(machine, undefined=(TORCH_SYMBOL, symbol))


@fault("environment.combinations", "cuda-compiler-and-headers-incompatible", site=True, touches=["nvcc"],
       says="nvidia-cuda-nvcc 13.3.33")  # fmt: skip
def nvcc_of_a_newer_release(machine):
    machine.dist("nvidia-cuda-nvcc", "13.3.33")


@fault("environment.libraries", "libnvrtc-so-12-missing", site=True, touches=["sgl_kernel"], says="libnvrtc.so.12")
def library_is_nowhere(machine):
    kernels(machine, needed=("libc.so.6", "libnvrtc.so.12"))


def apart(first: Fault, second: Fault) -> bool:
    """Whether two faults can be in one machine and both be seen."""
    return not first.touches & second.touches and not (
        (first.machine and second.site) or (second.machine and first.site)
    )
