"""A stack: which versions go together, as recipes/stacks/<name>.toml says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from bringup.model.base import CudaVersion, Name, Table


class StackPackage(Table, frozen=True, kw_only=True):
    """A package of a stack.

    Attributes:
        version: one of the recipe's versions.
        source: one of that version's sources.
        variant: one of the recipe's variants, or several joined by "+"; its first if "".
    """

    version: str
    source: Name
    variant: str = ""


class Requirements(Table, frozen=True, kw_only=True):
    """What is installed besides the packages, all pinned by the stack's lock.

    Attributes:
        roots: requirements to resolve besides the packages themselves.
        overrides: requirements that win over what packages ask for ("nvidia-cutlass-dsl==4.4.2").
        exclude: distributions that packages ask for and that are left out.
        why: for each distribution overridden or excluded, the reason; shown with the conflicts after install.
    """

    roots: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    why: dict[str, str] = {}


class Stack(Table, frozen=True, kw_only=True):
    """Packages and versions that are known to go together.

    Attributes:
        schema: version of this file's shape.
        name: what `--stack` takes.
        title: one line.
        date: day as of which everything that the recipes do not pin is resolved (YYYY-MM-DD).
        python: Python of the target environment.
        cuda: CUDA versions it can be built with, the default first.
        toolkits: providers to try, in this order.
        packages: recipes with versions.
        requirements: the rest of the environment.
        options: for each recipe, what its hook is told.
        accelerator: it is for GPUs; false for one that is built without CUDA, which only `--gpu cpu` can take.
        lock: there is a committed lock beside this file, and `build` never resolves.
        model: what the kernels are built for, in words: "llama, bf16, head_dim 128".
        download_mib: bytes that a first build fetches, MiB.
        disk_mib: disk that build folder and caches take, MiB.
    """

    schema: Literal[1]
    name: Name
    title: str
    date: Annotated[str, msgspec.Meta(pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$")]
    python: str
    cuda: Annotated[tuple[CudaVersion, ...], msgspec.Meta(min_length=1)]
    toolkits: tuple[Literal["system", "wheels", "debs"], ...]
    packages: dict[Name, StackPackage]
    requirements: Requirements = Requirements()
    options: dict[Name, dict[str, Any]] = {}
    accelerator: bool = True
    lock: bool = False
    model: str = ""
    download_mib: int = 0
    disk_mib: int = 0
