"""The plain spelling of a task is read as invoke's parser reads it, or left to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoke.exceptions import ParseError

from bringup.collection import ns
from bringup.flags import REQUIRED
from bringup.program import BringupProgram
from bringup.tasks import TASKS
from bringup.words import fold_positionals, read_plain

VALUES = ["h200", "3", "0.5", "07", "1e3", "-", "-2", "", "a b", "x=y", "plan", "--gpu", "--json", "--help", "x", "-h"]


def by_invoke(words: list[str]) -> tuple[str, dict[str, Any]] | None:
    """Return the one task and the values of all its flags as invoke reads them; None if it does not read that."""
    program = BringupProgram(name="bringup", binary="invoke", namespace=ns, version="1")
    program.create_config()
    try:
        program.parse_core(list(words))
        program.parse_collection()
        program.parse_tasks()
    except (ParseError, ValueError):
        return None
    if len(program.tasks) != 1 or program.core[0].args["help"].value:
        return None
    return program.tasks[0].name, program.tasks[0].as_kwargs


def by_us(words: list[str]) -> tuple[str, dict[str, Any]] | None:
    found = read_plain(words, TASKS)
    if found is None:
        return None
    task, values = found
    defaults = {
        key.replace("-", "_"): None if default is REQUIRED else default for key, (default, _) in task.flags.items()
    }
    return task.name, defaults | values


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    task = draw(st.sampled_from(sorted(TASKS)))
    words = ["invoke", task]
    for _ in range(draw(st.integers(0, 4))):
        flag = draw(st.sampled_from([*TASKS[task].flags, "of", "help"]))
        value = draw(st.sampled_from(VALUES))
        words += draw(st.sampled_from([[f"--{flag}"], [f"--{flag}", value], [f"--{flag}={value}"], [value]]))
    return words


@given(command_lines())
def test_what_is_read_plainly_is_what_invoke_reads(words: list[str]):
    words = fold_positionals(words)
    ours = by_us(words)
    if ours is not None:
        assert ours == by_invoke(words)


@pytest.mark.parametrize(
    "line",
    [
        "plan --gpu h200", "build --gpu=h200 --stack kernels --json", "list gpus", "list", "diagnose a.log b.log",
        "diagnose -", "build --gpu h200 --jobs 3 --memory 2.5 --only a --only=b --mirror a=b=c", "jobs --nice 5",
    ],
)  # fmt: skip
def test_usual_lines_need_no_parser(line: str):
    words = fold_positionals(["invoke", *line.split()])
    assert by_us(words) is not None
    assert by_us(words) == by_invoke(words)


@pytest.mark.parametrize("line", ["bundle --gpu h200 -o x", "bundle -o=x --gpu=h200", "report -ox --gpu h200"])
def test_output_has_a_short_name(line: str):
    words = line.split()
    found = by_invoke(fold_positionals(["invoke", *words]))
    assert found is not None
    assert found == by_invoke(["invoke", words[0], "--output=x", "--gpu=h200"])
    assert by_invoke(["invoke", "build", "--gpu=h200", "-o", "x"]) is None


@pytest.mark.parametrize(
    "line",
    [
        "", "--help", "nothing", "plan --help", "plan -h", "plan --gpu", "plan --gpu --json", "plan --json=1",
        "plan --json --json", "plan --gpu a --gpu b", "plan --gpu a fetch", "plan --gpu=", "build --jobs many",
        "build --jobs -2", "build --build_dir x", "build --nice=1.5", "-e plan", "build --memory 1e3",
    ],
)  # fmt: skip
def test_everything_else_is_left_to_invoke(line: str):
    assert read_plain(["invoke", *line.split()], TASKS) is None
