"""Failures that were dealt with are none, and of ordinary failures the fix says what helps; the texts are in cases/."""

import io
import re
import tomllib
from pathlib import Path

import pytest
from helpers.own_data import own_knowledge
from thorough import THOROUGH

from bringup.diagnose import diagnose_stream
from bringup.diagnose.knowledge import knowledge_folder
from bringup.diagnose.model import Finding

CASES = Path(__file__).parent / "cases"
HANDLED = tomllib.loads((CASES / "handled.toml").read_text(encoding="utf-8"))["case"]
ATTEMPTS = tomllib.loads((CASES / "attempts.toml").read_text(encoding="utf-8"))["case"]
ORDINARY = tomllib.loads((CASES / "ordinary.toml").read_text(encoding="utf-8"))["case"]
HARMLESS = (CASES / "harmless.txt").read_text(encoding="utf-8").splitlines()


def first(text: str) -> Finding | None:
    answer = diagnose_stream(io.BytesIO(text.encode()), knowledge=own_knowledge())
    return answer.findings[0] if answer.findings else None


@pytest.mark.parametrize("case", [*HANDLED, *ATTEMPTS], ids=lambda case: case["name"])
def test_what_was_dealt_with_is_no_failure(case: dict[str, str]) -> None:
    answer = diagnose_stream(io.BytesIO(case["log"].encode()), knowledge=own_knowledge())
    if case["root"]:
        best = (answer.survived if case.get("ends_well") else answer.findings)[0]
        assert case["root"] in best.line
    else:
        assert answer.findings == ()


@pytest.mark.parametrize("case", ORDINARY, ids=lambda case: case["fix"])
def test_the_fix_of_an_ordinary_failure_says_what_helps(case: dict[str, str]) -> None:
    best = first(case["log"])
    assert best is not None
    assert re.search(case["fix"], "\n".join(best.fix))


QUOTED = {
    "source": '    raise RuntimeError("{}")',
    "grep": "./src/a.py:12:    msg = '{}'",
    "comment": "   12 |   // {}",
    "commit": "1a2b3c4 Handle: {}",
    "pull request": "Say what to do on: {} (#456)",
    "test": "test_error[{}] PASSED",
}


@pytest.mark.parametrize("form", QUOTED)
def test_an_error_that_is_only_quoted_is_none(form: str) -> None:
    excerpts = sorted((knowledge_folder() / "excerpts").glob("*.log"))
    step = 1 if THOROUGH else 12
    wrong = []
    for path in excerpts[list(QUOTED).index(form) % step :: step]:
        best = first(path.read_text(encoding="utf-8"))
        assert best is not None
        if first(f"start\nbuilding\n{QUOTED[form].format(best.line.strip()[:150])}\ngoing on\n") is not None:
            wrong.append(path.name)
    assert wrong == []


def test_lines_that_programs_write_while_all_is_well() -> None:
    around = "start of it\n" + "more text\n" * 4, "going on here\n" * 8
    assert [line for line in HARMLESS if first(f"{around[0]}{line}\n{around[1]}") is not None] == []
