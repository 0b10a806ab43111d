"""Where facts are gathered: the root of the file system, the user's environment, bringup's own folders."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import BringupError, PrepareError
from bringup.system import process
from bringup.system.environ import base_environment
from bringup.toolchain.facts import FactCache


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where to look.

    Attributes:
        env: the user's environment.
        build: bringup's build directory.
        cache: bringup's cache.
        facts: versions of programs seen before.
        root: what stands for `/` in the places that are looked at without being named by the environment.
        data: folder with recipes/ and toolchains/.
    """

    env: Mapping[str, str]
    build: Path
    cache: Path
    facts: FactCache
    data: Path
    root: Path = Path("/")

    @property
    def home(self) -> Path:
        """The user's home."""
        return Path(self.env.get("HOME") or "/nonexistent")

    def under(self, path: str | Path) -> Path:
        """Return an absolute path below `root`."""
        return self.root / str(path).lstrip("/")

    def which(self, name: str, *more: str) -> Path | None:
        """Return the program that the user's PATH finds, or one in the further folders."""
        found = shutil.which(name, path=os.pathsep.join([self.env.get("PATH", ""), *more]))
        return Path(found) if found else None

    def version(self, program: Path, words: Sequence[str] = ("--version",), pattern: str = r"\d+(?:\.\d+)+") -> str:
        """Return what a program says its version is, "" if it does not run; remembered until the file changes."""

        def ask() -> tuple[dict[str, str], list[Path]]:
            try:
                done = process.run(
                    [program, *words], env=base_environment(), check=False, error=PrepareError, timeout=20
                )
            except BringupError:
                return {"version": ""}, [program]
            found = re.search(pattern, done.output)
            text = found[found.lastindex or 0] if found and not done.returncode else ""
            return {"version": text}, [program, program.resolve()]

        return self.facts.know(f"doctor {program} {' '.join(words)}", ask)["version"]
