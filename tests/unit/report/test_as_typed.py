"""Commands in messages, as this user types them."""

import pytest

from bringup.report import as_typed
from bringup.tasks import TASKS


@pytest.mark.parametrize(
    ("launcher", "typed"),
    [
        ("", "invoke verify --gpu h200"),
        ("./invokew", "./invokew verify --gpu h200"),
        ("/data/my node/bin/bringup", "'/data/my node/bin/bringup' verify --gpu h200"),
        ("/data/a\\1b/bringup", "'/data/a\\1b/bringup' verify --gpu h200"),
    ],
)
def test_the_launcher_is_named_so_that_a_shell_reads_it(
    monkeypatch: pytest.MonkeyPatch, launcher: str, typed: str
) -> None:
    monkeypatch.setenv("BRINGUP_COMMAND", launcher)
    assert as_typed("invoke verify --gpu h200") == typed


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_is_known(monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.setenv("BRINGUP_COMMAND", "./invokew")
    assert as_typed(f"then: invoke {task}") == f"then: ./invokew {task}"


def test_what_a_log_says_is_invoked_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRINGUP_COMMAND", "./invokew")
    for text in ("could not invoke gcc", "failed to invoke builder", "/opt/bin/invoke build", "invoke --version"):
        assert as_typed(text) == text
