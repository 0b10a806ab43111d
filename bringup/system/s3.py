"""A bucket of an S3-compatible object store: HTTP blobs whose requests are signed.

The bucket stands in the path and not in the host name, which every such server understands and needs no wildcard
certificate. Without keys requests go unsigned, which is enough to read a public bucket.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import http.client
import re
import urllib.error
import urllib.parse
from collections.abc import Mapping
from typing import IO

from bringup.formats.s3_address import S3Address
from bringup.formats.sigv4 import Keys, authorization, quoted
from bringup.system.awskeys import KeysError, find_endpoint, find_keys, find_region
from bringup.system.blobs import BlobError, HttpBlobs

MAX_ANSWER = 1 << 16
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,60})</Code>")
# Codes of a 404 that mean more than that one object is not there.
_WRONG_PLACE = frozenset({"NoSuchBucket", "NoSuchWebsiteConfiguration"})
_HINTS = {
    "InvalidAccessKeyId": "the server does not know the access key of {source}",
    "SignatureDoesNotMatch": "the secret of {source} is not the one of its access key, or the region is not {region}",
    "AuthorizationHeaderMalformed": "the region is not {region}",
    "ExpiredToken": "the session token of {source} has expired",
    "InvalidToken": "the session token of {source} is not valid",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "AccessDenied": "keys of {source}; without s3:ListBucket, S3 says this of everything that is not there",
}


class S3Blobs(HttpBlobs):
    """Objects of a bucket below a prefix."""

    def __init__(self, address: S3Address, *, env: Mapping[str, str], timeout: float) -> None:
        """Keys and region are those of the address or of `env`; keys that cannot be had are told at first use."""
        self._region = address.region or find_region(env, address.profile)
        endpoint = address.endpoint or find_endpoint(env, self._region)
        self._place = "/".join(part for part in (address.bucket, address.prefix) if part)
        super().__init__(f"{endpoint.rstrip('/')}/{quoted(self._place)}", timeout=timeout)
        self._env, self._profile = env, address.profile

    @property
    def name(self) -> str:
        """Bucket and prefix."""
        return f"s3://{self._place}"

    def _headers_of(self, method: str, url: str, data: bytes | IO[bytes] | None) -> dict[str, str]:
        keys = self._keys()
        if keys is None:
            return {}
        parts = urllib.parse.urlsplit(url)
        payload = _sha256(data)
        signed = {
            "x-amz-content-sha256": payload,
            "x-amz-date": dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ"),
            **({"x-amz-security-token": keys.token} if keys.token else {}),
        }
        host = {"host": parts.netloc}
        word = authorization(keys, method, parts.path, host | signed, payload=payload, region=self._region)
        return signed | {"Authorization": word}

    def _refusal(self, exc: urllib.error.HTTPError) -> str:
        """Return what the server says is wrong; only its code is taken, since the rest may repeat keys."""
        answer = b""
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = exc.read(MAX_ANSWER)
        found = _CODE.search(answer)
        code = found[1].decode() if found else ""
        said = " ".join(word for word in (f"HTTP {exc.code}", code or str(exc.reason)) if word)
        elsewhere = exc.headers.get("x-amz-bucket-region", "")
        if elsewhere and elsewhere != self._region and re.fullmatch(r"[a-z0-9-]{1,40}", elsewhere):
            return f"{said}: the bucket lies in region {elsewhere} and not {self._region}"
        keys = self._keys()
        if keys is None and exc.code in (400, 401, 403):  # servers differ in what they call it
            return f"{said}: sent without keys; AWS_ACCESS_KEY_ID is not set and no credentials file has a profile"
        hint = _HINTS.get(code or {403: "AccessDenied"}.get(exc.code, ""), "")
        return f"{said}: {hint.format(source=keys.source if keys else '', region=self._region)}" if hint else said

    def _is_absent(self, code: int, refusal: str) -> bool:
        return super()._is_absent(code, refusal) and not any(word in refusal for word in _WRONG_PLACE)

    def _keys(self) -> Keys | None:
        """Return the keys; looked up for each request, since temporary ones are replaced while a build runs."""
        try:
            return find_keys(self._env, self._profile)
        except KeysError as exc:
            raise BlobError(str(exc)) from exc


def _sha256(data: bytes | IO[bytes] | None) -> str:
    if data is None or isinstance(data, bytes):
        return hashlib.sha256(data or b"").hexdigest()
    found = hashlib.file_digest(data, "sha256").hexdigest()  # type: ignore[arg-type]  # a file is what it wants
    data.seek(0)
    return found
