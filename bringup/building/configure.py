"""Before the build proper: is the assembled tree whole, is it configured, and do its long units come first?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bringup.building.cmake_cache import switched_off
from bringup.building.ninja_order import long_units_first, read_costs
from bringup.errors import BuildError
from bringup.model.plan import Package
from bringup.model.source import AssembledSource
from bringup.system import process


def check_parts(package: Package, source: Path) -> None:
    """Fail if a part of an assembled tree is no longer there: CMake would say it in its own way, much later.

    Raises:
        BuildError: a part is missing or empty; names it and the key of the recipe that provides it.
    """
    if not isinstance(package.source, AssembledSource):
        return
    for index, part in enumerate(package.source.parts):
        place = source / part.into
        if place.is_file() or (place.is_dir() and any(place.iterdir())):
            continue
        key = f"versions[{package.version}].sources.{package.source_name}.parts[{index}]"
        msg = f"{package.name}: {part.into} is missing or empty in {source}"
        hint = f"{key} of recipes/{package.name}.toml provides it; remove {source} and run the same command again"
        raise BuildError(msg, hint=hint)


def build_folders(package: Package, source: Path) -> list[Path]:
    """Return the folders in which CMake and ninja build the package: those of the caches that the recipe names."""
    return [source / Path(pattern).parent for pattern in package.build.fresh if "*" not in pattern]


def configure(
    package: Package,
    source: Path,
    python: Path,
    *,
    units: Path,
    env: Mapping[str, str],
    log: Path,
    memory_bytes: int,
    say: Callable[[str], None],
) -> None:
    """Configure the tree where it is not yet, and have ninja start the units first that take long.

    Args:
        package: what is built; `build.configure` are the arguments for Python.
        source: its tree.
        python: interpreter of the build environment.
        units: file of unit costs; nothing is moved if there is none.
        env: environment of the build.
        log: where the output goes.
        memory_bytes: memory to use.
        say: tells people.

    Raises:
        BuildError: it cannot be configured, or CMake left a feature out that was asked for.
        ConfigError: the file of unit costs is wrong.
    """
    folders = build_folders(package, source)
    if not all((folder / "build.ninja").exists() for folder in folders):
        what = f"configuring of {package.name} {package.version}"
        process.run([python, *package.build.configure], env=env, cwd=source, log=log, what=what)
    for folder in folders:
        _check_features(package, folder, env, log)
    if not units.exists():
        return
    costs = read_costs(units)
    for folder in folders:
        file = folder / "build.ninja"
        moved = long_units_first(file, costs, memory_bytes=memory_bytes) if file.exists() else None
        if moved:
            giants = f", {moved.giants} large ones {moved.depth} at a time" if moved.giants else ""
            say(f"{moved.units} long units come first{giants}")


def generate(package: Package, source: Path, python: Path, *, env: Mapping[str, str], log: Path) -> None:
    """Make the sources that most units wait for, so that compilers have enough to do from their first second on.

    Raises:
        BuildError: the code generator failed.
    """
    for folder in build_folders(package, source) if package.build.generate else []:
        argv: list[str | Path] = [python.with_name("ninja"), "-C", folder, *package.build.generate]
        process.run(argv, env=env, cwd=source, log=log, what=f"generating sources of {package.name}")


def _check_features(package: Package, folder: Path, env: Mapping[str, str], log: Path) -> None:
    cache = folder / "CMakeCache.txt"
    off = switched_off(cache.read_text(errors="replace"), env) if cache.exists() else []
    if off:
        names = ", ".join(off)
        msg = f"{package.name}: CMake switched {names} off, which recipe and variant {package.variant or '-'} ask for"
        raise BuildError(msg, hint=f"what it did not find is in {log}; {folder} is kept", log=str(log))
