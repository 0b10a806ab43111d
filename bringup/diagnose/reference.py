"""Write docs/reference/known-issues.md from the knowledge; one anchor an issue, its id."""

from __future__ import annotations

from bringup.diagnose.knowledge import Knowledge, load_knowledge
from bringup.model.knowledge import Category, Issue

INTRODUCTION = """\
# Known issues

Made from `knowledge/*.toml` by `invoke schema`; edit there. `invoke diagnose LOG` recognises these
failures in a log and prints the address of the entry here. Names in angle brackets are filled in from the log and the
target. The ids are lasting.
"""

_WHEN = {
    Category.CONFIGURE: "While configuring",
    Category.COMPILE: "While compiling",
    Category.LINK: "While linking",
    Category.INSTALL: "While installing",
    Category.IMPORT: "At import",
    Category.JIT: "While compiling at run time",
    Category.CAPTURE: "During CUDA graph capture",
    Category.LAUNCH: "At launch",
    Category.RUNTIME: "While running",
}


def reference_page(knowledge: Knowledge | None = None) -> str:
    """Return the whole page as Markdown."""
    known = knowledge or load_knowledge()
    parts = [INTRODUCTION]
    for category, heading in _WHEN.items():
        issues = sorted(
            (item.issue for item in known.issues.values() if item.issue.category is category), key=lambda item: item.id
        )
        if issues:
            parts.append(f"## {heading}\n")
            parts += [_section(issue) for issue in issues]
    return "\n".join(parts)


def _section(issue: Issue) -> str:
    rows = [f'<a id="{issue.id}"></a>', "", f"### {issue.id}", "", f"**{_open(issue.title)}** ({issue.component})", ""]
    rows += [_open(issue.cause), ""]
    affected = ", ".join(f"`{text}`" for text in issue.affected)
    both = "; ".join(part for part in (affected, issue.affected_note) if part)
    if both:
        rows += [f"Affected: {both}", ""]
    rows += ["What to do:", "", *(f"- {_open(text)}" for text in (*issue.fix, *issue.by_hand)), ""]
    if issue.check:
        rows += [f"Seen beforehand: {_open(issue.check)}", ""]
    sources = ", ".join(f"<{address}>" for address in issue.sources)
    rows += [f"Sources ({issue.certainty}): {sources}", ""]
    return "\n".join(rows)


def _open(text: str) -> str:
    """Show placeholders as <name>, escaped for Markdown."""
    return text.replace("<", r"\<").replace("{", r"\<").replace("}", ">").replace("*", r"\*").replace("_", r"\_")
