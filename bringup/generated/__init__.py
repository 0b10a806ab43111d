"""Files that are made from code and data: JSON schemas and the reference pages. CI compares them with what is there."""

from __future__ import annotations

from pathlib import Path

from bringup.config.reference import reference_pages
from bringup.config.schema import editor_rules, schemas
from bringup.system.fs import write_atomic


def generated_files(root: Path) -> dict[Path, str]:
    """Return the text of every generated file by path.

    Args:
        root: root of the checkout, whose data the pages show.
    """
    from bringup.diagnose.reference import reference_page  # noqa: PLC0415 - loads the knowledge base
    from bringup.generated.cli_page import cli_page  # noqa: PLC0415 - loads the tasks
    from bringup.generated.data_pages import data_pages  # noqa: PLC0415 - loads all data
    from bringup.generated.exit_codes import exit_codes_page  # noqa: PLC0415 - as the others
    from bringup.generated.variables_page import variables_page  # noqa: PLC0415 - as the others

    pages = reference_pages() | data_pages(root)
    pages["cli.md"] = cli_page()
    pages["exit-codes.md"] = exit_codes_page()
    pages["variables.md"] = variables_page()
    pages["known-issues.md"] = reference_page()
    files = {root / "docs/schemas" / name: text for name, text in schemas().items()}
    files |= {root / "docs/reference" / name: text for name, text in pages.items()}
    files[root / ".taplo.toml"] = editor_rules()
    return files


def write_generated(root: Path, *, check: bool) -> list[Path]:
    """Write the files that differ, or only tell which do.

    Args:
        root: root of the checkout.
        check: write nothing.
    """
    changed = []
    for path, text in generated_files(root).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            changed.append(path)
            if not check:
                write_atomic(path, text)
    return changed
