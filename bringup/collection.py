"""Our tasks as invoke's: with a signature each, from which invoke reads the flags."""

from __future__ import annotations

import inspect
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task as InvokeTask

from bringup.flags import REQUIRED, Task
from bringup.tasks import TASKS

SHORT = {"output": "o"}  # the only short flag that tasks have


class _Task(InvokeTask[Any]):
    """A task of invoke's whose flags have the short names that `SHORT` gives them, and no others."""

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Return what invoke makes the flag from."""
        options = super().arg_opts(name, default, taken_names)
        options["names"] += [SHORT[name]] if name in SHORT else []
        return options


def as_invoke(task: Task) -> InvokeTask[Any]:
    """Return one task as invoke wants it."""
    parameters = [inspect.Parameter("c", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for key, (default, _) in task.flags.items():
        parameters.append(
            inspect.Parameter(key.replace("-", "_"), inspect.Parameter.POSITIONAL_OR_KEYWORD, default=_default(default))
        )

    def task_body(_c: Context, **values: Any) -> None:
        code = task.perform(values)
        if code:
            raise Exit(code=code)

    task_body.__name__ = task.name.replace("-", "_")
    task_body.__doc__ = task.body.__doc__
    task_body.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return _Task(
        task_body,
        name=task.name,
        positional=[],
        iterable=[key.replace("-", "_") for key, (default, _) in task.flags.items() if isinstance(default, list)],
        help={key: text for key, (_, text) in task.flags.items()},
        auto_shortflags=False,
    )


def _default(value: Any) -> Any:
    if value is REQUIRED:
        return inspect.Parameter.empty
    return None if isinstance(value, list) else value


ns = Collection()
for one in TASKS.values():
    ns.add_task(as_invoke(one))
