"""Which compiler may start: the launcher's own C function, held against what must be true of it whatever happens."""

from __future__ import annotations

import ctypes
import subprocess

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bringup.system.launcher import SOURCE

GO = 0
WAITING, RUNNING = 1, 2
ALONE = 1


class Slot(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("state", "pid", "child")),
        *((name, ctypes.c_uint32) for name in ("flags", "need", "seen", "now", "unused")),
        ("start", ctypes.c_uint64),
        ("ticket", ctypes.c_uint64),
        ("name", ctypes.c_char * 144),
    ]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("admission") / "admission.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-x", "c", "-o", path, SOURCE / "admission.h"], check=True)
    found = ctypes.CDLL(str(path))
    found.may_start.argtypes = [
        ctypes.POINTER(Slot), ctypes.c_int, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, ctypes.c_int,
    ]  # fmt: skip
    return found


class Compilers(RuleBasedStateMachine):
    """Launchers that come, ask, run, grow, end or are killed, in any order; limits that change meanwhile."""

    library: ctypes.CDLL
    size = 12

    @initialize(jobs=st.integers(1, 6), limit=st.integers(100, 8000))
    def begin(self, jobs: int, limit: int) -> None:
        self.slots = (Slot * self.size)()
        self.jobs, self.limit, self.pressure = jobs, limit, 0
        self.tickets = 0
        self.most_allowed = jobs

    def having(self, state: int) -> list[int]:
        return [index for index in range(self.size) if self.slots[index].state == state]

    def answer(self, index: int) -> int:
        return int(self.library.may_start(self.slots, self.size, index, self.limit, self.jobs, -1, self.pressure))

    def reserved(self) -> int:
        return sum(max(self.slots[i].need, self.slots[i].seen) for i in self.having(RUNNING))

    @rule(need=st.integers(0, 6000))
    def come(self, need: int) -> None:
        free = self.having(0)
        if free:
            self.tickets += 1
            self.slots[free[0]] = Slot(state=WAITING, need=need, ticket=self.tickets)

    @rule(pick=st.integers(0, 99))
    def ask(self, pick: int) -> None:
        waiting = self.having(WAITING)
        if not waiting:
            return
        index = waiting[pick % len(waiting)]
        running, reserved = self.having(RUNNING), self.reserved()
        if self.answer(index) != GO:
            return
        slot = self.slots[index]
        if running:
            assert len(running) < self.jobs
            assert reserved + slot.need <= self.limit
            assert not self.pressure
            assert not slot.flags & ALONE
            assert not any(self.slots[one].flags & ALONE for one in running + waiting)
        slot.state = RUNNING

    @rule(pick=st.integers(0, 99), seen=st.integers(0, 7000))
    def grow(self, pick: int, seen: int) -> None:
        running = self.having(RUNNING)
        if running:
            slot = self.slots[running[pick % len(running)]]
            slot.seen = max(slot.seen, seen)

    @rule(pick=st.integers(0, 99))
    def end_or_be_killed(self, pick: int) -> None:
        running = self.having(RUNNING)
        if running:
            self.slots[running[pick % len(running)]].state = 0

    @rule(pick=st.integers(0, 99))
    def give_up_waiting(self, pick: int) -> None:
        waiting = self.having(WAITING)
        if waiting:
            self.slots[waiting[pick % len(waiting)]].state = 0

    @rule(pick=st.integers(0, 99))
    def be_killed_for_memory_and_try_again(self, pick: int) -> None:
        running = self.having(RUNNING)
        if running:
            slot = self.slots[running[pick % len(running)]]
            slot.state, slot.flags = WAITING, ALONE

    @rule(jobs=st.integers(1, 6), limit=st.integers(100, 8000), pressure=st.integers(0, 1))
    def change_limits(self, jobs: int, limit: int, pressure: int) -> None:
        self.jobs, self.limit, self.pressure = jobs, limit, pressure

    @invariant()
    @precondition(lambda self: hasattr(self, "slots"))
    def nothing_stands_still(self) -> None:
        waiting = self.having(WAITING)
        if waiting and not self.having(RUNNING):
            assert [self.answer(index) for index in waiting].count(GO) == 1

    @invariant()
    @precondition(lambda self: hasattr(self, "slots"))
    def the_first_in_the_queue_is_not_kept_out_by_those_behind(self) -> None:
        """If the first may not start now, nobody that starts now may be what it waits for once the large are done."""
        waiting, running = self.having(WAITING), self.having(RUNNING)
        if not waiting or not running:
            return
        first = min(waiting, key=lambda index: (not self.slots[index].flags & ALONE, self.slots[index].ticket))
        if self.answer(first) == GO:
            return
        for index in waiting:
            if index != first and self.answer(index) == GO:
                kept = sorted(max(self.slots[one].need, self.slots[one].seen) for one in running)
                while kept and sum(kept) + self.slots[first].need > self.limit:
                    kept.pop()
                assert sum(kept) + self.slots[first].need + self.slots[index].need <= self.limit


def test_admission_keeps_its_promises(library):
    Compilers.library = library
    machine = Compilers.TestCase
    machine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
    machine().runTest()


def ask(library, limit, jobs, *slots, free=-1, pressure=0, of=-1):
    table = (Slot * len(slots))(*slots)
    return library.may_start(table, len(slots), of % len(slots), limit, jobs, free, pressure)


def running(need, **more):
    return Slot(state=RUNNING, need=need, **more)


def waiting(need, ticket, **more):
    return Slot(state=WAITING, need=need, ticket=ticket, **more)


def test_reasons(library):
    assert ask(library, 100, 2, waiting(900, 1)) == GO, "however large it is"
    assert ask(library, 1000, 1, running(10), waiting(10, 1)) == 1, "jobs"
    assert ask(library, 1000, 4, running(600), waiting(500, 1)) == 2, "memory"
    assert ask(library, 1000, 4, running(100, seen=600), waiting(500, 1)) == 2, "what it takes counts, if it is more"
    assert ask(library, 1000, 4, running(10), waiting(10, 1), pressure=1) == 3, "pressure"
    assert ask(library, 1000, 4, running(10, flags=ALONE), waiting(10, 1)) == 4, "one runs alone"
    assert ask(library, 1000, 4, running(10), waiting(9, 2, flags=ALONE), waiting(10, 1)) == 4, "one waits to be alone"


def test_memory_that_others_on_the_machine_take(library):
    assert ask(library, 9000, 4, running(1000, now=1000), waiting(500, 1), free=400) == 2
    assert ask(library, 9000, 4, running(1000, now=1000), waiting(500, 1), free=600) == GO
    assert ask(library, 9000, 4, running(1000, now=100), waiting(500, 1), free=600) == 2, "it will take 900 more"


def test_small_units_pass_a_large_one_only_where_they_leave_it_its_place(library):
    large, queue = running(3500), waiting(3500, 1)
    assert ask(library, 6000, 4, large, queue, waiting(400, 2)) == GO
    assert ask(library, 6000, 4, large, running(2300), queue, waiting(400, 2)) == 2
    five = [running(1000) for _ in range(5)]
    assert ask(library, 6000, 9, *five, queue, waiting(500, 2)) == GO
    assert ask(library, 6000, 9, *five, queue, waiting(501, 2)) == 5, "once three are done, 500 are left beside it"
    assert ask(library, 6000, 4, running(400), queue, waiting(400, 2)) == GO, "room for both"
    assert ask(library, 4200, 4, running(400), queue, waiting(400, 2)) == 5, "the first takes what is left"
    assert ask(library, 6000, 2, running(400), queue, waiting(400, 2)) == 5, "the first takes the last job"
