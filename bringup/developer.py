"""`invoke test` and `invoke lint`: what developers of bringup run, as CI does."""

from __future__ import annotations

import sys
from pathlib import Path

from bringup.config.paths import data_root, in_checkout
from bringup.errors import UsageError
from bringup.generated import write_generated
from bringup.system.environ import process_environment
from bringup.system.machine import this_machine
from bringup.system.process import pass_through

MOST_WORKERS = 4  # more only start up longer than they help
NOTHING_CHOSEN = 5  # pytest's exit code where no test fits


def run_tests(words: list[str], *, quick: bool) -> int:
    """Run pytest in the checkout and return its exit code, the higher one of two.

    The unit tests share the processors; the integration tests run one after another, since they compile.
    """
    root = _checkout()
    named = any(not word.startswith("-") and (root / word.split("::", 1)[0]).exists() for word in words)
    if named:
        return _pytest(root, words)
    workers = min(MOST_WORKERS, this_machine().cores)
    unit = _pytest(root, ["tests/unit", *(["-n", str(workers)] if workers > 1 else []), *words])
    codes = {unit} if quick else {unit, _pytest(root, ["tests/integration", *words])}
    return max(codes - {NOTHING_CHOSEN}, default=NOTHING_CHOSEN)


def _pytest(root: Path, words: list[str]) -> int:
    # What pytest has made of the test files is kept, whatever the user's environment says: it takes seconds to make.
    env = {name: value for name, value in process_environment().items() if name != "PYTHONDONTWRITEBYTECODE"}
    return pass_through([sys.executable, "-m", "pytest", *words], cwd=root, env=env)


def run_lint() -> int:
    """Run every linter and return the highest exit code."""
    root = _checkout()
    env = process_environment()
    tools = Path(sys.executable).parent
    worst = 0
    for tool, words in (
        ("ruff", ["check", "."]),
        ("ruff", ["format", "--check", "."]),
        ("mypy", []),
        ("shellcheck", _scripts(root)),
    ):
        print(f"$ {tool} {' '.join(words)}", flush=True)
        worst = max(worst, pass_through([tools / tool, *words], cwd=root, env=env))
    stale = write_generated(data_root(), check=True)
    for path in stale:
        print(f"out of date: {path} (make it anew with: invoke schema)")
    return worst or (2 if stale else 0)


def _scripts(root: Path) -> list[str]:
    found = [root / "invokew", root / ".ci/run", *root.glob("scripts/*.sh"), *root.glob("tests/gpu/*.sh")]
    found += root.glob("bringup/bundling/carried/*.sh")
    return sorted(str(path.relative_to(root)) for path in found)


def _checkout() -> Path:
    if not in_checkout():
        msg = "tests and linters run in a checkout of bringup"
        raise UsageError(msg, hint="clone the repository and run ./invokew test")
    return data_root()
