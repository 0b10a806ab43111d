"""The issue as a whole, on the machine in a folder."""

import pytest
from healthy_root import copy_machine

from bringup.diagnose import diagnose_paths
from bringup.errors import UsageError
from bringup.reporting import last_command, upstream_named
from bringup.reporting.content import fenced
from bringup.reporting.run import make_issue

LOG = """$ (cd {root}/w) ninja -C x --token hunter2hunter2
Capture cuda graph begin.
{root}/home/flashinfer/vec_dtypes.cuh:24:10: fatal error: cuda_fp8.h: No such file or directory
compilation terminated.
"""


@pytest.fixture
def machine(template):
    machine = copy_machine(template)
    machine.site = True
    machine.remove("usr/local/cuda-13.0/include/cuda_fp8.h")
    machine.env |= {"HF_TOKEN": "very-secret-value", "TORCH_CUDA_ARCH_LIST": "9.0", "EDITOR": "vi"}
    machine.write("build/h200-cu130-cp311/work/sglang/out/sglang-0.5.12.post1-py3-none-any.whl", "wheel")
    return machine


def issue(machine, upstream=""):
    log = machine.write("failed.log", LOG.format(root=machine.root))
    diagnosis = diagnose_paths([str(log)])[0]
    target = machine.path("build/h200-cu130-cp311")
    return make_issue(machine.question(), machine.places(), upstream=upstream, diagnosis=diagnosis, target=target)


def test_it_holds_what_an_issue_needs(machine):
    text = issue(machine)
    for wanted in (
        "NVIDIA H200", "580.95.05", "13.0.88", "12.2.0", "2.11.0+cu130", "flashinfer-python==0.6.8.post1",
        "sglang==0.5.12.post1  sha256:", "fatal error: cuda_fp8.h", "flashinfer-jit-cuda-fp8-header-missing",
        "TORCH_CUDA_ARCH_LIST=9.0", "ninja -C x", "invoke build --gpu h200", "toolkit.headers", "Accept FlashInfer",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_it_holds_nothing_private(machine):
    text = issue(machine)
    for secret in ("hunter2hunter2", "very-secret-value", str(machine.root / "home"), str(machine.root / "build")):
        assert secret not in text
    assert "EDITOR" not in text


@pytest.mark.parametrize(
    ("upstream", "headings"),
    [
        ("sglang", ["Checklist", "Describe the bug", "Reproduction", "Environment"]),
        (
            "flashinfer",
            ["Before submitting", "Environment", "Bug description", "Minimal reproduction", "Additional context"],
        ),
        ("pytorch", ["🐛 Describe the bug", "Versions"]),
    ],
)
def test_each_project_gets_its_own_sections(machine, upstream, headings):
    text = issue(machine, upstream)
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == headings
    assert "fatal error: cuda_fp8.h" in text


def test_an_unknown_project_is_told():
    with pytest.raises(UsageError, match="known are sglang, flashinfer, pytorch") as caught:
        upstream_named("sglan")
    assert "sglang" in caught.value.hint


def test_a_fence_is_longer_than_what_it_holds():
    assert fenced("a\n```\nb").startswith("````text\n")


def test_the_last_command_of_a_log():
    assert last_command("$ one\nx\n$ two --y\nfailed\n") == "two --y"
    assert last_command("nothing") == ""
