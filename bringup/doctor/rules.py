"""The data of doctor: texts of the checks (checks.toml) and combinations that are known (rules.toml)."""

from __future__ import annotations

import functools
from pathlib import Path

from bringup.config.load import load_toml, raise_if_any
from bringup.errors import ConfigError
from bringup.model.base import Table

HERE = Path(__file__).resolve().parent


class CheckText(Table, frozen=True, kw_only=True):
    """What the table says of one check.

    Attributes:
        id: lasting name, `toolkit.headers`.
        what: what is looked at, one line.
        why: why it matters, one or two sentences.
        fix: what to do, best first; {gpu}, {cuda}, {stack}, {env} and the values of the verdict may be used; a
            line that is one value is left out where the value is empty.
        issue: id in knowledge/*.toml, "" if none fits.
    """

    id: str
    what: str
    why: str
    fix: tuple[str, ...] = ()
    issue: str = ""


class CheckTexts(Table, frozen=True, kw_only=True):
    """checks.toml: every check, in the order in which they are shown."""

    check: tuple[CheckText, ...]


class BadCombination(Table, frozen=True, kw_only=True):
    """Versions that are known not to work together; all conditions must hold.

    Attributes:
        id: short name.
        packages: requirement specifiers of distributions, all of which must be met ("torch<2.9").
        driver: version range of the driver, "" for any.
        cuda: range of torch's or the target's CUDA release.
        effect: what happens.
        fix: what helps.
        issue: id in knowledge/*.toml, "" if none fits.
        warn: may do no harm.
        source: where it is established.
    """

    id: str
    packages: tuple[str, ...]
    driver: str = ""
    cuda: str = ""
    effect: str
    fix: tuple[str, ...]
    issue: str = ""
    warn: bool = False
    source: str


class Header(Table, frozen=True, kw_only=True):
    """A header that a toolkit must have, from which release on, and in which folders below the root it may be.

    With a `group` it is wanted only where a recipe wants that part of the toolkit.
    """

    name: str
    group: str = ""
    since: str = ""
    folders: tuple[str, ...] = ("include",)


class RuntimeFile(Table, frozen=True, kw_only=True):
    """A file that an installed package needs at run time: any of `paths`, below site-packages."""

    package: str
    paths: tuple[str, ...]
    why: str
    issue: str = ""


class Rules(Table, frozen=True, kw_only=True):
    """rules.toml.

    Attributes:
        headers: headers of a complete toolkit.
        flags: variables that change what compilers and build systems do.
        torchvision: torch release -> torchvision release.
        kernels_torch: version of the kernel package -> torch that it was built for.
        runtime_files: files that must be there.
        examined: distributions whose RECORD is compared with what is on disk.
        native: globs of extensions whose machine code must fit the GPU.
        combinations: what is known not to work together.
        shm_gib: least /dev/shm with more than one GPU.
        nofile: least limit of open files.
        sources: where the figures come from.
    """

    headers: tuple[Header, ...]
    flags: tuple[str, ...]
    torchvision: dict[str, str]
    kernels_torch: dict[str, str]
    runtime_files: tuple[RuntimeFile, ...]
    examined: tuple[str, ...]
    native: tuple[str, ...]
    combinations: tuple[BadCombination, ...]
    shm_gib: float
    nofile: int
    sources: tuple[str, ...]


@functools.cache
def check_texts() -> dict[str, CheckText]:
    """Return the texts by id, in the order of the file.

    Raises:
        ConfigError: checks.toml is not right.
    """
    table, problems = load_toml(HERE / "checks.toml", CheckTexts, name="doctor/checks.toml")
    raise_if_any(problems)
    assert table is not None
    found = {one.id: one for one in table.check}
    if len(found) != len(table.check):
        msg = "doctor/checks.toml: an id is there twice"
        raise ConfigError(msg)
    return found


@functools.cache
def rules() -> Rules:
    """Return the rules.

    Raises:
        ConfigError: rules.toml is not right.
    """
    table, problems = load_toml(HERE / "rules.toml", Rules, name="doctor/rules.toml")
    raise_if_any(problems)
    assert table is not None
    return table
