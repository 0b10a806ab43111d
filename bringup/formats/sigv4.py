"""AWS Signature Version 4: what S3 and servers that speak its protocol want of a request.

The rules are those of the S3 API reference, "Signature Calculations for the Authorization Header". The path is encoded
once and not normalized, which is S3's way and not that of other services.
"""

from __future__ import annotations

import hashlib
import hmac
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ALGORITHM = "AWS4-HMAC-SHA256"
# What stays as it is in a path and in a query; everything else is %XX of its UTF-8.
PATH_SAFE, QUERY_SAFE = "/-._~", "-._~"


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """Whose requests they are.

    Attributes:
        access: access key id; it is sent.
        secret: never sent, never shown.
        token: session token of temporary keys, "" for lasting ones; it is sent.
        source: where they came from, for messages.
    """

    access: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    source: str = ""


def authorization(
    keys: Keys,
    method: str,
    path: str,
    headers: Mapping[str, str],
    *,
    payload: str,
    region: str,
    query: Sequence[tuple[str, str]] = (),
    service: str = "s3",
) -> str:
    """Return the value of a request's Authorization header.

    Args:
        keys: who signs.
        method: GET, PUT ...
        path: as it is sent, with its percent signs.
        headers: all that are signed; host and x-amz-date (20130524T000000Z) are among them.
        payload: SHA-256 of the body in hexadecimal, or UNSIGNED-PAYLOAD.
        region: what the server calls its region.
        query: names and values, not encoded.
        service: of AWS.
    """
    signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    names = ";".join(sorted(signed))
    words = sorted((quoted(name, QUERY_SAFE), quoted(value, QUERY_SAFE)) for name, value in query)
    lines = [
        method, path, "&".join(f"{name}={value}" for name, value in words),
        *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names, payload,
    ]  # fmt: skip
    moment = signed["x-amz-date"]
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    request = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    signature = _mac(key, f"{ALGORITHM}\n{moment}\n{scope}\n{request}").hex()
    return f"{ALGORITHM} Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"


def quoted(text: str, safe: str = PATH_SAFE) -> str:
    """Return a path, or with QUERY_SAFE a part of a query, as it is sent and signed."""
    return urllib.parse.quote(text, safe=safe)


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
