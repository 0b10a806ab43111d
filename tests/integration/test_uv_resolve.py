"""Resolving with the real uv; with a network where it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from bringup.errors import ConfigError, FetchError, PrepareError
from bringup.system.environ import base_environment
from bringup.system.uv import resolve

COMMON = {
    "overrides": "overrides.in",
    "python": "3.11",
    "platform": "x86_64-manylinux_2_34",
    "before": "2024-05-01T00:00:00Z",
}


@pytest.mark.network
def test_pins_hashes_comments_override_exclusion_and_date() -> None:
    files = {
        "packages.in": "jinja2==3.1.3\n",
        "build-x.in": "packaging\n",
        "overrides.in": 'packaging<24\nmarkupsafe ; sys_platform == "never"\n',
    }
    text = resolve(files, env=base_environment(), **COMMON)
    lines = [line for line in text.splitlines() if "--hash" not in line]
    assert lines == [
        "jinja2==3.1.3 \\",
        "    # via -r packages.in",
        "packaging==23.2 \\",
        "    # via",
        "    #   --override overrides.in",
        "    #   -r build-x.in",
    ]
    assert "sha256:7d6d50dd97d52cbc355597bd845fabfbac3f551e1f99619e39a35ce8c370b5fa" in text  # jinja2's wheel
    assert "://" not in text


@pytest.mark.network
def test_what_cannot_be_together_is_a_wrong_stack() -> None:
    files = {"packages.in": "packaging==23.2\npackaging==24.0\n", "overrides.in": ""}
    with pytest.raises(ConfigError, match="no solution") as caught:
        resolve(files, env=base_environment(), **COMMON)
    assert "packaging" in caught.value.message


@pytest.mark.network
def test_what_is_younger_than_the_date_does_not_exist() -> None:
    files = {"packages.in": "packaging==24.2\n", "overrides.in": ""}
    with pytest.raises(ConfigError, match=r"packaging==24\.2"):
        resolve(files, env=base_environment(), **COMMON)


def test_offline_with_an_empty_cache_is_a_missing_network(tmp_path: Path) -> None:
    env = base_environment() | {"UV_CACHE_DIR": str(tmp_path)}
    with pytest.raises(FetchError, match="cannot be reached") as caught:
        resolve({"packages.in": "packaging\n", "overrides.in": ""}, env=env, offline=True, **COMMON)
    assert caught.value.hint


def test_a_line_that_is_no_requirement(tmp_path: Path) -> None:
    files = {"packages.in": "not a requirement\n", "overrides.in": ""}
    with pytest.raises(PrepareError, match=r"packages\.in"):
        resolve(files, env=base_environment(), log=tmp_path / "uv.log", offline=True, **COMMON)
    assert "pip compile" in (tmp_path / "uv.log").read_text()
