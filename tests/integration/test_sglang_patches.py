"""The patches that let SGLang 0.5.12.post1 run with FlashInfer 0.6.8.post1, on the published files.

What SGLang asks of FlashInfer is read from both, nothing is imported: every use that the release it was written for
(0.6.11.post1) can satisfy has to be satisfied by 0.6.8.post1 as well.
"""

import ast
import datetime as dt
import email
import email.policy
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from call_check import Library, Use, calls_into, guarded_imports
from packaging.requirements import Requirement

from bringup.formats.source_archive import unpack_archive
from bringup.formats.wheel import unpack_wheel
from bringup.system.downloads import DownloadCache
from bringup.system.environ import base_environment
from bringup.system.process import run
from bringup.system.pypi import fetch_index_file, find_uv

ROOT = Path(__file__).resolve().parents[2]
SERIES = sorted((ROOT / "patches" / "sglang" / "0.5.12.post1").glob("*.patch"))
SGLANG = ("sglang", "0.5.12.post1", "94b3f3cc6b97f1364f247b8d9c1d106ec63cf22c55d6b65bc40ff29b0206ef5f")
USED = ("flashinfer-python", "0.6.8.post1", "b18e4121baf9b93fa9a9f368ba9b981a0342895f50ab9dddc224aeb964ed346f")
MEANT = ("flashinfer-python", "0.6.11.post1", "b16ac9a4f229a6a0d875a2fd76dfd935d5c62e4a99ea7b128fe4b457530a5aed")
# Imported under try/except ImportError: without them SGLang refuses --moe-runner-backend flashinfer_mxfp4 on Hopper,
# which it never picks there by itself.
OPTIONAL = {"interleave_moe_scales_for_sm90_mixed_gemm", "interleave_moe_weights_for_sm90_mixed_gemm"}


@pytest.fixture(scope="module")
def files(request, tmp_path_factory):
    """Give the unpacked wheel and both FlashInfer trees."""
    cache = DownloadCache(request.config.cache.mkdir("bringup-downloads"))
    folder = tmp_path_factory.mktemp("published")
    unpack_wheel(fetch_index_file(*SGLANG, cache), folder / "sglang")
    for name, pin in (("used", USED), ("meant", MEANT)):
        unpack_archive(fetch_index_file(*pin, cache), folder / name)
    return folder


@pytest.fixture(scope="module")
def patched(files):
    tree = files / "patched"
    shutil.copytree(files / "sglang", tree)
    for patch in SERIES:
        git_apply(tree, patch)
    return tree


def git_apply(tree: Path, patch: Path) -> None:
    done = subprocess.run(["git", "apply", "-p1", str(patch)], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def uses(tree: Path) -> list[tuple[Path, Use]]:
    return [
        (path, use)
        for path in sorted((tree / "sglang").rglob("*.py"))
        if "flashinfer" in path.read_text()
        for use in calls_into("flashinfer", path, str(path.relative_to(tree)))
    ]


def lost(tree: Path, files: Path) -> list[tuple[Path, Use, str]]:
    """Return what works with the FlashInfer that SGLang was written for and not with the one that is used."""
    used, meant = Library(files / "used" / "flashinfer"), Library(files / "meant" / "flashinfer")
    return [
        (path, use, problem) for path, use in uses(tree) if (problem := use.problem(used)) and not use.problem(meant)
    ]


@pytest.mark.parametrize("patch", SERIES, ids=lambda patch: patch.name)
def test_headers(patch):
    message = email.message_from_string(patch.read_text(), policy=email.policy.default)
    number = patch.name[:4]
    assert re.fullmatch(r"\d{4}-[A-Za-z0-9.-]+\.patch", patch.name)
    assert message["From"]
    assert message["Date"]
    assert message["Subject"].startswith(f"[PATCH {int(number)}/{len(SERIES)}] ")
    assert re.search(
        r"^Upstream-Status: (Inappropriate|Backport|Submitted|Pending|Denied) \[.+\]$", patch.read_text(), re.MULTILINE
    )


@pytest.mark.network
def test_every_flashinfer_call_exists_in_the_release_that_is_used(files, patched):
    left = []
    for path, use, problem in lost(patched, files):
        if use.name in OPTIONAL and use.name in guarded_imports(path):
            continue
        left.append(problem)
    assert left == []
    assert len([use for _, use in uses(patched) if use.call is not None]) > 150


@pytest.mark.network
def test_without_the_patches_a_call_fails(files):
    problems = [problem for _, use, problem in lost(files / "sglang", files) if use.name not in OPTIONAL]
    assert len(problems) == 1
    assert "create_allreduce_fusion_workspace: got an unexpected keyword argument 'group'" in problems[0]


@pytest.mark.network
def test_positional_arguments_mean_the_same_in_both_releases(files, patched):
    used, meant = Library(files / "used" / "flashinfer"), Library(files / "meant" / "flashinfer")
    moved = []
    for _, use in uses(patched):
        one, other = used.find(use.module, use.name), meant.find(use.module, use.name)
        if use.call is not None and isinstance(one, ast.FunctionDef) and isinstance(other, ast.FunctionDef):
            count = len(use.call.args)
            names = [[arg.arg for arg in function.args.args][:count] for function in (one, other)]
            if names[0] != names[1]:
                moved.append((use.where, use.name, names))
    assert moved == []


@pytest.mark.network
def test_exactly_the_two_floors_are_lowered(files, patched):
    def floors(tree: Path) -> dict[str, str]:
        found = {}
        for path in (tree / "sglang").rglob("*.py"):
            if "assert_pkg_version" in path.read_text():
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.Call) and ast.unparse(node.func) == "assert_pkg_version":
                        package, floor = (ast.literal_eval(arg) for arg in node.args[:2])
                        found[package] = floor
        return found

    assert floors(files / "sglang") == {"flashinfer_python": "0.6.11.post1", "sglang-kernel": "0.4.2.post2"}
    assert floors(patched) == {"flashinfer_python": "0.6.8.post1", "sglang-kernel": "0.4.2.post1"}


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.mark.network
def test_only_the_files_of_the_patches_change(files, patched):
    changed = {
        path.relative_to(patched).as_posix()
        for path in patched.rglob("*")
        if path.is_file() and path.read_bytes() != content(files / "sglang" / path.relative_to(patched))
    }
    assert changed == {
        "sglang/jit_kernel/csrc/elementwise/activation.cuh",
        "sglang/jit_kernel/utils.py",
        "sglang/srt/entrypoints/engine.py",
        "sglang/srt/layers/flashinfer_comm_fusion.py",
        "sglang/srt/layers/vocab_mask_kernel.py",
        "sglang/srt/layers/vocab_parallel_embedding.py",
        "sglang-0.5.12.post1.dist-info/METADATA",
    }


def requirements(tree: Path) -> list[Requirement]:
    text = (tree / "sglang-0.5.12.post1.dist-info" / "METADATA").read_text()
    header = text.partition("\n\n")[0]
    return [
        Requirement(line.removeprefix("Requires-Dist: "))
        for line in re.findall(r"^Requires-Dist: .*$", header, re.MULTILINE)
    ]


@pytest.mark.network
def test_the_requirements_have_a_solution_on_the_day_of_the_stack(patched, tmp_path):
    """So `pip check` has nothing to report: everything SGLang asks for, with the releases that the stack pins."""
    stack = tomllib.loads((ROOT / "recipes" / "stacks" / "kernels.toml").read_text())
    day = stack["date"]
    wanted = [one for one in requirements(patched) if "extra" not in str(one.marker or "")]
    assert len(wanted) > 60
    (tmp_path / "in.txt").write_text("\n".join(map(str, wanted)) + "\n")
    run(
        [find_uv(), "pip", "compile", "--quiet", "--no-annotate", "--no-header", "--python-version", "3.11",
         "--python-platform", "x86_64-manylinux_2_34", "--prerelease", "if-necessary-or-explicit",
         "--exclude-newer", str(day), "--output-file", tmp_path / "out.txt", tmp_path / "in.txt"],
        env=base_environment(),
        cwd=tmp_path,
    )  # fmt: skip
    solved = dict(line.split("==") for line in (tmp_path / "out.txt").read_text().split() if "==" in line)
    assert solved["flashinfer-python"] == stack["packages"]["flashinfer"]["version"] == "0.6.8.post1"
    assert solved["sglang-kernel"] == stack["packages"]["sgl-kernel"]["version"] == "0.4.2.post1"
    assert solved["nvidia-cutlass-dsl"] == "4.4.2"
    assert "flashinfer-cubin" not in solved
    assert dt.date.fromisoformat(str(day)) < dt.date(2026, 6, 1)


def test_the_checker_sees_what_is_wrong(tmp_path):
    package = tmp_path / "lib"
    package.mkdir()
    (package / "__init__.py").write_text("from .core import make as make\nfrom .core import Wrapper\n")
    (package / "core.py").write_text(
        "def make(a, b=1, *, mode): ...\n"
        "class Wrapper:\n    def __init__(self, size): ...\n    def plan(self, n): ...\n"
    )
    user = tmp_path / "user.py"
    user.write_text(
        "from lib import make, Wrapper, gone\nimport lib.core as core\n"
        "make(1, mode=2)\nmake(1, kind=2)\ncore.make(1, 2, 3, mode=4)\n"
        "kw = dict(mode=1, extra=2)\nmake(0, **kw)\nmake(0, **unknown)\n"
        "w = Wrapper(3)\nw.plan(1)\nw.plan(1, 2)\nw.run()\nalias = core.make\nalias()\n"
    )
    problems = [use.problem(Library(package)) for use in calls_into("lib", user, "user.py")]
    assert [problem.partition(": ")[0] for problem in problems if problem] == [
        f"user.py:{line}" for line in (1, 4, 5, 7, 11, 12, 14)
    ]


# --- the registry stack: SGLang 0.4.6.post1 with FlashInfer 0.2.5 ---------------------------------------------------

OLD_SGLANG = ("sglang", "0.4.6.post1", "2ff518d7103efd9bd345d8e434b96bb152920738989ab007bd9771e758726a93")
ATTENTION = "sglang/srt/layers/attention"


def plan_arguments(path: Path) -> set[int]:
    """Return how many arguments compiled modules are planned with: `self._cached_module.plan(...)` in one file."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    found = {len(call.args) for call in calls if "_cached_module.plan" in ast.unparse(call.func)}
    assert found
    return found


@pytest.mark.network
def test_modules_are_planned_as_flashinfer_0_2_5_plans_them(request, tmp_path):
    cache = DownloadCache(request.config.cache.mkdir("bringup-downloads"))
    recipe = tomllib.loads((ROOT / "recipes/flashinfer.toml").read_text())
    (pin,) = (one["sources"]["sdist"]["sha256"] for one in recipe["versions"] if one["version"] == "0.2.5")
    unpack_archive(fetch_index_file(*OLD_SGLANG, cache), tmp_path / "sglang")
    unpack_archive(fetch_index_file("flashinfer-python", "0.2.5", pin, cache), tmp_path / "flashinfer")
    folder, library = tmp_path / "sglang" / ATTENTION, tmp_path / "flashinfer/flashinfer"
    wanted = {"flashinfer_backend.py": library / "decode.py", "flashinfer_mla_backend.py": library / "mla.py"}
    assert all(not plan_arguments(folder / name) <= plan_arguments(theirs) for name, theirs in wanted.items())
    for patch in sorted((ROOT / "patches/sglang/0.4.6.post1").glob("*.patch")):
        git_apply(tmp_path / "sglang", patch)
    assert all(plan_arguments(folder / name) <= plan_arguments(theirs) for name, theirs in wanted.items())
