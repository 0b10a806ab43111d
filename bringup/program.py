"""invoke's parser over our tasks: help, wrong use, and every spelling that `bringup.words` leaves to it."""

from __future__ import annotations

import itertools
import re
import shlex
import sys
from typing import NoReturn

from invoke.exceptions import Exit, ParseError, UnexpectedExit
from invoke.parser import Parser
from invoke.program import Program

from bringup import __version__
from bringup.collection import ns
from bringup.config.near import nearest
from bringup.errors import BringupError, UsageError
from bringup.output import print_error
from bringup.system.environ import command_name
from bringup.tasks import TASKS
from bringup.usage import program_help, task_help


class BringupProgram(Program):
    """invoke's program, with parse errors as wrong use (exit code 2) and plain words after some tasks."""

    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:  # noqa: A002 - invoke's name
        """Run and end the process with the right code."""
        del exit
        words = list(sys.argv if argv is None else argv)
        try:
            self.create_config()
            self._parse(words)
            self.parse_cleanup()
            self.update_config()
            self.execute()
        except ParseError as exc:
            _leave(self._wrong_use(str(exc), words))
        except Exit as exc:
            if exc.message:
                print(exc.message, file=sys.stderr)
            sys.exit(exc.code)
        except UnexpectedExit as exc:
            sys.exit(exc.result.exited)

    def print_help(self) -> None:
        """Show what the program is for and its tasks."""
        print(program_help())

    def print_task_help(self, name: str) -> None:
        """Show what a task does and its flags."""
        print(task_help(TASKS[name]))

    def _make_parser(self) -> Parser:
        """Return a parser of the tasks that are named, since it copies every flag of every task that it knows."""
        every = super()._make_parser().contexts.values()
        return Parser([one for one in every if one.name in self.argv], self.initial_context)

    def _parse(self, words: list[str]) -> None:
        try:
            self.parse_core(words)
            self.parse_collection()
            self.parse_tasks()
        except ValueError as exc:  # from int() or float(), which invoke calls on the value of a flag
            found = re.search(r"'(.*)'$", str(exc))
            value = found[1] if found else ""
            _leave(UsageError(f"{_flag_of(value, words)} wants a number, not {value!r}"))

    def _wrong_use(self, message: str, words: list[str]) -> UsageError:
        task = next((TASKS[word] for word in words[1:] if word in TASKS), None)
        hint = f"{command_name()} --help shows the tasks, {command_name()} TASK --help the flags of one"
        if task:
            hint = f"{command_name()} {task.name} --help shows its flags"
        unknown = re.search(r"No idea what '(.+)' is", message)
        if unknown:
            word = unknown[1].split("=", 1)[0]
            flags = [f"--{name}" for name in task.flags] if task else []
            near = nearest(word, flags if word.startswith("-") else list(TASKS))
            kind = f"{task.name} has no flag" if task and word.startswith("-") else "there is no task"
            message = f"{kind} {word!r}" + (f"; did you mean {near}?" if near else "")
            if task and not near and not word.startswith("-") and "--gpu" in flags:
                hint = f"did you mean --gpu {shlex.quote(word)}? {hint}"
        missing = re.search(r"did not receive required positional arguments: (.+)", message)
        bare = re.search(r"Flag <Argument: ([\w-]+)", message)
        if bare:
            message = f"--{bare[1].replace('_', '-')} needs a value"
        if missing and task:
            message = f"{task.name} needs {', '.join('--' + name.strip(chr(39)) for name in missing[1].split(', '))}"
        return UsageError(message, hint=hint)


def _flag_of(value: str, words: list[str]) -> str:
    """Return the flag that was given this value, as `--flag value` or `--flag=value`."""
    for before, word in itertools.pairwise(words):
        if word == value and before.startswith("-"):
            return before
        if word.startswith("-") and word.endswith(f"={value}"):
            return word.partition("=")[0]
    return "a flag"


def _leave(error: BringupError) -> NoReturn:
    print_error(error)
    sys.exit(error.exit_code)


def run_program(words: list[str]) -> None:
    """Run the tasks that the words name and end the process with the right code."""
    program = BringupProgram(
        name="bringup", binary="invoke", binary_names=["invoke", "bringup"], namespace=ns, version=__version__
    )
    program.run(words)
