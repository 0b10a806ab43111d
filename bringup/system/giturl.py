"""What can be told from a repository address alone: its host, its mirror's name, what a relative one means.

Nothing here runs git or touches the disk.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

from bringup.errors import FetchError

SCHEMES = ("https", "http", "ssh", "git", "file")

_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_SCP = re.compile(r"^(?:[^@/:]+@)?(\[[^\]]+\]|[^/:]+):(?!//)(.*)$")
_USERINFO = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s'\"@]*@", re.IGNORECASE)
_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s'\"?]*)\?[^\s'\"]*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where git really goes, with the secret part apart.

    Attributes:
        url: address without a password, safe in an argument list and in a log.
        header: `Authorization: Basic ...` for http(s) addresses that named a user; empty otherwise.
    """

    url: str
    header: str = ""


def redact(text: str) -> str:
    """Return `text` without user names, passwords and query strings in any address it holds."""
    return _QUERY.sub(r"\1", _USERINFO.sub(r"\1", text))


def is_local(url: str) -> bool:
    """Tell whether `url` is a folder of this machine: a path or a file:// address."""
    found = _SCHEME.match(url)
    if found:
        return found[1].lower() == "file"
    return not _SCP.match(url) or url.startswith(("/", "./", "../"))


def host_of(url: str) -> str:
    """Return the host (with its port, if one is named); empty for a local path."""
    if is_local(url):
        return ""
    found = None if _SCHEME.match(url) else _SCP.match(url)
    return found[1] if found else urlsplit(url).netloc.rpartition("@")[2]


def check_url(url: str) -> str:
    """Return `url` if git may be given it.

    Raises:
        FetchError: an unknown scheme, control characters, or something that git would read as an option.
    """
    found = _SCHEME.match(url)
    bad_scheme = found is not None and found[1].lower() not in SCHEMES
    transport_helper = re.match(r"^[a-z0-9+.-]+::", url, re.IGNORECASE) is not None
    if not url or url.startswith("-") or bad_scheme or transport_helper or re.search(r"[\x00-\x1f\x7f]", url):
        msg = f"{redact(url)!r} is not a repository address that may be used"
        raise FetchError(msg, hint=f"use one of {', '.join(SCHEMES)} or the path of a folder")
    return url


def split_credentials(url: str) -> Address:
    """Take the user and password of an http(s) address apart, so that no command line or log shows them.

    Other schemes keep their user (`git@host` is no secret) and lose a password.
    """
    found = _SCHEME.match(url)
    parts = urlsplit(url) if found else None
    if parts is None or "@" not in parts.netloc:
        return Address(url=url)
    userinfo, _, host = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    if parts.scheme not in ("http", "https"):
        netloc = f"{user}@{host}" if user else host
        return Address(url=urlunsplit(parts._replace(netloc=netloc)))
    token = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return Address(url=urlunsplit(parts._replace(netloc=host)), header=f"Authorization: Basic {token}")


def rewrite(url: str, rules: Sequence[tuple[str, str]]) -> str:
    """Return `url` with the longest matching prefix replaced.

    A prefix matches whole parts of the address only: `https://host/org` does not match `https://host/organic`.
    """
    for prefix, replacement in sorted(rules, key=lambda rule: -len(rule[0])):
        rest = url[len(prefix) :]
        whole = not rest or prefix.endswith(("/", ":")) or rest.startswith("/")
        if prefix and url.startswith(prefix) and whole:
            return replacement + rest
    return url


def resolve_relative(base: str, url: str) -> str:
    """Return the address that a submodule's `./x` or `../x` means in a repository that came from `base`.

    The rules are those of `git submodule`: each `../` takes one part off the base, at a `/` or at the `:` of
    `host:path`.

    Raises:
        FetchError: more `../` than the base has parts.
    """
    if not url.startswith(("./", "../")):
        return url
    head, rest = base.rstrip("/"), url
    colon = False
    while rest.startswith(("./", "../")):
        if rest.startswith("./"):
            rest = rest[2:]
            continue
        rest = rest[3:]
        cut = max(head.rfind("/"), -1 if "://" in head else head.rfind(":"))
        if cut < 0 or head[:cut].endswith(("/", ":")) or (cut == 0 and colon):
            msg = f"relative address {url} leads out of {redact(base)}"
            raise FetchError(msg)
        colon = head[cut] == ":"
        head = head[:cut]
    return f"{head}{':' if colon else '/'}{rest}".rstrip("/")


def canonical(url: str) -> str:
    """Return one spelling for addresses that mean the same repository: no user, `.git` or closing slash."""
    plain = redact(url).rstrip("/")
    if _SCHEME.match(plain) and not is_local(plain):
        parts = urlsplit(plain)
        plain = urlunsplit(parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower()))
    return plain.removesuffix(".git").rstrip("/")


def mirror_name(url: str) -> str:
    """Return the folder name of the mirror of `url`: readable, with a hash that keeps different addresses apart."""
    plain = canonical(url)
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", PurePosixPath(plain).name)[:60].strip(".-") or "repository"
    return f"{stem}-{hashlib.sha256(plain.encode()).hexdigest()[:16]}.git"
