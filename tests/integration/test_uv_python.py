"""Interpreters that uv manages: the real uv is asked, in a home without any."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bringup.errors import TargetError
from bringup.model.toolchain import PythonRelease
from bringup.system import process
from bringup.system.downloads import DownloadCache
from bringup.toolchain.facts import FactCache
from bringup.toolchain.interpreter import PythonPlaces
from bringup.toolchain.python import provide_python

ROOT = Path(__file__).resolve().parents[2]


def test_uv_is_not_asked_again_until_its_folder_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    real, asked = process.run, []
    monkeypatch.setattr(process, "run", lambda argv, **more: asked.append(argv) or real(argv, **more))
    release = msgspec.toml.decode((ROOT / "toolchains/python/3.11.toml").read_bytes(), type=PythonRelease)
    places = PythonPlaces(
        dest_root=tmp_path / "toolchains",
        cache=DownloadCache(tmp_path / "cache"),
        facts=FactCache(tmp_path / "facts.json"),
        user_env={"PATH": "/nowhere"},
        offline=True,
    )

    def look() -> int:
        with pytest.raises(TargetError, match="uv manages no Python"):
            provide_python(release, places, providers=["uv"])
        return len(asked)

    once = look()
    assert once > 0
    assert look() == once
    (tmp_path / "home/.local/share/uv/python/other").mkdir(parents=True)
    assert look() == 2 * once
