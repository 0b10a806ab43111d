"""What one file cannot say of itself: names in other files, ranges that cannot be, patches nobody lists."""

from __future__ import annotations

import datetime
import graphlib
from collections.abc import Callable, Collection, Iterator, Mapping

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from bringup.config.load import Problem
from bringup.config.near import nearest
from bringup.config.variants import features, variant_problem
from bringup.model.gpu import Gpu
from bringup.model.recipe import Recipe
from bringup.model.recipe import Version as RecipeVersion
from bringup.model.stack import Stack, StackPackage
from bringup.model.toolchain import CudaRelease, PythonRelease


def check_catalogue(
    *,
    gpus: Mapping[str, Gpu],
    cuda: Mapping[str, CudaRelease],
    pythons: Mapping[str, PythonRelease],
    recipes: Mapping[str, Recipe],
    stacks: Mapping[str, Stack],
    patches: Mapping[str, tuple[str, ...]],
    files: Collection[str],
    broken: Collection[str],
) -> Iterator[Problem]:
    """Yield every problem between the files.

    Args:
        gpus: GPUs by name; likewise the other tables.
        cuda: CUDA releases.
        pythons: Pythons.
        recipes: recipes.
        stacks: stacks.
        patches: names of patch files by "<recipe>/<version>".
        files: paths below recipes/, relative to the data root.
        broken: files that did not load; names in them are not reported as unknown.
    """

    def exists(kind: str, name: str, table: Mapping[str, object]) -> str:
        if name in table or f"{_FOLDERS[kind]}/{name}.toml" in broken:
            return ""
        near = nearest(name, list(table))
        return f"no {kind} {name!r}" + (f"; did you mean {near}?" if near else f"; known: {', '.join(sorted(table))}")

    for gpu in gpus.values():
        yield from _check_gpu(gpu, gpus, exists("stack", gpu.stack, stacks))
    for release in cuda.values():
        yield from _check_cuda(release)
    for recipe in recipes.values():
        yield from _check_recipe(recipe, recipes, gpus, patches, files, exists)
    try:
        graphlib.TopologicalSorter({one.name: one.needs for one in recipes.values()}).prepare()
    except graphlib.CycleError as exc:
        yield Problem(file=f"recipes/{exc.args[1][0]}.toml", key="needs", text=f"circle: {' -> '.join(exc.args[1])}")
    for stack in stacks.values():
        yield from _check_stack(stack, recipes, cuda, pythons, files, exists)
    known = {f"{recipe.name}/{version.version}" for recipe in recipes.values() for version in recipe.versions}
    for folder in patches:
        if folder not in known and f"recipes/{folder.split('/', 1)[0]}.toml" not in broken:
            yield Problem(file=f"patches/{folder}", text="no recipe has this version; remove the folder or add it")


Exists = Callable[[str, str, Mapping[str, object]], str]

_FOLDERS = {
    "stack": "recipes/stacks", "recipe": "recipes", "CUDA release": "toolchains/cuda",
    "Python": "toolchains/python", "GPU": "toolchains/gpus",
}  # fmt: skip


def _check_gpu(gpu: Gpu, gpus: Mapping[str, Gpu], no_stack: str) -> Iterator[Problem]:
    file = f"toolchains/gpus/{gpu.name}.toml"
    if no_stack:
        yield Problem(file=file, key="stack", text=no_stack)
    if gpu.cuda.before and Version(gpu.cuda.min) >= Version(gpu.cuda.before):
        text = f"range from {gpu.cuda.min} to before {gpu.cuda.before} is empty"
        yield Problem(file=file, key="cuda", text=text)
    if gpu.machine_code.exact not in gpu.machine_code.any:
        text = f"{gpu.machine_code.exact} (exact) is not in any = {list(gpu.machine_code.any)}"
        yield Problem(file=file, key="machine_code.any", text=text)
    digits = gpu.capability.rstrip("af").replace(".", "")
    if gpu.machine_code.exact.removeprefix("sm_").rstrip("af") != digits:
        text = f"{gpu.machine_code.exact} does not fit capability {gpu.capability}"
        yield Problem(file=file, key="machine_code.exact", text=text)
    for consumer in ("torch", "flashinfer", "cmake"):
        if consumer not in gpu.arch:
            yield Problem(file=file, key="arch", text=f"{consumer!r} is missing")
    for name in gpu.aliases:
        others = [other.name for other in gpus.values() if other is not gpu and name in (other.name, *other.aliases)]
        if others:
            yield Problem(file=file, key="aliases", text=f"{name!r} is also {', '.join(others)}")
    for index, when in enumerate(gpu.arch_when):
        yield from _ranges(file, f"arch_when[{index}]", version=when.version)


def _check_cuda(release: CudaRelease) -> Iterator[Problem]:
    file = f"toolchains/cuda/{release.version}.toml"
    host = release.host
    if host.gcc_min > host.gcc_max:
        yield Problem(file=file, key="host", text=f"range gcc {host.gcc_min} to {host.gcc_max} is empty")
    outside = [major for major in host.prefer if not host.gcc_min <= major <= host.gcc_max]
    if outside:
        yield Problem(file=file, key="host.prefer", text=f"{outside} is outside gcc {host.gcc_min} to {host.gcc_max}")
    if not release.release.startswith(release.version):
        yield Problem(file=file, key="release", text=f"{release.release} is no release of {release.version}")


def _check_recipe(
    recipe: Recipe,
    recipes: Mapping[str, Recipe],
    gpus: Mapping[str, Gpu],
    patches: Mapping[str, tuple[str, ...]],
    files: Collection[str],
    exists: Exists,
) -> Iterator[Problem]:
    file = f"recipes/{recipe.name}.toml"
    for key in ("needs", "built_against"):
        for name in getattr(recipe, key):
            wrong = exists("recipe", name, recipes)
            if wrong:
                yield Problem(file=file, key=key, text=wrong)
    for name in recipe.built_against:
        if name not in recipe.needs:
            yield Problem(file=file, key="built_against", text=f"{name!r} is not in needs")
    seen: set[str] = set()
    for index, version in enumerate(recipe.versions):
        yield from _check_version(file, index, recipe, version, patches, seen)
    for index, overlay in enumerate(recipe.when):
        key = f"when[{index}]"
        yield from _ranges(file, key, version=overlay.version, cuda=overlay.cuda, capability=overlay.capability)
        for name in overlay.built_against:
            if name not in recipe.needs:
                yield Problem(file=file, key=f"{key}.built_against", text=f"{name!r} is not in needs")
        for name in overlay.gpus:
            wrong = exists("GPU", name, gpus)
            if wrong:
                yield Problem(file=file, key=f"{key}.gpus", text=wrong)
        for name in overlay.variants:
            if name not in recipe.variants:
                text = f"no variant {name!r}; known: {', '.join(recipe.variants) or 'none'}"
                yield Problem(file=file, key=f"{key}.variants", text=text)
    for name, variant in recipe.variants.items():
        for included in variant.includes:
            if included not in recipe.variants or name in features(recipe, included):
                why = "includes itself" if included in recipe.variants else f"there is no {included!r}"
                yield Problem(file=file, key=f"variants.{name}.includes", text=why)
        problem = variant_problem(recipe, name)
        if problem:
            yield Problem(file=file, key=f"variants.{name}", text=problem)
    if recipe.build.backend == "hook" and f"recipes/{recipe.name.replace('-', '_')}.py" not in files:
        text = f"backend is hook, but recipes/{recipe.name.replace('-', '_')}.py does not exist"
        yield Problem(file=file, key="build.backend", text=text)


def _check_version(
    file: str,
    index: int,
    recipe: Recipe,
    version: RecipeVersion,
    patches: Mapping[str, tuple[str, ...]],
    seen: set[str],
) -> Iterator[Problem]:
    key = f"versions[{index}]"
    if version.version in seen:
        yield Problem(file=file, key=f"{key}.version", text=f"{version.version} is there twice")
    seen.add(version.version)
    try:
        Version(version.version)
    except InvalidVersion:
        yield Problem(file=file, key=f"{key}.version", text=f"{version.version!r} is not a PEP 440 version")
    yield from _ranges(file, key, python=version.python, cuda=version.cuda)
    if not version.sources:
        yield Problem(file=file, key=f"{key}.sources", text="a version needs at least one source")
    there = patches.get(f"{recipe.name}/{version.version}", ())
    listed = [*version.patches, *(name for names in version.patches_for.values() for name in names)]
    for name in listed:
        if name not in there:
            text = f"patches/{recipe.name}/{version.version}/{name} does not exist"
            yield Problem(file=file, key=f"{key}.patches", text=text)
    for name in there:
        if name not in listed:
            text = f"patch nobody lists; add it to versions[{index}].patches of {file} or remove it"
            yield Problem(file=f"patches/{recipe.name}/{version.version}/{name}", text=text)
    for name in version.patches_for:
        if name not in version.sources:
            yield Problem(file=file, key=f"{key}.patches_for", text=f"no source {name!r}")


def _check_stack(
    stack: Stack,
    recipes: Mapping[str, Recipe],
    cuda: Mapping[str, CudaRelease],
    pythons: Mapping[str, PythonRelease],
    files: Collection[str],
    exists: Exists,
) -> Iterator[Problem]:
    file = f"recipes/stacks/{stack.name}.toml"
    try:
        datetime.date.fromisoformat(stack.date)
    except ValueError:
        yield Problem(file=file, key="date", text=f"{stack.date} is no day")
    wrong = exists("Python", stack.python, pythons)
    if wrong:
        yield Problem(file=file, key="python", text=wrong)
    for name in stack.cuda:
        wrong = exists("CUDA release", name, cuda)
        if wrong:
            yield Problem(file=file, key="cuda", text=wrong)
    for name, package in stack.packages.items():
        key = f"packages.{name}"
        wrong = exists("recipe", name, recipes)
        if wrong:
            yield Problem(file=file, key=key, text=wrong)
        elif name in recipes:
            yield from _check_package(file, key, stack, package, recipes[name])
    for name in stack.options:
        if name not in stack.packages:
            yield Problem(file=file, key=f"options.{name}", text="the stack has no such package")
    if stack.lock and f"recipes/stacks/{stack.name}.lock" not in files:
        text = f"recipes/stacks/{stack.name}.lock does not exist; make it with `invoke lock --stack {stack.name}`"
        yield Problem(file=file, key="lock", text=text)


def _check_package(file: str, key: str, stack: Stack, package: StackPackage, recipe: Recipe) -> Iterator[Problem]:
    versions = {version.version: version for version in recipe.versions}
    if package.version not in versions:
        near = nearest(package.version, list(versions)) or ", ".join(versions)
        yield Problem(file=file, key=f"{key}.version", text=f"{recipe.name} has no {package.version}; it has {near}")
        return
    version = versions[package.version]
    if package.source not in version.sources:
        text = f"{recipe.name} {version.version} has no source {package.source!r}; it has {', '.join(version.sources)}"
        yield Problem(file=file, key=f"{key}.source", text=text)
    problem = variant_problem(recipe, package.variant)
    if problem:
        yield Problem(file=file, key=f"{key}.variant", text=f"{recipe.name} {problem}")
    for name in recipe.needs:
        if name not in stack.packages:
            yield Problem(file=file, key=key, text=f"{recipe.name} needs {name}, which the stack does not have")
    if version.python and f"{stack.python}" not in _specifier(version.python):
        yield Problem(file=file, key=f"{key}.version", text=f"wants Python {version.python}, not {stack.python}")


def _specifier(text: str) -> SpecifierSet:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return SpecifierSet()


def _ranges(file: str, key: str, **ranges: str) -> Iterator[Problem]:
    for name, text in ranges.items():
        try:
            spec = SpecifierSet(text)
        except InvalidSpecifier:
            yield Problem(file=file, key=f"{key}.{name}", text=f"{text!r} is not a version range like '>=12.4,<13'")
            continue
        lows = [(Version(one.version), one.operator == ">") for one in spec if one.operator in (">=", ">")]
        highs = [(Version(one.version), one.operator == "<=") for one in spec if one.operator in ("<=", "<")]
        low, high = max(lows, default=None), min(highs, default=None)
        if low and high and (low[0] > high[0] or (low[0] == high[0] and (low[1] or not high[1]))):
            yield Problem(file=file, key=f"{key}.{name}", text=f"{text!r} is empty")
