"""Commands in messages, as this user types them."""

import pytest

from bringup.report import as_typed


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
