"""Examine this machine, or an existing environment, against a target; every failure names its fix.

facts = gather(make_question(request, catalogue, gpu), places)
print(render(examine(facts)))
"""

from __future__ import annotations

from bringup.doctor.facts import Facts, Host, Question
from bringup.doctor.fix import Action, Done, apply, describe, plan_fixes
from bringup.doctor.gather import gather
from bringup.doctor.model import DoctorReport, Finding, Status
from bringup.doctor.places import Places
from bringup.doctor.question import make_question
from bringup.doctor.render import render
from bringup.doctor.run import Outcome, make_places, run_doctor
from bringup.doctor.table import examine

FAIL_EXIT = 12

__all__ = [
    "FAIL_EXIT",
    "Action",
    "DoctorReport",
    "Done",
    "Facts",
    "Finding",
    "Host",
    "Outcome",
    "Places",
    "Question",
    "Status",
    "apply",
    "describe",
    "examine",
    "gather",
    "make_places",
    "make_question",
    "plan_fixes",
    "render",
    "run_doctor",
]
