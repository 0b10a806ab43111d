"""The data files of this repository: each loads, and together they make sense."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.own_data import own_catalogue
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from bringup.config.lockfile import read_lock
from bringup.model.gpu import Gpu
from bringup.model.recipe import Recipe
from bringup.model.source import AssembledSource, GitSource, OwnSource, SimpleSource, WheelSource
from bringup.model.stack import Stack
from bringup.planning.locking import NEVER, check_lock, lock_inputs

ROOT = Path(__file__).resolve().parents[3]
CATALOGUE = own_catalogue()

# Placeholders that env and config_settings may use: docs/how-to/new-recipe.md.
PLACEHOLDERS = {
    "cuda_home", "nvcc", "cc", "cxx", "jobs", "version", "local", "python", "site_packages", "source", "work",
    "epoch", "cuda", "cuda_short",
}  # fmt: skip
# What the engine sets by itself for every CUDA build.
ENGINE_SETS = {
    "CUDA_HOME", "CUDA_PATH", "CUDACXX", "CMAKE_CUDA_COMPILER", "CUDAHOSTCXX", "CMAKE_CUDA_HOST_COMPILER", "CC", "CXX",
    "PATH", "SOURCE_DATE_EPOCH",
}  # fmt: skip
GPUS = sorted((gpu for gpu in CATALOGUE.gpus.values() if gpu.accelerator), key=lambda gpu: gpu.name)
STACKS = sorted(CATALOGUE.stacks.values(), key=lambda stack: stack.name)
RECIPES = sorted(CATALOGUE.recipes.values(), key=lambda recipe: recipe.name)


def each_name(value: Gpu | Stack | Recipe) -> str:
    return value.name


def test_everything_that_the_project_promises_is_there() -> None:
    assert set(CATALOGUE.recipes) >= {"pytorch", "torchvision", "triton", "flashinfer", "sgl-kernel", "sglang"}
    assert set(CATALOGUE.stacks) >= {"sglang-0.5.12", "sglang-0.5.2", "kernels"}
    assert {gpu.capability for gpu in GPUS} == {
        "8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1",
    }  # fmt: skip
    assert CATALOGUE.gpus["h200"].stack == "sglang-0.5.12"


@pytest.mark.parametrize("gpu", GPUS, ids=each_name)
def test_spellings_of_a_gpu_agree(gpu: Gpu) -> None:
    major, minor = gpu.capability.split(".")
    plain = gpu.capability
    assert gpu.arch["torch"] == plain
    assert re.fullmatch(re.escape(plain) + "[af]?", gpu.arch["flashinfer"])
    assert re.fullmatch(f"{major}{minor}[af]?", gpu.arch["cmake"])
    # What FlashInfer and CMake are told is what the verification then looks for in the files.
    assert gpu.machine_code.exact == f"sm_{gpu.arch['cmake']}" == f"sm_{gpu.arch['flashinfer'].replace('.', '')}"
    assert f"sm_{major}{minor}" in gpu.machine_code.any
    for code in gpu.machine_code.any:
        number = int(code.removeprefix("sm_").rstrip("af"))
        assert number // 10 == int(major)
        assert number % 10 <= int(minor), "machine code runs on the same major and an equal or higher minor only"
        assert not code.endswith("a") or number == int(major + minor), "suffix a runs on that very capability only"
    assert gpu.sources


def can_target(release: str, gpu: Gpu) -> bool:
    code = gpu.machine_code.exact.removeprefix("sm_")
    digits = code.rstrip("af")
    return f"{digits[:-1]}.{digits[-1]}{code[len(digits) :]}" in CATALOGUE.cuda[release].capabilities


@pytest.mark.parametrize("gpu", GPUS, ids=each_name)
def test_the_range_of_a_gpu_is_what_the_compilers_can(gpu: Gpu) -> None:
    for release in CATALOGUE.cuda:
        low, before = Version(gpu.cuda.min), gpu.cuda.before
        inside = low <= Version(release) and (not before or Version(release) < Version(before))
        assert can_target(release, gpu) == inside, f"CUDA {release}"


@pytest.mark.parametrize("gpu", GPUS, ids=each_name)
def test_the_stack_of_a_gpu_has_a_toolkit_that_can_target_it(gpu: Gpu) -> None:
    assert any(can_target(release, gpu) for release in CATALOGUE.stacks[gpu.stack].cuda)


def test_the_driver_names_one_gpu() -> None:
    texts = [(text, gpu.name) for gpu in GPUS for text in gpu.device_names]
    assert len({text for text, _ in texts}) == len(texts)

    def named(device: str) -> str:
        return max((text, name) for text, name in texts if text in device)[1]

    for device, name in (
        ("NVIDIA A100-SXM4-80GB", "a100"), ("NVIDIA A10", "a10"), ("NVIDIA H200", "h200"), ("NVIDIA H20", "h20"),
        ("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA GH200 480GB", "gh200"), ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"), ("NVIDIA GB200", "gb200"), ("NVIDIA B200", "b200"), ("NVIDIA GB10", "dgx-spark"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"), ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx-pro-6000"),
    ):  # fmt: skip
        assert named(device) == name


def test_every_alias_finds_its_gpu() -> None:
    for gpu in GPUS:
        for name in (gpu.name, gpu.name.upper(), *gpu.aliases):
            assert CATALOGUE.gpu(name) is gpu


def simple_sources(recipe: Recipe) -> Iterator[tuple[str, SimpleSource]]:
    for version in recipe.versions:
        for name, source in version.sources.items():
            for one in [part.source for part in source.parts] if isinstance(source, AssembledSource) else [source]:
                yield f"{version.version} {name}", one
        for name, extra in version.extras.items():
            yield f"{version.version} extra {name}", extra


@pytest.mark.parametrize("recipe", RECIPES, ids=each_name)
def test_a_source_can_be_found(recipe: Recipe) -> None:
    for where, source in simple_sources(recipe):
        if isinstance(source, GitSource):
            assert source.commit != "unrecorded" or source.tag, f"{where}: neither commit nor tag"
            assert source.url.startswith("https://"), where


@pytest.mark.parametrize("recipe", RECIPES, ids=each_name)
def test_versions_are_newest_first(recipe: Recipe) -> None:
    versions = [Version(one.version) for one in recipe.versions]
    assert versions == sorted(versions, reverse=True)


@pytest.mark.parametrize("recipe", RECIPES, ids=each_name)
def test_placeholders_are_known(recipe: Recipe) -> None:
    build = recipe.build
    tables = [(build.env, ""), (build.config_settings, "")]
    tables += [(table, one.version) for one in recipe.when for table in (one.env, one.config_settings)]
    tables += [(variant.env, "") for variant in recipe.variants.values()]
    for value, versions in ((value, versions) for table, versions in tables for value in table.values()):
        held = [one for one in recipe.versions if SpecifierSet(versions).contains(one.version, prereleases=True)]
        extras = {frozenset(version.extras) for version in held}
        for name in re.findall(r"\{([^}]*)\}", value):
            kind, _, rest = name.partition(".")
            if kind == "extra":
                assert all(rest in names for names in extras if names), value
            elif kind == "arch":
                assert all(rest in gpu.arch for gpu in GPUS), value
            else:
                assert name in PLACEHOLDERS, value
    assert set(re.findall(r"\{([^}]*)\}", build.local)) <= {"local"}


@pytest.mark.parametrize("recipe", RECIPES, ids=each_name)
def test_recipes_do_not_set_what_the_engine_sets(recipe: Recipe) -> None:
    assert not ENGINE_SETS & set(recipe.build.env)


@pytest.mark.parametrize("recipe", RECIPES, ids=each_name)
def test_a_version_given_to_a_build_ends_with_the_label_of_the_wheel(recipe: Recipe) -> None:
    """Another label would be added behind it, and `torch.__version__` would differ from the wheel's version."""
    for value in recipe.build.env.values():
        if value.startswith("{version}+"):
            assert value == "{version}+" + recipe.build.local


@pytest.mark.parametrize("recipe", RECIPES, ids=each_name)
def test_every_extra_is_handed_over(recipe: Recipe) -> None:
    for version in recipe.versions:
        overlays = [one for one in recipe.when if SpecifierSet(one.version).contains(version.version, prereleases=True)]
        text = " ".join(
            value for one in (recipe.build, *overlays) for value in (*one.config_settings.values(), *one.env.values())
        )
        assert [name for name in version.extras if f"{{extra.{name}}}" not in text] == []


@pytest.mark.parametrize("recipe", RECIPES, ids=each_name)
def test_an_exemption_says_why(recipe: Recipe) -> None:
    for one in (*recipe.native_code, *recipe.prebuilt_native_code):
        assert one.exempt == bool(one.why)
        SpecifierSet(one.version), SpecifierSet(one.capability)  # a wrong range raises


@pytest.mark.parametrize("recipe", RECIPES, ids=each_name)
def test_variants_fall_back_to_variants(recipe: Recipe) -> None:
    for name, variant in recipe.variants.items():
        assert variant.fallback in ("", *recipe.variants)
        assert variant.fallback != name


def toolkit_groups() -> set[str]:
    wheels = [release.providers.wheels for release in CATALOGUE.cuda.values()]
    return {pin.group for one in wheels if one for pin in one.packages}


@pytest.mark.parametrize("recipe", RECIPES, ids=each_name)
def test_toolkit_groups_exist(recipe: Recipe) -> None:
    wanted = {*recipe.build.toolkit_groups, *(group for one in recipe.when for group in one.toolkit_groups)}
    assert wanted <= toolkit_groups()


@pytest.mark.parametrize("stack", STACKS, ids=each_name)
def test_a_stack_is_locked_as_it_says(stack: Stack) -> None:
    lock = read_lock(ROOT / "recipes" / "stacks" / f"{stack.name}.lock")
    inputs = lock_inputs(stack, CATALOGUE.recipes)
    check_lock(lock, inputs)
    for name, choice in stack.packages.items():
        recipe = CATALOGUE.recipes[name]
        version = next(one for one in recipe.versions if one.version == choice.version)
        if isinstance(version.sources[choice.source], OwnSource):
            continue  # made by its hook and on no index
        pin = lock.pins[version.distribution or recipe.distribution]
        assert pin.version == choice.version
        source = version.sources[choice.source]
        if isinstance(source, WheelSource):
            assert f"sha256:{source.sha256}" in pin.hashes, f"{name}: recipe and lock mean different files"
    for line in inputs.overrides:
        if line.endswith(NEVER):
            assert line.split(" ;")[0] not in lock.pins
    assert Version("3.31") <= Version(lock.pins["cmake"].version) < Version("4")
    left_out = {line.split(" ;")[0] for line in inputs.overrides if line.endswith(NEVER)}
    for group in inputs.requirements.values():  # a build requirement that the lock does not have raises
        lock.closure(line for line in group if line not in left_out)


def test_locks_hold_no_addresses() -> None:
    for stack in STACKS:
        text = (ROOT / "recipes" / "stacks" / f"{stack.name}.lock").read_text()
        assert "://" not in text


@pytest.mark.parametrize("stack", STACKS, ids=each_name)
def test_every_override_and_exclusion_has_a_reason(stack: Stack) -> None:
    wanted = {re.split(r"[\[<>=!~ ]", line)[0] for line in stack.requirements.overrides} | {*stack.requirements.exclude}
    assert set(stack.requirements.why) == wanted


@pytest.mark.parametrize("stack", STACKS, ids=each_name)
def test_a_recipe_version_accepts_the_cuda_of_its_stack(stack: Stack) -> None:
    for name, choice in stack.packages.items():
        version = next(one for one in CATALOGUE.recipes[name].versions if one.version == choice.version)
        for release in stack.cuda:
            assert SpecifierSet(version.cuda).contains(release), f"{name} {choice.version} and CUDA {release}"
