"""`knowledge new LOG`: begin an entry from a log whose failure is not in the list yet."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bringup.diagnose import diagnose_paths
from bringup.diagnose.check import EXCERPTS
from bringup.diagnose.knowledge import knowledge_folder, load_knowledge
from bringup.diagnose.model import Finding
from bringup.errors import UsageError

WORDS_IN_ID = 6


def new_issue(log: str, *, issue: str = "", folder: Path | None = None) -> Path:
    """Write knowledge/<id>.toml and its excerpt from the root that the diagnosis of `log` finds.

    Args:
        log: path of the log, or `-`.
        issue: id of the new entry; made from the root line if empty.
        folder: the knowledge to add to; the project's own if None.

    Returns:
        The path of the new file, whose texts are still to be written by a person.

    Raises:
        UsageError: the log has no failure, its failure is known, or the id is taken.
    """
    root = folder or knowledge_folder()
    answer = diagnose_paths([log], knowledge=root, failed=True)[0]
    if not answer.findings:
        msg = f"{log}: no failure found, so there is nothing to add"
        raise UsageError(msg)
    best = answer.findings[0]
    if best.id is not None:
        msg = f"{log}: this is the known issue {best.id}"
        raise UsageError(msg, hint="widen its signatures instead, and add the log as another excerpt")
    name = issue or _id_from(best)
    path = root / f"{name}.toml"
    if name in load_knowledge(root).issues or path.exists():
        msg = f"{name}: there is an entry of this name"
        raise UsageError(msg, hint="choose another with --id")
    excerpt = root / EXCERPTS / f"{name}.log"
    excerpt.parent.mkdir(parents=True, exist_ok=True)
    excerpt.write_text("\n".join(best.context) + "\n", encoding="utf-8")
    path.write_text(_entry(name, best), encoding="utf-8")
    return path


def signature_from(line: str) -> str:
    """Return an expression for a line in which paths, numbers and quotes are left open."""
    parts = re.split(r"(\S*/\S+|\d[\d.]*\d|\d|['\"`‘’])", line.strip())  # noqa: RUF001 - quotes that gcc writes
    return "".join(_general(part) for part in parts if part)


def _general(part: str) -> str:
    if re.fullmatch(r"\S*/\S+", part):
        return r"\S+"
    if re.fullmatch(r"\d[\d.]*", part):
        return r"[\d.]+"
    if part in "'\"`‘’":  # noqa: RUF001
        return "['\"`‘’]"  # noqa: RUF001
    return re.escape(part).replace(r"\ ", " ")


def _id_from(best: Finding) -> str:
    words = re.findall(r"[a-z][a-z0-9]+", best.search.lower())
    return "-".join(words[:WORDS_IN_ID]) or "new-issue"


def _entry(name: str, best: Finding) -> str:
    longest = max(re.findall(r"[A-Za-z][A-Za-z ]{3,}", best.line) or [best.line[:20]], key=len).strip().lower()
    rows = [
        "# Write title, cause, fix and sources, then run: invoke knowledge --check",
        "[[issue]]",
        f"id = {json.dumps(name)}",
        f"title = {json.dumps(best.title, ensure_ascii=False)}",
        f"category = {json.dumps(str(best.category))}",
        'component = ""',
        f"cause = {json.dumps(best.cause, ensure_ascii=False)}",
        f"fix = {json.dumps(list(best.fix), ensure_ascii=False)}",
        "sources = []",
        'certainty = "plausible"',
        "",
        "[[issue.signature]]",
        f"has = {json.dumps([longest], ensure_ascii=False)}",
        f"pattern = {json.dumps(signature_from(best.line), ensure_ascii=False)}",
    ]
    return "\n".join(rows) + "\n"
