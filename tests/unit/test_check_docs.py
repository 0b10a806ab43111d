"""The documentation check finds what is wrong, and only that."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return scripts/check_docs.py, set to work on an empty tree."""
    spec = importlib.util.spec_from_file_location("check_docs", ROOT / "scripts" / "check_docs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def write(folder: Path, text: str, name: str = "page.md") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](gone.md)", "page.md:1: gone.md leads nowhere"),
        ("\n![a](<img/gone.png> 'title')", "page.md:2: img/gone.png leads nowhere"),
        ("# One\n[a](#two)", "page.md:2: page.md has no heading for #two"),
        ("[a](other.md#nope)", "page.md:1: other.md has no heading for #nope"),
    ],
)
def test_a_bad_link_is_found(docs: ModuleType, tmp_path: Path, text: str, problem: str) -> None:
    write(tmp_path, "# Yes", "other.md")
    assert list(docs.check_links(write(tmp_path, text))) == [problem]


@pytest.mark.parametrize(
    "text",
    [
        "[a](other.md) [b](other.md#the-gpu-and-its-h200-name) [c](https://example.com/x) [d](.)",
        "# A\n# A\n[again](#a-1)",
        "```\n[a](gone.md)\n```",
        "`[a](gone.md)`",
        "    [a](gone.md)",
    ],
)
def test_a_good_link_is_not(docs: ModuleType, tmp_path: Path, text: str) -> None:
    write(tmp_path, "## The GPU, and its `h200` [name](x)", "other.md")
    assert list(docs.check_links(write(tmp_path, text))) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("    ./invokew build --gpu h200", []),
        ("run `invoke --debug plan` or\n$ bringup list gpus", []),
        ("    ./invokew biuld", ["biuld"]),
        ("`bringup paln`", ["paln"]),
        ("    invoke plna --gpu h200", ["plna"]),
        ("    ~/h200/bin/bringup verfiy", ["verfiy"]),
        ("nothing else imports invoke tasks; bringup is a word; ./invokew.sh; `invoke` and so on", []),
    ],
)
def test_commands_name_tasks(
    docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, wrong: list[str]
) -> None:
    monkeypatch.setattr(docs, "task_names", lambda: {"build", "plan", "list"})
    monkeypatch.setattr(docs, "task_flags", lambda _: {"gpu"})
    found = list(docs.check_commands(write(tmp_path, text)))
    assert [problem.split("no task ")[1].split()[0] for problem in found] == wrong


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("    ./invokew build --gpu h200 --jobs=2", []),
        ("    ./invokew build --gpu h200 --job 2     # --fast is not there", ["job"]),
        ("`./invokew list gpus` and `--verbose`", []),
        ("    ./invokew list --gpu h200", ["gpu"]),
        ("    ./invokew plan --gpu h200    what --fast would do", []),
    ],
)
def test_commands_have_their_tasks_flags(docs: ModuleType, tmp_path: Path, text: str, wrong: list[str]) -> None:
    found = list(docs.check_commands(write(tmp_path, text)))
    assert [problem.rpartition("--")[2] for problem in found] == wrong


def test_a_script_that_is_gone_is_found(docs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    write(tmp_path / "scripts", "", "here.sh")
    page = write(tmp_path, "`scripts/here.sh`, scripts/gone.sh, <https://x.org/scripts/theirs.sh>\n    bash .ci/run")
    assert list(docs.check_files(page)) == ["page.md:1: there is no scripts/gone.sh", "page.md:2: there is no .ci/run"]


def test_drift_of_a_generated_page_is_told(docs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    write(
        tmp_path / "scripts",
        "import sys\nsys.exit('docs/a.md has drifted' if '--check' in sys.argv else 0)",
        "generate_a.py",
    )
    write(tmp_path / "scripts", "", "generate_b.py")
    assert list(docs.check_generated()) == ["scripts/generate_a.py: docs/a.md has drifted"]


def test_tasks_are_the_programs_own(docs: ModuleType) -> None:
    assert {"build", "plan", "test"} <= docs.task_names()
    assert "bringup.tasks" in sys.modules


def test_a_page_that_nobody_would_find_is_named(docs: ModuleType, tmp_path: Path):
    folder = tmp_path / "docs/how-to"
    folder.mkdir(parents=True)
    pages = [write(folder, "", name) for name in ("one.md", "two.md")]
    start = write(folder.parent, "[one](how-to/one.md#top)", "README.md")
    assert docs.check_listed([*pages, start]) == ["docs/README.md: how-to/two.md is not listed"]
