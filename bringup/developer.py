"""`invoke test` and `invoke lint`: what developers of bringup run, as CI does."""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bringup.config.paths import data_root, in_checkout
from bringup.errors import UsageError
from bringup.generated import write_generated
from bringup.system.environ import process_environment
from bringup.system.machine import this_machine
from bringup.system.process import end_all, pass_through, run

MOST_PROCESSES = 4  # more only start up longer than they help
NOTHING_CHOSEN = 5  # pytest's exit code where no test fits
# Words for pytest, or their beginnings, with which one process runs all tests: it has the terminal, or writes one file.
ALONE = ("--pdb", "--trace", "-s", "--capture=no", "--basetemp", "--junit", "--stepwise", "--sw")


def run_tests(words: list[str], *, quick: bool) -> int:
    """Run pytest in the checkout and return its exit code, the higher one of two.

    The unit tests share the processors; the integration tests run one after another, since they compile.
    """
    root = _checkout()
    named = any(not word.startswith("-") and (root / word.split("::", 1)[0]).exists() for word in words)
    if named:
        return _pytest(root, words)
    processes = 1 if any(word.startswith(ALONE) for word in words) else min(MOST_PROCESSES, this_machine().cores)
    codes = _shared(root, _parts(root / "tests/unit"), words, processes)
    if not quick:
        codes.add(_pytest(root, ["tests/integration", *words]))
    return max(codes - {NOTHING_CHOSEN}, default=NOTHING_CHOSEN)


def _pytest(root: Path, words: list[str]) -> int:
    return _exit_code(pass_through(_command(words), cwd=root, env=_environment()))


def _parts(folder: Path) -> list[Path]:
    """Return the folders and files below a folder that have tests."""
    return sorted([*folder.glob("[!_]*/"), *folder.glob("test_*.py")])


def _shared(root: Path, parts: list[Path], words: list[str], processes: int) -> set[int]:
    """Run tests in several processes, each of which takes the next file that is left; return their exit codes.

    Each begins with another part, so that what one has to compile the others mostly find made. One has the terminal,
    and what the others have said follows it.
    """
    if processes == 1:
        return {_pytest(root, [*map(str, parts), *words])}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(processes - 1) as pool:
        words = [*words, f"--share={folder}", "-o", "console_output_style=classic"]
        starts = [len(parts) * number // processes for number in range(processes)]
        turned = [[*map(str, parts[start:] + parts[:start]), *words] for start in starts]
        others = [pool.submit(_quietly, root, one) for one in turned[1:]]
        try:
            codes = {_pytest(root, turned[0])}
            for other in others:
                code, lines = other.result()
                codes.add(code)
                print(*lines, sep="\n", flush=True)
        except BaseException:
            end_all()
            raise
    return codes


def _quietly(root: Path, words: list[str]) -> tuple[int, list[str]]:
    lines: list[str] = []
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    done = run(_command([*words, *colour]), cwd=root, env=_environment(), check=False, on_line=lines.append)
    return _exit_code(done.returncode), lines


def _exit_code(status: int) -> int:
    """Return what a shell would say: a signal, negative for us, must not be less than success."""
    return status if status >= 0 else 128 - status


def _command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", *words]


def _environment() -> dict[str, str]:
    # What pytest has made of the test files is kept, whatever the user's environment says: it takes seconds to make.
    return {name: value for name, value in process_environment().items() if name != "PYTHONDONTWRITEBYTECODE"}


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
