"""docs/reference/cli.md: every task with its flags, from the tasks themselves."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from bringup.flags import Task
from bringup.tasks import TASK_GROUPS, TASKS
from bringup.usage import GROUPS, flag_text, grouped_flags, usage

INTRODUCTION = """\
# Tasks and flags

Made from the tasks by `invoke schema`; edit `bringup/tasks.py` and `bringup/flags.py`.

`./invokew TASK` in a checkout, `invoke TASK` where its `.venv` is active, and `bringup TASK` where the package is
installed are the same, but that `invoke` itself knows no plain words (`list --what gpus` instead of `list gpus`) and
ends with 1 on [wrong use](exit-codes.md). `TASK --help` shows the flags of a task. A flag's value follows after a space
or an equals sign; flags that may be repeated are given once for each value.

`-o` is short for `--output`; there are no other short flags. Options before the task (`--echo`, `--dry` ...) are
invoke's own and have no use here.
"""


def cli_page() -> str:
    """Return the page."""
    placed = [name for _, names in TASK_GROUPS for name in names]
    rest = tuple(name for name in sorted(TASKS) if name not in placed)
    parts = [INTRODUCTION]
    for heading, names in (*TASK_GROUPS, ("Others", rest)):
        here = [name for name in names if name in TASKS]
        if here:
            parts += [f"## {heading}", ""]
            parts += [line for name in here for line in _task(TASKS[name])]
    for heading, group, text in GROUPS:
        parts += [f"## {heading}", "", text, "", *_table(group), ""]
    return "\n".join(parts).rstrip() + "\n"


def _task(task: Task) -> list[str]:
    shared, own = grouped_flags(task)
    text = " ".join((inspect.getdoc(task.body) or "").split())
    lines = [f"### {task.name}", "", f"    {usage(task, './invokew')}", "", text, ""]
    if shared:
        links = [f"[{heading.lower()}](#{heading.lower().replace(' ', '-')})" for heading, _ in shared]
        lines += [f"Takes the {' and the '.join(links)}.", ""]
    return [*lines, *_table(own), ""] if own else lines


def _table(flags: Mapping[str, tuple[Any, str]]) -> list[str]:
    rows = ["| flag | meaning |", "|---|---|"]
    for name, (default, text) in sorted(flags.items()):
        flag, meaning, without = flag_text(name, default, text)
        meaning = (meaning + (f"; `{without}` without it" if without else "")).replace("|", "\\|")
        rows.append(f"| `{flag}` | {meaning} |")
    return rows
