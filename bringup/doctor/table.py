"""The table: every check with its texts and its function, and the answer to all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bringup.doctor import (  # noqa: F401 - importing them registers their functions
    checks_binaries,
    checks_caches,
    checks_environment,
    checks_gpu,
    checks_host,
    checks_stack,
    checks_toolkit,
    checks_variables,
)
from bringup.doctor.facts import Facts
from bringup.doctor.model import DoctorReport, Finding, Status
from bringup.doctor.registry import FUNCTIONS
from bringup.doctor.rules import CheckText, check_texts

ABOUT_GPUS = ("gpu.present", "driver.", "toolkit.", "variables.arch")
REFERENCE = "docs/reference/known-issues.md"


def examine(facts: Facts) -> DoctorReport:
    """Answer every check of the table.

    Raises:
        ConfigError: checks.toml or rules.toml is not right.
    """
    question = facts.question
    findings = tuple(_finding(text, facts) for text in check_texts().values())
    release = f"-cu{question.release.version.replace('.', '')}" if question.gpu.accelerator else ""
    return DoctorReport(
        target=f"{question.gpu.name}{release}-cp{question.python.version.replace('.', '')}",
        stack=question.stack.name,
        environment=str(facts.site.prefix) if facts.site else "",
        checks=findings,
    )


def _finding(text: CheckText, facts: Facts) -> Finding:
    if not facts.question.gpu.accelerator and text.id.startswith(ABOUT_GPUS):
        return Finding(id=text.id, status=Status.SKIP, seen="nothing is built for a GPU", why=text.why)
    verdict = FUNCTIONS[text.id](facts)
    if verdict.status in (Status.PASS, Status.SKIP):
        return Finding(id=text.id, status=verdict.status, seen=verdict.seen, why=text.why)
    issue = text.issue if verdict.issue is None else verdict.issue
    values = {**_common(facts), **verdict.values}
    return Finding(
        id=text.id,
        status=verdict.status,
        seen=verdict.seen,
        why=text.why,
        fix=tuple(filter(None, (_with_stack(_fill(one, values), facts) for one in (verdict.fix or text.fix)))),
        issue=issue or None,
        url=f"{REFERENCE}#{issue}" if issue else "",
    )


def _with_stack(text: str, facts: Facts) -> str:
    """Name the stack that was asked about in our own commands, where the GPU's default is another."""
    question = facts.question
    if question.stack.name == question.gpu.stack or "--stack" in text:
        return text
    flag = f"--gpu {question.gpu.name}"
    return re.sub(rf"(invoke \w+ {re.escape(flag)})(?!\S)", rf"\1 --stack {question.stack.name}", text)


def _common(facts: Facts) -> dict[str, str]:
    return {
        "gpu": facts.question.gpu.name,
        "cuda": facts.cuda_wanted,
        "stack": facts.question.stack.name,
        "env": str(facts.site.prefix) if facts.site else "ENVIRONMENT",
    }


def _fill(text: str, values: Mapping[str, str]) -> str:
    """Put values into a text; one that is nothing but a value that is empty does not apply here: ""."""
    if values.get(text.strip("{}")) == "" and text.startswith("{") and text.endswith("}"):
        return ""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1]) or found[1].upper(), text)
