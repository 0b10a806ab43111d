"""Addresses of repositories: secrets, relative submodules, mirrors."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bringup.errors import FetchError
from bringup.system.giturl import (
    check_url,
    host_of,
    is_local,
    mirror_name,
    redact,
    resolve_relative,
    rewrite,
    split_credentials,
)


@pytest.mark.parametrize(
    ("base", "url", "expected"),
    [
        ("https://h/org/top.git", "../mid.git", "https://h/org/mid.git"),
        ("https://h/org/top.git/", "../../other/mid", "https://h/other/mid"),
        ("https://h/org/top", "./inner", "https://h/org/top/inner"),
        ("git@h:org/top", "../mid", "git@h:org/mid"),
        ("git@h:top", "../mid", "git@h:mid"),
        ("/srv/git/top.git", "../mid.git", "/srv/git/mid.git"),
        ("https://h/org/top", "https://elsewhere/x", "https://elsewhere/x"),
    ],
)
def test_relative_addresses(base, url, expected):
    assert resolve_relative(base, url) == expected


def test_relative_address_may_not_leave_the_host():
    with pytest.raises(FetchError, match="leads out of https://h/top"):
        resolve_relative("https://h/top", "../../mid")


@pytest.mark.parametrize(
    "url",
    ["", "-x", "--upload-pack=touch /tmp/x", "ext::sh -c id", "ftp://h/x", "https://h/x\nfoo", "fd::7"],
)
def test_addresses_that_git_must_not_see(url):
    with pytest.raises(FetchError, match="not a repository address"):
        check_url(url)


@pytest.mark.parametrize("url", ["https://h/x", "git@h:x/y", "/srv/x", "ssh://git@h:22/x", "file:///x", "git://h/x"])
def test_ordinary_addresses(url):
    assert check_url(url) == url


def test_longest_prefix_wins_and_only_whole_parts_match():
    rules = [("https://h/", "https://a/"), ("https://h/org", "/srv/org")]
    assert rewrite("https://h/org/x", rules) == "/srv/org/x"
    assert rewrite("https://h/organic/x", rules) == "https://a/organic/x"
    assert rewrite("https://other/x", rules) == "https://other/x"


def test_credentials_become_a_header():
    address = split_credentials("https://me:p%40ss@h:8443/x")
    assert address.url == "https://h:8443/x"
    assert base64.b64decode(address.header.rpartition(" ")[2]) == b"me:p@ss"
    assert split_credentials("ssh://git:secret@h/x").url == "ssh://git@h/x"
    assert split_credentials("git@h:x").url == "git@h:x"


SECRET = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1).map(lambda text: f"s3cr3t{text}")


@given(SECRET, st.sampled_from(["https", "http", "ssh", "git"]))
def test_no_secret_survives(secret, scheme):
    url = f"{scheme}://user:{secret}@host/org/x.git?token={secret}"
    said = f"fatal: unable to access '{url}': gone; tried {url}"
    assert secret not in redact(said)
    assert "host/org/x.git" in redact(said)
    assert secret not in split_credentials(f"{scheme}://user:{secret}@host/x").url
    assert secret not in mirror_name(url)


def test_mirror_name_is_the_same_for_the_same_repository():
    same = {mirror_name(url) for url in ("https://H/o/x.git", "https://h/o/x/", "https://u:p@h/o/x")}
    assert len(same) == 1
    assert mirror_name("https://h/o/x") != mirror_name("https://h/p/x")


def test_hosts_and_folders():
    assert [host_of(url) for url in ("https://u@h:1/x", "git@h:x", "/srv/x", "file:///x")] == ["h:1", "h", "", ""]
    assert [is_local(url) for url in ("https://h/x", "git@h:x", "/a:b", "./x", "file:///x")] == [0, 0, 1, 1, 1]
