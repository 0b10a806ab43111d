"""The signer against what AWS publishes, and what its parts are made of."""

from __future__ import annotations

import hashlib

import pytest

from bringup.formats.sigv4 import QUERY_SAFE, Keys, authorization, quoted

EMPTY = hashlib.sha256(b"").hexdigest()
# Signature Calculations for the Authorization Header, S3 API reference. Put together here: it looks like a real one.
DOCS = Keys(access="AK" + "IA" + "IOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYEXAMPLEKEY")
HOST = {"host": "examplebucket.s3.amazonaws.com", "x-amz-date": "20130524T000000Z"}
# The test suite of Signature Version 4.
SUITE = Keys(access="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG" + "+bPxRfiCYEXAMPLEKEY")
SUITE_HOST = {"Host": "example.amazonaws.com", "X-Amz-Date": "20150830T123600Z"}
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthA"
    "x7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY"
    "9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "signature"),
    [
        (
            "GET", "/test.txt", (), {"range": "bytes=0-9"}, b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT", "/test$file.text", (),
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET", "/", (("lifecycle", ""),), {}, b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET", "/", (("prefix", "J"), ("max-keys", "2")), {}, b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)  # fmt: skip
def test_the_examples_of_the_s3_reference(
    method: str, path: str, query: tuple[tuple[str, str], ...], headers: dict[str, str], body: bytes, signature: str
):
    payload = hashlib.sha256(body).hexdigest()
    signed = HOST | {"x-amz-content-sha256": payload} | headers
    found = authorization(DOCS, method, quoted(path), signed, payload=payload, region="us-east-1", query=query)
    names = ";".join(sorted(signed))
    scope = f"{DOCS.access}/20130524/us-east-1/s3/aws4_request"
    assert found == f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "signature"),
    [
        ("GET", "/", (), {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", (), {}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET", "/", (("Param2", "value2"), ("Param1", "value1")), {},
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "GET", "/ሴ", (), {},
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            "GET", "/", (), {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "POST", "/", (), {"X-Amz-Security-Token": TOKEN},
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        ),
    ],
)  # fmt: skip
def test_cases_of_the_suite(
    method: str, path: str, query: tuple[tuple[str, str], ...], headers: dict[str, str], signature: str
):
    found = authorization(
        SUITE, method, quoted(path), SUITE_HOST | headers,
        payload=EMPTY, region="us-east-1", query=query, service="service",
    )  # fmt: skip
    assert found.rpartition("Signature=")[2] == signature


def test_what_is_encoded():
    assert quoted("/a b/ä+~$.txt") == "/a%20b/%C3%A4%2B~%24.txt"
    assert quoted("a/b=c&d", QUERY_SAFE) == "a%2Fb%3Dc%26d"


def test_keys_do_not_show_themselves():
    keys = Keys(access="access", secret="secret", token="token", source="a file")
    assert repr(keys) == "Keys(source='a file')"
