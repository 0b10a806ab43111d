"""The locks, the metadata and the data folders agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from bringup.config import paths
from bringup.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(name: str) -> dict[str, Version]:
    """Return the versions of a lock, and fail on a requirement without a hash."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line
        requirement = Requirement(line.split("--hash", 1)[0])
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        found[requirement.name] = Version(pin.version)
    return found


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", PROJECT["dependencies"]),
        ("requirements-dev.lock", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]),
    ],
)
def test_locks_hold_what_the_project_asks_for(lock: str, wanted: list[str]) -> None:
    versions = locked(lock)
    for text in wanted:
        requirement = Requirement(text)
        assert requirement.name in versions, f"run scripts/lock.sh: {lock} has no {requirement.name}"
        assert requirement.specifier.contains(versions[requirement.name]), f"run scripts/lock.sh: {text}"


def test_developers_tools_move_no_version_of_ours() -> None:
    versions = locked("requirements-dev.lock")
    assert locked("requirements.lock").items() <= versions.items()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_name_no_index(lock: str) -> None:
    options = [line for line in (ROOT / lock).read_text().splitlines() if line.startswith("-")]
    assert options == []


def test_every_package_folder_is_one() -> None:
    folders = {path.parent for path in (ROOT / "bringup").rglob("*.py") if "_data" not in path.parts}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_checkout_is_its_own_data() -> None:
    assert paths.data_root() == ROOT
    assert paths.in_checkout()


def test_installed_package_uses_its_copy(tmp_path: Path) -> None:
    package = tmp_path / "bringup"
    for folder in ("recipes", "toolchains"):
        (package / "_data" / folder).mkdir(parents=True)
        (tmp_path / folder).mkdir()
    assert paths.find_data_root(package) == package / "_data"


def test_incomplete_installation_is_told(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    with pytest.raises(ConfigError, match="no recipes and toolchains, neither in ") as caught:
        paths.find_data_root(tmp_path / "bringup")
    assert "install bringup again" in caught.value.hint
