#!/usr/bin/env python3
"""Puts the console transcripts of docs/transcripts into the pages that show them.

A page names the file in a comment, `<!-- transcript: docs/transcripts/NAME.txt -->`; what stands between that line and
`<!-- transcript ends -->` is replaced by the file. `--check` writes nothing and exits with 1 if a page is out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

BLOCK = re.compile(
    r"(?P<head>^<!-- transcript: (?P<name>\S+) -->\n)(?P<body>.*?)(?P<tail>^<!-- transcript ends -->$)",
    re.DOTALL | re.MULTILINE,
)


def filled(page: str, root: Path) -> str:
    """Return the page with every transcript put in.

    Raises:
        FileNotFoundError: there is no such transcript.
    """

    def block(match: re.Match[str]) -> str:
        text = (root / match["name"]).read_text(encoding="utf-8").rstrip("\n")
        return f"{match['head']}\n```console\n{text}\n```\n\n{match['tail']}"

    return BLOCK.sub(block, page)


def main(words: list[str]) -> int:
    """Fill in README.md and the pages in docs/, or check them; return the exit status."""
    stale = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        before = page.read_text(encoding="utf-8")
        after = filled(before, ROOT)
        if after != before:
            stale.append(page)
            if "--check" not in words:
                page.write_text(after, encoding="utf-8")
    for page in stale:
        print(f"{'out of date' if '--check' in words else 'written'}: {page.relative_to(ROOT)}")
    return 1 if stale and "--check" in words else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
