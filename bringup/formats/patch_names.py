"""File names in git diffs: quoted ones, the two in `diff --git`, and which may be written to."""

from __future__ import annotations

import re

_ESCAPES = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92}
_ESCAPE = re.compile(rb'\\([0-3][0-7]{2}|[abtnvfr"\\])')


def unquote_name(name: str) -> str:
    r"""Return a name as git means it: `"a/f\303\266"` is `a/fö`.

    Raises:
        ValueError: a quoted name with an unknown escape or without its end.
    """
    if not name.startswith('"'):
        return name
    if len(name) < 2 or not name.endswith('"'):
        msg = f"the name {name} has no closing quote"
        raise ValueError(msg)
    raw = name[1:-1].encode("utf-8", "surrogateescape")
    if re.search(rb'[\\"]', _ESCAPE.sub(b"", raw)):
        msg = f"the name {name} is not quoted as git does it"
        raise ValueError(msg)

    def one(found: re.Match[bytes]) -> bytes:
        text = found[1].decode()
        return bytes([_ESCAPES[text] if text in _ESCAPES else int(text, 8)])

    return _ESCAPE.sub(one, raw).decode("utf-8", "surrogateescape")


def header_names(rest: str) -> str | None:
    """Return the name in `a/NAME b/NAME`; None if the two differ (a rename, whose names stand in lines of their own).

    Raises:
        ValueError: no names with the prefixes `a/` and `b/`.
    """
    rest = rest.rstrip("\r")
    if rest.startswith('"') or rest.endswith('"'):
        found = re.fullmatch(r'("(?:[^"\\]|\\.)*"|\S.*?) ("(?:[^"\\]|\\.)*"|\S.*)', rest)
        names = [unquote_name(part) for part in found.groups()] if found else []
        if len(names) != 2 or not names[0].startswith("a/") or not names[1].startswith("b/"):
            msg = "`diff --git` does not name a/FILE and b/FILE"
            raise ValueError(msg)
        return names[0][2:] if names[0][2:] == names[1][2:] else None
    if not rest.startswith("a/") or " b/" not in rest:
        msg = "`diff --git` does not name a/FILE and b/FILE (written with --no-prefix?)"
        raise ValueError(msg)
    # A name may hold blanks, even " b/": equal names make both halves equally long.
    half = len(rest) // 2
    left, right = rest[:half], rest[half + 1 :]
    return left[2:] if rest[half] == " " and right.startswith("b/") and left[2:] == right[2:] else None


def safe_name(name: str) -> str:
    """Return `name` if it stays inside the tree.

    Raises:
        ValueError: absolute, with `..`, `.`, an empty part, a backslash or control character, or inside `.git`.
    """
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
        msg = f"the path {name!r} is not one inside the tree"
        raise ValueError(msg)
    if re.search(r"[\x00-\x1f\x7f\\]", name):
        msg = f"the path {name!r} has a character that no source file has"
        raise ValueError(msg)
    return name
