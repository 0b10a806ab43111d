"""Accounts of a job server: how many tokens have been lost, or are there too often. Values in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What was seen at one moment.

    Attributes:
        level: tokens in the pipe.
        children: running jobs of each client, by its process.
        donated: tokens that waiting launchers have put back for as long as they wait.
        owed: tokens in the pipe, or to come, that the server has to take out.
        sure: whether every client's tokens can be counted; cargo's cannot.
    """

    level: int
    children: Mapping[int, int]
    donated: int = 0
    owed: int = 0
    sure: bool = True


@dataclass(kw_only=True, slots=True)
class Ledger:
    """Tells what to put back or to take out.

    A client holds a token for each job but one, which is free. Once no job is left to start, and the free one is done
    first, it holds one for each. So what is missing is known to within one token for each client: that one counts as
    lost only where a client has gone that held some, and is taken out again if that was wrong.

    A client takes a token a moment before its job is there, and puts it back a moment after the job is gone. What is
    missing in that moment is not lost: only what is missing in every one of the last samples is.

    Attributes:
        tokens: tokens there should be.
        samples: how many samples must agree.
    """

    tokens: int
    samples: int = 3
    _seen: list[tuple[int, int]] = field(default_factory=list)
    _holders: set[int] = field(default_factory=set)
    _gone: bool = False

    def resize(self, tokens: int) -> None:
        """There shall be so many tokens from now on."""
        self.tokens = tokens
        self._seen.clear()

    def balance(self, sample: Sample) -> int:
        """Take a sample; return how many tokens to put back (positive) or to take out (negative), most often 0."""
        if self._holders - set(sample.children):
            self._gone = True
            self._seen.clear()
        self._holders = {client for client, jobs in sample.children.items() if jobs}
        if not sample.sure:
            self._seen.clear()
            return 0
        expected = self.tokens + sample.donated + sample.owed - sample.level
        most = sum(sample.children.values())
        least = sum(max(0, jobs - 1) for jobs in sample.children.values())
        self._seen = [*self._seen, (expected - most, expected - least)][-self.samples :]
        if len(self._seen) < self.samples:
            return 0
        change = self._change()
        if change:
            self._seen.clear()
        self._gone = False
        return change

    def _change(self) -> int:
        lost = min(high if self._gone else low for low, high in self._seen)
        return lost if lost > 0 else min(0, max(high for _, high in self._seen))
