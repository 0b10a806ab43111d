"""What README and docs show of `diagnose` is what it prints, for real logs in cases/."""

from pathlib import Path

import pytest

from bringup.diagnose import diagnose_paths, render
from bringup.report import as_typed

CASES = Path(__file__).parent / "cases"
SHOWN = Path(__file__).resolve().parents[3] / "docs" / "transcripts"
NAMES = ("capture", "new-gpu", "python313", "launch")
ISSUES = {
    "capture": "flashinfer-jit-cuda-fp8-header-missing",
    "new-gpu": "flashinfer-requires-sm75-arch-list",
    "python313": "rust-compiler-missing-setuptools-rust",
    "launch": "sglang-assert-pkg-version-too-old",
}


@pytest.fixture(autouse=True)
def _started_by_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRINGUP_COMMAND", "./invokew")


def printed(names: tuple[str, ...], *, brief: bool) -> str:
    words = ["$ ./invokew diagnose", *(["--brief"] if brief else []), *(f"{name}.log" for name in names)]
    return (
        " ".join(words)
        + "\n"
        + "\n\n".join(render(diagnose_paths([f"{name}.log"])[0], brief=brief, typed=as_typed) for name in names)
    )


@pytest.mark.parametrize("name", NAMES)
def test_each_case_in_full(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(CASES)
    text = printed((name,), brief=False)
    assert ISSUES[name] in text
    assert (SHOWN / f"diagnose-{name}.txt").read_text(encoding="utf-8") == text + "\n"


def test_all_four_in_brief(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(CASES)
    assert (SHOWN / "diagnose.txt").read_text(encoding="utf-8") == printed(NAMES, brief=True) + "\n"
