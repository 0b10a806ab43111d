"""A bucket as remote store, as whole runs of the program against OpenStack Swift, which verifies every signature."""

from __future__ import annotations

import datetime as dt
import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.machines import Machines
from helpers.swift_server import KEY, REGION, SECRET, NotInstalledError, Swift, install, swift

from bringup.formats.s3_address import parse_s3
from bringup.formats.sigv4 import Keys, authorization
from bringup.system.blob_places import open_blobs
from bringup.system.blobs import BlobError
from bringup.system.s3 import S3Blobs

pytestmark = pytest.mark.network
KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
WRONG = "wrong-" + SECRET
NO_WHEEL = "its wheel is in the remote store"


@pytest.fixture(scope="module")
def server(downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    try:
        python = install(downloads / "swift")
    except NotInstalledError as exc:
        pytest.skip(f"OpenStack Swift cannot be installed from PyPI: {exc}")
    with swift(python, tmp_path_factory.mktemp("swift")) as running:
        yield running


def make_bucket(server: Swift, name: str, **headers: str) -> str:
    """Make a bucket and return its address."""
    now, empty = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ"), hashlib.sha256(b"").hexdigest()
    host = server.endpoint.removeprefix("http://")
    sent = {"host": host, "x-amz-date": now, "x-amz-content-sha256": empty} | headers
    keys = Keys(access=KEY, secret=SECRET)
    sent["Authorization"] = authorization(keys, "PUT", f"/{name}", sent, payload=empty, region=REGION)
    request = urllib.request.Request(f"{server.endpoint}/{name}", headers=sent, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    return f"s3://{name}?endpoint={server.endpoint}&region={REGION}"


@pytest.fixture
def bucket(server: Swift, request: pytest.FixtureRequest) -> str:
    return make_bucket(server, hashlib.sha256(request.node.name.encode()).hexdigest()[:20])


class Lab(Machines):
    """Machines whose users have keys, each in a home of their own."""

    def build_with(self, name: str, env: dict[str, str], *flags: str) -> str:
        self.env = env
        return self.build(name, *flags)

    def machine(self, name: str):
        program = super().machine(name)
        program.env |= {"HOME": str(self.folder / name)} | self.env
        return program


@pytest.fixture
def lab(tmp_path: Path, bucket: str) -> Lab:
    (tmp_path / "lab").mkdir()
    return Lab(tmp_path / "lab", bucket.replace("?", "/wheels/a b?"))


def holders(folder: Path, *words: str) -> list[str]:
    """Return the files below a folder that hold one of the words."""
    return [
        str(path) for path in folder.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    ]  # fmt: skip


def test_what_one_machine_built_another_installs(lab: Lab):
    said = lab.build_with("one", KEYS, "--remote-store-write")
    assert "warning" not in said
    assert lab.compiled() == 1
    (lab.folder / "two/.aws").mkdir(parents=True)
    (lab.folder / "two/.aws/credentials").write_text(
        f"[ci]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    lab.env = {"AWS_PROFILE": "ci"}
    plan = lab.machine("two").run("plan", "--remote-store", lab.url, "--json").out
    assert f"{NO_WHEEL} {lab.url.partition('?')[0]} (" in plan
    said += lab.build("two")
    assert "warning" not in said
    assert lab.compiled() == 1
    assert lab.machine("two").python("import alpha; print(alpha.VALUE)") == "1"
    assert SECRET not in said + plan
    assert KEY not in said + plan
    assert holders(lab.folder, SECRET, KEY) == [str(lab.folder / "two/.aws/credentials")]


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        (
            KEYS | {"AWS_SECRET_ACCESS_KEY": WRONG},
            "HTTP 403 SignatureDoesNotMatch: the secret of AWS_ACCESS_KEY_ID and",
        ),
        (KEYS | {"AWS_ACCESS_KEY_ID": "lab:nobody"}, "HTTP 403 "),
        ({}, "sent without keys; AWS_ACCESS_KEY_ID is not set and no credentials file has a profile"),
        ({"AWS_ACCESS_KEY_ID": KEY}, "access key and secret are needed, and only one is there"),
        ({"AWS_PROFILE": "none"}, ".aws/credentials has no profile none"),
    ],
)
def test_wrong_keys_cost_one_warning_and_a_build(lab: Lab, env: dict[str, str], reason: str):
    said = lab.build_with("one", env, "--remote-store-write")
    assert lab.compiled() == 1
    assert reason in said
    assert said.count("warning: ") == 1
    assert said.count("this run goes on without it") == 1
    assert lab.machine("one").python("import alpha; print(alpha.VALUE)") == "1"
    report = lab.machine("one").run("report", "--last").text
    found = said + report
    assert not any(word in found for word in (SECRET, WRONG, KEY, "lab:nobody"))
    assert holders(lab.folder, SECRET, WRONG, KEY, "lab:nobody") == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((f"region={REGION}", "region=other-9"), "HTTP 400 AuthorizationHeaderMalformed: the region is not other-9"),
        (("s3://", "s3://not-"), "HTTP 404 NoSuchBucket"),
        (("endpoint=http://127.0.0.1:", "endpoint=http://127.0.0.1:1#"), "Connection refused"),
    ],
)
def test_a_wrong_place_is_named_once(lab: Lab, change: tuple[str, str], reason: str):
    lab.url = lab.url.replace(*change).partition("#")[0]
    said = lab.build_with("one", KEYS, "--remote-store-write")
    assert reason in said
    assert said.count("warning: ") == 1
    assert lab.compiled() == 1


def test_a_public_bucket_is_read_without_keys_and_not_written(server: Swift, lab: Lab):
    lab.url = make_bucket(server, "public", **{"x-amz-acl": "public-read"})
    assert "warning" not in lab.build_with("one", KEYS, "--remote-store-write")
    signed = lab.url
    lab.url = signed.replace(server.endpoint, f"{server.endpoint}/v1/AUTH_lab")  # Swift takes unsigned requests there
    assert "warning" not in lab.build_with("two", {})
    assert lab.compiled() == 1
    with pytest.raises(BlobError, match="HTTP 401 Unauthorized: sent without keys"):
        open_blobs(lab.url, env={}).write("x", b"y")
    assert not open_blobs(signed, env=KEYS).has("x")


def test_offline_asks_nobody(lab: Lab):
    lab.env = KEYS
    lab.url = lab.url.replace("s3://", "s3://not-")
    flags = ("plan", "--remote-store", lab.url)
    assert "NoSuchBucket" in lab.machine("one").run(*flags).text
    assert "NoSuchBucket" not in lab.machine("one").run(*flags, "--offline").text


def test_keys_in_an_address_are_wrong_use(lab: Lab):
    lab.env = {}
    done = lab.machine("one").run("plan", "--remote-store", f"s3://{KEY}:{SECRET}@lab", code=2)
    assert "keys do not stand in the address" in done.err
    assert SECRET not in done.text


def test_names_that_are_encoded_and_files_arrive_as_they_are(bucket: str, tmp_path: Path):
    place = open_blobs(bucket.replace("?", "/ä b+c~(1)?"), env=KEYS)
    assert isinstance(place, S3Blobs)
    name, data = "x/a b+ü$&=;,@!'*.whl", bytes(range(256)) * 5000
    source = tmp_path / "source"
    source.write_bytes(data)
    assert not place.has(name)
    assert place.read(name) is None
    place.write(name, source)
    assert place.has(name)
    assert place.read(name) == data
    assert place.fetch(name, tmp_path / "dest", len(data))
    assert (tmp_path / "dest").read_bytes() == data


def test_a_body_that_is_not_what_was_signed_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch):
    """Otherwise the server would not look at the payload's hash, and these tests would prove less."""
    monkeypatch.setattr("bringup.system.s3._sha256", lambda _data: hashlib.sha256(b"other").hexdigest())
    address = parse_s3(bucket)
    with pytest.raises(BlobError, match=r"XAmzContentSHA256Mismatch|BadDigest"):
        S3Blobs(address, env=KEYS, timeout=5.0).write("x", b"y")
