"""What nvidia-smi prints, as scripts print it; and which GPU of the catalogue is meant by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.data_root import Recipe, write_data
from helpers.program import script

from bringup.config.catalogue import Catalogue, load_catalogue
from bringup.errors import TargetError, UsageError
from bringup.session import find_gpu
from bringup.system.gpus import visible_devices

ENV = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what puts an nvidia-smi on the PATH that prints some rows."""

    def put(*rows: str, code: int = 0) -> None:
        text = "\n".join(rows)
        script(tmp_path / "bin/nvidia-smi", f"cat <<'END'\n{text}\nEND\nexit {code}")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    return put


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    gpus = ("h100", "h200", "l40", "l40s")
    return load_catalogue(write_data(tmp_path / "data", Recipe(name="alpha"), gpus=gpus))


def test_rows(smi):
    smi("NVIDIA H200, 9.0, 580.159.03, 143771", "NVIDIA H200, 9.0, 580.159.03, [N/A]")
    first, second = visible_devices(ENV)
    assert (first.name, first.capability, first.driver, first.memory_mib) == (
        "NVIDIA H200",
        "9.0",
        "580.159.03",
        143771,
    )
    assert second.memory_mib == 0


@pytest.mark.parametrize("code", [0, 6, 9])
def test_no_devices(smi, code: int):
    smi("No devices were found", code=code)
    assert visible_devices(ENV) == ()


def test_driver_that_does_not_answer(smi):
    smi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver, a, b, c", code=9)
    assert visible_devices(ENV) == ()


def test_program_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = script(tmp_path / "bin/nvidia-smi", "")
    broken.write_text("#!/nowhere/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert visible_devices({}) == ()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("NVIDIA H200, 9.0, 1, 1", "h200"),
        ("NVIDIA H100 80GB HBM3, 9.0, 1, 1", "h100"),
        ("NVIDIA L40S, 8.9, 1, 1", "l40s"),
        ("NVIDIA L40, 8.9, 1, 1", "l40"),
    ],
)
def test_auto_finds_the_name(smi, catalogue: Catalogue, row: str, expected: str):
    smi(row)
    assert find_gpu("auto", catalogue, ENV).name == expected


def test_auto_with_several_kinds(smi, catalogue: Catalogue):
    smi("NVIDIA H200, 9.0, 1, 1", "NVIDIA L40S, 8.9, 1, 1", "NVIDIA H200, 9.0, 1, 1")
    with pytest.raises(TargetError) as caught:
        find_gpu("auto", catalogue, ENV)
    assert caught.value.message.count("NVIDIA H200, capability 9.0") == 2
    assert "NVIDIA L40S, capability 8.9" in caught.value.message


def test_auto_without_any_and_names(smi, catalogue: Catalogue):
    smi("No devices were found")
    with pytest.raises(TargetError, match="no GPU is visible"):
        find_gpu("auto", catalogue, ENV)
    assert find_gpu("h200", catalogue, ENV).name == "h200"
    with pytest.raises(UsageError, match="unknown GPU 'h300'"):
        find_gpu("h300", catalogue, ENV)
