"""Tokens of the job server: whatever is killed, all are there again once it is quiet, and never too many for long."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from thorough import examples

from bringup.system.jobledger import Ledger, Sample


class Pool(RuleBasedStateMachine):
    """Clients as ninja is one: each has a free job, holds a token for each other, and may be killed with them."""

    @initialize(tokens=st.integers(0, 6))
    def begin(self, tokens: int) -> None:
        self.ledger = Ledger(tokens=tokens)
        self.level = tokens
        self.clients: dict[int, list[bool]] = {}  # jobs of each: does it hold a token, or is it the free one
        self.waiting: list[int] = []  # clients whose launchers have put their token back
        self.owed = 0
        self.names = 0

    @rule()
    def client_starts(self) -> None:
        self.names += 1
        self.clients[self.names] = []

    @rule(pick=st.integers(0, 99))
    def job_starts(self, pick: int) -> None:
        if not self.clients:
            return
        jobs = self.clients[self.pick(pick)]
        if False not in jobs:
            jobs.append(False)
        elif self.level:
            self.level -= 1
            jobs.append(True)

    @rule(pick=st.integers(0, 99), which=st.integers(0, 9))
    def job_ends(self, pick: int, which: int) -> None:
        if self.clients and self.clients[self.pick(pick)]:
            jobs = self.clients[self.pick(pick)]
            self.level += jobs.pop(which % len(jobs))

    @rule(pick=st.integers(0, 99))
    def client_is_killed(self, pick: int) -> None:
        if self.clients:
            del self.clients[self.pick(pick)]

    @rule()
    def launcher_waits(self) -> None:
        self.level += 1
        self.waiting.append(1)

    @rule(killed=st.booleans())
    def launcher_goes_on(self, killed: bool) -> None:
        if self.waiting:
            self.waiting.pop()
            if self.level and not killed:
                self.level -= 1
            else:
                self.owed += 1

    @rule()
    def server_takes_what_is_owed(self) -> None:
        taken = min(self.owed, self.level)
        self.level -= taken
        self.owed -= taken

    @rule(tokens=st.integers(0, 6))
    def limit_changes(self, tokens: int) -> None:
        more = tokens - self.ledger.tokens
        self.ledger.resize(tokens)
        if more > 0:
            self.level += max(0, more - self.owed)
            self.owed = max(0, self.owed - more)
        else:
            self.owed -= more

    @rule(times=st.integers(1, 5))
    def server_looks(self, times: int) -> None:
        for _ in range(times):
            change = self.ledger.balance(self.sample())
            self.level += max(change, -self.level)

    @invariant()
    def a_quiet_pool_is_whole(self) -> None:
        """Without clients, a few looks are enough: what was lost is back, and what was too much is out."""
        if not hasattr(self, "ledger") or self.clients:
            return
        level, owed = self.level, self.owed
        for _ in range(2 * self.ledger.samples):
            self.server_takes_what_is_owed()
            self.level += max(self.ledger.balance(self.sample()), -self.level)
        assert self.level == self.ledger.tokens + len(self.waiting) + self.owed, (level, owed)

    @invariant()
    def too_many_by_no_more_than_one_for_each_client(self) -> None:
        if hasattr(self, "ledger"):
            held = sum(sum(jobs) for jobs in self.clients.values())
            allowed = self.ledger.tokens + len(self.waiting) + self.owed
            assert self.level + held <= allowed + len(self.clients) + self.names

    def pick(self, number: int) -> int:
        return list(self.clients)[number % len(self.clients)]

    def sample(self) -> Sample:
        children = {name: len(jobs) for name, jobs in self.clients.items()}
        return Sample(level=self.level, children=children, donated=len(self.waiting), owed=self.owed)


def test_tokens_are_kept():
    machine = Pool.TestCase
    machine.settings = settings(max_examples=examples(100), stateful_step_count=30, deadline=None)
    machine().runTest()


def look(ledger: Ledger, times: int, level: int, **clients: int) -> list[int]:
    children = {int(name[1:]): jobs for name, jobs in clients.items()}
    return [ledger.balance(Sample(level=level, children=children)) for _ in range(times)]


def test_tokens_of_the_only_client_are_back_after_three_looks():
    ledger = Ledger(tokens=3)
    assert look(ledger, 3, 0, c1=4) == [0, 0, 0]
    assert look(ledger, 4, 0) == [0, 0, 3, 0]


def test_tokens_of_one_of_two_are_back_while_the_other_runs():
    ledger = Ledger(tokens=5)
    assert look(ledger, 3, 0, c1=4, c2=3) == [0, 0, 0]
    assert look(ledger, 3, 0, c2=3) == [0, 0, 3]


def test_client_at_its_end_holds_one_for_each_job_and_nothing_is_lost():
    ledger = Ledger(tokens=3)
    look(ledger, 3, 0, c1=4)
    assert look(ledger, 9, 0, c1=3) == [0] * 9


def test_moment_between_token_and_job_is_no_loss():
    ledger = Ledger(tokens=3)
    for _ in range(5):
        assert look(ledger, 2, 1, c1=1) == [0, 0]
        assert look(ledger, 1, 2, c1=1) == [0]


def test_clients_that_cannot_be_counted_stop_the_accounts():
    ledger = Ledger(tokens=3)
    for _ in range(5):
        assert ledger.balance(Sample(level=0, children={}, sure=False)) == 0
