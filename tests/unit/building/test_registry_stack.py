"""Decisions about PyTorch 2.6.0 from registries that need neither network nor compiler."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.own_data import own_catalogue
from msgspec import structs

from bringup.building.configure import check_parts, generate
from bringup.config.lockfile import read_lock
from bringup.config.variants import choose_variant, features, has_new_abi, variant_env, variants_with_abi
from bringup.errors import BuildError, ConfigError, PrepareError, TargetError, UsageError
from bringup.formats.elf import read_elf
from bringup.model.plan import Package, Request
from bringup.model.recipe import Variant
from bringup.model.source import AssembledSource, Part, UrlSource
from bringup.phases.patch import place_part
from bringup.planning.resolve import file_hash, resolve_packages
from bringup.planning.target import resolve_target

ROOT = Path(__file__).resolve().parents[3]
CATALOGUE = own_catalogue()
HASHES = {path: file_hash(path) for path in (ROOT / "patches").glob("*/*/*.patch")}


def packages(gpu: str = "h200", stack: str = "registry", variant: str = "", cuda: str = "") -> dict[str, Package]:
    request = Request(gpu=gpu, stack=stack, cuda=cuda, variants={"pytorch": variant} if variant else {})
    target, chosen = resolve_target(request, CATALOGUE, gpu=CATALOGUE.gpu(gpu), machine="x86_64")
    return dict(resolve_packages(request, CATALOGUE, target, chosen, patch_hash=HASHES))


def test_the_stack_declares_the_abi_of_its_published_binary():
    found = packages()
    assert found["pytorch"].build.env["_GLIBCXX_USE_CXX11_ABI"] == "0"
    assert not found["sgl-kernel"].built
    assert all(found[name].built for name in ("pytorch", "torchvision", "flashinfer", "sglang"))


@pytest.mark.parametrize("variant", ["serving", "attention", "full"])
def test_a_binary_of_the_other_abi_is_refused_before_anything_runs(variant: str):
    with pytest.raises(TargetError, match=rf"sgl-kernel 0\.1\.0 .* old C\+\+ ABI .* '{variant}'") as caught:
        packages(variant=variant)
    assert f"--variant pytorch={variant}+old-abi" in caught.value.hint


def test_a_published_torch_of_the_new_abi_would_want_the_variant_without_the_old_one():
    recipe = CATALOGUE.recipes["pytorch"]
    assert not has_new_abi(recipe, "full+old-abi")
    assert variants_with_abi(recipe, "full+old-abi", new=True) == ["full"]
    assert "full" in variants_with_abi(recipe, "old-abi", new=True)


def test_full_is_attention_and_cudnn_whatever_the_order():
    recipe = CATALOGUE.recipes["pytorch"]
    assert features(recipe, "full+old-abi") == ("attention", "cudnn", "full", "old-abi")
    assert variant_env(recipe, "full+old-abi") == variant_env(recipe, "old-abi+cudnn+attention")
    build = packages(variant="attention+cudnn+old-abi")["pytorch"].build
    assert "nvidia-cudnn-cu12" in build.requires
    assert build.env["USE_FLASH_ATTENTION"] == build.env["USE_MEM_EFF_ATTENTION"] == build.env["USE_CUDNN"] == "1"


def test_a_feature_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="pytorch has no variant 'atention'") as caught:
        packages(variant="atention+old-abi")
    assert caught.value.hint == "did you mean attention?"


def test_features_that_contradict_each_other_are_refused():
    recipe = CATALOGUE.recipes["pytorch"]
    other = Variant(summary="x", env={"USE_CUDNN": "0"})
    recipe = structs.replace(recipe, variants={**recipe.variants, "lean": other})
    with pytest.raises(UsageError, match="cudnn sets USE_CUDNN to '1' and lean to '0'"):
        choose_variant(recipe, "full+lean")


def test_a_computer_without_gpu_needs_no_toolkit():
    found = packages(gpu="cpu", stack="")
    build = found["pytorch"].build
    assert (build.cuda, build.toolkit_groups, build.env["USE_CUDA"]) == (False, (), "0")
    assert "CUDA_NVCC_EXECUTABLE" not in build.env
    assert "nvidia-nccl-cu12" not in build.requires
    assert found["torchvision"].build.env["FORCE_CUDA"] == "0"
    assert found["pytorch"].native_code == ()


def test_cuda_13_is_refused_with_the_range():
    with pytest.raises(TargetError, match=r"for CUDA 12\.4, not 13\.0") as caught:
        packages(cuda="13.0")
    reason = "pytorch 2.6.0 can be built with CUDA >=12.4,<12.7, not 13.0: CUDA 13 removed interfaces that it uses"
    assert reason in caught.value.message


def test_a_tree_without_the_submodules_history_takes_less_disk():
    assert packages()["pytorch"].build.disk_mib == 4000
    assert packages(stack="sglang-0.5.2")["pytorch"].build.disk_mib == CATALOGUE.recipes["pytorch"].build.disk_mib


def test_cmake_4_is_refused_by_the_requirement():
    requires = packages()["pytorch"].build.requires
    assert "cmake<4" in requires
    lock = read_lock(ROOT / "recipes/stacks/registry.lock")
    assert "cmake" in {pin.name for pin in lock.closure(requires)}
    changed = replace(lock, pins={**lock.pins, "cmake": replace(lock.pins["cmake"], version="4.0.0")})
    with pytest.raises(ConfigError, match=r"registry\.lock pins cmake 4\.0\.0, and a recipe wants cmake<4") as caught:
        changed.closure(requires)
    assert "lock --stack registry" in caught.value.hint


def test_a_missing_part_is_named_with_its_key(tmp_path: Path):
    package = packages()["pytorch"]
    assert isinstance(package.source, AssembledSource)
    for part in package.source.parts:
        (tmp_path / part.into / "x").mkdir(parents=True, exist_ok=True)
    check_parts(package, tmp_path)
    index = next(index for index, part in enumerate(package.source.parts) if part.into == "third_party/fmt")
    (tmp_path / "third_party/fmt/x").rmdir()
    with pytest.raises(BuildError, match="third_party/fmt is missing or empty") as caught:
        check_parts(package, tmp_path)
    assert f"versions[2.6.0].sources.registry.parts[{index}] of recipes/pytorch.toml" in caught.value.hint


def test_sources_are_generated_before_anything_is_compiled(tmp_path: Path):
    ninja = tmp_path / "ninja"
    ninja.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/said\n')
    ninja.chmod(0o755)
    package = packages()["pytorch"]
    (tmp_path / "tree").mkdir()
    generate(package, tmp_path / "tree", tmp_path / "python", env={}, log=tmp_path / "log")
    assert (tmp_path / "said").read_text().split() == ["-C", str(tmp_path / "tree/build"), *package.build.generate]


SOURCE = UrlSource(url="https://example.org/x.tar", sha256="0" * 64)


def test_a_part_may_be_a_folder_behind_a_link_or_one_file_behind_a_link(tmp_path: Path):
    piece, tree = tmp_path / "piece", tmp_path / "tree"
    (piece / "kineto-1234").mkdir(parents=True)
    (piece / "kineto-1234/LICENSE").write_text("text")
    (piece / "kineto").symlink_to("kineto-1234")
    (piece / "liba.so.1.2").write_text("library")
    (piece / "liba.so.1").symlink_to("liba.so.1.2")
    place_part(piece, Part(source=SOURCE, into="third_party/kineto", pick="kineto"), tree)
    place_part(piece, Part(source=SOURCE, into="lib/liba.so.1", pick="liba.so.1"), tree)
    assert (tree / "third_party/kineto/LICENSE").read_text() == "text"
    assert not (tree / "lib/liba.so.1").is_symlink()
    assert (tree / "lib/liba.so.1").read_text() == "library"


@pytest.mark.parametrize("pick", ["absent", "dead", "out"])
def test_a_part_that_is_not_in_its_source_is_an_error(tmp_path: Path, pick: str):
    piece = tmp_path / "piece"
    piece.mkdir()
    (tmp_path / "secret").mkdir()
    (piece / "dead").symlink_to("nowhere")
    (piece / "out").symlink_to("../secret")
    with pytest.raises(FileNotFoundError):
        place_part(piece, Part(source=SOURCE, into="x", pick=pick), tmp_path / "tree")


def test_a_library_of_a_part_gets_the_search_path_that_the_part_names(tmp_path: Path):
    piece, tree = tmp_path / "piece", tmp_path / "tree"
    piece.mkdir()
    shutil.copy("/bin/sh", piece / "sh")
    (piece / "notes.txt").write_text("no library")
    place_part(piece, Part(source=SOURCE, into="torch/lib/sh", pick="sh", rpath="$ORIGIN"), tree)
    assert read_elf(tree / "torch/lib/sh").rpath == ("$ORIGIN",)
    assert read_elf(piece / "sh").rpath == ()
    with pytest.raises(PrepareError, match=r"notes\.txt"):
        place_part(piece, Part(source=SOURCE, into="notes.txt", pick="notes.txt", rpath="$ORIGIN"), tree)
