"""The whole of `doctor`: gather, examine, and with --fix mend and examine again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from bringup.doctor.facts import Question
from bringup.doctor.fix import Done, apply, describe, plan_fixes
from bringup.doctor.gather import gather
from bringup.doctor.model import DoctorReport, Finding
from bringup.doctor.places import Places
from bringup.doctor.render import render
from bringup.doctor.table import examine
from bringup.system.layout import Settings
from bringup.toolchain.facts import FactCache


class DoctorDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What `doctor --json` prints: the report, and with --fix what was done."""

    schema: int = 1
    target: str
    stack: str
    environment: str = ""
    checks: tuple[Finding, ...]
    fixed: tuple[Done, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it: the last report, and what was done."""

    report: DoctorReport
    done: tuple[Done, ...] = ()
    mendable: bool = True  # false where fixing was asked for and there is nothing to fix without root

    @property
    def document(self) -> DoctorDocument:
        """The outcome for tools."""
        report = self.report
        return DoctorDocument(
            target=report.target,
            stack=report.stack,
            environment=report.environment,
            checks=report.checks,
            fixed=self.done,
        )

    @property
    def text(self) -> str:
        """The outcome for people."""
        rows = [render(self.report)]
        for one in self.done:
            rows += [f"did:  {one.did}   ({one.why})", f"undo: {one.undo}"]
        if not self.mendable:
            rows.append("nothing here can be mended without root")
        return "\n".join(rows)


def make_places(settings: Settings, env: Mapping[str, str]) -> Places:
    """Return where a user's doctor looks."""
    facts = FactCache(settings.cache / "facts.json")
    return Places(env=env, build=settings.build, cache=settings.cache, facts=facts, data=settings.data)


def run_doctor(
    question: Question,
    places: Places,
    *,
    fix: bool = False,
    agree: Callable[[Sequence[Done]], bool] = lambda _planned: True,
    mirrors: Sequence[tuple[str, str]] = (),
) -> Outcome:
    """Examine, and mend what can be mended without root if asked to.

    Args:
        question: what the machine is examined for.
        places: where to look.
        fix: mend.
        agree: shown what would be done; nothing is done without its consent.
        mirrors: for git, address prefixes and what stands in their place.

    Raises:
        UsageError: the environment asked for is none.
        StorageError: disk full or no permission while mending.
    """
    facts = gather(question, places, mirrors=mirrors)
    report = examine(facts)
    actions = plan_fixes(facts, report) if fix else ()
    if not actions or not agree([describe(action, "TIME") for action in actions]):
        return Outcome(report=report, mendable=bool(actions) or not fix)
    done = apply(actions)
    return Outcome(report=examine(gather(question, places, mirrors=mirrors)), done=done)
