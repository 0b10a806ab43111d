"""How the end of a log tells a run that lived with its errors from one that failed."""

import io
from pathlib import Path

import pytest
from helpers.own_data import own_knowledge

from bringup.diagnose import Diagnosis, Status, diagnose_stream, render
from bringup.diagnose.knowledge import load_knowledge
from bringup.errors import ConfigError

ERROR = ["==> part 1", "error: the part does not want to", "==> part 2"]
WELL = ["copied 12 files", "3 parts built, 0 errors", "all done"]


def look(*rows: str, failed: bool = False) -> Diagnosis:
    text = "\n".join(rows) + "\n"
    return diagnose_stream(io.BytesIO(text.encode()), knowledge=own_knowledge(), failed=failed)


def test_a_run_that_reports_success_lived_with_its_error():
    answer = look(*ERROR, *WELL)
    assert answer.status is Status.CLEAN
    assert [(one.line_no, one.line) for one in answer.survived] == [(2, ERROR[1])]


@pytest.mark.parametrize(
    "end",
    [
        ["copying", "linking", "stripping"],  # cut off: nothing says that it went well
        ["could not finish: part 1 is missing"],
        ["hint: give it another part"],
        [*WELL, "error: no part was built"],
        [*WELL, "##[error]Process completed with exit code 2.", "Post job cleanup.", "Cleaned up, all done"],
    ],
    ids=lambda end: end[-1],
)
def test_a_run_that_does_not_failed(end: list[str]):
    assert look(*ERROR, *end).status is Status.UNKNOWN


def test_who_knows_that_it_failed_is_believed():
    answer = look(*ERROR, *WELL, failed=True)
    assert answer.findings[0].line_no == 2
    undone = "Building wheel for x (pyproject.toml): finished with status 'done'", "Successfully installed x-1"
    handled = "error: subprocess-exited-with-error", "  ValueError: no version", *undone
    assert look(*handled).status is Status.CLEAN
    assert look(*handled, failed=True).findings[0].line_no in (1, 2)
    assert look("all", "is", "well", failed=True).status is Status.CLEAN


def test_the_error_that_was_survived_is_shown():
    text = render(look(*ERROR, *WELL))
    assert text.splitlines()[0] == "-: no failure found in 6 lines".replace("-", "standard input")
    assert "--failed" in text
    assert "2 | error: the part does not want to" in text


def test_weights_have_names_that_are_known(tmp_path: Path):
    table = (
        "[ending]\ngood = ['fine']\nbad = ['poor']\nmere = ['zero']\nadvice = ['try']\n[ending.weights]\nbiass = 1.0\n"
    )
    (tmp_path / "x.toml").write_text(table, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"ending: weights: unknown key 'biass' \(did you mean 'bias'\?\)"):
        load_knowledge(tmp_path)
