"""A GPU model as toolchains/gpus/<name>.toml describes it."""

from __future__ import annotations

from typing import Literal

from bringup.model.base import Capability, CudaVersion, Name, Table


class CudaRange(Table, frozen=True, kw_only=True):
    """CUDA releases that can make code for the GPU: `min` <= CUDA < `before`.

    Attributes:
        min: first release whose nvcc knows the architecture in the form of `Gpu.arch`.
        before: first release that no longer does; "" if there is none yet.
    """

    min: CudaVersion
    before: str = ""


class MachineCode(Table, frozen=True, kw_only=True):
    """Names of machine code that nvcc and cuobjdump use.

    Attributes:
        exact: what our own kernels are compiled to, "sm_90a".
        any: what else runs natively on the GPU, for binaries that others compiled, `exact` included.
    """

    exact: str
    any: tuple[str, ...]


class ArchWhen(Table, frozen=True, kw_only=True):
    """Another spelling of the arch list for some versions of a package.

    Attributes:
        package: recipe name.
        version: version range, ">=0.6.3,<0.6.8".
        value: the arch list in the syntax that these versions want.
        why: reason, with its source.
    """

    package: Name
    version: str
    value: str
    why: str


class Gpu(Table, frozen=True, kw_only=True):
    """One GPU model.

    Attributes:
        schema: version of this file's shape.
        name: what `--gpu` takes.
        title: what people call it.
        family: architecture name, "hopper".
        aliases: other names that `--gpu` takes.
        capability: CUDA compute capability; "0.0" is a computer without one.
        machines: CPU architectures of the computers that carry it.
        device_names: parts of the names that `nvidia-smi` prints, for `--gpu auto`; of several GPUs that match, the
            longest part wins ("NVIDIA L40S" over "NVIDIA L40").
        memory_gib: memory of the smallest card of this name.
        stack: stack that `--gpu NAME` builds when none is named.
        cuda: releases that can target it.
        driver_min: driver branch that first supported it.
        arch: arch list per consumer in its own syntax: torch, flashinfer, cmake, and recipe names.
        arch_when: spellings that differ for some versions.
        machine_code: names in binaries.
        sources: where the facts come from.
    """

    schema: Literal[1]
    name: Name
    title: str
    family: Name
    aliases: tuple[Name, ...] = ()
    capability: Capability
    machines: tuple[Literal["x86_64", "aarch64"], ...]
    device_names: tuple[str, ...] = ()
    memory_gib: int
    stack: Name
    cuda: CudaRange
    driver_min: str
    arch: dict[str, str]
    arch_when: tuple[ArchWhen, ...] = ()
    machine_code: MachineCode
    sources: tuple[str, ...]

    @property
    def accelerator(self) -> bool:
        """Whether there is a GPU at all; without one nothing needs a CUDA toolkit."""
        return self.capability != "0.0"
