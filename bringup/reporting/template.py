"""The templates of upstream projects, as data: templates.toml."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from bringup.config.load import load_toml, raise_if_any
from bringup.config.near import nearest
from bringup.errors import UsageError
from bringup.model.base import Table

Part = Literal["diagnosis", "reproduce", "system", "packages", "torch", "patches", "variables", "doctor", "excerpt"]


class Section(Table, frozen=True, kw_only=True):
    """A section of an issue: its heading, a text of its own, and the parts that follow it."""

    heading: str
    text: str = ""
    parts: tuple[Part, ...] = ()


class Upstream(Table, frozen=True, kw_only=True):
    """How one project wants its issues; the one without a name is for everybody else."""

    name: str
    title: str
    repository: str
    section: tuple[Section, ...]


class Shown(Table, frozen=True, kw_only=True):
    """Expressions for the names of variables that are shown."""

    shown: tuple[str, ...]


class Templates(Table, frozen=True, kw_only=True):
    """templates.toml."""

    upstream: tuple[Upstream, ...]
    variables: Shown


@functools.cache
def templates() -> Templates:
    """Return the templates.

    Raises:
        ConfigError: templates.toml is not right.
    """
    table, problems = load_toml(
        Path(__file__).resolve().parent / "templates.toml", Templates, name="reporting/templates.toml"
    )
    raise_if_any(problems)
    assert table is not None
    return table


def upstream_named(name: str) -> Upstream:
    """Return a project's template.

    Raises:
        UsageError: there is none of this name.
    """
    known = {one.name: one for one in templates().upstream}
    if name not in known:
        names = [one for one in known if one]
        near = nearest(name, names)
        msg = f"--upstream {name}: known are {', '.join(names)}"
        raise UsageError(msg, hint=f"did you mean {near}?" if near else "")
    return known[name]
