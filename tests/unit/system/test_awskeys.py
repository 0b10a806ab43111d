"""Where keys, region and server of S3 come from; what is wrong is said without the keys themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bringup.formats.sigv4 import Keys
from bringup.system.awskeys import KeysError, find_endpoint, find_keys, find_region, secrets_of

PAIR = {"AWS_ACCESS_KEY_ID": "ACCESS", "AWS_SECRET_ACCESS_KEY": "S3CR3T"}
FILE = """\
[default]
aws_access_key_id = FILE-ACCESS
aws_secret_access_key = FILE%SECRET
[ci]
aws_access_key_id = CI-ACCESS
aws_secret_access_key = CI-SECRET
aws_session_token = CI-TOKEN
[half]
aws_access_key_id = HALF-ACCESS
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(FILE)
    (tmp_path / ".aws/config").write_text("[default]\nregion = one-1\n[profile ci]\nregion = two-2\n")
    return {"HOME": str(tmp_path)}


def test_variables_win_over_the_file(home: dict[str, str]):
    found = find_keys(home | PAIR | {"AWS_SESSION_TOKEN": "T0KEN"})
    assert found == Keys(
        access="ACCESS", secret="S3CR3T", token="T0KEN", source="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )


def test_the_files_profiles(home: dict[str, str]):
    path = Path(home["HOME"]) / ".aws/credentials"
    default = Keys(access="FILE-ACCESS", secret="FILE%SECRET", source=f"{path}, profile default")
    ci = Keys(access="CI-ACCESS", secret="CI-SECRET", token="CI-TOKEN", source=f"{path}, profile ci")
    assert find_keys(home) == default
    assert find_keys(home | {"AWS_PROFILE": "ci"}) == ci
    assert find_keys(home | PAIR, "ci") == ci
    other = path.with_name("elsewhere")
    path.rename(other)
    assert find_keys(home) is None
    assert find_keys(home | {"AWS_SHARED_CREDENTIALS_FILE": str(other)}, "ci") is not None


@pytest.mark.parametrize(
    ("env", "profile", "reason"),
    [
        ({"AWS_ACCESS_KEY_ID": "ACCESS"}, "", "only one is there"),
        ({"AWS_SECRET_ACCESS_KEY": "S3CR3T"}, "", "only one is there"),
        ({}, "half", "only one is there"),
        ({}, "none", "has no profile none"),
        ({"AWS_PROFILE": "none"}, "", "has no profile none"),
        (PAIR | {"AWS_SESSION_TOKEN": "T0KEN\nx"}, "", "characters that no key has"),
        (PAIR | {"AWS_SECRET_ACCESS_KEY": "S3CR3Tä"}, "", "characters that no key has"),
    ],
)
def test_what_cannot_be_used(home: dict[str, str], env: dict[str, str], profile: str, reason: str):
    with pytest.raises(KeysError, match=reason) as caught:
        find_keys(home | env, profile)
    assert not any(word in str(caught.value) for word in ("S3CR3T", "T0KEN", "HALF-ACCESS"))


def test_a_file_that_is_none_is_not_repeated(home: dict[str, str]):
    path = Path(home["HOME"]) / ".aws/credentials"
    path.write_text("S3CR3T without a section\n")
    with pytest.raises(KeysError, match="not a file of profiles") as caught:
        find_keys(home)
    assert "S3CR3T" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert list(secrets_of(home)) == []


def test_nobody_has_keys(tmp_path: Path):
    assert find_keys({}) is None
    assert find_keys({"HOME": str(tmp_path)}) is None


def test_region_and_server(home: dict[str, str]):
    assert find_region({}) == "us-east-1"
    assert find_region(home) == "one-1"
    assert find_region(home, "ci") == "two-2"
    assert find_region(home | {"AWS_DEFAULT_REGION": "three-3"}) == "three-3"
    assert find_region(home | {"AWS_DEFAULT_REGION": "three-3", "AWS_REGION": "four-4"}) == "four-4"
    assert find_endpoint({}, "one-1") == "https://s3.one-1.amazonaws.com"
    servers = {"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_S3": "https://b"}
    assert find_endpoint(servers, "one-1") == "https://b"


def test_all_secrets_of_the_file_are_named(home: dict[str, str]):
    assert set(secrets_of(home)) == {
        "FILE-ACCESS", "FILE%SECRET", "CI-ACCESS", "CI-SECRET", "CI-TOKEN", "HALF-ACCESS",
    }  # fmt: skip


@given(st.binary(max_size=200))
def test_any_file_gives_keys_nothing_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = tmp_path_factory.getbasetemp() / "any-credentials"
    path.write_bytes(content)
    env = {"AWS_SHARED_CREDENTIALS_FILE": str(path)}
    list(secrets_of(env))
    try:
        assert find_keys(env) is None or find_keys(env)
    except KeysError:
        return
