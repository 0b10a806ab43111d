"""What no tracked file may hold: addresses of package indexes, one machine's paths, secrets, left-over merge marks.

The forbidden words are put together from pieces here, so that this file keeps its own rule.
"""

from __future__ import annotations

import functools
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Any mirror has to serve: addresses come from the user's pip, uv or apt configuration, never from us.
INDEXES = (
    ("pypi", "org"),
    ("pypi", "io"),
    ("python", "hosted", "org"),
    ("deb.debian", "org"),
    ("ftp.debian", "org"),
    ("security.debian", "org"),
    ("snapshot.debian", "org"),
    ("archive.ubuntu", "com"),
    ("ports.ubuntu", "com"),
    ("registry.npmjs", "org"),
    ("crates", "io"),
    ("proxy.golang", "org"),
    ("conda.anaconda", "org"),
    ("registry-1.docker", "io"),
)
NAMES = [".".join(words).replace("python.hosted", "pythonhosted") for words in INDEXES]
JOINED = "|".join(re.escape(name) for name in NAMES)

RULES = {
    "the address of a package index": re.compile(rf"(?<![\w-])(?:{JOINED})(?![\w-])", re.IGNORECASE),
    "a path of one machine": re.compile(
        r"/(?<![\w.]/)(?:wo" + r"rk/(?:main|shared|\.library)|opt/(?:py" + r"pi|wheels))\b"
    ),
    "a home directory": re.compile(
        r"/(?<![\w.]/)(?:ro" + r"ot|ho" + r"me/(?!user/|ubuntu/)[a-z][\w-]*)/\.(?:pyenv|cache|cargo|local|ssh)\b"
    ),
    "a mark of an unfinished merge": re.compile(r"^(?:<{7} |>{7} |\|{7} )", re.MULTILINE),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE " + r"KEY-----"),
    "an access token": re.compile(
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|hf_[A-Za-z]{34}|glpat-[\w-]{20}|AKIA[A-Z0-9]{16})\b"
    ),
}


@functools.cache
def tracked() -> list[Path]:
    """Return the tracked files, or all files of an unpacked source distribution."""
    if not (ROOT / ".git").exists():
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def text_of(path: Path) -> str:
    """Return a file's text; nothing for what is gone, a link to a folder, or binary."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return ""
    return "" if b"\0" in data[:8192] else data.decode("utf-8", "replace")


# What a text must hold, in lower case, before it is searched with a rule's expression: most files hold none of these.
NEEDED = {
    "the address of a package index": NAMES,
    "a path of one machine": ("/wo" + "rk/", "/opt/"),
    "a home directory": ("/ro" + "ot/.", "/home/"),
    "a mark of an unfinished merge": ("<" * 7, ">" * 7, "|" * 7),
    "a private key": ("-----begin",),
    "an access token": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "hf_", "glpat-", "akia"),
}


def found_in(text: str) -> list[tuple[str, int, str]]:
    """Return rule, line number and match for everything forbidden in a text."""
    low = text.lower()
    return [
        (rule, text.count("\n", 0, match.start()) + 1, match[0])
        for rule, pattern in RULES.items()
        if any(word in low for word in NEEDED[rule])
        for match in pattern.finditer(text)
    ]


def test_tracked_files_keep_the_rules() -> None:
    files = tracked()
    assert len(files) > 20
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match} is {rule}"
        for path in files
        for rule, line, match in found_in(text_of(path))
    ]
    assert found == []


def test_scripts_are_executable() -> None:
    scripts = [path for path in tracked() if path.suffix != ".md" and text_of(path).startswith("#!")]
    assert scripts
    assert [str(path.relative_to(ROOT)) for path in scripts if not path.stat().st_mode & 0o100] == []


@pytest.mark.parametrize(
    "pieces",
    [
        ("https://", "py", "pi.org/simple"),
        ("files.python", "hosted.org"),
        ("http://deb.deb", "ian.org/debian trixie main"),
        ("index.cra", "tes.io"),
        ("see /wo", "rk/main/tasks.py"),
        ("file:///opt/py", "pi/simple"),
        ("/ro", "ot/.cache/uv"),
        ("<" * 7, " HEAD"),
        ("-----BEGIN RSA PRIVATE ", "KEY-----"),
        ("ghp_", "a" * 36),
    ],
)
def test_the_forbidden_is_found(pieces: tuple[str, ...]) -> None:
    assert len(found_in("first line\n" + "".join(pieces))) == 1
    assert found_in("first line\n" + "".join(pieces))[0][1] == 2


@pytest.mark.parametrize(
    "text",
    [
        "PyPI and Debian serve it",
        "https://github.com/pytorch/pytorch/pull/1",
        "https://docs.python.org/3/",
        "/usr/local/cuda-13.0/bin/nvcc",
        "https://www.apache.org/licenses/",
        "=======",
    ],
)
def test_the_allowed_is_not(text: str) -> None:
    assert found_in(text) == []


def test_no_two_test_files_have_one_name():
    """pytest takes them for the same module and then runs none at all."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []
