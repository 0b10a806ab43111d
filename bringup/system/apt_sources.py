"""The Debian mirror that this machine uses, learned from apt's configuration without changing anything.

Only its address (and proxy) is taken. apt itself is not used to fetch, so that the system's package lists stay as they
are, no root is needed, and machines without apt work the same once they are told a mirror.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bringup.errors import BringupError, TargetError, UsageError
from bringup.formats.deb import parse_control
from bringup.system.download import shown
from bringup.system.environ import base_environment
from bringup.system.process import run

ROLLING = frozenset({"stable", "oldstable", "testing", "unstable", "sid"})
FLAG_HINT = "name a mirror of Debian with --debian-mirror URL (the folder that holds dists/ and pool/)"


@dataclass(frozen=True, kw_only=True, slots=True)
class DebianMirror:
    """Where Debian packages come from.

    Attributes:
        url: folder with dists/ and pool/; may hold user name and password.
        origin: where this is known from, for messages.
        proxy: proxy that apt is told to use, "" for those of the environment.
    """

    url: str
    origin: str
    proxy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One place of an apt source: address, suite and components, with the file that says so."""

    uri: str
    suite: str
    components: tuple[str, ...]
    file: str


def find_mirror(given: str = "", *, root: Path = Path("/")) -> DebianMirror:
    """Return the mirror named by the user, else the one this machine installs Debian from.

    Args:
        given: value of --debian-mirror, "" if it was not used.
        root: root of the file system to look at.

    Raises:
        UsageError: `given` is no address.
        TargetError: the machine does not run Debian, or no mirror is configured.
    """
    if given:
        if urlsplit(given).scheme not in ("http", "https", "file"):
            msg = f"--debian-mirror {given}: not an http, https or file address"
            raise UsageError(msg, hint=FLAG_HINT)
        return DebianMirror(url=given.rstrip("/"), origin="--debian-mirror")
    release = os_release(root)
    if release.get("ID") != "debian":
        name = release.get("PRETTY_NAME") or release.get("ID") or "this system"
        msg = f"the toolchain provider `debs` needs a mirror of Debian, and {name} does not use one"
        raise TargetError(msg, hint=FLAG_HINT)
    suites = ROLLING | {release.get("VERSION_CODENAME", "sid")}
    for entry in read_entries(root):
        if entry.suite in suites and "main" in entry.components:
            url = _plain(entry.uri, root)
            if url:
                return DebianMirror(url=url.rstrip("/"), origin=entry.file, proxy=_apt_proxy(url, root))
    msg = f"no Debian mirror for {' or '.join(sorted(suites - ROLLING))} found in {root / 'etc/apt'}"
    raise TargetError(msg, hint=FLAG_HINT)


def os_release(root: Path = Path("/")) -> dict[str, str]:
    """Return the fields of /etc/os-release, {} if there is none."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            text = (root / name).read_text("utf-8", "replace")
        except OSError:
            continue
        pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
        return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    return {}


def read_entries(root: Path = Path("/")) -> Iterator[Entry]:
    """Yield the places of binary packages that apt is told about, in both of its file formats."""
    folder = root / "etc/apt"
    lists = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]
    for path in [*sorted((folder / "sources.list.d").glob("*.sources")), *lists]:
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue
        yield from (_deb822 if path.suffix == ".sources" else _one_line)(text, str(path))


def _deb822(text: str, file: str) -> Iterator[Entry]:
    clean = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for paragraph in re.split(r"\n\s*\n", clean):
        fields = {key.lower(): value for key, value in parse_control(paragraph.strip("\n")).items()}
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Entry(uri=uri, suite=suite, components=tuple(fields.get("components", "").split()), file=file)


def _one_line(text: str, file: str) -> Iterator[Entry]:
    for line in text.splitlines():
        words = re.sub(r"\[[^]]*\]", " ", line.partition("#")[0]).split()
        if len(words) > 3 and words[0] == "deb":
            yield Entry(uri=words[1], suite=words[2], components=tuple(words[3:]), file=file)


def _plain(uri: str, root: Path) -> str:
    """Return an address that urllib can open, or "": apt also has `mirror+file:` lists and CD-ROMs."""
    scheme, _, rest = uri.partition(":")
    if scheme in ("http", "https", "file"):
        return uri
    if scheme == "copy":
        return f"file:{rest}"
    if scheme == "mirror+file":
        try:
            lines = (root / rest.lstrip("/")).read_text().split("\n")
        except OSError:
            return ""
        return next((line.split()[0] for line in lines if re.match(r"(https?|file):", line)), "")
    return ""


def _apt_proxy(url: str, root: Path) -> str:
    """Return the proxy of apt's configuration for an address; "" if apt names none or is not there."""
    if root != Path("/") or shutil.which("apt-config") is None:
        return ""
    key = f"Acquire::{urlsplit(url).scheme}::Proxy"
    script = ["apt-config", "shell", "ALL", key, "HOST", f"{key}::{urlsplit(url).hostname}"]
    try:
        done = run(script, env=base_environment(), error=BringupError, what="read apt's proxy", timeout=10)
    except BringupError:
        return ""
    values = dict(re.findall(r"^(ALL|HOST)='([^']*)'", done.output, re.MULTILINE))
    chosen = values.get("HOST") or values.get("ALL", "")
    return "" if chosen.upper() == "DIRECT" else chosen


def describe(mirror: DebianMirror) -> str:
    """Return the mirror for a message, without password."""
    return f"{shown(mirror.url)} ({mirror.origin})"
