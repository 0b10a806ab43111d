"""Where everything that is made lies: one folder per target below the build directory, and the shared cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where things are for this user.

    Attributes:
        data: folder of recipes/, toolchains/ and patches/.
        build: build directory.
        cache: cache directory.
        bundle: folder of an installed bundle, whose plan is the one it was made with; None elsewhere.
    """

    data: Path
    build: Path
    cache: Path
    bundle: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Folders of one target.

    Attributes:
        build: the build directory, `build/` in a checkout.
        target: the target's id.
        cache: shared between checkouts: downloads, git mirrors, wheels.
    """

    build: Path
    target: str
    cache: Path

    @property
    def root(self) -> Path:
        """Everything of this target."""
        return self.build / self.target

    @property
    def toolchains(self) -> Path:
        """Assembled toolkits, unpacked Pythons and compilers, shared by the targets of this build directory."""
        return self.build / "toolchains"

    @property
    def node_torch(self) -> Path:
        """What install.sh of a bundle without PyTorch found out about the node's own."""
        return self.build / "node-torch.txt"

    @property
    def env(self) -> Path:
        """Link to the environment in force."""
        return self.root / "env"

    @property
    def records(self) -> Path:
        """What was finished, one file a step."""
        return self.root / "records"

    @property
    def failure(self) -> Path:
        """The step that failed in the last run, with its log; missing where none did."""
        return self.root / "failure.json"

    @property
    def units(self) -> Path:
        """What each compiled unit took, one line each."""
        return self.root / "units.jsonl"

    @property
    def run(self) -> Path:
        """The record of the last run: its steps with their times."""
        return self.root / "run.json"

    @property
    def trace(self) -> Path:
        """The timeline of the last run, for Perfetto."""
        return self.root / "trace.json"

    @property
    def verify_json(self) -> Path:
        """What verification found."""
        return self.root / "verify.json"

    def environment(self, fingerprint: str) -> Path:
        """The environment of this fingerprint; scripts in it name this path, so it is never moved."""
        return self.root / "envs" / fingerprint[:12]

    def work(self, package: str) -> Path:
        """Source tree, intermediate files and output of one package."""
        return self.root / "work" / package

    def source(self, package: str) -> Path:
        """The clean, patched source tree."""
        return self.work(package) / "source"

    def build_env(self, package: str, fingerprint: str) -> Path:
        """The package's build environment."""
        return self.root / "buildenvs" / f"{package}-{fingerprint[:12]}"

    def log(self, step_id: str) -> Path:
        """Log file of a step."""
        return self.root / "logs" / f"{step_id.replace(':', '.')}.log"


def default_cache(env: Mapping[str, str]) -> Path:
    """Return the user's cache directory for bringup (XDG base directories; `BRINGUP_CACHE` wins)."""
    if env.get("BRINGUP_CACHE"):
        return Path(env["BRINGUP_CACHE"]).expanduser().resolve()
    base = env.get("XDG_CACHE_HOME", "")
    home = env.get("HOME") or "/tmp"  # noqa: S108 - a machine without HOME still builds
    return (Path(base) if base.startswith("/") else Path(home) / ".cache") / "bringup"
