"""Take out of a text what nobody outside should read: secrets, and the names of people, machines and folders.

Rules about form come first (a token is a token wherever it stands), then what is known of this user: home, name, host,
build folder. Rather too much is removed than too little: a hidden word costs a question, a published secret costs more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

GONE = "<removed>"
# Names that stand for nobody; hiding them would hide words of every log.
NOBODY = frozenset(
    {"root", "user", "users", "runner", "ubuntu", "debian", "admin", "build", "test", "nobody", "localhost"}
)
_NAMED_LIKE_ONE = (
    r"[\w.-]*(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key(?:[_-]?id)?|secret[_-]?key"
    r"|private[_-]?key|credentials?|authorization|auth[_-]?key|cookie)"
)
_VALUE = r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"',;&]+)"

RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Whole blocks first, or their lines would be taken for something else.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
    # scheme://user:password@host and scheme://token@host; a password may hold an @ itself.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/'\"]+@", re.IGNORECASE), rf"\1{GONE}@"),
    # What signs an address, or is one: everything after the question mark of a download.
    (re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>)]*=[^\s'\"<>)]*", re.IGNORECASE), rf"\1?{GONE}"),
    (re.compile(r"(AWS4-HMAC-SHA256)\s+Credential=[^\r\n]*"), rf"\1 {GONE}"),
    (re.compile(r"\b(Bearer|Basic|Token)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {GONE}"),
    (re.compile(rf"(?i)(\b{_NAMED_LIKE_ONE}[\"']?\s*(?:=>|:=|=|:)\s*){_VALUE}"), rf"\1{GONE}"),
    (re.compile(rf"(?i)(--{_NAMED_LIKE_ONE}[ =]){_VALUE}"), rf"\1{GONE}"),
    (re.compile(r"(?i)(\bmachine\s+)\S+(\s+login\s+)\S+(\s+password\s+)\S+"), rf"\1{GONE}\2{GONE}\3{GONE}"),
    (re.compile(r"(?i)(\s(?:-u|--user)[ =])[^\s:]+:\S+"), rf"\1{GONE}"),
    # Tokens by their form.
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{16,})"), GONE),
    (re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{20,}|\bxox[abeprs]-[\w-]{10,}|\bnvapi-[\w-]{16,}|\bnpm_\w{30,}"), GONE),
    (re.compile(r"\bpypi-[A-Za-z0-9_-]{30,}|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}|\bdckr_pat_[\w-]{16,}"), GONE),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), GONE),
    (re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}(?:[\s:,/]+[A-Za-z0-9/+=]{40}\b)?"), GONE),
    # People and machines.
    (re.compile(r"(?<![\w.+-])(?!git@)[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<email>"),
    (re.compile(r"(?:(?<=//)|(?<=@))(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:\d{1,3}\.){3}\d{1,3}(?=[:<]\d)"), "<address>"),
    (re.compile(r"\b[\w-]+(?:\.[\w-]+)*\.(?:internal|local|corp|lan|intra|intranet)\b"), "<host>"),
    (re.compile(r"\bGPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), f"GPU-{GONE}"),
    (re.compile(r"(?<![\w.])(?:/home/|/Users/|/export/home/)[^/\s:'\"]+"), "~"),
    (re.compile(r"(?<![\w.])/root(?=[/\s:'\"]|$)"), "~"),
)  # fmt: skip
_LOOPBACK = re.compile(r"127\.0\.0\.1|0\.0\.0\.0")
_LOOPBACK_MARK = "\0loopback{}\0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Redactor:
    """What is known of this user, and the rules.

    Attributes:
        folders: private folders, and what is written in their place.
        names: names of people and machines, and what is written in their place.
        secrets: values that are secret whatever they look like.
    """

    folders: tuple[tuple[str, str], ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()

    def __call__(self, text: str) -> str:
        """Return the text without what nobody outside should read."""
        for secret in self.secrets:
            text = text.replace(secret, GONE)
        kept = _LOOPBACK.findall(text)
        text = _hide(text, kept)
        for folder, shown in self.folders:
            text = re.sub(rf"{re.escape(folder)}(?![\w.-])", lambda _found, shown=shown: shown, text)  # type: ignore[misc]
        for pattern, shown in RULES:
            text = pattern.sub(shown, text)
        for name, shown in self.names:
            pattern = re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE)
            text = pattern.sub(shown, text)
        return _show(text, kept)


def _hide(text: str, kept: list[str]) -> str:
    """Put marks in the place of addresses that every machine has."""
    for index, address in enumerate(kept):
        text = text.replace(address, _LOOPBACK_MARK.format(index), 1)
    return text


def _show(text: str, kept: list[str]) -> str:
    for index, address in enumerate(kept):
        text = text.replace(_LOOPBACK_MARK.format(index), address)
    return text


def make_redactor(
    env: Mapping[str, str], *, host: str, folders: Mapping[Path, str], secrets: Iterable[str] = ()
) -> Redactor:
    """Return a redactor for a user.

    Args:
        env: the user's environment: HOME, USER, and values of variables whose names say that they are secret.
        host: name of this machine.
        folders: private folders, and what to write in their place.
        secrets: values that are secret and stand in no variable.
    """
    places = {str(path): shown for path, shown in folders.items()}
    places |= {str(path.resolve()): shown for path, shown in folders.items()}
    if env.get("HOME", "/") != "/":
        places.setdefault(env["HOME"].rstrip("/"), "~")
    people = {env.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
    hosts = {host, host.partition(".")[0], env.get("HOSTNAME", ""), env.get("HOSTNAME", "").partition(".")[0]}
    names = [(name, "<user>") for name in people] + [(name, "<host>") for name in hosts]
    return Redactor(
        folders=tuple(sorted(places.items(), key=lambda item: -len(item[0]))),
        names=tuple(sorted(_worth_hiding(names), key=lambda item: -len(item[0]))),
        # Longest first: one may be the beginning of another.
        secrets=tuple(sorted({*_secret_values(env), *secrets}, key=lambda value: (-len(value), value))),
    )


def _worth_hiding(names: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(name, shown) for name, shown in names if len(name) >= 3 and name.lower() not in NOBODY}


def _secret_values(env: Mapping[str, str]) -> Iterable[str]:
    """Yield values of variables that are named like secrets, and passwords in those that hold addresses."""
    for name, value in env.items():
        if re.fullmatch(_NAMED_LIKE_ONE, name, re.IGNORECASE) and len(value) >= 6:
            yield value
        found = re.match(r"[a-z][a-z0-9+.-]*://[^:/\s]+:([^/\s]+)@", value, re.IGNORECASE)
        if found and len(found[1]) >= 6:
            yield found[1]
