import tomllib
from pathlib import Path

import classify
import pytest

FAILURES = Path(classify.__file__).with_name("failures.toml")

CASES = {
    "no-kernel-image": "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device",
    "jit-disabled-module-missing": "flashinfer.jit.core.MissingJITCacheError: JIT compilation is disabled via FLASHINFER_DISABLE_JIT",  # noqa: E501 - a log line
    "cuda-fp8-header-missing": "/x/include/flashinfer/vec_dtypes.cuh:21:10: fatal error: cuda_fp8.h: No such file or directory",  # noqa: E501 - a log line
    "arch-floor-sm75": "RuntimeError: FlashInfer requires GPUs with sm75 or higher",
    "version-floor": "Exception: flashinfer_python is installed with version 0.6.8.post1, which is less than the minimum "  # noqa: E501 - a log line
    "required version 0.6.11.post1. Please uninstall the old version",
    "kernels-package-revision": "ValueError: Either a revision or a version must be specified.",
    "capture-out-of-memory": "Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "kv-pool-out-of-memory": "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
    "out-of-memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.",
    "undefined-symbol": "ImportError: /env/sgl_kernel/common_ops.abi3.so: undefined symbol: _ZN3c104cuda9SetDeviceEa",
    "shared-library-missing": "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
    "driver-too-old": "RuntimeError: The NVIDIA driver on your system is too old (found version 12040).",
    "no-cuda-toolkit": "RuntimeError: Could not find CUDA installation. Please set CUDA_HOME environment variable.",
    "no-compiler": "RuntimeError: Failed to find C compiler. Please specify via CC environment variable.",
    "gpu-busy": "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    "no-gpu": "RuntimeError: No CUDA GPUs are available",
    "nccl": "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:94, ncclUnhandledCudaError",
    "illegal-memory-access": "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
    "port-in-use": "OSError: [Errno 98] Address already in use",
    "time-limit": "ended after the limit of 300 s",
}


@pytest.mark.parametrize(("name", "line"), CASES.items(), ids=CASES)
def test_each_signature_is_told_from_its_own_words(name, line):
    noise = "Traceback (most recent call last):\n  File 'x.py', line 3, in run\n"
    cause = classify.classify(f"INFO start\n{noise}{line}\n")
    assert cause.id == name
    assert cause.line == line[:400]
    assert cause.fix
    assert "Next: " in cause.sentence
    assert "\n" not in cause.sentence
    assert "{" not in cause.sentence


def test_every_signature_has_a_case():
    listed = {row["id"] for row in tomllib.loads(FAILURES.read_text())["failure"]}
    assert listed == set(CASES)


def test_values_of_the_line_are_in_the_cause():
    assert (
        "flashinfer_python 0.6.8.post1 is below the floor 0.6.11.post1"
        in classify.classify(CASES["version-floor"]).sentence
    )
    assert "_ZN3c104cuda9SetDeviceEa" in classify.classify(CASES["undefined-symbol"]).sentence


def test_memory_at_capture_names_the_three_moves():
    text = "Capture cuda graph begin. avail mem=0.11 GB\nTraceback\ntorch.OutOfMemoryError: CUDA out of memory.\n"
    cause = classify.classify(text)
    assert cause.id == "capture-out-of-memory"
    for move in ("--mem-fraction-static", "--cuda-graph-max-bs", "expandable_segments"):
        assert move in cause.sentence


def test_memory_after_all_captures_is_no_capture_failure():
    text = (
        "Capture cuda graph begin.\nCapture cuda graph end.\nCapture piecewise CUDA graph end.\n"
        "torch.OutOfMemoryError: CUDA out of memory.\n"
    )
    assert classify.classify(text).id == "out-of-memory"


def test_the_root_wins_over_what_follows_from_it():
    text = f"{CASES['no-kernel-image']}\n{CASES['nccl']}\n{CASES['time-limit']}\n"
    assert classify.classify(text).id == "no-kernel-image"


def test_an_unknown_failure_shows_its_last_error_and_no_trace():
    cause = classify.classify("Traceback (most recent call last):\n  File 'x'\nKeyError: 'first'\nbye\n")
    assert cause.id is None
    assert cause.sentence == "Not a known failure: KeyError: 'first'"


@pytest.mark.parametrize("text", ["", "\n \n", "\r\r"])
def test_no_output_is_said(text):
    assert classify.classify(text).sentence == "Not a known failure: no output"
