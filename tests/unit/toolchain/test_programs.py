"""Programs that recipes need: found, too old, or there and of no use."""

from __future__ import annotations

from pathlib import Path

import pytest

from bringup.toolchain.facts import FactCache
from bringup.toolchain.programs import find_program

# What rustup's cargo is: the same file for everybody, whose toolchains are in RUSTUP_HOME.
SHIM = """#!/bin/sh
[ -f "$RUSTUP_HOME/settings.toml" ] && exec echo "cargo 1.90.0 (840b83a10 2025-07-30)"
echo "error: rustup could not choose a version of cargo to run" >&2
exit 1
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A home with rustup's cargo in it, and no toolchain."""
    folder = tmp_path / "home/.cargo/bin"
    folder.mkdir(parents=True)
    for name, text in (("cargo", SHIM), ("rustup", "#!/bin/sh\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return tmp_path


def look(place: Path, wanted: str = "cargo>=1.85", **env: str):
    around = {"HOME": str(place / "home"), "PATH": "/nonexistent", **env}
    return find_program(wanted, facts=FactCache(place / "facts.json"), env=around)


def toolchain(folder: Path) -> Path:
    folder.mkdir()
    (folder / "settings.toml").write_text('default_toolchain = "stable"\n')
    return folder


def test_a_cargo_without_a_toolchain_is_absent_and_told_how_to_mend(place: Path) -> None:
    found = look(place)
    assert found.path is None
    assert found.why.endswith("/cargo and does not run: error: rustup could not choose a version of cargo to run")
    for wanted in ("rustup default stable", f"RUSTUP_HOME={place}/home/.rustup", f"CARGO_HOME={place}/home/.cargo"):
        assert wanted in found.hint


def test_it_is_there_once_it_has_one(place: Path) -> None:
    assert look(place).path is None
    toolchain(place / "home/.rustup")
    assert (look(place).path, look(place).version) == (place / "home/.cargo/bin/cargo", "1.90.0")


def test_what_is_known_of_one_home_does_not_hold_for_another(place: Path) -> None:
    toolchain(place / "mine")
    assert look(place, RUSTUP_HOME=str(place / "mine")).path is not None
    assert look(place, RUSTUP_HOME=str(place / "yours")).path is None


def test_one_that_is_too_old_and_one_that_is_not_there(place: Path) -> None:
    toolchain(place / "home/.rustup")
    assert (look(place, "cargo>=1.91").why, look(place, "cargo>=1.91").version) == ("is 1.90.0 here", "1.90.0")
    assert look(place, "protoc").why == "is not here"
