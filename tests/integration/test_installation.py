"""`pip install .` and `uvx --from . bringup`: the wheel is whole, works anywhere, and making it leaves no litter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from bringup.config.paths import DATA_FOLDERS

pytestmark = pytest.mark.network

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sysconfig.get_path("scripts"), "uv")


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *folders], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tracked files, with the build folder that a user's checkout has."""
    copy = tmp_path_factory.mktemp("source") / "a checkout"
    for name in tracked():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    (copy / "build" / "lib" / "bringup").mkdir(parents=True)
    (copy / "build" / "lib" / "bringup" / "stale.py").write_text("left by somebody else")
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that the checkout makes."""
    before = sorted(path for path in checkout.rglob("*"))
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", place, checkout], check=True)
    assert sorted(path for path in checkout.rglob("*")) == before, "making a wheel left something in the checkout"
    (made,) = place.glob("*.whl")
    return made


def test_wheel_holds_the_package_and_the_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    data = {f"bringup/_data/{name}" for name in tracked(*DATA_FOLDERS)}
    assert sorted(names) == sorted(tracked("bringup") | data)


def test_wheel_carries_licence_and_console_script(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert b"bringup = bringup.cli:main" in archive.read(f"{info}/entry_points.txt")


def test_installed_with_pip_it_works_anywhere(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([UV, "venv", "--quiet", "--seed", "--python", sys.executable, tmp_path / "env"], check=True)
    pip: list[Path | str] = [
        tmp_path / "env" / "bin" / "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    subprocess.run([*pip, wheel], check=True)
    subprocess.run([*pip, "--require-hashes", "-r", ROOT / "requirements.lock"], check=True)
    assert "h200" in listing([tmp_path / "env" / "bin" / "bringup"], tmp_path)


def test_uvx_runs_it_from_a_checkout(checkout: Path, tmp_path: Path) -> None:
    assert "h200" in listing([UV, "tool", "run", "--quiet", "--from", checkout, "bringup"], tmp_path)


def listing(program: list[Path | str], home: Path) -> str:
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    env = {**os.environ, "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))}
    env |= {"HOME": str(home)}
    done = subprocess.run(
        [*program, "list", "gpus"], cwd=elsewhere, env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
