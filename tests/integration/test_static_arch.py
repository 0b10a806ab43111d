"""The static level against what a real nvcc writes: the architecture is read right, and a wrong one is refused."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bringup.formats.fatbin import device_code, summarise
from bringup.formats.wheel import make_wheel, unpack_wheel
from bringup.model.verify import Status
from bringup.verify.static import NativeCode, OurWheel, check_static, check_wheel_static

ROOT = Path(__file__).resolve().parents[2]
SOURCE = """
__global__ void scale(float* x) { x[threadIdx.x] *= 2.0f; }
extern "C" void launch(float* x) { scale<<<1, 32>>>(x); }
"""


def tool(name: str) -> str:
    """Find a program of the CUDA toolkit on PATH, in an installed toolkit or in this Python's packages."""
    places = [
        *Path("/usr/local").glob(f"cuda*/bin/{name}"),
        *Path(sys.prefix).glob(f"lib/*/site-packages/**/bin/{name}"),
    ]
    return shutil.which(name) or next((str(path) for path in sorted(places)), "")


NVCC = tool("nvcc")
pytestmark = [pytest.mark.compile, pytest.mark.skipif(not NVCC, reason="needs nvcc: no CUDA toolkit was found")]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Compile a tiny library with the given flags, once for each set of them."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "scale.cu").write_text(SOURCE)

    def build(*flags: str) -> Path:
        out = folder / f"{re.sub(r'[^a-z0-9]+', '_', ' '.join(flags))}.so"
        if not out.exists():
            command = [NVCC, "-shared", "-Xcompiler", "-fPIC", *flags, "scale.cu", "-o", out]
            subprocess.run(command, cwd=folder, check=True, timeout=120, env={**os.environ, "TMPDIR": str(folder)})
        return out

    return build


def gencode(virtual: str, real: str) -> str:
    return f"-gencode=arch=compute_{virtual},code={real}"


PROMISE = NativeCode(glob="kern/**/*.so", archs=("sm_90a",))


def wheel_of(library: Path, tmp_path: Path) -> Path:
    (tmp_path / "tree/kern/ops").mkdir(parents=True)
    shutil.copy(library, tmp_path / "tree/kern/ops/scale.so")
    return make_wheel(tmp_path / "tree", tmp_path / "dist", name="kern", version="1.0", tag="cp39-abi3-linux_x86_64")


def test_code_for_another_gpu_is_refused(compiled, tmp_path):
    wheel = wheel_of(compiled(gencode("80", "sm_80")), tmp_path)
    checks = {check.id: check for check in check_wheel_static(wheel, [PROMISE])}
    assert checks["static.wheel.kern"].status is Status.OK
    code = checks["static.native-code.kern"]
    assert code.status is Status.FAIL
    assert "kern/ops/scale.so holds machine code for sm_80, not the machine code promised, sm_90a" in code.why


@pytest.mark.parametrize(("code", "status"), [("sm_80", 9), ("sm_90", 0)])
def test_the_task_names_file_and_code_once_and_ends_with_9(compiled, tmp_path, code: str, status: int):
    wheel = wheel_of(compiled(gencode(code.removeprefix("sm_"), code)), tmp_path)
    words = ["verify", "--gpu", "h200", "--level", "static", "--wheel", wheel]
    done = subprocess.run(
        [sys.executable, "-m", "bringup.cli", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    said = "kern/ops/scale.so holds machine code for sm_80, not the machine code promised"
    assert (done.stdout + done.stderr).count(said) == (1 if status else 0)
    assert ("kern-1.0-cp39-abi3-linux_x86_64.whl fails level static" in done.stderr) == bool(status)


def test_code_that_the_driver_would_compile_is_refused(compiled, tmp_path):
    wheel = wheel_of(compiled(gencode("90a", "compute_90a")), tmp_path)
    code = check_wheel_static(wheel, [PROMISE])[1]
    assert code.status is Status.FAIL
    assert "kern/ops/scale.so holds only PTX for compute_90a" in code.why


def test_the_right_code_passes_in_the_wheel_and_in_an_environment(compiled, tmp_path):
    wheel = wheel_of(compiled(gencode("90a", "sm_90a")), tmp_path)
    assert [check.status for check in check_wheel_static(wheel, [PROMISE])] == [Status.OK, Status.OK]
    site = tmp_path / "env/lib/python3.11/site-packages"
    unpack_wheel(wheel, site)
    checks = check_static(site, [OurWheel(path=wheel, distribution="kern", native_code=(PROMISE,))])
    assert [(check.id, check.status, check.why) for check in checks if check.status is not Status.OK] == []
    libraries = next(check for check in checks if check.id == "static.libraries.kern")
    assert libraries.evidence["needed"]["libc.so.6"] == "system"


@pytest.mark.parametrize(
    ("flags", "cubins", "ptx"),
    [
        ([gencode("90", "sm_90")], {"sm_90"}, set()),
        ([gencode("90a", "sm_90a"), "--no-compress"], {"sm_90a"}, set()),
        ([gencode("90a", "[sm_90a,compute_90a]"), "-Xfatbin", "-compress-all"], {"sm_90a"}, {"compute_90a"}),
        ([gencode("90a", "sm_90a"), "-rdc=true"], {"sm_90a"}, set()),
        (
            [gencode("80", "sm_80"), gencode("90a", "sm_90a"), gencode("90", "[sm_90,compute_90]")],
            {"sm_80", "sm_90", "sm_90a"},
            {"compute_90"},
        ),
    ],
    ids=["plain", "uncompressed", "compressed", "relocatable", "several"],
)
def test_architectures_are_read_as_compiled(compiled, flags, cubins, ptx):
    library = compiled(*flags)
    found = summarise(device_code(library))
    assert (set(found["cubin"]), set(found["ptx"])) == (cubins, ptx)
    cuobjdump = tool("cuobjdump")
    if cuobjdump:  # NVIDIA's own reader, where there is one, counts the same
        listed = subprocess.run([cuobjdump, "-lelf", "-lptx", library], check=False, capture_output=True, text=True)
        theirs = Counter(re.findall(r"\.sm_(\w+)\.(cubin|ptx)\b", listed.stdout))
        ours = {(arch.split("_")[1], kind): count for kind, archs in found.items() for arch, count in archs.items()}
        assert ours == dict(theirs)
