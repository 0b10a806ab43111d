"""Keys, region and server of S3, from where AWS's own tools take them.

Variables win over the shared files, unless a profile is asked for by name. What is read here is signed with, and goes
nowhere else: commands get no variable of these, and `secrets_of` lets a report take them out.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from pathlib import Path

from bringup.formats.sigv4 import Keys

# AWS's default where none is said; servers of one's own often take no other.
REGION = "us-east-1"
_SECRET = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


class KeysError(Exception):
    """Keys are asked for and cannot be had; the text names variable or file."""


def find_keys(env: Mapping[str, str], profile: str = "") -> Keys | None:
    """Return the keys of the variables, else of the shared credentials file; None if neither has any.

    Args:
        env: the user's environment.
        profile: section of the file; AWS_PROFILE or "default" if "".

    Raises:
        KeysError: half of a pair, a file that cannot be read, or one without the profile that was asked for.
    """
    found = [env.get(name.upper(), "").strip() for name in _SECRET]
    if not profile and any(found[:2]):
        return _pair(found, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    wanted = profile or env.get("AWS_PROFILE", "")
    path = _file(env, "AWS_SHARED_CREDENTIALS_FILE", "credentials")
    section = wanted or "default"
    values = _section(path, section)
    if values is None:
        if wanted:
            msg = f"{path or '~/.aws/credentials'} has no profile {wanted}"
            raise KeysError(msg)
        return None
    return _pair([values.get(name, "").strip() for name in _SECRET], f"{path}, profile {section}")


def find_region(env: Mapping[str, str], profile: str = "") -> str:
    """Return the region of the variables, else of the shared configuration file, else AWS's default."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if env.get(name):
            return env[name]
    section = profile or env.get("AWS_PROFILE", "") or "default"
    try:
        values = _section(
            _file(env, "AWS_CONFIG_FILE", "config"), section if section == "default" else f"profile {section}"
        )
    except KeysError:
        values = None  # it only would have said the region
    return (values or {}).get("region", "") or REGION


def find_endpoint(env: Mapping[str, str], region: str) -> str:
    """Return the address of the server."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if env.get(name):
            return env[name]
    return f"https://s3.{region}.amazonaws.com"


def secrets_of(env: Mapping[str, str]) -> Iterator[str]:
    """Yield all keys and tokens of the shared credentials file, for texts that must not hold them."""
    try:
        parser = _read(_file(env, "AWS_SHARED_CREDENTIALS_FILE", "credentials"))
    except KeysError:
        return
    for section in parser.values() if parser else ():
        yield from (section[name] for name in _SECRET if len(section.get(name, "")) >= 6)


def _pair(found: list[str], source: str) -> Keys:
    access, secret, token = found
    if not access or not secret:
        msg = f"{source}: access key and secret are needed, and only one is there"
        raise KeysError(msg)
    if not all(one.isascii() and one.isprintable() and " " not in one for one in found):
        msg = f"{source}: characters that no key has"
        raise KeysError(msg)
    return Keys(access=access, secret=secret, token=token, source=source)


def _file(env: Mapping[str, str], variable: str, name: str) -> Path | None:
    if env.get(variable):
        return Path(env[variable]).expanduser()
    return Path(env["HOME"]) / ".aws" / name if env.get("HOME") else None


def _section(path: Path | None, name: str) -> Mapping[str, str] | None:
    parser = _read(path)
    return parser[name] if parser and name in parser else None


def _read(path: Path | None) -> configparser.RawConfigParser | None:
    parser = configparser.RawConfigParser()
    try:
        if path is None or not path.is_file():
            return None
        parser.read_string(path.read_text("utf-8"))
    except OSError as exc:
        msg = f"{path}: {exc.strerror}"
        raise KeysError(msg) from exc
    except (configparser.Error, UnicodeDecodeError):
        # The parser's own words repeat the line, which may be a secret.
        msg = f"{path}: not a file of profiles with lines NAME = VALUE"
        raise KeysError(msg) from None
    return parser
