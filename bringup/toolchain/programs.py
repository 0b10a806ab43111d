"""Programs of the user's that recipes need: cargo, protoc.

A program that is there and does not run counts as absent. rustup's cargo is such a one: it is the same file everywhere,
and starts a toolchain that it looks up in RUSTUP_HOME, by default a folder of the home directory.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from bringup.errors import BringupError, PrepareError
from bringup.system.environ import base_environment
from bringup.toolchain.facts import FactCache

RUST = ("cargo", "rustc")
RUST_HINT = "rustup default stable, or set RUSTUP_HOME and CARGO_HOME to where your Rust is"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundProgram:
    """A program as it was found.

    Attributes:
        path: where it is; None if it cannot be used.
        version: what it says it is; "" if it does not.
        why: why it cannot be used, to be read after its name: "is not here"; "" if it can.
        hint: how it is mended, where that is not to install it.
    """

    path: Path | None
    version: str = ""
    why: str = ""
    hint: str = ""


def find_program(wanted: str, *, facts: FactCache, env: Mapping[str, str]) -> FoundProgram:
    """Find a program ("cargo>=1.85") on the user's PATH that answers in the environment it will run in.

    Args:
        wanted: name and versions.
        facts: what programs said before.
        env: the user's environment.
    """
    need = Requirement(wanted)
    found = shutil.which(need.name, path=f"{env.get('PATH', '')}:{env.get('HOME', '')}/.cargo/bin")
    if found is None:
        return FoundProgram(path=None, why="is not here")
    told = _ask(Path(found), facts=facts, env=env)
    version = told["version"]
    if not version:
        return FoundProgram(
            path=None, why=f"is at {found} and does not run: {told['said']}", hint=_hint(need.name, found, env)
        )
    if Version(version) not in need.specifier:
        return FoundProgram(path=None, version=version, why=f"is {version} here")
    return FoundProgram(path=Path(found), version=version)


def rust_homes(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that lead cargo to its toolchain and registry, as the user has them or by default."""
    home = env.get("HOME", "")
    return {
        "CARGO_HOME": env.get("CARGO_HOME") or f"{home}/.cargo",
        "RUSTUP_HOME": env.get("RUSTUP_HOME") or f"{home}/.rustup",
    }


def _ask(program: Path, *, facts: FactCache, env: Mapping[str, str]) -> dict[str, str]:
    """Return the version of a program, or what it said instead; asked again when something it depends on changes."""
    more = rust_homes(env) if program.name in RUST else {}
    depends = [program]
    if more:
        depends += [Path(more["RUSTUP_HOME"], name) for name in ("settings.toml", "toolchains")]

    def ask() -> tuple[dict[str, str], list[Path]]:
        from bringup.system import process  # noqa: PLC0415 - what is known is not asked again

        surroundings = base_environment(env, path=(program.parent,)) | more | {"RUSTUP_AUTO_INSTALL": "0"}
        try:
            done = process.run([program, "--version"], env=surroundings, check=False, error=PrepareError, timeout=30)
        except BringupError as exc:
            return {"version": "", "said": exc.message.rstrip(".")}, depends
        version = re.search(r"\d+(?:\.\d+)+", done.output)
        if done.returncode or not version:
            first = next((line.strip() for line in done.output.splitlines() if line.strip()), "")
            return {"version": "", "said": first.rstrip(".") or process.describe_status(done.returncode)}, depends
        return {"version": version[0], "said": ""}, depends

    return facts.know(" ".join(["program", str(program), *more.values()]), ask)


def _hint(name: str, found: str, env: Mapping[str, str]) -> str:
    if name not in RUST:
        return ""
    where = ", ".join(f"{key}={value}" for key, value in rust_homes(env).items())
    return f"{RUST_HINT} (now {where})" if Path(found, "../rustup").resolve().exists() else ""
