"""What a run asks for, what it would do and why: request, target, resolved packages, steps, plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from bringup.model.gpu import Gpu
from bringup.model.recipe import Build, NativeCode, Recipe
from bringup.model.source import Source
from bringup.model.stack import Stack
from bringup.model.toolchain import CudaRelease, PythonRelease


class Phase(StrEnum):
    """What a step does; in this order for one package."""

    FETCH = "fetch"
    PATCH = "patch"
    PREPARE = "prepare"
    BUILD = "build"
    INSTALL = "install"
    VERIFY = "verify"


class Decision(StrEnum):
    """RUN does the work, REUSE has the result already, SKIP has nothing to do."""

    RUN = "run"
    REUSE = "reuse"
    SKIP = "skip"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the user asked for, as flags and configuration say it.

    Attributes:
        gpu: name or alias; "auto" asks the driver.
        stack: stack name; "" is the GPU's default.
        cuda: release line; "" is the stack's default.
        toolkit: provider; "" tries the stack's in order.
        host_compiler: "system" or "debs"; "" takes the system's where one is in range, else debs.
        python: version asked for; "" is the stack's.
        only: packages to build; empty is all.
        jobs: compilers at the same time; 0 = from cores and memory.
        memory_gib: memory to use; 0 = what the machine, the cgroup or the Slurm job gives.
        nice: niceness that compilers are started with.
        offline: use no network.
        mirrors: pairs of URL prefix and replacement, for git.
        debian_mirror: address of a Debian mirror; "" takes the machine's own.
        full: build the whole kernel set of packages that have one.
        variants: variant by package, over the stack's.
        time_limit: seconds after which the run ends by itself, what is finished kept; 0 = none.
        remote_store: address or folder of a store that machines share; "" is none.
        remote_write: send what is built to it.
        remote_timeout: seconds to wait for its first answer.
        compiler_cache: "on", "off", or "auto".
        compiler_cache_share: where machines share compiler results: a folder or redis://HOST; "" is none.
    """

    gpu: str
    stack: str = ""
    cuda: str = ""
    toolkit: str = ""
    host_compiler: str = ""
    python: str = ""
    only: tuple[str, ...] = ()
    jobs: int = 0
    memory_gib: float = 0
    nice: int = 0
    offline: bool = False
    mirrors: tuple[tuple[str, str], ...] = ()
    debian_mirror: str = ""
    full: bool = False
    variants: Mapping[str, str] = field(default_factory=dict)
    time_limit: float = 0
    remote_store: str = ""
    remote_write: bool = False
    remote_timeout: float = 5.0
    compiler_cache: str = "auto"
    compiler_cache_share: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is built for: GPU, toolchain, Python, platform.

    Attributes:
        gpu: the GPU.
        cuda: the CUDA release.
        providers: toolkit providers to try, in this order.
        python: the Python release.
        machine: CPU architecture, "x86_64".
    """

    gpu: Gpu
    cuda: CudaRelease
    providers: tuple[str, ...]
    python: PythonRelease
    machine: str = "x86_64"

    @property
    def id(self) -> str:
        """One identifier string: "h200-cu130-cp311"."""
        suffix = "" if self.machine == "x86_64" else f"-{self.machine}"
        names = (self.gpu.name, self.local) if self.gpu.accelerator else (self.gpu.name,)
        return f"{'-'.join(names)}-cp{self.python.version.replace('.', '')}{suffix}"

    @property
    def local(self) -> str:
        """Local version label of wheels built for the target's CUDA: "cu130"; "cpu" where there is no GPU."""
        if not self.gpu.accelerator:
            return "cpu"
        return f"cu{self.cuda.version.replace('.', '')}"

    @property
    def platform_tag(self) -> str:
        """Wheel platform tag."""
        return f"linux_{self.machine}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchFile:
    """A patch of a recipe: its path and the SHA-256 of its content."""

    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A package of the plan with all conditions resolved.

    Attributes:
        recipe: the recipe.
        version: version being built.
        distribution: name of its distribution in this version.
        source_name: which of the version's sources.
        source: that source.
        extras: sources handed to the build.
        patches: patches in order.
        build: the recipe's build table with all overlays applied; placeholders are still in.
        options: what the hook is told.
        variant: name of the variant; "" if the recipe has none.
        needs: packages of the stack it needs.
        native_code: machine code that its files must hold.
        built: False for a published wheel that is installed as the lock pins it.
        built_against: packages of the stack whose binary interface enters the build.
        notes: what overlays say.
        warnings: what overlays warn of.
    """

    recipe: Recipe
    version: str
    distribution: str
    source_name: str
    source: Source
    extras: Mapping[str, Source]
    patches: tuple[PatchFile, ...]
    build: Build
    options: Mapping[str, Any]
    variant: str
    needs: tuple[str, ...]
    native_code: tuple[NativeCode, ...]
    built: bool
    built_against: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Recipe name."""
        return self.recipe.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        package: recipe name, or "python", "cuda", "requirements", "environment".
        phase: what is done.
        decision: whether it is done.
        why: the reason, for people.
        fingerprint: hash over all that can change the result.
        needs: packages this step needs the results of.
        after: ids of the steps that come before it.
        seconds: CPU seconds as its recipe says, or wall-clock seconds of the store's newest build; 0 if unknown.
        stored: the seconds are those of the store.
    """

    package: str
    phase: Phase
    decision: Decision
    why: str
    fingerprint: str
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    seconds: float = 0
    stored: bool = False

    @property
    def id(self) -> str:
        """`package:phase`."""
        return f"{self.package}:{self.phase}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All steps in the order they would run.

    Attributes:
        target: what is built for.
        stack: what is built.
        packages: resolved packages by name, in the order of `needs`.
        steps: the steps.
        fingerprints: wheel fingerprint by package, for those that are built.
        inputs: what went into each of these fingerprints.
        environment: fingerprint of the environment.
        aliases: for packages that are reused although something below them changed, the key of the entry to take.
        before: inputs of the last build of each package that is to be built again.
        warnings: what the user should know before it starts.
        notes: what applied without being a worry.
        download_mib: estimate of what is fetched.
        disk_mib: estimate of what the build directory and caches grow by.
    """

    target: Target
    stack: Stack
    packages: Mapping[str, Package]
    steps: tuple[Step, ...]
    fingerprints: Mapping[str, str]
    inputs: Mapping[str, Mapping[str, Any]]
    environment: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    download_mib: int = 0
    disk_mib: int = 0

    def step(self, step_id: str) -> Step:
        """Return the step of this id."""
        return next(step for step in self.steps if step.id == step_id)

    def document(self) -> dict[str, Any]:
        """Return the JSON document of `plan --json`."""
        return {
            "schema": 1,
            "target": self.target.id,
            "stack": self.stack.name,
            "steps": [
                {
                    "package": step.package,
                    "phase": str(step.phase),
                    "decision": str(step.decision),
                    "why": step.why,
                    "needs": list(step.needs),
                    "after": list(step.after),
                    "fingerprint": step.fingerprint,
                }
                for step in self.steps
            ],
            "versions": {name: package.version for name, package in self.packages.items()},
            "environment": self.environment,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "download_mib": self.download_mib,
            "disk_mib": self.disk_mib,
        }
