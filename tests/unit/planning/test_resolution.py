"""From a request to a target and packages without conditions: overlays, variants, arch lists, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.data_root import Recipe, write_data
from helpers.plans import World

from bringup.config.catalogue import Catalogue, load_catalogue
from bringup.config.paths import data_root
from bringup.errors import TargetError, UsageError
from bringup.model.plan import Request
from bringup.model.source import AssembledSource, GitSource, Part
from bringup.planning.closure import needed_packages
from bringup.planning.resolve import arch_lists
from bringup.planning.sources import unrecorded
from bringup.planning.target import resolve_target
from bringup.planning.tools import toolkit_groups

WHEN = """
[variants.fast]
summary = "all"
fallback = "plain"
env = { MODE = "fast" }
requires = ["ninja"]
[variants.plain]
summary = "less"
env = { MODE = "plain" }

[[when]]
version = ">=1.0"
cuda = ">=13"
env = { NEW = "{version}", GONE = "" }
note = "new toolkit"
[[when]]
cuda = "<13"
env = { OLD = "1" }
[[when]]
capability = ">=9.0,<10"
toolkit_groups = ["cublas", "curand"]
note = "on Hopper"
warn = true
[[when]]
gpus = ["l40s"]
env = { ADA = "1" }
[[when]]
sources = ["git"]
backend = "setup.py"
[[when]]
variants = ["fast"]
tools = ["cargo>=1.85"]
requires = ["setuptools-rust"]
config_settings = { "build.args" = "x" }
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    alpha = Recipe(name="alpha", cuda=True, env={"GONE": "1", "KEPT": "1"}, build='requires = ["wheel"]', text=WHEN)
    beta = Recipe(name="beta", needs=("alpha",), build='toolkit_groups = ["cufft"]')
    return World(tmp_path, alpha, beta, gpus=("h200", "l40s"), cuda=("13.0", "12.4"))


def alpha(world: World, *, missing: tuple[str, ...] = (), **asked: object):
    return world.resolve(Request(**({"gpu": "h200"} | asked)), missing=missing)[1]["alpha"]  # type: ignore[arg-type]


def test_overlays_that_hold(world: World):
    package = alpha(world)
    assert package.build.env == {"KEPT": "1", "MODE": "fast", "NEW": "{version}"}
    assert package.build.requires == ("wheel", "ninja", "setuptools-rust")
    assert package.build.toolkit_groups == ("cublas", "curand")
    assert package.build.config_settings == {"build.args": "x"}
    assert package.build.backend == "pep517"
    assert package.notes == ("alpha: new toolkit",)
    assert package.warnings == ("alpha: on Hopper",)


def test_cpu_seconds_of_an_overlay_replace_the_recipes(tmp_path: Path):
    text = '[variants.plain]\nsummary = "less"\n[variants.full]\nsummary = "all"\n'
    text += '[[when]]\nvariants = ["full"]\nseconds = 70\n'
    world = World(tmp_path, Recipe(name="alpha", build="seconds = 40", text=text))
    assert [alpha(world, variants={"alpha": name}).build.seconds for name in ("plain", "full")] == [40, 70]


def test_overlays_of_another_toolkit_and_gpu(world: World):
    assert alpha(world, cuda="12.4").build.env == {"GONE": "1", "KEPT": "1", "MODE": "fast", "OLD": "1"}
    ada = alpha(world, gpu="l40s")
    assert ada.build.env["ADA"] == "1"
    assert ada.build.toolkit_groups == ()


def test_variant_asked_for(world: World):
    package = alpha(world, variants={"alpha": "plain"})
    assert (package.variant, package.build.env["MODE"], package.build.tools) == ("plain", "plain", ())


def test_variant_falls_back_where_a_tool_is_missing_and_says_so(world: World):
    package = alpha(world, missing=("cargo>=1.85",))
    assert (package.variant, package.build.tools) == ("plain", ())
    assert "setuptools-rust" not in package.build.requires
    assert package.notes[0] == "alpha: variant plain instead of fast, because cargo>=1.85 is not here"


def test_variant_asked_for_does_not_fall_back_and_says_so(world: World):
    warned = alpha(world, missing=("cargo>=1.85",), variants={"alpha": "fast"}).warnings
    assert "alpha: cannot be built here: cargo>=1.85 is not here" in warned
    assert alpha(world, missing=("cargo>=1.85",), variants={"alpha": "fast"}).variant == "fast"


def test_variant_that_is_not_there(world: World):
    with pytest.raises(UsageError, match="alpha has no variant 'fats'; it has fast, plain"):
        alpha(world, variants={"alpha": "fats"})
    with pytest.raises(UsageError, match="has no package 'alpa'"):
        alpha(world, variants={"alpa": "fast"})


def test_options_of_the_stack_win_over_those_of_the_recipe(tmp_path: Path):
    recipe = Recipe(name="alpha", text="[options]\nhead_dims = [64]\nfull = false\nkept = 1")
    world = World(tmp_path, recipe, stack="[options.alpha]\nhead_dims = [128]")
    assert alpha(world).options == {"head_dims": [128], "full": False, "kept": 1}
    assert alpha(world, full=True).options["full"] is True


def test_version_that_another_toolkit_builds(tmp_path: Path):
    world = World(tmp_path, Recipe(name="alpha"))
    world.change("recipes/alpha.toml", 'version = "1.0"', 'version = "1.0"\ncuda = "<13"')
    with pytest.raises(TargetError, match=r"alpha 1\.0 can be built with CUDA <13, not 13\.0"):
        alpha(world)


def test_toolkit_parts_are_those_of_packages_with_cuda(world: World):
    packages = world.resolve(Request(gpu="h200"))[1]
    assert toolkit_groups(packages) == {"cublas", "curand"}


def test_closure_of_needs(tmp_path: Path):
    recipes = Recipe(name="aa"), Recipe(name="bb", needs=("aa",)), Recipe(name="cc", needs=("bb",)), Recipe(name="dd")
    packages = World(tmp_path, *recipes).resolve(Request(gpu="h200"))[1]
    assert needed_packages(packages["cc"], packages) == ["aa", "bb"]
    assert needed_packages(packages["aa"], packages) == []


def test_arch_list_for_some_versions(tmp_path: Path):
    world = World(tmp_path, Recipe(name="alpha", version="2.0"))
    when = '[[arch_when]]\npackage = "alpha"\nversion = "{}"\nvalue = "9.0a;odd"\nwhy = "x"\n'
    file = "toolchains/gpus/h200.toml"
    old = (world.data / file).read_text()
    for version, expected in ((">=2", "9.0a;odd"), ("<2", None)):
        (world.data / file).write_text(old + when.format(version))
        target, packages, _ = world.resolve(Request(gpu="h200"))
        assert arch_lists(target.gpu, packages).get("alpha") == expected


# --- targets ------------------------------------------------------------------------------------------------------


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    gpus, toolkits = ("h200", "b200", "gb200"), ("wheels", "debs")
    data = write_data(tmp_path, Recipe(name="alpha"), gpus=gpus, cuda=("13.0", "12.4"), toolkits=toolkits)
    return load_catalogue(data)


def target_of(catalogue: Catalogue, gpu: str = "h200", machine: str = "x86_64", **asked: str):
    return resolve_target(Request(gpu=gpu, **asked), catalogue, gpu=catalogue.gpu(gpu), machine=machine)[0]  # type: ignore[arg-type]


def test_target_and_its_name(catalogue: Catalogue):
    target = target_of(catalogue)
    assert (target.id, target.local, target.platform_tag) == ("h200-cu130-cp311", "cu130", "linux_x86_64")
    assert target_of(catalogue, "gb200", "aarch64").id == "gb200-cu130-cp311-aarch64"
    assert target_of(catalogue, cuda="12.4.1").id == "h200-cu124-cp311"


def test_providers_are_those_that_the_release_has(catalogue: Catalogue):
    assert target_of(catalogue).providers == ("wheels",) + (("debs",) if catalogue.cuda["13.0"].providers.debs else ())
    assert target_of(catalogue, cuda="12.4").providers == ("debs",)
    assert target_of(catalogue, toolkit="system").providers == ("system",)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"gpu": "gb200"}, TargetError, "comes with aarch64 processors and this machine is x86_64"),
        ({"gpu": "b200", "cuda": "12.4"}, TargetError, "nvcc 12.4.131 of CUDA 12.4 cannot make sm_100a code"),
        ({"cuda": "12.8"}, TargetError, "stack tiny is for CUDA 13.0 or 12.4, not 12.8"),
        ({"cuda": "11.0"}, UsageError, "unknown CUDA release '11.0'"),
        ({"python": "3.13"}, TargetError, "Python 3.13: the stack tiny is for Python 3.11"),
        ({"toolkit": "deb"}, UsageError, "unknown toolkit provider 'deb'"),
        ({"cuda": "12.4", "toolkit": "wheels"}, TargetError, "CUDA 12.4 cannot be had from provider wheels"),
        ({"stack": "big"}, UsageError, "unknown stack 'big'"),
    ],
)
def test_targets_that_cannot_be(catalogue: Catalogue, asked: dict[str, str], error: type[Exception], message: str):
    with pytest.raises(error) as caught:
        target_of(catalogue, **asked)
    assert message in str(caught.value)
    assert caught.value.hint, "says nothing of what to do next"  # type: ignore[attr-defined]


def test_python_of_the_stack_may_be_named(catalogue: Catalogue):
    assert target_of(catalogue, python="3.11").python.version == "3.11"


def test_patch_release_of_python_is_the_stacks(catalogue: Catalogue):
    assert target_of(catalogue, python="3.11.9").python.version == "3.11"


def test_every_unrecorded_commit_is_named_wherever_it_stands():
    """The main source, a part of an assembled tree, and what is handed over besides."""
    known = GitSource(url="https://example.org/a", commit="a" * 40)
    unsure = GitSource(url="https://example.org/b", tag="v2", commit="unrecorded")
    tree = AssembledSource(parts=(Part(source=known), Part(source=unsure, into="third_party/nccl")))
    assert unrecorded("torch", "1", known, {}) == []
    assert [line.split(";")[0] for line in unrecorded("torch", "1", tree, {"json": unsure})] == [
        "torch 1: no commit is recorded for tag v2 of third_party/nccl",
        "torch 1: no commit is recorded for tag v2 of json",
    ]
    assert unrecorded("torch", "1", unsure, {})[0].startswith("torch 1: no commit is recorded for tag v2;")


@pytest.mark.parametrize(
    ("gpu", "stack", "said", "able"),
    [
        ("cpu", "kernels", "stack kernels is for GPUs, and cpu is a computer without a GPU", "registry-cpu"),
        ("h200", "registry-cpu", "stack registry-cpu is built without CUDA, and h200 is NVIDIA H200", "kernels"),
    ],
)
def test_a_stack_for_gpus_and_one_for_none_are_not_exchanged(gpu: str, stack: str, said: str, able: str):
    catalogue = load_catalogue(data_root())
    with pytest.raises(TargetError, match=said) as caught:
        resolve_target(Request(gpu=gpu, stack=stack), catalogue, gpu=catalogue.gpu(gpu), machine="x86_64")
    assert able in caught.value.hint
