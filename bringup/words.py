"""What users type after the program's name: plain words as flags, and the plain spelling of one task read at once.

Most command lines are one task with `--flag value`, `--flag=value` and `--flag`. Reading those takes no parser, and
leaving invoke's out halves the time until a task begins. Whatever is spelled otherwise, or wrong, is invoke's to read:
`read_plain` returns None and never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bringup.flags import Flags, Task

# Tasks that take plain words, with the flag that stands for one; and the flags of theirs that take a value.
FREE_WORDS = {"diagnose": "--log", "list": "--what", "knowledge": "--new"}
TAKE_VALUE = ("--gpu", "--stack", "--cuda", "--build-dir", "--data", "--log", "--what", "--new", "--id")


def fold_positionals(words: list[str]) -> list[str]:
    """Give plain words after a task (`diagnose LOG...`, `list gpus`) the form of a flag, which invoke's parser wants.

    `--list` and `-l`, which invoke's own program has, show the tasks here as well; `help TASK` is `TASK --help`.
    """
    if words[1:2] in (["--list"], ["-l"], ["help"]):
        return [words[0], *words[2:3], "--help"]
    at = next((index for index, word in enumerate(words) if index and word in FREE_WORDS), 0)
    if not at:
        return words
    out, flag = words[: at + 1], FREE_WORDS[words[at]]
    free = True
    for word in words[at + 1 :]:
        out.append(f"{flag}={word}" if free and (word == "-" or not word.startswith("-")) else word)
        free = word not in TAKE_VALUE
    return out


def read_plain(words: list[str], tasks: Mapping[str, Task]) -> tuple[Task, Flags] | None:
    """Return the one task that the words name and the values of its flags; None if this takes invoke's parser.

    Args:
        words: program name, task, flags; plain words already are flags.
        tasks: by name.
    """
    task = tasks.get(words[1]) if len(words) > 1 else None
    if task is None:
        return None
    values: Flags = {}
    todo = iter(words[2:])
    for word in todo:
        flag, equals, value = word.partition("=")
        key = flag[2:]
        if not flag.startswith("--") or key not in task.flags:
            return None
        default, name = task.flags[key][0], key.replace("-", "_")
        if default is False:
            if equals or name in values:
                return None
            values[name] = True
            continue
        value = value if equals else next(todo, "")
        if not value or (value.startswith("-") and not (equals and value == "-")):
            return None
        read = _value(value, default)
        if read is None or (name in values and not isinstance(default, list)):
            return None
        values[name] = [*values.get(name, ()), read] if isinstance(default, list) else read
    return task, values


def _value(text: str, default: Any) -> Any:
    """Return a value of the kind of a flag's default; None where that takes more than a plain number."""
    if isinstance(default, int | float):
        digits = text.replace(".", "", 1) if isinstance(default, float) else text
        return type(default)(text) if digits.isascii() and digits.isdigit() else None
    return text
