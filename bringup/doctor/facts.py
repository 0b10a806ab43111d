"""What the checks look at: facts about a machine, gathered once. Values only, nothing is looked up here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bringup.model.gpu import Gpu
from bringup.model.plan import Package
from bringup.model.stack import Stack
from bringup.model.toolchain import CudaRelease, GccRelease, PythonRelease
from bringup.model.verify import Check
from bringup.system.gpus import Device
from bringup.toolchain.programs import FoundProgram


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What the machine is examined for.

    Attributes:
        gpu: the GPU.
        release: CUDA release of the target.
        releases: all CUDA releases that are known, by version.
        stack: the stack.
        packages: its packages with their conditions resolved, in build order.
        python: Python of target environments.
        providers: ways to come by the CUDA toolkit, in order.
        gccs: host compilers that can be unpacked.
        host_compiler: "system", "debs" or "".
        environment: an existing environment to examine; None for the machine alone.
        deep: use the network and read big files.
    """

    gpu: Gpu
    release: CudaRelease
    releases: Mapping[str, CudaRelease]
    stack: Stack
    packages: Mapping[str, Package]
    python: PythonRelease
    providers: tuple[str, ...]
    gccs: Mapping[str, GccRelease]
    host_compiler: str = ""
    environment: Path | None = None
    deep: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """The computer.

    Attributes:
        arch: CPU architecture.
        cores: processors that may be used.
        memory_bytes: memory that may be used, cgroup limits included.
        available_bytes: what of it is free.
        glibc: version of the C library, (0, 0) if it is another one.
        nofile: limit of open files, soft; -1 is without limit.
        nproc: limit of processes, soft.
        memlock: limit of locked memory in bytes, soft.
        shm_bytes: size of /dev/shm; 0 if there is none.
        memory_from: what sets the memory: "host", "cgroup" or "Slurm".
        in_container: runs in Docker, Podman or Kubernetes.
        loadable: libraries by name, and whether the system's loader finds them.
        distribution: its release, "debian-12"; "" if it does not say.
    """

    arch: str
    cores: int
    memory_bytes: int
    available_bytes: int
    glibc: tuple[int, int]
    nofile: int
    nproc: int
    memlock: int
    shm_bytes: int
    memory_from: str = "host"
    in_container: bool = False
    loadable: Mapping[str, bool] = field(default_factory=dict)
    distribution: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """A folder that is written to: what for, free bytes, and whether programs in it may run and files be written."""

    purpose: str
    path: Path
    free_bytes: int
    device: int
    noexec: bool = False
    writable: bool = True
    kind: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The NVIDIA driver: version of the kernel's part and of libcuda, "" if not there; fabric state if asked."""

    kernel: str = ""
    library: str = ""
    fabric: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolkitFacts:
    """A CUDA toolkit that something on this machine may pick up.

    Attributes:
        root: its folder, as it was named.
        origins: what names it: "CUDA_HOME", "PATH", "usual place".
        exists: whether the folder is there.
        nvcc: version of its compiler, "13.0.88"; "" if it does not run.
        headers: release of its cuda.h, "13.0".
        missing_parts: programs and libraries that are not there.
        missing_headers: headers that are not there.
        broken_links: symbolic links in it that lead nowhere.
        distribution: a distribution's own package (/usr/bin/nvcc), which lies apart.
    """

    root: Path
    origins: tuple[str, ...]
    exists: bool
    nvcc: str = ""
    headers: str = ""
    missing_parts: tuple[str, ...] = ()
    missing_headers: tuple[str, ...] = ()
    broken_links: tuple[Path, ...] = ()
    distribution: bool = False

    @property
    def release(self) -> str:
        """Release line, "13.0"; "" if unknown."""
        return ".".join(self.nvcc.split(".")[:2])


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A program that was found: where, how it was named ("PATH", "CC"), and its version, "" if it does not say."""

    path: Path
    origin: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheEntry:
    """A folder or file in a cache of kernels that were compiled at run time.

    Attributes:
        kind: "flashinfer", "tvm-ffi", "triton", "torch-extensions".
        path: the entry.
        made_by: what made it, as far as its name or content tells: FlashInfer version, Python tag, CUDA release.
        missing: files that it refers to and that are gone (nvcc, toolkit folders).
        needed: CUDA runtime libraries that its modules load, "libcudart.so.12".
        lock: it is a lock file; `age_s` tells how old.
        age_s: seconds since it was changed.
    """

    kind: str
    path: Path
    made_by: str = ""
    missing: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    lock: bool = False
    age_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """An existing Python environment, read without running it.

    Attributes:
        prefix: its folder.
        packages: site-packages.
        python: version of its Python, "3.11.7" or "3.11".
        has_headers: Python.h is where its Python looks for it; None if that could not be told.
        versions: distributions by normalised name.
        doubled: distributions with more than one dist-info.
        leftovers: folders that an interrupted pip left ("~orch").
        missing_files: for a few distributions, files of their RECORD that are gone.
        torch: `__version__` of torch/version.py, "" without.
        torch_cuda: `cuda` of it, "" for a CPU build.
        floors: (distribution, lowest version) that SGLang's start asserts.
        conflicts: requirements that are not met; those that the stack chose are left out.
        absent: files that packages need at run time and that are not there.
        user_site: distributions in the user's own site-packages that would win.
        ours: versions that the environment's constraints.txt names, if it is one of ours.
        programs: names in its bin.
    """

    prefix: Path
    packages: Path
    python: str
    has_headers: bool | None
    versions: Mapping[str, str]
    doubled: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    missing_files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    torch: str = ""
    torch_cuda: str = ""
    floors: tuple[tuple[str, str], ...] = ()
    conflicts: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    user_site: tuple[str, ...] = ()
    ours: Mapping[str, str] = field(default_factory=dict)
    programs: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Everything that the checks may look at.

    Attributes:
        question: what is asked.
        host: the computer.
        disks: folders that are written to.
        devices: GPUs that the driver shows.
        driver: versions of the driver's parts.
        toolkits: CUDA toolkits that may be picked up, in the order in which they would be.
        usable_toolkit: the one that a build takes; "" if none is installed that fits.
        refused_toolkits: why those that are there do not do.
        compiler: the host compiler that a build takes, in words; "" if none is in range.
        refused_compilers: why not.
        compilers: others that tools pick up by CC, CUDAHOSTCXX or plain name.
        target_python: the interpreter that a build takes, in words; "" if none.
        ptxas: every ptxas that may be picked up.
        tools: programs by name.
        missing_tools: programs that recipes name and that cannot be used here.
        variables: the user's environment.
        library_path: CUDA libraries in the folders of LD_LIBRARY_PATH.
        conda_libstdcxx: highest GLIBCXX of conda's libstdc++, and the system's.
        caches: kernels compiled at run time, as far as something is to be said of them.
        site: the environment asked for.
        binaries: checks of its extensions, made with `--deep` or `--env`.
        reach: sources, and why one is out of reach ("" if it answers); made with `--deep`.
    """

    question: Question
    host: Host
    disks: tuple[Disk, ...] = ()
    devices: tuple[Device, ...] = ()
    driver: Driver = Driver()
    toolkits: tuple[ToolkitFacts, ...] = ()
    usable_toolkit: str = ""
    refused_toolkits: str = ""
    compiler: str = ""
    refused_compilers: str = ""
    compilers: tuple[Program, ...] = ()
    target_python: str = ""
    ptxas: tuple[Program, ...] = ()
    tools: Mapping[str, Program] = field(default_factory=dict)
    missing_tools: Mapping[str, FoundProgram] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    library_path: tuple[Path, ...] = ()
    conda_libstdcxx: tuple[str, str] = ("", "")
    caches: tuple[CacheEntry, ...] = ()
    site: Site | None = None
    binaries: tuple[Check, ...] = ()
    reach: tuple[tuple[str, str], ...] = ()

    @property
    def serving(self) -> bool:
        """Whether an existing environment is examined, which uses what the shell has: then inherited faults bite."""
        return self.site is not None

    @property
    def cuda_wanted(self) -> str:
        """The CUDA release that everything has to fit: that of the environment's torch, else the target's."""
        return (self.site.torch_cuda if self.site else "") or self.question.release.version

    @property
    def toolkit_in_use(self) -> ToolkitFacts | None:
        """The toolkit that PyTorch and FlashInfer would take in this shell: CUDA_HOME's, else the one on PATH."""
        for origin in ("CUDA_HOME", "CUDA_PATH", "PATH"):
            for toolkit in self.toolkits:
                if origin in toolkit.origins:
                    return toolkit
        return next((one for one in self.toolkits if "/usr/local/cuda" in str(one.root)), None)
