"""What `--help` prints: the program with its tasks, and one task with its flags."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

from bringup.flags import REQUIRED, RUN, TARGET, Task
from bringup.report import WIDTH, as_typed
from bringup.system.environ import command_name
from bringup.tasks import TASK_GROUPS, TASKS
from bringup.words import FREE_WORDS

ABOUT = """\
Builds PyTorch, torchvision, FlashInfer and SGLang from source for a GPU, H200 first, and proves the result.
No GPU, no CUDA and no root are needed to build."""
# What a flag takes, by the type of its default.
VALUES = {str: " TEXT", int: " N", float: " NUMBER", list: " TEXT", bool: ""}
# Groups of flags that many tasks share: heading, flags, first sentence.
GROUPS = (
    ("Target flags", TARGET, "They say what is built, for what, and where. The plan is made from them."),
    ("Run flags", RUN, "They say how the work is done."),
)


def program_help() -> str:
    """Return what the program is for, the main job, and the tasks; invoke's own options have no use here."""
    name = command_name()
    lines = [
        *(ABOUT, "", f"Usage: {name} TASK [flags]", ""),
        f"  {name} build --gpu h200 --stack kernels   the main job",
        f"  {name} TASK --help   the flags of a task",
    ]
    for heading, names in TASK_GROUPS:
        lines += ["", f"{heading}:"]
        lines += [f"  {task:<10} {(TASKS[task].body.__doc__ or '').strip().splitlines()[0]}" for task in names]
    lines += ["", "-h, --help and -V, --version stand alone; every other flag follows its task."]
    return as_typed("\n".join(lines))


def task_help(task: Task) -> str:
    """Return what a task does and its flags, its own first and then those that many tasks share."""
    shared, own = grouped_flags(task)
    about = " ".join((inspect.getdoc(task.body) or "").split())
    lines = [f"Usage: {usage(task, command_name())} [flags]", "", as_typed(about)]
    for heading, flags in (("Flags", own), *shared):
        if flags:
            lines += ["", f"{heading}:", *_rows(flags)]
    return "\n".join(lines)


def usage(task: Task, program: str) -> str:
    """Return how a task is called: `./invokew plan --gpu NAME`."""
    words = [f"[{FREE_WORDS[task.name].removeprefix('--').upper()}]"] if task.name in FREE_WORDS else []
    return " ".join([f"{program} {task.name}", *(f"--{flag} NAME" for flag in task.required), *words])


def grouped_flags(task: Task) -> tuple[list[tuple[str, Mapping[str, Any]]], dict[str, Any]]:
    """Return the groups of flags that a task takes as a whole, by their headings, and the flags that are its own."""
    shared = [(heading, group) for heading, group, _ in GROUPS if set(group) <= set(task.flags)]
    own = {flag: value for flag, value in task.flags.items() if not any(flag in group for _, group in shared)}
    return [(heading, {flag: task.flags[flag] for flag in group}) for heading, group in shared], own


def flag_text(name: str, default: Any, text: str) -> tuple[str, str, str]:
    """Return a flag with what it takes, what it means, and what holds without it ("" where the meaning says that)."""
    kind = str if default is REQUIRED else type(default)
    shown = str(default) if kind in (str, int, float) and default and kind is type(default) else ""
    return f"--{name}{VALUES[kind]}", text, shown


def _rows(flags: Mapping[str, tuple[Any, str]]) -> list[str]:
    rows = [flag_text(name, default, text) for name, (default, text) in sorted(flags.items())]
    width = max(len(flag) for flag, _, _ in rows)
    lines = []
    for flag, text, default in rows:
        meaning = as_typed(text) + (f"; {default} without it" if default else "")
        start = f"  {flag:<{width}}  "
        lines.append(textwrap.fill(meaning, WIDTH, initial_indent=start, subsequent_indent=" " * len(start)))
    return lines
