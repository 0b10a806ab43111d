"""Logs whose expectations were written before they were diagnosed; see blind/expected.toml for the rule."""

import gzip
import io
import re
import tomllib
from pathlib import Path

import pytest

from bringup.diagnose import Diagnosis, diagnose_stream
from bringup.diagnose.knowledge import Knowledge, load_knowledge

LOGS = Path(__file__).parents[1] / "unit/diagnose/blind"
EXPECTED = tomllib.loads((LOGS / "expected.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load_knowledge()


def content(name: str) -> bytes:
    """Return a log, which is kept packed where it is long."""
    plain = LOGS / f"{name}.log"
    return plain.read_bytes() if plain.exists() else gzip.decompress((LOGS / f"{name}.log.gz").read_bytes())


def missed(answer: Diagnosis, want: dict[str, object]) -> str:
    """Return what is wrong with an answer, in the words of `missed`."""
    best = answer.findings[0] if answer.findings else None
    got = (best.id if best else None) or str(answer.status)
    wrong = [] if got in want["answer"] else ["answer"]
    if best is not None and want["answer"] != ["clean"]:
        wrong += [] if best.line_no == want["line_no"] else ["root"]
        wrong += [] if best.category in want.get("category", [best.category]) else ["category"]
        wrong += [] if re.search(str(want["fix"]), "\n".join(best.fix), re.IGNORECASE) else ["fix"]
    return " ".join(wrong)


@pytest.mark.parametrize("name", EXPECTED)
def test_blind(name: str, knowledge: Knowledge):
    want = EXPECTED[name]
    answer = diagnose_stream(io.BytesIO(content(name)), knowledge=knowledge)
    assert missed(answer, want) == want.get("missed", "")


def test_every_log_has_an_expectation():
    assert {path.name.split(".")[0] for path in LOGS.glob("*.log*")} == set(EXPECTED)
