"""Addresses of buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bringup.formats.s3_address import S3Address, parse_s3


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("s3://lab", S3Address(bucket="lab")),
        ("s3://lab/", S3Address(bucket="lab")),
        ("s3://lab/a/b/", S3Address(bucket="lab", prefix="a/b")),
        (
            "s3://lab/w?endpoint=https://s3.example.org:9000&region=eu-1&profile=ci",
            S3Address(bucket="lab", prefix="w", endpoint="https://s3.example.org:9000", region="eu-1", profile="ci"),
        ),
    ],
)
def test_what_is_read(address: str, found: S3Address):
    assert parse_s3(address) == found


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("s3://", "nothing is no name of a bucket"),
        ("s3:///lab", "nothing is no name of a bucket"),
        ("s3://a", "a is no name"),
        ("s3://-lab", "-lab is no name"),
        ("s3://lab?regin=x", "regin is not known"),
        ("s3://lab?endpoint=example.org", "endpoint wants"),
        ("s3://lab?endpoint=ftp://example.org", "endpoint wants"),
        ("s3://lab?endpoint=https://me:word@example.org", "endpoint wants"),
    ],
)
def test_what_is_none(address: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        parse_s3(address)


@pytest.mark.parametrize("address", ["s3://access:hush-hush@lab/x", "s3://hush-hush@lab", "s3://access:hush-hush/x"])
def test_keys_in_an_address_are_refused_and_not_repeated(address: str):
    with pytest.raises(ValueError, match="AWS_SECRET_ACCESS_KEY") as caught:
        parse_s3(address)
    assert "hush" not in str(caught.value)


@given(st.text())
def test_any_text_is_read_or_refused(text: str):
    try:
        found = parse_s3(f"s3://{text}")
    except ValueError:
        return
    assert found.bucket
    assert "/" not in found.bucket
    assert not found.prefix.startswith("/")
