"""Addresses of buckets: s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME&profile=NAME]."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

WORDS = ("endpoint", "region", "profile")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Address:
    """A place in a bucket; "" is what the environment or the shared files of AWS say.

    Attributes:
        bucket: its name.
        prefix: what all names in it begin with, without slashes at its ends.
        endpoint: address of the server.
        region: what the server calls its region.
        profile: section of the shared credentials file.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    profile: str = ""


def parse_s3(address: str) -> S3Address:
    """Read an address.

    Raises:
        ValueError: it is none; the text says why, without repeating what may be a secret.
    """
    parts = urllib.parse.urlsplit(address)
    if "@" in parts.netloc or ":" in parts.netloc:
        msg = "keys do not stand in the address: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile"
        raise ValueError(msg)
    if not _BUCKET.fullmatch(parts.netloc):
        msg = f"{parts.netloc or 'nothing'} is no name of a bucket"
        raise ValueError(msg)
    words = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    for name, _ in words:
        if name not in WORDS:
            msg = f"{name} is not known after the question mark; known are {', '.join(WORDS)}"
            raise ValueError(msg)
    said = dict(words)
    server = urllib.parse.urlsplit(said.get("endpoint", ""))
    if said.get("endpoint") and (server.scheme not in ("http", "https") or not server.hostname or "@" in server.netloc):
        msg = "endpoint wants http://HOST[:PORT] or https://HOST[:PORT]"
        raise ValueError(msg)
    return S3Address(bucket=parts.netloc, prefix=parts.path.strip("/"), **said)
