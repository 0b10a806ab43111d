"""All data files of a checkout (or an installed package) as one validated value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from bringup.config.near import nearest
from bringup.errors import UsageError
from bringup.model.gpu import Gpu
from bringup.model.recipe import Recipe
from bringup.model.stack import Stack
from bringup.model.toolchain import CudaRelease, GccRelease, PythonRelease

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """Everything that is known, by name.

    Attributes:
        root: folder that holds recipes/, toolchains/ and patches/.
        gpus: by name; aliases are resolved by `gpu`.
        cuda: by release line, "13.0".
        pythons: by minor version, "3.11".
        gccs: by major version, "12".
        recipes: by name.
        stacks: by name.
    """

    root: Path
    gpus: Mapping[str, Gpu]
    cuda: Mapping[str, CudaRelease]
    pythons: Mapping[str, PythonRelease]
    gccs: Mapping[str, GccRelease]
    recipes: Mapping[str, Recipe]
    stacks: Mapping[str, Stack]

    def gpu(self, name: str) -> Gpu:
        """Return the GPU of this name or alias; raise UsageError with the nearest name otherwise."""
        wanted = name.lower()
        for gpu in self.gpus.values():
            if wanted == gpu.name or wanted in gpu.aliases:
                return gpu
        names = [*self.gpus, *(alias for gpu in self.gpus.values() for alias in gpu.aliases), "auto"]
        raise unknown("GPU", name, names, listing="invoke list gpus")

    def stack(self, name: str) -> Stack:
        """Return the stack of this name; raise UsageError with the nearest name otherwise."""
        if name not in self.stacks:
            raise unknown("stack", name, list(self.stacks), listing="invoke list stacks")
        return self.stacks[name]


def unknown(kind: str, name: str, known: list[str], *, listing: str) -> UsageError:
    """Return the error for a name that is not known."""
    near = nearest(name, known)
    more = f"; did you mean {near}?" if near else f"; known: {', '.join(sorted(known)[:12])}"
    return UsageError(f"unknown {kind} {name!r}{more}", hint=f"{listing} shows them all")


def load_catalogue(root: Path, *, locks: bool = True) -> Catalogue:
    """Load and check every data file below `root`; without `locks`, a missing lock is no problem.

    Raises:
        ConfigError: with all problems of all files.
    """
    # Mostly a snapshot of the data serves (bringup.snapshot): neither TOML nor its checks are imported then.
    from bringup.config.check import check_catalogue  # noqa: PLC0415
    from bringup.config.load import Problem, load_toml, raise_if_any  # noqa: PLC0415

    problems: list[Problem] = []
    of_hooks = tuple(path.stem + mark for path in (root / "recipes").glob("*.py") for mark in "._")

    def read(folder: str, model: type[T]) -> dict[str, T]:
        found: dict[str, T] = {}
        for path in sorted((root / folder).glob("*.toml")):
            if folder == "recipes" and path.stem.startswith(of_hooks):
                continue  # flashinfer.units.toml, sglang_kernels_prebuild.toml: data of a hook, not a recipe
            name = path.relative_to(root).as_posix()
            value, wrong = load_toml(path, model, name=name)
            problems.extend(wrong)
            if value is not None:
                own = str(getattr(value, "name", None) or getattr(value, "version", ""))
                if own != path.stem:
                    problems.append(Problem(file=name, text=f"describes {own!r}, which its file name does not say"))
                found[own] = value
        return found

    catalogue = Catalogue(
        root=root,
        gpus=read("toolchains/gpus", Gpu),
        cuda=read("toolchains/cuda", CudaRelease),
        pythons=read("toolchains/python", PythonRelease),
        gccs=read("toolchains/gcc", GccRelease),
        recipes=read("recipes", Recipe),
        stacks=read("recipes/stacks", Stack),
    )
    broken = {problem.file for problem in problems}
    patches = {
        folder.relative_to(root / "patches").as_posix(): tuple(sorted(path.name for path in folder.glob("*.patch")))
        for folder in sorted((root / "patches").glob("*/*"))
        if folder.is_dir()
    }
    files = {path.relative_to(root).as_posix() for path in (root / "recipes").rglob("*") if path.is_file()}
    problems += [
        problem
        for problem in check_catalogue(
            gpus=catalogue.gpus,
            cuda=catalogue.cuda,
            pythons=catalogue.pythons,
            recipes=catalogue.recipes,
            stacks=catalogue.stacks,
            patches=patches,
            files=files,
            broken=broken,
        )
        if problem.file not in broken and (locks or problem.key != "lock")
    ]
    raise_if_any(problems)
    return catalogue
