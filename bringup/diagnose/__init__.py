"""Root cause of a failed log: the first real error, the known issue it is, what to do.

for answer in diagnose_paths(["build.log"], facts={"gpu": "h200"}):
    print(render(answer))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bringup.diagnose.answer import make_finding
from bringup.diagnose.collect import Collector
from bringup.diagnose.evidence import EVEN
from bringup.diagnose.knowledge import Knowledge, load_knowledge
from bringup.diagnose.model import Diagnosis, Finding, Status
from bringup.diagnose.rank import Scored, rank
from bringup.diagnose.reader import Stream, open_log
from bringup.diagnose.render import render

__all__ = ["Diagnosis", "Finding", "Status", "diagnose_paths", "diagnose_stream", "exit_code", "render"]

CLEAN_EXIT = 0
KNOWN_EXIT = 10
UNKNOWN_EXIT = 11
MOST_FINDINGS = 4


def diagnose_paths(
    paths: Sequence[str],
    *,
    facts: Mapping[str, str] | None = None,
    knowledge: Path | Knowledge | None = None,
    failed: bool = False,
) -> list[Diagnosis]:
    """Diagnose logs; one answer each, in their order.

    Args:
        paths: log files, plain or gzip; `-` is standard input.
        facts: what is known of the target: gpu, cuda, target, jobs, and versions of packages by name.
        knowledge: folder with *.toml to use instead of the project's own, or what was loaded from it.
        failed: the runs are known to have failed; how their logs end is not asked.

    Raises:
        ConfigError: the knowledge is not right.
        UsageError: a log cannot be read.
    """
    known = knowledge if isinstance(knowledge, Knowledge) else load_knowledge(knowledge)
    answers = []
    for path in paths:
        stream = open_log(path)
        try:
            answers.append(diagnose_stream(stream, knowledge=known, facts=facts, log=path, failed=failed))
        finally:
            if path != "-":
                stream.close()
    return answers


def diagnose_stream(
    stream: Stream,
    *,
    knowledge: Knowledge,
    facts: Mapping[str, str] | None = None,
    log: str = "-",
    failed: bool = False,
) -> Diagnosis:
    """Diagnose one open log; see `diagnose_paths`."""
    collector = Collector(knowledge)
    reader = collector.read(stream)
    evidence = collector.evidence
    evidence.failed = failed
    roots = rank(evidence, reader.lines, facts or {})
    counted = [item for item in roots if failed or evidence.well <= EVEN or item.is_silent]

    def findings_of(items: list[Scored]) -> tuple[Finding, ...]:
        return tuple(
            make_finding(item, knowledge=knowledge, facts=facts or {}, lines=reader.lines) for item in _answers(items)
        )

    findings = findings_of(counted)
    if not findings:
        return Diagnosis(log=log, status=Status.CLEAN, lines=reader.lines, survived=findings_of(roots[:1]))
    status = Status.KNOWN if findings[0].id else Status.UNKNOWN
    return Diagnosis(log=log, status=status, findings=findings, lines=reader.lines)


def _answers(roots: list[Scored]) -> list[Scored]:
    """Return the best root, and after a known one the other known issues in the log."""
    if not roots or roots[0].match is None:
        return roots[:1]
    return [roots[0], *(item for item in roots[1:] if item.match is not None)][:MOST_FINDINGS]


def exit_code(diagnoses: Sequence[Diagnosis]) -> int:
    """Return 0 where no log failed, 10 where every failure is known, 11 where one is not."""
    statuses = {diagnosis.status for diagnosis in diagnoses}
    if Status.UNKNOWN in statuses:
        return UNKNOWN_EXIT
    return KNOWN_EXIT if Status.KNOWN in statuses else CLEAN_EXIT
