"""A data folder (recipes, stack, lock, patches, toolchains) for the packages in tests/packages, on a git server."""

from __future__ import annotations

import difflib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from gitserver import GitServer

from bringup.config.catalogue import load_catalogue
from bringup.config.lockfile import read_lock
from bringup.planning.locking import lock_inputs, render_lock

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "tests/packages"
STACK = "mini"
# Everything that the four builds need from the index; pins and hashes are those of a committed lock.
BUILD_TOOLS = ("cmake", "ninja", "packaging", "semantic-version", "setuptools", "setuptools-rust", "wheel")

RECIPE = """
schema = 1
name = "{name}"
distribution = "{name}"
module = "{name}"
summary = "Sample package"
homepage = "https://example.org/{name}"
license = "Apache-2.0"
needs = {needs}
built_against = {needs}

[[versions]]
version = "{version}"
patches = {patches}

  [versions.sources.git]
  kind = "git"
  url = "{url}"
  tag = "v{version}"
  commit = "{commit}"
  submodules = {submodules}
{extras}
[build]
backend = "pep517"
requires = {requires}
memory_per_job_gib = 0.5
local = "{{local}}.src"
{build}
  [build.env]
  {upper}_BUILD_VERSION = "{{version}}+{{local}}.src"
{env}
{more}
"""

STACK_TOML = """
schema = 1
name = "mini"
title = "Four sample packages from git"
date = "2026-05-28"
python = "3.11"
cuda = ["13.0"]
toolkits = ["system", "wheels"]
lock = true

[packages]
minicuda = { version = "1.0.0", source = "git" }
miniext = { version = "0.5.0", source = "git" }
minikernels = { version = "0.3.0", source = "git" }
minirust = { version = "0.2.0", source = "git" }

[requirements]
roots = ["packaging"]
"""

NATIVE_CODE = """
[[native_code]]
glob = "{glob}"
code = "exact"
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The data folder and what was committed on the server."""

    data: Path
    commits: dict[str, str]


def publish(server: GitServer) -> dict[str, str]:
    """Turn tests/packages into repositories with submodules; returns the commits by name."""
    repos = server.repositories
    commits = {name: repos.add(name, folder=PACKAGES / name) for name in ("minibits", "miniabi")}
    commits["minifmt"] = repos.add("minifmt", folder=PACKAGES / "minifmt", tag="v1.0")
    nested = {"third_party/minibits": ("../minibits.git", commits["minibits"])}
    commits["minimath"] = repos.add("minimath", folder=PACKAGES / "minimath", submodules=nested)
    for name, version, subs in (
        ("minicuda", "1.0.0", {"third_party/minimath": (server.url("minimath"), commits["minimath"])}),
        ("miniext", "0.5.0", {"third_party/miniabi": ("../miniabi.git", commits["miniabi"])}),
        ("minikernels", "0.3.0", {}),
        ("minirust", "0.2.0", {}),
    ):
        commits[name] = repos.add(name, folder=PACKAGES / name, submodules=subs, tag=f"v{version}")
    # The branches go on; what is built is what the recipes and the parents name.
    for name in ("minibits", "minimath", "minicuda"):
        repos.add(name, files={"NEWS": "later\n"}, message="Later")
    return commits


def write_data(folder: Path, server: GitServer, *, base: str = "") -> Sample:
    """Write the data folder; recipes name `base` (the server itself if empty) as the place of the repositories."""
    commits = publish(server)
    recipes = folder / "recipes"
    (recipes / "stacks").mkdir(parents=True)
    shutil.copytree(ROOT / "toolchains", folder / "toolchains", ignore=shutil.ignore_patterns("gpus"))
    gpu = (ROOT / "toolchains/gpus/h200.toml").read_text()
    gpu = gpu.replace('stack = "sglang-0.5.12"', f'stack = "{STACK}"').replace('torch = "9.0"', 'torch = "9.0a"')
    (folder / "toolchains/gpus").mkdir()
    (folder / "toolchains/gpus/h200.toml").write_text(gpu)
    (recipes / "stacks/mini.toml").write_text(STACK_TOML)
    patches = {"minicuda": [_cuda_patch(), _submodule_patch()]}
    for name, text in _recipes(base or server.base, commits, patches).items():
        (recipes / f"{name}.toml").write_text(text)
    for name, series in patches.items():
        place = folder / "patches" / name / "1.0.0"
        place.mkdir(parents=True)
        for file, text in series:
            (place / file).write_text(text)
    write_lock(folder)
    return Sample(data=folder, commits=commits)


def write_lock(folder: Path) -> None:
    """Pin what the builds need, by the pins of a committed lock."""
    whole = read_lock(ROOT / "recipes/stacks/sglang-0.5.12.lock")
    pins = whole.text([whole.pins[name] for name in BUILD_TOOLS])
    place = folder / "recipes/stacks/mini.lock"
    place.touch()
    catalogue = load_catalogue(folder)
    inputs = lock_inputs(catalogue.stacks[STACK], catalogue.recipes)
    place.write_text(render_lock(inputs, pins))


def _recipes(base: str, commits: dict[str, str], patches: dict[str, list[tuple[str, str]]]) -> dict[str, str]:
    def recipe(name: str, version: str, **values: object) -> str:
        words = {"needs": [], "patches": [file for file, _ in patches.get(name, [])], "submodules": [], "extras": ""}
        words |= {"requires": ["setuptools", "wheel"], "build": "", "env": "", "more": ""} | values
        lists = {key: json.dumps(value) if isinstance(value, list) else value for key, value in words.items()}
        url = f"{base}/{name}.git"
        return RECIPE.format(
            name=name, upper=name.upper(), version=version, url=url, commit=commits[name], **lists
        )  # fmt: skip

    extra = f"""
  [versions.extras.minifmt]
  kind = "git"
  url = "{base}/minifmt.git"
  tag = "v1.0"
  commit = "{commits["minifmt"]}"
"""
    return {
        "minicuda": recipe(
            "minicuda", "1.0.0", submodules=["third_party/*"], requires=["setuptools", "wheel", "cmake", "ninja"],
            build='max_jobs = true\nfresh = ["build/CMakeCache.txt"]',
            more=NATIVE_CODE.format(glob="minicuda/lib/*.so"),
        ),
        "miniext": recipe("miniext", "0.5.0", needs=["minicuda"], submodules=["third_party/miniabi"]),
        "minikernels": recipe(
            "minikernels", "0.3.0", extras=extra, requires=["setuptools", "wheel", "ninja"], build="max_jobs = true",
            env='  MINIKERNELS_SOURCE_DIR_MINIFMT = "{extra.minifmt}"',
            more=NATIVE_CODE.format(glob="minikernels/*.so"),
        ),
        "minirust": recipe(
            "minirust", "0.2.0", build="cuda = false",
            requires=["setuptools", "wheel", "setuptools-rust", "semantic-version"],
            more=(
                '[variants.rust]\nsummary = "with the extension"\nfallback = "plain"\n\n'
                '[variants.plain]\nsummary = "without it"\nenv = { MINIRUST_NO_EXTENSION = "1" }\n\n'
                '[[when]]\nvariants = ["rust"]\ntools = ["cargo>=1.70"]\n'
            ),
        ),
    }  # fmt: skip


def _cuda_patch() -> tuple[str, str]:
    file = "csrc/minicuda.cu"
    text = (PACKAGES / "minicuda" / file).read_text()
    return "0001-Say-that-it-is-patched.patch", make_patch(file, text, text.replace('"unpatched"', '"patched"'))


def _submodule_patch() -> tuple[str, str]:
    text = (PACKAGES / "minimath/include/minimath.h").read_text()
    new = text.replace("// Submodule of minicuda;", "// Patched submodule of minicuda;")
    return "0002-Touch-a-submodule.patch", make_patch("third_party/minimath/include/minimath.h", text, new)


def make_patch(file: str, before: str, after: str) -> str:
    """Return a patch in the form of `git format-patch`."""
    assert before != after
    diff = "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{file}", f"b/{file}"))
    return (
        "From 1111111111111111111111111111111111111111 Mon Sep 17 00:00:00 2001\n"
        "From: A Developer <dev@example.org>\nDate: Thu, 28 May 2026 12:00:00 +0000\n"
        f"Subject: [PATCH] Change {file}\n\nUpstream-Status: Inappropriate [test]\n---\n\n"
        f"diff --git a/{file} b/{file}\n{diff}-- \n2.39.5\n"
    )
