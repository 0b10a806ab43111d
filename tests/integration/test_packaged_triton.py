"""Entries that Triton made on a machine without a GPU are packed as a harvest and found elsewhere, by real Triton.

BRINGUP_TEST_ENVIRONMENT names an environment of the stack `kernels` (build/TARGET/env); without it this is skipped.
"""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from bringup.harvest_pack import pack
from bringup.verify.levels import jit_caches

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = Path(os.environ.get("BRINGUP_TEST_ENVIRONMENT", "/nonexistent"))
FACTS = {"machine": "x86_64", "gpu": "sm_90a", "python": "3.11"}

pytestmark = pytest.mark.skipif(
    not (ENVIRONMENT / "bin/python").exists(), reason="BRINGUP_TEST_ENVIRONMENT names no environment with Triton"
)

KERNEL = """
import triton
import triton.language as tl


@triton.jit
def double(source, target, count, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(target + at, tl.load(source + at, mask=at < count) * 2, mask=at < count)
"""

# Asks for kernel, launcher and cuda_utils as a launch would, and prints where their files are.
ASK = """
import sys, types
sys.path[:0] = [{recipes!r}, {kernels!r}]
import sglang_kernels_triton as ahead
import torch, double_kernel
from pathlib import Path
from triton.backends.nvidia import driver
from triton.runtime import build
ahead.pretend(90)
found = []
build._load_module_from_path = lambda name, path: found.append(path) or types.SimpleNamespace(launch=None)
driver.library_dirs = lambda: [{stub!r}]
tensor = torch.zeros(16)
kernel = double_kernel.double.warmup(tensor, tensor, 16, BLOCK=64, grid=(1,))
found += kernel.metadata_group.values()
build.compile_module_from_src(
    src=Path(driver.__file__).with_name("driver.c").read_text(), name="cuda_utils", library_dirs=driver.library_dirs(),
    include_dirs=driver.include_dirs, libraries=driver.libraries)
driver.CudaLauncher(kernel.src, kernel.metadata)
print(*found, sep="\\n")
"""


def ask(tmp_path, home, *, compiler, site=None):
    """Run ASK under another home folder; returns the paths of what Triton took."""
    kernels = tmp_path / "kernels"
    kernels.mkdir(exist_ok=True)
    (kernels / "double_kernel.py").write_text(KERNEL)
    stub = tmp_path / "stub"
    if not stub.exists():
        stub.mkdir()
        argv = ["gcc", "-shared", "-nostdlib", "-x", "c", os.devnull, "-Wl,-soname,libcuda.so.1", "-o"]
        subprocess.run([*argv, str(stub / "libcuda.so.1")], check=True)
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "CC": compiler}
    if site:
        env |= {"PYTHONPATH": str(site), "TRITON_CACHE_MANAGER": "bringup_harvest.manager:PackagedCacheManager"}
    home.mkdir(exist_ok=True)
    text = ASK.format(recipes=str(ROOT / "recipes"), kernels=str(kernels), stub=str(stub))
    argv = [str(ENVIRONMENT / "bin/python"), "-W", "ignore", "-c", text]
    return subprocess.run(argv, env=env, cwd=home, capture_output=True, text=True, check=False)


def test_a_harvest_is_found_under_another_home_and_path_with_nothing_compiled(tmp_path):
    first = ask(tmp_path, tmp_path / "home", compiler=shutil.which("gcc"))
    assert first.returncode == 0, first.stderr
    folders = jit_caches.roots({"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "t"), "USER": "u"})
    items = jit_caches.compiled({}, jit_caches.snapshot(folders))
    assert {item.name for item in items} == {"double", "cuda_utils", "__triton_launcher"}
    jit_caches.harvest(folders, items, tmp_path / "harvest/graph")
    made = pack(
        tmp_path / "harvest", into=tmp_path / "wheels", installed=tmp_path / "none", facts=FACTS,
        manager=ROOT / "recipes/sglang_kernels_manager.py",
    )  # fmt: skip
    shutil.rmtree(tmp_path / "home")
    site = tmp_path / "elsewhere/site"
    with zipfile.ZipFile(made.wheel) as box:
        box.extractall(site)

    second = ask(tmp_path, tmp_path / "other-home", compiler="/bin/false", site=site)
    assert second.returncode == 0, second.stderr
    assert len(second.stdout.split()) >= 4
    assert all(path.startswith(str(site)) for path in second.stdout.split())

    index = next(site.glob("bringup_harvest/triton/files/*/cuda_utils*"))
    index.write_bytes(b"damaged")
    third = ask(tmp_path, tmp_path / "third-home", compiler="/bin/false", site=site)
    assert third.returncode != 0, "a damaged entry is compiled again, and there is no compiler here"
    assert "cuda_utils" in third.stderr
