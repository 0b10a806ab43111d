"""What every phase gets: the plan, folders, environment, store, tools and the reporter. Small and constant."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bringup.config.lockfile import Lock
from bringup.errors import BringupError
from bringup.model.frozen import Frozen
from bringup.model.plan import Plan, Request, Step
from bringup.model.toolchain import GccRelease
from bringup.store import Store
from bringup.system.downloads import DownloadCache
from bringup.system.layout import Layout
from bringup.toolchain.host_compiler import Gcc
from bringup.toolchain.interpreter import Interpreter
from bringup.toolchain.toolkit import Toolkit

if TYPE_CHECKING:  # a plan starts no program and no job server
    from bringup.model.hooks import Progress
    from bringup.system import process
    from bringup.system.jobbudget import JobBudget


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a step did.

    Attributes:
        note: one line for people: "13 modules, 60 units, 35 MB".
        outputs: files or folders that must be there for the step to count as done.
        facts: figures for records and reports.
    """

    note: str = ""
    outputs: tuple[Path, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Reporter(Protocol):
    """Tells people, or programs, what happens."""

    def line(self, text: str) -> None:
        """Say one thing."""

    def started(self, step: Step) -> None:
        """A step begins."""

    def progress(self, step: Step, progress: Progress) -> None:
        """A step is so far."""

    def finished(self, step: Step, outcome: Outcome, seconds: float) -> None:
        """A step is done."""

    def failed(self, step: Step, seconds: float, *, stopped: bool) -> None:
        """A step failed."""


@dataclass(kw_only=True, slots=True)
class Tools:
    """The toolchain as far as it has been made; filled by the prepare steps of python, cuda and gcc."""

    python: Interpreter | None = None
    cuda: Toolkit | None = None
    gcc: Gcc | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a phase works with.

    Attributes:
        plan: what is to be done.
        request: what was asked.
        data: folder of recipes and patches.
        layout: folders.
        env: environment that commands start from.
        store: wheels by fingerprint.
        downloads: files by hash.
        lock: pins of the stack.
        reporter: tells people.
        tools: the toolchain.
        gccs: compilers that can be unpacked.
        frozen: what an installed bundle was made with; None elsewhere.
        jobs: compilers at the same time.
        memory_bytes: memory to use.
        stopping: set when the run is to end.
        gauges: files of the kernel that tell memory and pressure, by what they say.
        budget: shared jobs of a run that builds; None elsewhere.
    """

    plan: Plan
    request: Request
    data: Path
    layout: Layout
    env: Mapping[str, str]
    store: Store
    downloads: DownloadCache
    lock: Lock | None
    reporter: Reporter
    tools: Tools
    gccs: Mapping[str, GccRelease]
    frozen: Frozen | None
    jobs: int
    memory_bytes: int
    stopping: threading.Event = field(default_factory=threading.Event)
    gauges: Mapping[str, str] = field(default_factory=dict)
    budget: JobBudget | None = None

    def bytes_progress(self, step: Step) -> Callable[[int], None]:
        """Return what downloads of a step report their bytes to."""
        from bringup.model.hooks import Progress  # noqa: PLC0415 - not needed for a plan

        done = itertools.count()
        total = 0

        def arrived(count: int) -> None:
            nonlocal total
            total += count
            if next(done) % 16 == 0:
                self.reporter.progress(step, Progress(done=total >> 20, total=0, now=f"{total >> 20} MiB fetched"))

        return arrived

    def uv(self, *arguments: str | Path, step: Step, error: type[BringupError], what: str) -> process.Completed:
        """Run uv with the cache and index settings of the machine, from a folder without projects.

        Raises:
            FetchError: the package index is out of reach, or what it serves is not what the lock pins.
            StorageError: disk full or read-only.
            BringupError: of class `error`, for every other failure.
        """
        from bringup.system import process, uv  # noqa: PLC0415 - not needed for a plan
        from bringup.system.pypi import find_uv  # noqa: PLC0415

        offline = ["--offline"] if self.request.offline else []
        try:
            return process.run(
                [find_uv(), *arguments, *offline],
                env={**self.env, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "UV_LINK_MODE": "hardlink"},
                cwd=self.layout.root,
                log=self.layout.log(step.id),
                error=error,
                what=what,
            )
        except error as exc:
            raise uv.named(exc) from exc
