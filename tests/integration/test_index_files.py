"""Files of a package index that lies in a folder; uv is the real one."""

import hashlib

import pytest

from bringup.errors import FetchError
from bringup.formats.wheel import make_wheel
from bringup.system.downloads import DownloadCache
from bringup.system.environ import base_environment
from bringup.system.pypi import IndexFile, fetch_index_files, find_uv, locate


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def wheel(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/small.py").write_text("")
    made = make_wheel(tmp_path / "tree", tmp_path / "links", name="small", version="1.0rc1", tag="py3-none-win_amd64")
    return IndexFile(name="Small", version="1.0rc1", sha256=sha256(made.read_bytes()), size=made.stat().st_size)


@pytest.fixture
def env(tmp_path):
    (tmp_path / "links").mkdir()
    more = {"UV_FIND_LINKS": str(tmp_path / "links"), "UV_NO_INDEX": "1", "UV_CACHE_DIR": str(tmp_path / "uv-cache")}
    return base_environment() | more


def test_pre_release_for_another_platform_is_found(env, wheel, tmp_path):
    found = locate([wheel], env=env)
    assert found[wheel.sha256].filename == "small-1.0rc1-py3-none-win_amd64.whl"
    assert found[wheel.sha256].url == next((tmp_path / "links").glob("*.whl")).as_uri()


def test_file_with_another_hash_is_left_out(env, wheel):
    other = IndexFile(name="small", version="1.0rc1", sha256="00" * 32)
    assert locate([other], env=env) == {}


def test_version_that_is_not_there_is_named(env, wheel):
    with pytest.raises(FetchError, match=r"does not have small==2\.0|small 2\.0"):
        locate([IndexFile(name="small", version="2.0", sha256="00" * 32)], env=env)


def test_two_versions_of_one_project_are_both_found(env, wheel, tmp_path):
    second = make_wheel(tmp_path / "tree", tmp_path / "links", name="small", version="2.0", tag="py3-none-any")
    newer = IndexFile(name="small", version="2.0", sha256=sha256(second.read_bytes()))
    assert set(locate([wheel, newer], env=env)) == {wheel.sha256, newer.sha256}


def test_index_that_cannot_be_reached_names_its_host(tmp_path, monkeypatch):
    for name, value in {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
    }.items():
        monkeypatch.setenv(name, value)
    env = base_environment() | {"UV_HTTP_RETRIES": "0"}
    with pytest.raises(FetchError, match=r"cannot reach the package index at 127\.0\.0\.1:9") as caught:
        locate([IndexFile(name="small", version="1.0", sha256="00" * 32)], env=env)
    assert "--offline" in caught.value.hint


def test_what_is_cached_needs_no_index(tmp_path, env, wheel, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    cache = DownloadCache(tmp_path / "cache")
    kept = cache.adopt(next((tmp_path / "links").glob("*.whl")), wheel.sha256)
    assert fetch_index_files([wheel], cache) == {wheel.sha256: kept}


def test_uv_is_found():
    assert find_uv().is_file()
