"""What a recipe's hook in recipes/<package>.py sees and gives back.

A hook is for what TOML cannot say. It never touches the operating system by itself: commands go through
`HookContext.run`, so that logs, job budget and interruption are the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a step is.

    Attributes:
        done: units finished.
        total: units in all; 0 if unknown.
        now: the unit being worked on, in words a user knows ("batch_prefill hd128 fa3: mask 1").
        eta_seconds: estimate of what is left; None if nothing is known yet.
    """

    done: int
    total: int
    now: str = ""
    eta_seconds: float | None = None


class RunCommand(Protocol):
    """Runs a command of the step: environment, log file and error class are already chosen."""

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        what: str = "",
        on_line: Callable[[str], None] | None = None,
        check: bool = True,
    ) -> Any:
        """Run `argv`; `env` entries are added to the step's environment. Returns `system.process.Completed`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HookContext:
    """All that a build hook may use.

    Attributes:
        package: recipe name, "flashinfer".
        version: version of the source being built, "0.6.8.post1".
        source: unpacked, patched source tree; may be written to.
        work: folder for intermediate files, kept between runs (a resumed build finds its objects here).
        out: empty folder that the wheels go to.
        python: interpreter of the build environment, which holds the recipe's build requirements and `needs`.
        env: the step's environment: PATH with the target's bin first, CUDA_HOME, CC, CXX, CUDAHOSTCXX, arch lists.
        cuda: CUDA version of the target, "13.0".
        local: local version label for what is built, "cu130".
        arch: the target's arch list in each tool's own syntax, {"flashinfer": "9.0a", "cmake": "90a", ...}.
        options: the stack's [options.<package>] table merged over the recipe's defaults.
        jobs: how many compilers may run at the same time.
        memory_bytes: memory that the step may use in all.
        platform_tag: wheel platform tag of the target, "linux_x86_64".
        run: runs a command.
        progress: tells the user how far the step is.
        message: writes one line to the step's log and, when verbose, to the console.
    """

    package: str
    version: str
    source: Path
    work: Path
    out: Path
    python: Path
    env: Mapping[str, str]
    cuda: str
    local: str
    arch: Mapping[str, str]
    options: Mapping[str, Any]
    jobs: int
    memory_bytes: int
    platform_tag: str
    run: RunCommand
    progress: Callable[[Progress], None]
    message: Callable[[str], None]
    extra: Mapping[str, Any] = field(default_factory=dict)


class Hooks(Protocol):
    """The members a hook module may define; `build` replaces the ordinary wheel build of the package."""

    def build(self, ctx: HookContext) -> list[Path]:
        """Build and return the wheels, all inside `ctx.out`."""
