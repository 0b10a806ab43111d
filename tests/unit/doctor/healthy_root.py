"""A whole machine in a folder: toolkit, compilers, driver, an environment, caches. Programs are scripts that answer."""

import functools
import os
import shutil
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

from elf_files import A, fatbin, make_elf
from helpers.own_data import own_catalogue
from source_hosts import open_address

from bringup.config.catalogue import Catalogue
from bringup.doctor import Host, Places, examine, gather, make_question
from bringup.model.plan import Request
from bringup.toolchain.cuda_system import COMPILERS
from bringup.toolchain.facts import FactCache

DATA = Path(__file__).resolve().parents[3]
CATALOGUE = own_catalogue()
CORE_HEADERS = (
    "cuda_runtime.h", "cuda_bf16.h", "cuda_fp16.h", "cuda_fp8.h", "cuda_fp4.h", "crt/host_config.h", "cub/cub.cuh",
    "cuda/std/type_traits", "curand_kernel.h", "cublas_v2.h", "cublasLt.h",
)  # fmt: skip
SITE = "env/lib/python3.11/site-packages"
AGE = 1_700_000_000
TORCH_SYMBOL = "_ZN3c105ErrorC1ESs"
HEALTHY_HOST = Host(
    arch="x86_64",
    cores=16,
    memory_bytes=128 << 30,
    available_bytes=120 << 30,
    glibc=(2, 36),
    nofile=65536,
    nproc=-1,
    memlock=-1,
    shm_bytes=16 << 30,
    loadable={"libnuma.so.1": True, "libcuda.so.1": True},
)


def question_of(catalogue, gpu, stack, toolkit, variants, environment, deep):
    request = Request(gpu=gpu, stack=stack, toolkit=toolkit, variants=dict(variants))
    return make_question(request, catalogue, catalogue.gpu(gpu), environment=environment, deep=deep)


known_question = functools.cache(functools.partial(question_of, CATALOGUE))


@dataclass
class Machine:
    """A root with the environment that a shell on it would have; faults change either."""

    root: Path
    env: dict = field(default_factory=dict)
    host: Host = HEALTHY_HOST
    disk_bytes: int = 500 << 30
    site: bool = False
    deep: bool = False
    stack: str = "kernels"
    gpu: str = "h200"
    toolkit_from: str = ""
    variants: dict = field(default_factory=dict)
    catalogue: Catalogue = CATALOGUE
    sources: str = ""
    seen: dict = field(default_factory=dict)

    def path(self, name):
        return self.root / name

    def write(self, name, text="", *, mode=0o644):
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be a link to another file
        path.write_text(text)
        path.chmod(mode)
        return path

    def script(self, name, body):
        return self.write(name, f"#!/bin/sh\n{body}\n", mode=0o755)

    def elf(self, name, **how):
        self.path(name).unlink(missing_ok=True)
        return make_elf(self.path(name), **how)

    def link(self, name, target):
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def remove(self, name):
        path = self.path(name)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def dist(self, name, version, *requires):
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        text += "".join(f"Requires-Dist: {one}\n" for one in requires)
        self.write(f"{SITE}/{name.replace('-', '_')}-{version}.dist-info/METADATA", text)

    def undist(self, name):
        for folder in self.path(SITE).glob(f"{name.replace('-', '_')}-*.dist-info"):
            shutil.rmtree(folder)

    def toolkit(self, name, version="13.0.88", cuda_h=13000):
        for part in COMPILERS:
            self.script(f"{name}/{part}", f"echo 'Cuda compilation tools, release {version[:4]}, V{version}'")
        self.write(f"{name}/include/cuda.h", f"#define CUDA_VERSION {cuda_h}\n")
        for header in CORE_HEADERS:
            self.write(f"{name}/include/{header}")
        self.write(f"{name}/lib64/libcudart.so.{version[:2]}", "")
        self.link(f"{name}/lib64/libcudart.so", f"libcudart.so.{version[:2]}")
        self.write(f"{name}/lib64/stubs/libcuda.so", "")

    def gcc(self, folder, suffix, version):
        for name in ("gcc", "g++"):
            self.script(
                f"{folder}/{name}{suffix}",
                f'case "$1" in -dumpfullversion) echo {version};; -dM) echo "#define __GNUC__ 12";;'
                f" -print-prog-name=*) echo {self.root}/libexec/${{1#*=}};; esac",
            )

    def places(self):
        return Places(
            env={key: value for key, value in self.env.items() if value is not None},
            build=self.root / "build",
            cache=self.root / "cache",
            facts=FactCache(self.root.parent / "facts.json"),
            data=DATA,
            root=self.root,
        )

    def question(self):
        environment = self.root / "env" if self.site else None
        words = (self.gpu, self.stack, self.toolkit_from, tuple(self.variants.items()), environment, self.deep)
        return known_question(*words) if self.catalogue is CATALOGUE else question_of(self.catalogue, *words)

    def facts(self):
        mirrors = (("https://", f"{self.sources or open_address()}/"),)
        facts = gather(self.question(), self.places(), host=self.host, mirrors=mirrors)
        # The disk of whoever runs the tests is no part of the machine that is played.
        return replace(facts, disks=tuple(replace(one, free_bytes=self.disk_bytes) for one in facts.disks))

    def go_deep(self, *, sources="", index=""):
        """Ask what --deep asks, of addresses on loopback."""
        self.deep, self.sources = True, self.sources or sources
        self.env.setdefault("UV_DEFAULT_INDEX", f"{index or open_address()}/simple")
        self.env |= {"UV_HTTP_RETRIES": "0"}

    def report(self):
        return examine(self.facts())

    def troubles(self):
        return {check.id: check for check in self.report().checks if check.status in ("WARN", "FAIL")}


def make_machine(root: Path) -> Machine:
    machine = Machine(root=root)
    _system(machine)
    _environment(machine)
    machine.env = {
        "HOME": str(root / "home"),
        "PATH": f"{root}/usr/local/cuda/bin:{root}/usr/bin:{root}/sbin",
        "CUDA_HOME": f"{root}/usr/local/cuda",
        "TMPDIR": str(root / "tmp"),
    }
    return machine


def copy_machine(template: Machine) -> Machine:
    """Put the machine back as it was made, at the same place: what is known of the programs in it holds.

    Only what a fault changed is copied anew, since a changed time of any kind makes facts about a file forgotten.
    """
    kept = template.root.with_name("template")
    if not kept.exists():
        _age(template.root)
        shutil.copytree(template.root, kept, symlinks=True)
        template.seen.update(_contents(template.root))
    found = _contents(template.root)
    changed = {name for name, state in found.items() if template.seen.get(name, "none") != state}
    for name in sorted(changed, reverse=True):  # what is in a folder before the folder
        path = template.root / name
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for name in sorted(name for name in template.seen if name in changed or name not in found):
        _restore(kept / name, template.root / name)
        template.seen[name] = _state(template.root / name)
    return replace(template, env=dict(template.env), variants=dict(template.variants))


def _age(root: Path) -> None:
    """Make files older than the tick of any file system's clock, within which nothing about a file is trusted."""
    for path in root.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (AGE, AGE))


def _contents(root: Path) -> dict:
    """Return the state of everything below a folder, by relative name."""
    found, waiting = {}, [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(root / below) as entries:
            for entry in entries:
                found[f"{below}{entry.name}"] = _state(entry)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{below}{entry.name}/")
    return found


def _state(entry):
    """Return what tells whether a file or link was touched, or a folder became something else."""
    seen = os.lstat(entry)
    return None if stat.S_ISDIR(seen.st_mode) else (seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns)


def _restore(source: Path, path: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        path.mkdir()
    else:
        shutil.copy2(source, path, follow_symlinks=False)


def broken(template: Machine, *faults) -> Machine:
    """Return the machine with faults put in."""
    machine = copy_machine(template)
    machine.site = any(fault.site for fault in faults)
    for fault in faults:
        fault.make(machine)
    return machine


def found_alone(template: Machine, fault) -> None:
    """Check that a machine with one fault shows that, says what it is and what to do, and shows nothing else."""
    found = broken(template, fault).troubles()
    assert fault.check in found
    assert set(found) <= {fault.check} | fault.also
    finding = found[fault.check]
    assert fault.says in finding.seen
    assert finding.issue == fault.issue
    assert finding.fix
    assert finding.why
    assert not any("{" in text for text in finding.fix)


def _system(machine):
    machine.toolkit("usr/local/cuda-13.0")
    machine.link("usr/local/cuda", "cuda-13.0")
    machine.gcc("usr/bin", "-12", "12.2.0")
    machine.gcc("usr/bin", "", "12.2.0")
    machine.link("usr/bin/cc", "gcc")
    for name in ("cc1", "cc1plus", "as", "ld", "collect2"):
        machine.script(f"libexec/{name}", "exit 0")
    for name, text in (
        ("git", "git version 2.39.5"),
        ("cmake", "cmake version 3.31.1"),
        ("ninja", "1.11.1"),
        ("cargo", "cargo 1.90.0"),
        ("protoc", "libprotoc 3.21.12"),
    ):
        machine.script(f"usr/bin/{name}", f"echo '{text}'")
    machine.script("sbin/ldconfig", "exit 0")
    machine.script("usr/bin/nvidia-smi", "echo 'NVIDIA H200, 9.0, 580.95.05, 143771'")
    include = machine.write("usr/include/python3.11/Python.h").parent
    machine.script(
        "usr/bin/python3.11",
        f"""echo '{{"version": "3.11.9", "implementation": "cpython", "library": "", "missing": "", """
        f""""executable": "{machine.root}/usr/bin/python3.11", "include": "{include}"}}'""",
    )
    machine.write(
        "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n",
    )
    machine.write("etc/ld.so.conf", "/usr/lib/x86_64-linux-gnu\n")
    machine.write("usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05", "")
    machine.link("usr/lib/x86_64-linux-gnu/libcuda.so.1", "libcuda.so.580.95.05")
    for library in ("libnuma.so.1", "libc.so.6"):
        machine.write(f"usr/lib/x86_64-linux-gnu/{library}", "")
    machine.write("proc/self/mounts", "/dev/sda1 / ext4 rw,relatime 0 0\n")
    for name in ("tmp", "home/.cache", "build", "cache"):
        machine.path(name).mkdir(parents=True)


def _environment(machine):
    machine.write("env/pyvenv.cfg", f"home = {machine.root}/usr/bin\nversion_info = 3.11.9\n")
    machine.link("env/bin/python", f"{machine.root}/usr/bin/python3.11")
    machine.write("env/bin/ninja", "", mode=0o755)
    for name, version, *requires in (
        ("torch", "2.11.0", "nvidia-nccl-cu13==2.28.9"),
        ("torchvision", "0.26.0", "torch==2.11.0"),
        ("triton", "3.6.0"),
        ("flashinfer-python", "0.6.8.post1", "apache-tvm-ffi"),
        ("apache-tvm-ffi", "0.1.9"),
        ("sglang-kernel", "0.4.2.post1"),
        ("sglang", "0.5.12.post1", "transformers==5.6.0"),
        ("transformers", "5.6.0"),
        ("kernels", "0.14.1"),
        ("nvidia-nccl-cu13", "2.28.9"),
        ("nvidia-cuda-runtime", "13.0.96"),
        ("nvidia-nvshmem-cu13", "3.4.5"),
    ):
        machine.dist(name, version, *requires)
    machine.write(f"{SITE}/torch/version.py", "__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n")
    machine.write(f"{SITE}/torch-2.11.0.dist-info/RECORD", "torch/version.py,,\n")
    machine.elf(f"{SITE}/torch/lib/libtorch.so", defined=[TORCH_SYMBOL], needed=["libc.so.6"])
    machine.write(f"{SITE}/tvm_ffi/__init__.py")
    machine.write(f"{SITE}/nvidia/nvshmem/__init__.py")
    machine.write(f"{SITE}/flashinfer/data/cutlass/include/cutlass/cutlass.h")
    kernels(machine)
    machine.write(
        f"{SITE}/sglang/srt/entrypoints/engine.py",
        'assert_pkg_version(\n    "flashinfer_python",\n    "0.6.8.post1",\n    "hint",\n)\n'
        'assert_pkg_version("sglang-kernel", "0.4.2.post1", "hint")\n',
    )
    machine.script(f"{SITE}/triton/backends/nvidia/bin/ptxas", "echo 'Cuda compilation tools, release 12.8, V12.8.93'")
    machine.elf(
        "home/.cache/flashinfer/0.6.8.post1/90a/cached_ops/norm/norm.so", needed=["libcudart.so.13", "libc.so.6"]
    )
    compiler = f"{machine.root}/usr/local/cuda/bin/nvcc"
    machine.write("home/.cache/flashinfer/0.6.8.post1/90a/cached_ops/norm/build.ninja", f"nvcc = {compiler}\n")
    machine.elf("home/.cache/tvm-ffi/clamp_1234/clamp.so", needed=["libcudart.so.13"])
    machine.write("home/.triton/cache/AAAA/__triton_launcher.cpython-311-x86_64-linux-gnu.so")
    machine.write("home/.cache/torch_extensions/py311_cu130/ours/ours.so")


def kernels(machine, *, arch=90, flags=A, undefined=(TORCH_SYMBOL,), needed=("libc.so.6",)):
    """Write the library of the kernel package."""
    code = fatbin((2, arch, flags))
    machine.elf(
        f"{SITE}/sgl_kernel/sm90/common_ops.abi3.so",
        undefined=undefined,
        needed=needed,
        sections={".nv_fatbin": code, ".nvFatBinSegment": b"x" * 24},
    )
