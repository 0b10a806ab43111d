"""From a target and the data to packages without conditions. Pure: values in, values out."""

from __future__ import annotations

import graphlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from packaging.specifiers import SpecifierSet

from bringup.config.catalogue import Catalogue
from bringup.config.near import nearest
from bringup.config.variants import choose_variant, features, variant_env, variant_requires
from bringup.errors import TargetError, UsageError
from bringup.model.gpu import Gpu
from bringup.model.plan import Package, PatchFile, Request, Target
from bringup.model.recipe import Build, NativeCode, Overlay, Recipe
from bringup.model.recipe import Version as RecipeVersion
from bringup.model.source import WheelSource
from bringup.model.stack import Stack, StackPackage
from bringup.planning.abi import check_cxx11_abi
from bringup.planning.notes import reasons, variant_note
from bringup.planning.sources import unrecorded
from bringup.planning.target import refused_cuda, version_of


def resolve_packages(
    request: Request,
    catalogue: Catalogue,
    target: Target,
    stack: Stack,
    *,
    patch_hash: Mapping[Path, str],
    missing_tools: Mapping[str, str] | None = None,
    abi: bool = True,
) -> dict[str, Package]:
    """Return the packages of the stack in build order, each with its conditions resolved.

    Args:
        request: what was asked.
        catalogue: all data.
        target: what is built for.
        stack: what is built.
        patch_hash: SHA-256 of every patch file that the stack's versions list.
        missing_tools: programs that recipes name and that cannot be used here ("cargo>=1.85"), with the reason.
        abi: refuse a published wheel of another C++ ABI than PyTorch's; doctor looks at that by itself.
    """
    for name in [*request.only, *request.variants]:
        if name not in stack.packages:
            near = nearest(name, list(stack.packages))
            msg = f"stack {stack.name} has no package {name!r}; it has {', '.join(stack.packages)}"
            raise UsageError(msg, hint=f"did you mean {near}?" if near else "")
    graph = {
        name: [need for need in catalogue.recipes[name].needs if need in stack.packages] for name in stack.packages
    }
    missing = missing_tools or {}
    order = graphlib.TopologicalSorter(graph).static_order()
    packages = {
        name: _resolve_package(request, catalogue, target, stack, name, tuple(graph[name]), patch_hash, missing)
        for name in order
    }
    if abi:
        check_cxx11_abi(packages)
    return packages


def _resolve_package(
    request: Request,
    catalogue: Catalogue,
    target: Target,
    stack: Stack,
    name: str,
    needs: tuple[str, ...],
    patch_hash: Mapping[Path, str],
    missing_tools: Mapping[str, str],
) -> Package:
    recipe, choice = catalogue.recipes[name], stack.packages[name]
    version = version_of(name, catalogue, stack)
    if refused := refused_cuda(name, version, target.cuda.version):
        raise TargetError(refused, hint=f"recipes/{name}.toml has the range; --cuda chooses another")
    source = version.sources[choice.source]
    variant = choose_variant(recipe, request.variants.get(name) or choice.variant)
    overlays, build = _build_of(recipe, target, version, choice, variant)
    fallback_note = ""
    absent = {tool: missing_tools[tool] for tool in build.tools if tool in missing_tools}
    if absent and recipe.variants.get(variant) and recipe.variants[variant].fallback and name not in request.variants:
        wanted, variant = variant, recipe.variants[variant].fallback
        overlays, build = _build_of(recipe, target, version, choice, variant)
        fallback_note = f"{name}: variant {variant} instead of {wanted}, because {reasons(absent)}"
        absent = {}
    names = (*version.patches, *version.patches_for.get(choice.source, ()))
    folder = catalogue.root / "patches" / name / version.version
    patches = tuple(PatchFile(path=folder / one, sha256=patch_hash[folder / one]) for one in names)
    built = not isinstance(source, WheelSource) or bool(patches)
    options = {**recipe.options, **stack.options.get(name, {})}
    if request.full and "full" in recipe.options:
        options["full"] = True
    warnings = [f"{name}: {one.note}" for one in overlays if one.note and one.warn]
    extras = version.extras if not isinstance(source, WheelSource) else {}
    warnings += [f"{name}: cannot be built here: {reasons(absent)}"] if absent and built else []
    warnings += unrecorded(name, version.version, source, extras)
    return Package(
        recipe=recipe,
        version=version.version,
        distribution=version.distribution or recipe.distribution,
        source_name=choice.source,
        source=source,
        extras=extras,
        patches=patches,
        build=build,
        options=options,
        variant=variant,
        needs=needs,
        native_code=_native_code(recipe, target, version, published=isinstance(source, WheelSource)),
        built=built,
        built_against=tuple(
            dict.fromkeys((*recipe.built_against, *(x for one in overlays for x in one.built_against)))
        ),
        notes=tuple(
            line
            for line in (
                fallback_note,
                variant_note(recipe, variant),
                *(f"{name}: {one.note}" for one in overlays if one.note and not one.warn),
            )
            if line
        ),
        warnings=tuple(warnings),
    )


def _build_of(
    recipe: Recipe, target: Target, version: RecipeVersion, choice: StackPackage, variant: str
) -> tuple[list[Overlay], Build]:
    overlays = [one for one in recipe.when if _applies(recipe, one, target, version, choice, variant)]
    build = _overlay(recipe, variant, overlays)
    if not target.gpu.accelerator:
        build = msgspec.structs.replace(build, cuda=False, toolkit_groups=())
    return overlays, build


def _native_code(recipe: Recipe, target: Target, version: RecipeVersion, *, published: bool) -> tuple[NativeCode, ...]:
    if not target.gpu.accelerator:
        return ()
    rules = recipe.prebuilt_native_code if published else recipe.native_code
    capability = target.gpu.capability.rstrip("af")
    return tuple(
        rule
        for rule in rules
        if SpecifierSet(rule.version).contains(version.version, prereleases=True)
        and SpecifierSet(rule.capability).contains(capability)
    )


def _applies(
    recipe: Recipe, one: Overlay, target: Target, version: RecipeVersion, choice: StackPackage, variant: str
) -> bool:
    capability = target.gpu.capability.rstrip("af")
    return (
        SpecifierSet(one.version).contains(version.version, prereleases=True)
        and SpecifierSet(one.cuda).contains(target.cuda.version)
        and SpecifierSet(one.capability).contains(capability)
        and (not one.gpus or target.gpu.name in one.gpus)
        and (not one.sources or choice.source in one.sources)
        and (not one.variants or bool(set(one.variants) & set(features(recipe, variant))))
    )


def _overlay(recipe: Recipe, variant: str, overlays: Sequence[Overlay]) -> Build:
    build = recipe.build
    env: dict[str, str] = dict(build.env)
    settings: dict[str, str] = dict(build.config_settings)
    requires = list(build.requires)
    groups = list(build.toolkit_groups)
    backend = build.backend
    tools = list(build.tools)
    env.update(variant_env(recipe, variant))
    requires += variant_requires(recipe, variant)
    neutral = list(build.neutral)
    for one in overlays:
        env.update(one.env)
        settings.update(one.config_settings)
        requires += one.requires
        groups += one.toolkit_groups
        backend = one.backend or backend
        tools += one.tools
        neutral += one.neutral
    changes: dict[str, Any] = {
        "env": {key: value for key, value in env.items() if value},
        "config_settings": settings,
        "requires": tuple(dict.fromkeys(requires)),
        "neutral": tuple(dict.fromkeys(neutral)),
        "toolkit_groups": tuple(dict.fromkeys(groups)),
        "backend": backend,
        "tools": tuple(dict.fromkeys(tools)),
        "disk_mib": next((one.disk_mib for one in reversed(overlays) if one.disk_mib), build.disk_mib),
        "seconds": next((one.seconds for one in reversed(overlays) if one.seconds), build.seconds),
    }
    return msgspec.structs.replace(build, **changes)


def arch_lists(gpu: Gpu, packages: Mapping[str, Package]) -> dict[str, str]:
    """Return the arch list by consumer, with the spellings that the versions in the plan want."""
    lists = dict(gpu.arch)
    for when in gpu.arch_when:
        package = packages.get(when.package)
        if package and SpecifierSet(when.version).contains(package.version, prereleases=True):
            lists[when.package] = when.value
    return lists


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
