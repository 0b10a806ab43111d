"""Every seeded fault is found, alone and together with every other; the healthy machine shows none."""

import time

import pytest
from healthy_root import broken, copy_machine
from seeded_faults import FAULTS, apart
from thorough import THOROUGH

from bringup.diagnose.knowledge import load_knowledge
from bringup.doctor.rules import check_texts


@pytest.mark.parametrize("site", [False, True])
def test_a_healthy_machine_shows_none(template, site):
    machine = copy_machine(template)
    machine.site = site
    assert machine.troubles() == {}


def test_a_healthy_machine_shows_none_when_asked_deeply(template):
    machine = copy_machine(template)
    machine.go_deep()
    machine.stack = "sglang-0.5.12"
    assert machine.troubles() == {}
    reach = {check.id: check for check in machine.report().checks}["network.reach"]
    assert reach.status == "PASS"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_is_found(template, fault):
    found = broken(template, fault).troubles()
    assert fault.check in found
    assert set(found) <= {fault.check} | fault.also
    finding = found[fault.check]
    assert fault.says in finding.seen
    assert finding.issue == fault.issue
    assert finding.fix
    assert finding.why
    assert not any("{" in text for text in finding.fix)


PAIRED = range(0, len(FAULTS), 1 if THOROUGH else 8)


@pytest.mark.parametrize("place", PAIRED, ids=[FAULTS[place].name for place in PAIRED])
def test_faults_are_found_in_pairs(template, place):
    """Some with another; tests/integration/test_doctor.py has them all."""
    first = FAULTS[place]
    others = [one for one in FAULTS[place + 1 :] + FAULTS[:place] if apart(first, one)]
    for second in others[len(others) // 2 :][: 8 if THOROUGH else 1]:
        found = broken(template, first, second).troubles()
        assert {first.check, second.check} <= set(found), second.name
        assert set(found) <= {first.check, second.check} | first.also | second.also, second.name


def test_there_are_enough_of_them():
    assert len(FAULTS) >= 84
    assert set(check_texts()) - {fault.check for fault in FAULTS} == set()


def test_every_issue_is_known():
    known = load_knowledge().issues
    assert {fault.issue for fault in FAULTS if fault.issue} <= set(known)


def test_the_answer_takes_a_blink(template):
    machine = copy_machine(template)
    machine.site = True
    machine.report()
    started = time.perf_counter()
    machine.report()
    assert time.perf_counter() - started < 2.0
