"""The node's PyTorch in an environment: links to files of torch and its libraries, and of nothing else."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest
from helpers.node_bundle import write_distribution, write_torch
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.errors import InstallError
from bringup.model.node_torch import TorchFacts, TorchWanted
from bringup.toolchain.node_torch import check_facts, parse_facts, take_torch

PINNED = {"torch": "2.11.0", "nvidia-cublas": "1.0", "nvidia-nvtx": "1.0"}


def facts_of(*sites: Path, torch: str = "2.11.0+cu130", cuda: str = "13.0", tag: str = "cp311") -> TorchFacts:
    path = ":".join(str(site) for site in sites)
    return TorchFacts(
        tag=tag, python="/usr/bin/python3", path=path, problem="", site=str(sites[0]), torch=torch, cuda=cuda, git="abc"
    )


@pytest.fixture
def node(tmp_path: Path) -> Path:
    site = tmp_path / "node/site-packages"
    write_torch(site, libraries=["nvidia-cublas"])
    write_distribution(site, "transformers", "5.17.0", {"transformers/__init__.py": "", "nvidia/cu13/other": ""})
    return site


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "env/site-packages"
    site.mkdir(parents=True)
    return site


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_torch_and_its_libraries_come_as_links_and_nothing_else(node: Path, site: Path) -> None:
    taken = take_torch(facts_of(node), PINNED, site)
    assert files_below(site) == sorted(
        [f"nvidia_cublas-1.0.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL")]
        + [f"torch-2.11.0.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL")]
        + ["nvidia/cu13/lib/libnvidia-cublas.so.1", "torch/__init__.py", "torch/lib/libtorch.so", "torch/version.py"]
    )
    assert all((site / name).readlink() == node / name for name in files_below(site))
    assert list(taken.distributions) == ["torch", "nvidia-cublas"]
    assert taken.absent == ("nvidia-nvtx",)
    assert taken.distributions["torch"].version == "2.11.0"


def test_removing_it_from_the_environment_leaves_the_node_alone(node: Path, site: Path) -> None:
    before = {name: (node / name).read_bytes() for name in files_below(node)}
    take_torch(facts_of(node), PINNED, site)
    for row in csv.reader((site / "torch-2.11.0.dist-info/RECORD").read_text().splitlines()):
        (site / row[0]).unlink()  # as an installer removes a distribution
    assert {name: (node / name).read_bytes() for name in files_below(node)} == before


def test_libraries_may_be_in_another_folder_of_the_nodes_python(node: Path, site: Path, tmp_path: Path) -> None:
    write_distribution(tmp_path / "user", "nvidia-nvtx", "1.1", {"nvidia/nvtx.so": "x"})
    taken = take_torch(facts_of(node, tmp_path / "user"), PINNED, site)
    assert taken.absent == ()
    assert taken.distributions["nvidia-nvtx"] == msgspec.structs.replace(
        taken.distributions["nvidia-nvtx"], site=str(tmp_path / "user"), version="1.1", pinned="1.0"
    )


def test_files_that_travelled_stay_and_programs_are_left_out(node: Path, site: Path) -> None:
    (site / "torch").mkdir()
    (site / "torch/__init__.py").write_text("ours")
    record = node / "torch-2.11.0.dist-info/RECORD"
    record.write_text(record.read_text() + "../../../bin/torchrun,,\ntorch/__pycache__/gone.cpython-311.pyc,,\n")
    take_torch(facts_of(node), PINNED, site)
    assert (site / "torch/__init__.py").read_text() == "ours"
    assert not (site.parent / "bin").exists()


def test_a_torch_that_is_not_whole_is_refused(node: Path, site: Path) -> None:
    (node / "torch/lib/libtorch.so").unlink()
    with pytest.raises(InstallError, match=r"torch of the node is not whole: .*libtorch\.so is missing"):
        take_torch(facts_of(node), PINNED, site)


def test_a_torch_that_went_away_meanwhile_is_refused(node: Path, site: Path) -> None:
    (node / "torch-2.11.0.dist-info/RECORD").unlink()
    with pytest.raises(InstallError, match="has no RECORD of torch"):
        take_torch(facts_of(node), PINNED, site)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tag": "cp312"}, "this is Python cp312, torch 2.11.0+cu130, CUDA 13.0"),
        ({"torch": "2.11.0+cpu"}, "torch 2.11.0+cpu"),
        ({"cuda": "12.9"}, "CUDA 12.9"),
        ({"problem": "it has no torch"}, "it has no torch"),
    ],
)
def test_only_the_very_same_is_taken(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    wanted = TorchWanted(tag="cp311", torch="2.11.0+cu130", cuda="13.0", left_out=())
    check_facts(facts_of(tmp_path), wanted)
    with pytest.raises(InstallError) as caught:
        check_facts(msgspec.structs.replace(facts_of(tmp_path), **changes), wanted)
    assert says in caught.value.message
    assert "wants Python cp311, torch 2.11.0+cu130, CUDA 13.0" in caught.value.message
    assert "without --without-torch" in caught.value.hint


@settings(max_examples=examples(30), deadline=None)
@given(
    text=st.text(max_size=80)
    | st.lists(st.sampled_from(["tag=a", "python=b", "path=", "problem=", "x=y=z"])).map("\n".join)
)
def test_any_answer_is_read_or_refused(text: str) -> None:
    lines = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    if {"tag", "python", "path", "problem"} <= set(lines):
        assert parse_facts(text).tag == lines["tag"]
    else:
        with pytest.raises(InstallError, match="no answer that can be read"):
            parse_facts(text)
