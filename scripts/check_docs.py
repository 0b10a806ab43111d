#!/usr/bin/env python3
"""Checks the documentation against the tree: links, anchors, commands with their flags, and pages that are generated.

Prints one line for each problem, as FILE:LINE: text, and exits with 1 if there is any. A script named
scripts/generate_*.py or scripts/*_transcript.py writes into pages and, called with --check, exits non-zero where they
have drifted. What `invoke schema` makes is compared by `./invokew lint` and by tests/unit/test_generated.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
FENCE = re.compile(r"^\s*(```|~~~)")
# `./invokew build`, `invoke build` and `bringup build`, in prose and in examples; then the words up to where prose,
# a comment or another command goes on.
COMMAND = re.compile(
    r"(?:\./invokew|(?:`|\$ |^ {4,}|^- |/bin/)(?:invoke|bringup))((?: --?[\w-]+)*) ([a-z][a-z-]*)\b(?![./=\w])"
    r"(?P<rest>[^`|#;&)]*)"
)
FLAG = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")
SCRIPT = re.compile(r"(?<![\w/.<-])((?:scripts|\.ci|tests|benchmarks)/[\w./-]*\w)")


def main() -> int:
    """Check every tracked page; return the exit status."""
    pages = [ROOT / name for name in tracked("*.md")]
    problems = [text for page in pages for text in (*check_links(page), *check_commands(page), *check_files(page))]
    problems += check_listed(pages)
    problems += check_generated()
    for text in problems:
        print(text)
    print(f"{len(pages)} pages, {len(problems)} problems")
    return 1 if problems else 0


def check_listed(pages: list[Path]) -> list[str]:
    """Return the pages of docs/ that docs/README.md does not lead to, which nobody would find."""
    folder = ROOT / "docs"
    start = folder / "README.md"
    text = start.read_text(encoding="utf-8") if start.is_file() else ""
    led = {(folder / target.split("#", 1)[0]).resolve() for target in LINK.findall(text)}
    return [
        f"docs/README.md: {page.relative_to(folder)} is not listed"
        for page in pages
        if folder in page.parents and page != start and page.resolve() not in led
    ]


def tracked(pattern: str) -> list[str]:
    """Return the names of the tracked files that match."""
    listed = subprocess.run(["git", "ls-files", "-z", pattern], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines outside code blocks."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield number, line


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get, as GitHub makes them."""
    seen: dict[str, int] = {}
    found = set()
    for _, line in prose(page):
        match = HEADING.match(line)
        if not match:
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1]).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found


def check_links(page: Path) -> Iterator[str]:
    """Yield the relative links that lead nowhere."""
    for number, line in prose(page):
        for match in LINK.finditer(re.sub(r"`[^`]*`", "", line)):
            link = match[1]
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            where = f"{page.relative_to(ROOT)}:{number}"
            if not target.exists():
                yield f"{where}: {link} leads nowhere"
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                yield f"{where}: {target.name} has no heading for #{anchor}"


@cache
def task_names() -> set[str]:
    """Return the names of the tasks that bringup has."""
    sys.path.insert(0, str(ROOT))
    from bringup.tasks import TASKS  # noqa: PLC0415, only where a page is checked for commands

    return set(TASKS)


@cache
def task_flags(task: str) -> set[str]:
    """Return the flags of a task, without the dashes."""
    sys.path.insert(0, str(ROOT))
    from bringup.tasks import TASKS  # noqa: PLC0415, only where a page is checked for commands

    return {*TASKS[task].flags, "help"}


def check_commands(page: Path) -> Iterator[str]:
    """Yield the commands that name a task or a flag that we do not have."""
    tasks = task_names()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{page.relative_to(ROOT)}:{number}"
        for match in COMMAND.finditer(line):
            if match[2] not in tasks:
                yield f"{where}: there is no task {match[2]} ({match[0].strip()})"
                continue
            words = re.split(r" {2,}", match["rest"])[0]
            for flag in FLAG.findall(words):
                if flag not in task_flags(match[2]):
                    yield f"{where}: {match[2]} has no flag --{flag}"


def check_files(page: Path) -> Iterator[str]:
    """Yield the scripts and folders of this repository that a page names and that are not there."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        for name in SCRIPT.findall(line):
            if not (ROOT / name).exists():
                yield f"{page.relative_to(ROOT)}:{number}: there is no {name}"


def check_generated() -> Iterator[str]:
    """Yield what the generators say about pages that have drifted."""
    scripts = ROOT / "scripts"
    for script in sorted([*scripts.glob("generate_*.py"), *scripts.glob("*_transcript.py")]):
        done = subprocess.run(
            [sys.executable, script, "--check"], cwd=ROOT, check=False, capture_output=True, text=True
        )
        if done.returncode:
            yield f"{script.relative_to(ROOT)}: {(done.stdout + done.stderr).strip()}"


if __name__ == "__main__":
    sys.exit(main())
