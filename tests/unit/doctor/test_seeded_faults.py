"""The healthy machine shows no trouble, and every fourth seeded fault is found.

tests/integration/test_doctor.py has all of them, alone and in pairs.
"""

import time

import pytest
from healthy_root import copy_machine, found_alone
from helpers.own_data import own_knowledge
from seeded_faults import FAULTS

from bringup.doctor.rules import check_texts


@pytest.mark.parametrize("site", [False, True])
def test_a_healthy_machine_shows_none(template, site):
    machine = copy_machine(template)
    machine.site = site
    assert machine.troubles() == {}


@pytest.mark.parametrize("fault", FAULTS[1::4], ids=lambda fault: fault.name)
def test_a_fault_is_found(template, fault):
    found_alone(template, fault)


def test_there_are_enough_of_them():
    assert len(FAULTS) >= 84
    assert set(check_texts()) - {fault.check for fault in FAULTS} == set()


def test_every_issue_is_known():
    known = own_knowledge().issues
    assert {fault.issue for fault in FAULTS if fault.issue} <= set(known)


def test_the_answer_takes_a_blink(template):
    machine = copy_machine(template)
    machine.site = True
    machine.report()
    started = time.perf_counter()
    machine.report()
    assert time.perf_counter() - started < 2.0
