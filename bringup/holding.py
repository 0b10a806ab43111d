"""What a run reuses is brought here and kept from `gc` before the first step starts."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bringup.model.plan import Decision, Phase, Plan
from bringup.model.source import AssembledSource
from bringup.session import Session
from bringup.system.leases import lease

# Each round finds at least one entry missing that the round before still had.
ROUNDS = 3


@contextmanager
def held(session: Session, again: Callable[[Session], Session]) -> Iterator[Session]:
    """Give a session all of whose reused wheels are in the local store, and stay there while the block runs.

    What does not arrive from the remote store, or was removed since the plan was made, is not reused: `again` makes
    the plan anew, and these packages are built.

    Raises:
        StorageError: the cache cannot be written.
    """
    for _ in range(ROUNDS):
        with lease(session.context.layout.cache, _keys(session.plan)):
            if _bring(session):
                yield session
                return
        session = again(session)
    with lease(session.context.layout.cache, _keys(session.plan)):
        yield session


def _bring(session: Session) -> bool:
    store, plan = session.context.store, session.plan
    reused = [step for step in plan.steps if step.phase is Phase.BUILD and step.decision is Decision.REUSE]
    for step in reused:
        alias = plan.aliases.get(step.package, "")
        found = store.pull(alias or step.fingerprint)
        if found.entry is None:
            return False
        if alias:
            date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            store.adopt(step.fingerprint, found, plan.inputs[step.package], date)
    return True


def _keys(plan: Plan) -> set[str]:
    """Return fingerprints and hashes of all that the plan may still read."""
    keys = {*plan.fingerprints.values(), *plan.aliases.values()}
    for package in plan.packages.values():
        for source in (package.source, *package.extras.values()):
            parts = [part.source for part in source.parts] if isinstance(source, AssembledSource) else [source]
            keys |= {sha256 for part in parts if (sha256 := getattr(part, "sha256", ""))}
    return keys
