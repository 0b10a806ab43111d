"""What kind of place an address of blobs means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bringup.formats.s3_address import parse_s3
from bringup.system.blobs import TIMEOUT_SECONDS, Blobs, FolderBlobs, HttpBlobs
from bringup.system.s3 import S3Blobs


def open_blobs(address: str, *, env: Mapping[str, str], timeout: float = TIMEOUT_SECONDS) -> Blobs:
    """Return the place at an http, https or s3 address, or a folder; `env` may have keys of S3."""
    if address.startswith("s3://"):
        return S3Blobs(parse_s3(address), env=env, timeout=timeout)
    if address.startswith(("http://", "https://")):
        return HttpBlobs(address, timeout=timeout)
    return FolderBlobs(Path(address.removeprefix("file://")).expanduser())
