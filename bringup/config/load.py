"""TOML files to models, with every problem of every file in one report.

msgspec stops at the first problem of a document. To show all of them at once, the offending value is taken out and
the document is looked at again, until it converts or nothing more can be taken out.
"""

from __future__ import annotations

import copy
import functools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from bringup.config.near import nearest
from bringup.config.relaxed import missing, relaxed
from bringup.errors import ConfigError, StorageError

T = TypeVar("T")

MAX_PROBLEMS = 50
_AT = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>\$.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_FIELD = re.compile(r"field `([^`]+)`")
_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*("[^"]+"|'[^']+'|[A-Za-z0-9_.-]+)\s*=""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong in one file.

    Attributes:
        file: path as the user knows it.
        line: line number from 1; 0 if unknown.
        key: dotted key, "versions[0].sources.git.comit".
        text: what is wrong, with the value.
    """

    file: str
    line: int = 0
    key: str = ""
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key + ': ' if self.key else ''}{self.text}"


def raise_if_any(problems: list[Problem]) -> None:
    """Raise one ConfigError that lists all problems, if there are any."""
    if not problems:
        return
    shown = "\n".join(f"  {problem}" for problem in problems[:MAX_PROBLEMS])
    more = f"\n  ... and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in data files"
    msg = f"{count}:\n{shown}{more}"
    raise ConfigError(msg, hint="the keys and their meaning are in docs/reference")


def read_text(path: Path) -> str:
    """Return the text of a data file.

    Raises:
        ConfigError: it is missing or not UTF-8.
        StorageError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        msg = f"{path}: no such file"
        raise ConfigError(msg) from exc
    except UnicodeDecodeError as exc:
        msg = f"{path}: not UTF-8 at byte {exc.start}"
        raise ConfigError(msg) from exc
    except OSError as exc:
        msg = f"{path}: {exc.strerror}"
        raise StorageError(msg) from exc


def load_toml(path: Path, model: type[T], *, name: str = "") -> tuple[T | None, list[Problem]]:
    """Read one TOML file into `model`; `name` is how problems call the file."""
    shown = name or str(path)
    try:
        text = read_text(path)
    except ConfigError as exc:
        return None, [Problem(file=shown, text=exc.message)]
    return parse_toml(text, model, name=shown)


def parse_toml(text: str, model: type[T], *, name: str) -> tuple[T | None, list[Problem]]:
    """As `load_toml`, on text."""
    try:
        data = _parsed(text)
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"at line (\d+), column \d+", str(exc))
        line = int(found.group(1)) if found else len(text.splitlines())  # without a place it is the end of the document
        return None, [Problem(file=name, line=line, text=f"not valid TOML: {exc}")]
    except RecursionError:
        return None, [Problem(file=name, text="not valid TOML: nested too deeply")]
    return _convert(data, model, text=text, name=name)


@functools.lru_cache(maxsize=512)
def _parsed(text: str) -> dict[str, Any]:
    """Parse a text once: several parts of one run read the same files. The result is never changed."""
    return tomllib.loads(text)


def _convert(data: Any, model: type[T], *, text: str, name: str) -> tuple[T | None, list[Problem]]:
    try:
        return msgspec.convert(data, model, strict=True), []
    except msgspec.ValidationError:
        return None, _all_problems(copy.deepcopy(data), model, text=text, name=name)


def _all_problems(data: Any, model: Any, *, text: str, name: str) -> list[Problem]:
    problems: list[Problem] = []
    removed: set[tuple[str, ...]] = set()
    twin = relaxed(model)
    while len(problems) < MAX_PROBLEMS:
        try:
            value = msgspec.convert(data, twin, strict=True)
        except msgspec.ValidationError as exc:
            what, steps = _split(str(exc))
            field = _FIELD.search(what)
            if field and "unknown field" in what:
                steps.append(field.group(1))
                what = _unknown(field.group(1), model)
            steps = _concrete(data, steps, twin, str(exc))
            what = f"{what[0].lower()}{what[1:]}".replace(" | null", "").replace("`", "")
            if "`key` in `$" in str(exc):
                what = f"name of a table or key: {what} (name: {steps[-1]!r})"
            elif not what.startswith("unknown key"):
                what += _shown_value(data, steps)
            problems.append(Problem(file=name, line=_line_of(text, steps), key=_dotted(steps), text=what))
            if not _remove(data, steps):
                return problems
            removed.add(tuple(steps))
        else:
            for path in missing(value, model):
                if path not in removed:
                    line = _line_of(text, list(path[:-1]))
                    problems.append(Problem(file=name, line=line, key=_dotted(list(path)), text="missing"))
            return problems
    return problems


def _concrete(data: Any, steps: list[str], twin: Any, message: str) -> list[str]:
    """Replace each `[...]` (some value of a table, which msgspec does not name) by the key that is meant."""
    if "[...]" not in steps:
        return steps
    at = steps.index("[...]")
    try:
        parent = _walk(data, steps[:at])
    except (KeyError, IndexError, TypeError, ValueError):
        return steps
    keys = list(parent) if isinstance(parent, dict) else [f"[{index}]" for index in range(len(parent))]
    for key in keys:
        trial = copy.deepcopy(data)
        table = _walk(trial, steps[:at])
        for other in reversed(keys):  # alone in its table, the value that is meant gives the same message
            if other != key:
                _remove(table, [other])
        try:
            msgspec.convert(trial, twin, strict=True)
        except msgspec.ValidationError as exc:
            if str(exc) == message:
                return _concrete(data, [*steps[:at], key, *steps[at + 1 :]], twin, message)
    return steps


def _split(message: str) -> tuple[str, list[str]]:
    found = _AT.match(message)
    assert found
    steps = [key or f"[{index}]" for key, index in _STEP.findall(found["path"] or "")]
    if found["key"]:
        steps.append("[...]")
    return found["what"], steps


def _dotted(steps: list[str]) -> str:
    out = ""
    for step in steps:
        out += step if step.startswith("[") or not out else f".{step}"
    return out


def _unknown(field: str, model: Any) -> str:
    near = nearest(field, _field_names(model))
    return "unknown key" + (f"; did you mean `{near}`?" if near else "")


def _field_names(model: Any) -> set[str]:
    """Names of all fields of all models reachable from `model`."""
    seen: set[Any] = set()
    names: set[str] = set()
    todo = [model]
    while todo:
        kind = todo.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if kind in seen:
                continue
            seen.add(kind)
            names.update(kind.__struct_encode_fields__)
            todo.extend(get_type_hints(kind, include_extras=False).values())
        else:
            todo.extend(get_args(kind))
    return names


def _walk(data: Any, steps: list[str]) -> Any:
    for step in steps:
        if step.startswith("["):
            data = data[int(step[1:-1])]
        else:
            data = data[step]
    return data


def _shown_value(data: Any, steps: list[str]) -> str:
    try:
        value = _walk(data, steps)
    except (KeyError, IndexError, TypeError, ValueError):
        return ""
    text = repr(value)
    return f" (value: {text if len(text) <= 80 else text[:77] + '...'})"


def _remove(data: Any, steps: list[str]) -> bool:
    if not steps:
        return False
    try:
        parent = _walk(data, steps[:-1])
        last = steps[-1]
        if last.startswith("["):
            parent.pop(int(last[1:-1]))
        else:
            del parent[last]
    except (KeyError, IndexError, TypeError, ValueError):
        return False
    return True


def _line_of(text: str, steps: list[str]) -> int:
    """Return the line where the value at `steps` stands, or that of the nearest enclosing table; 0 if none."""
    wanted = [step for step in steps if step != "[...]"]
    best, best_depth = 0, 0
    for number, path in _keys(text):
        depth = 0
        while depth < min(len(path), len(wanted)) and path[depth] == wanted[depth]:
            depth += 1
        if depth == len(path) and depth > best_depth:
            best, best_depth = number, depth
    return best


def _keys(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers with the path of the key or table header that starts there."""
    counts: dict[str, int] = {}
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            names = [part.strip(" \"'") for part in header[2].split(".")]
            table = []
            for depth, part in enumerate(names):
                table.append(part)
                joined = ".".join(names[: depth + 1])
                if header[1] == "[[" and depth == len(names) - 1:
                    counts[joined] = counts.get(joined, -1) + 1
                if joined in counts:
                    table.append(f"[{counts[joined]}]")
            yield number, list(table)
            continue
        key = _KEY.match(line)
        if key:
            yield number, [*table, *(part.strip("\"'") for part in key[1].split("."))]
