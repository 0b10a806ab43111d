"""What a user sets once: where the file is looked for, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bringup.config.settings import UserSettings, load_settings, settings_file
from bringup.errors import ConfigError


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"BRINGUP_CONFIG": "/a/b.toml", "HOME": "/h", "XDG_CONFIG_HOME": "/x"}, "/a/b.toml"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, "/x/bringup/config.toml"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}, "/h/.config/bringup/config.toml"),
        ({"HOME": "/h"}, "/h/.config/bringup/config.toml"),
        ({}, None),
    ],
)
def test_place_of_the_file(env: dict[str, str], expected: str | None):
    assert settings_file(env) == (Path(expected) if expected else None)


def test_without_a_file_everything_is_default(tmp_path: Path):
    assert load_settings({"HOME": str(tmp_path)}) == UserSettings()
    assert load_settings({}) == UserSettings()


def test_values(tmp_path: Path):
    path = tmp_path / "c.toml"
    path.write_text('jobs = 3\nmemory_gib = 1.5\n[mirrors]\n"https://github.com/" = "https://git.lab/"\n')
    read = load_settings({"BRINGUP_CONFIG": str(path)})
    assert (read.jobs, read.memory_gib) == (3, 1.5)
    assert read.mirrors == {"https://github.com/": "https://git.lab/"}


def test_wrong_file_names_itself_key_and_value(tmp_path: Path):
    path = tmp_path / "c.toml"
    path.write_text('jobs = "many"\nbuilddir = "x"\n')
    with pytest.raises(ConfigError) as caught:
        load_settings({"BRINGUP_CONFIG": str(path)})
    assert f"{path}:1: jobs: expected int, got str (value: 'many')" in caught.value.message
    assert f"{path}:2: builddir: unknown key; did you mean build_dir?" in caught.value.message


@pytest.mark.parametrize(
    ("key", "value"), [("jobs", -1), ("memory_gib", -0.5), ("nice", 20), ("nice", -1), ("remote_store_timeout", 0)]
)
def test_numbers_that_cannot_be(tmp_path: Path, key: str, value: float):
    path = tmp_path / "c.toml"
    path.write_text(f"{key} = {value}\n")
    with pytest.raises(ConfigError, match=f"{path}:1: {key}: expected "):
        load_settings({"BRINGUP_CONFIG": str(path)})
