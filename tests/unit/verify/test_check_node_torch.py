"""The node's PyTorch behind an environment: replaced, upgraded or removed later, or hidden by another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from helpers.node_bundle import write_distribution, write_torch

from bringup.errors import ConfigError
from bringup.model.node_torch import NOTE, NodeTorch, TorchFacts
from bringup.model.stack import Stack
from bringup.model.verify import Status
from bringup.system.fs import sha256_of
from bringup.toolchain.node_torch import take_torch
from bringup.verify.conflicts import find_conflicts
from bringup.verify.node_torch import check_node_torch, read_note

PINNED = {"torch": "2.11.0", "nvidia-cublas": "1.0", "nvidia-nvtx": "1.0"}


class Node:
    def __init__(self, folder: Path) -> None:
        self.site, self.env = folder / "node", folder / "env"
        self.env.mkdir()
        write_torch(self.site, libraries=["nvidia-cublas"])
        facts = TorchFacts(
            tag="cp311", python="/usr/bin/python3.11", path=str(self.site), problem="", site=str(self.site),
            torch="2.11.0+cu130", cuda="13.0", git="abc",
        )  # fmt: skip
        self.note = take_torch(facts, PINNED, self.env)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_which_torch_it_is_is_recorded(node: Node) -> None:
    check = check_node_torch(node.env, node.note)
    assert check.status is Status.OK
    assert f"torch 2.11.0+cu130 for CUDA 13.0 of /usr/bin/python3.11, in {node.site}" in check.why
    assert check.evidence["site"] == str(node.site)
    assert check.evidence["git"] == "abc"
    assert check.evidence["version_py"] == sha256_of(node.site / "torch/version.py")
    record = sha256_of(node.site / "torch-2.11.0.dist-info/RECORD")
    assert check.evidence["distributions"]["torch"]["record"] == record
    assert check.evidence["now"]["records"]["torch"] == record
    assert list(check.evidence["absent"]) == ["nvidia-nvtx"]


def upgrade(node: Node) -> None:
    for path in (node.site / "torch-2.11.0.dist-info").iterdir():
        path.unlink()
    (node.site / "torch-2.11.0.dist-info").rmdir()
    write_torch(node.site, "2.12.0+cu130")


def reinstall_another_build(node: Node) -> None:
    (node.site / "torch/lib/libtorch.so").write_text("another")
    write_distribution(node.site, "torch", "2.11.0", {"torch/version.py": (node.site / "torch/version.py").read_text()})


def remove(node: Node) -> None:
    for path in sorted(node.site.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def edit_version(node: Node) -> None:
    (node.site / "torch/version.py").write_text("__version__ = '2.11.0+mine'\n")


def hide(node: Node) -> None:
    (node.env / "torch/__init__.py").unlink()
    (node.env / "torch/__init__.py").write_text("another torch\n")


def unlink_one(node: Node) -> None:
    (node.env / "torch/lib/libtorch.so").unlink()


def other_library(node: Node) -> None:
    write_distribution(node.site, "nvidia-cublas", "1.0", {"nvidia/cu13/lib/another.so": "another"})


def library_file_gone(node: Node) -> None:
    (node.site / "nvidia/cu13/lib/libnvidia-cublas.so.1").unlink()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (upgrade, "version.py has changed"),
        (upgrade, "torch in {site} is 2.12.0, another installation than the 2.11.0 of then"),
        (reinstall_another_build, "torch in {site} is 2.11.0, another installation"),
        (remove, "version.py is gone"),
        (remove, "nvidia-cublas 1.0 is gone from {site}"),
        (edit_version, "version.py has changed"),
        (hide, "torch/__init__.py in the environment is another file than the node's"),
        (unlink_one, "torch/lib/libtorch.so of torch is gone from the environment"),
        (other_library, "nvidia-cublas in {site} is 1.0, another installation"),
        (library_file_gone, "libnvidia-cublas.so.1 is gone"),
    ],
)
def test_a_later_replacement_is_named(node: Node, change: Callable[[Node], None], says: str) -> None:
    change(node)
    check = check_node_torch(node.env, node.note)
    assert check.status is Status.FAIL
    assert any(says.format(site=node.site) in problem for problem in check.evidence["problems"]), check.evidence
    in_environment = change in (hide, unlink_one)
    assert ("install the bundle again" in check.why) == in_environment
    assert ("put the node's PyTorch back" in check.why) == (not in_environment)


def test_another_version_than_the_locks_is_said(node: Node) -> None:
    other = msgspec.structs.replace(node.note.distributions["nvidia-cublas"], pinned="1.1")
    note = msgspec.structs.replace(node.note, distributions={**node.note.distributions, "nvidia-cublas": other})
    check = check_node_torch(node.env, note)
    assert check.status is Status.OK
    assert "not in the lock's version: nvidia-cublas 1.0" in check.why


def test_the_note_is_read_back(node: Node, tmp_path: Path) -> None:
    assert read_note(tmp_path) is None
    (tmp_path / NOTE).write_bytes(msgspec.json.encode(node.note))
    assert read_note(tmp_path) == node.note
    assert isinstance(node.note, NodeTorch)
    (tmp_path / NOTE).write_text("{")
    with pytest.raises(ConfigError, match="not what installation writes"):
        read_note(tmp_path)


def test_what_is_the_nodes_affair_is_no_conflict(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    info = write_torch(site)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch\nVersion: 2.11.0\nRequires-Dist: nvidia-cublas==13.1\n"
        "Requires-Dist: sympy\n"
    )
    stack = Stack(
        schema=1,
        name="s",
        title="t",
        date="2026-05-28",
        python="3.11",
        cuda=("13.0",),
        toolkits=("wheels",),
        packages={},
    )
    _, unexpected = find_conflicts(site, stack)
    assert len(unexpected) == 2
    chosen, unexpected = find_conflicts(site, stack, theirs=["torch", "nvidia-cublas"])
    assert chosen == [
        "torch 2.11.0 wants nvidia-cublas==13.1, which is not installed: PyTorch and its libraries are the node's own"
    ]
    assert unexpected == ["torch 2.11.0 wants sympy, which is not installed"]
