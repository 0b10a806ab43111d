"""Files that are made from the models: JSON schemas, reference pages, the pages of known issues. CI compares them."""

from __future__ import annotations

from pathlib import Path

from bringup.config.schema import reference_pages, schemas
from bringup.system.fs import write_atomic


def generated_files(root: Path) -> dict[Path, str]:
    """Return the text of every generated file by path."""
    from bringup.diagnose import known_issues_page  # noqa: PLC0415 - loads the knowledge base

    files = {root / "docs/schemas" / name: text for name, text in schemas().items()}
    files |= {root / "docs/reference" / name: text for name, text in reference_pages().items()}
    files[root / "docs/reference/known-issues.md"] = known_issues_page()
    return files


def write_generated(root: Path, *, check: bool) -> list[Path]:
    """Write the files that differ, or only tell which do.

    Args:
        root: root of the checkout.
        check: write nothing.
    """
    changed = []
    for path, text in generated_files(root).items():
        if not path.is_file() or path.read_text() != text:
            changed.append(path)
            if not check:
                write_atomic(path, text)
    return changed
