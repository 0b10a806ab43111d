"""Files from the network: resumed, hash-checked, put in place atomically.

Proxies are those of the environment; certificates are the system's plus the file that SSL_CERT_FILE,
REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import http.client
import os
import random
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import FetchError
from bringup.system.fs import file_sha256, storage_errors
from bringup.system.spent import spent_on

BLOCK = 1 << 20
TIMEOUT_SECONDS = (
    30.0  # for the first attempt; a host that took the request and says nothing gets twice as long each time
)
FIRST_PAUSE_SECONDS = 0.2
FATAL_STATUS = frozenset({400, 401, 403, 404, 405, 410, 451})
OFFLINE_HINT = "check network and proxy, name another mirror with --mirror, or use --offline with a filled cache"

OnBytes = Callable[[int], None]
"""Told how many bytes have just arrived."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A file by content: what it must hash to and where it is thought to be.

    Attributes:
        url: address; user name and password in it are sent but never shown.
        sha256: hash of the whole file.
        filename: name that it is stored under.
        size: bytes, for estimates and messages; 0 if unknown.
        proxy: proxy to use instead of those of the environment.
    """

    url: str
    sha256: str
    filename: str
    size: int = 0
    proxy: str = ""


class GoneError(FetchError):
    """The host answered that it does not have the file."""


class WrongFileError(FetchError):
    """What came has another hash than what is wanted: it was changed, or something on the way changed it."""


class _TransientError(Exception):
    """Worth another attempt."""


class _SilentError(_TransientError):
    """The host took the request and then said nothing: a caching proxy fetches the whole of a big file first."""


def download(
    url: str,
    dest: Path,
    *,
    sha256: str,
    size: int = 0,
    retries: int = 3,
    on_bytes: OnBytes | None = None,
    stop: threading.Event | None = None,
    proxy: str = "",
) -> Path:
    """Fetch one file to `dest`, which exists afterwards only if its hash is right.

    What has arrived stays in `<dest>.part` when the connection breaks and is resumed by the next attempt or call.

    Args:
        url: http, https or file address.
        dest: file to write.
        sha256: hash of the whole file; "" skips the check (for files that nothing pins).
        size: expected bytes, 0 if unknown.
        retries: further attempts after a broken connection or a server error.
        on_bytes: called with the number of bytes of each block.
        stop: ends the transfer when set.
        proxy: proxy to use instead of those of the environment.

    Raises:
        FetchError: no network, no such file, truncated, or another hash than expected.
        StorageError: disk full or no permission.
    """
    part = dest.with_name(dest.name + ".part")
    problem, seconds = "", TIMEOUT_SECONDS
    with storage_errors(dest, every=True):
        dest.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(retries + 1):
        if attempt:
            _pause(min(FIRST_PAUSE_SECONDS * 3 ** (attempt - 1), 10.0) * random.uniform(0.7, 1.3), stop)  # noqa: S311
        resumed = part.exists() and part.stat().st_size > 0
        try:
            with spent_on("download"):
                digest = _transfer(url, part, seconds, proxy=proxy, on_bytes=on_bytes, stop=stop)
        except _TransientError as exc:
            problem = str(exc)
            seconds *= 2 if isinstance(exc, _SilentError) else 1
            continue
        got = (digest or file_sha256(part)) if sha256 else ""
        if got == sha256:
            with storage_errors(dest, every=True):
                part.replace(dest)
            return dest
        problem = _wrong_hash(dest.name, part.stat().st_size, size, sha256, got)
        with storage_errors(dest, every=True):
            part.unlink(missing_ok=True)
        if not resumed:
            raise WrongFileError(problem, hint=f"address: {shown(url)}; the bad file has been removed")
    msg = f"cannot fetch {dest.name} from {host_of(url)}: {problem}"
    raise FetchError(msg, hint=OFFLINE_HINT)


def host_of(url: str) -> str:
    """Return the host of an address, or the address itself where there is none (file:)."""
    return urllib.parse.urlsplit(url).hostname or url


def shown(url: str) -> str:
    """Return an address without user name and password."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _transfer(
    url: str, part: Path, seconds: float, *, proxy: str, on_bytes: OnBytes | None, stop: threading.Event | None
) -> str:
    """Fetch what is missing and return the hash of the whole, which is taken as it arrives; "" if nothing did."""
    have = part.stat().st_size if part.exists() else 0
    request = _request(url, have)
    if request.type == "file" and not Path(urllib.request.url2pathname(request.selector)).is_file():
        msg = f"{shown(url)} does not exist"
        raise GoneError(msg)
    try:
        with opener(proxy).open(request, timeout=seconds) as response:
            resumes = have > 0 and response.status == http.HTTPStatus.PARTIAL_CONTENT
            expected = _content_length(response)
            digest = _hash_of(part) if resumes else hashlib.sha256()
            got = _write(response, part, digest, append=resumes, on_bytes=on_bytes, stop=stop)
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return ""  # everything had arrived already; the hash decides
        if exc.code in FATAL_STATUS:
            msg = f"{host_of(url)} does not have {urllib.parse.urlsplit(url).path}: HTTP {exc.code} {exc.reason}"
            raise GoneError(msg, hint="the file may be gone from this mirror: try another one") from exc
        msg = f"HTTP {exc.code} {exc.reason}"
        raise _TransientError(msg) from exc
    except TimeoutError as exc:  # one while connecting comes as URLError
        msg = f"no answer within {seconds:g} s"
        raise _SilentError(msg) from exc
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError) as exc:
        raise _TransientError(_reason(exc, seconds)) from exc
    if expected is not None and got < expected:
        msg = f"truncated: {got} of {expected} bytes arrived before the connection ended"
        raise _TransientError(msg)
    return digest.hexdigest()


def _hash_of(part: Path) -> hashlib._Hash:
    with storage_errors(part, every=True), part.open("rb") as source:
        return hashlib.file_digest(source, "sha256")


def _write(
    response: http.client.HTTPResponse,
    part: Path,
    digest: hashlib._Hash,
    *,
    append: bool,
    on_bytes: OnBytes | None,
    stop: threading.Event | None,
) -> int:
    """Copy the body to the file; network errors pass through, those of the disk become StorageError."""
    total = 0
    with storage_errors(part, every=True):
        sink = part.open("ab" if append else "wb", buffering=0)
    with sink:
        while block := response.read(BLOCK):
            if stop is not None and stop.is_set():
                msg = f"fetch of {part.name.removesuffix('.part')} was stopped"
                raise FetchError(msg)
            with storage_errors(part, every=True):
                sink.write(block)
            digest.update(block)
            total += len(block)
            if on_bytes is not None:
                on_bytes(len(block))
    return total


def _request(url: str, have: int) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https", "file"):
        msg = f"address {shown(url)} is neither http, https nor file"
        raise FetchError(msg)
    request = urllib.request.Request(shown(url), headers={"User-Agent": "bringup"})  # noqa: S310
    for name, value in basic_authorization(url).items():
        request.add_unredirected_header(name, value)
    if have and parts.scheme != "file":
        request.add_header("Range", f"bytes={have}-")
    return request


def basic_authorization(url: str) -> dict[str, str]:
    """Return the header for the user name and password of an address, if it has them."""
    parts = urllib.parse.urlsplit(url)
    if not parts.username:
        return {}
    pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def opener(proxy: str = "") -> urllib.request.OpenerDirector:
    """Return what opens addresses: with the machine's certificates and proxies, or the proxy named."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=_tls())]
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    return urllib.request.build_opener(*handlers)


@functools.cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        bundle = os.environ.get(name, "")
        if bundle and Path(bundle).is_file():
            context.load_verify_locations(cafile=bundle)
    return context


def _content_length(response: http.client.HTTPResponse) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdigit() else None


def _reason(exc: BaseException, seconds: float) -> str:
    reason = getattr(exc, "reason", None) or exc
    if isinstance(reason, TimeoutError):
        return f"no connection within {seconds:g} s"
    return str(reason) or type(reason).__name__


def _wrong_hash(name: str, got_size: int, size: int, expected: str, got: str) -> str:
    sizes = f" ({got_size} bytes, {size} expected)" if size and size != got_size else f" ({got_size} bytes)"
    kind = "is truncated" if size and got_size < size else "has the wrong hash"
    return f"{name} {kind}{sizes}: expected sha256 {expected}, got {got}"


def _pause(seconds: float, stop: threading.Event | None) -> None:
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)
