"""`./invokew test` on several processors: every test runs once, and whatever fails in one of the processes is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from bringup.developer import _parts, _shared

TESTS = Path(__file__).resolve().parents[1]
CONFTEST = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from sharing import pytest_addoption, pytest_runtestloop
"""
FILE = """
import os, pathlib, time
import pytest

RAN = pathlib.Path(__file__).parents[1] / "ran"


@pytest.fixture(scope="module", autouse=True)
def module():
    yield
    with RAN.open("a") as file:
        file.write(f"{name} ends in {{os.getpid()}}\\n")


@pytest.mark.parametrize("number", range(3))
def test_it(number):
    time.sleep(0.05)
    with RAN.open("a") as file:
        file.write(f"{name}{{number}}\\n")
    {then}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in "abcdef":
        write(tmp_path, name)
    return tmp_path


def write(project: Path, name: str, then: str = "") -> None:
    folder = project / ("one" if name in "ace" else f"of-{name}")  # folders are set up and torn down as files are
    folder.mkdir(exist_ok=True)
    (folder / f"test_{name}.py").write_text(FILE.format(name=name, then=then))


def test_every_test_runs_once_in_one_of_them(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _shared(project, _parts(project), ["-q"], 2) == {0}
    ran = (project / "ran").read_text().splitlines()
    assert sorted(line for line in ran if "ends" not in line) == [f"{name}{n}" for name in "abcdef" for n in range(3)]
    ends = [line.split(" ends in ") for line in ran if "ends" in line]
    assert sorted(name for name, _ in ends) == list("abcdef")
    assert len({process for _, process in ends}) == 2
    assert capfd.readouterr().out.count(" passed in ") == 2


@pytest.mark.parametrize(("then", "code"), [("assert number < 2, 'too much'", 1), ("os.kill(os.getpid(), 9)", 137)])
def test_a_failure_anywhere_is_told(project: Path, capfd: pytest.CaptureFixture[str], then: str, code: int) -> None:
    for name in "abcdef":  # whichever process takes it
        write(project, name, then if name == "e" else "")
    assert max(_shared(project, _parts(project), ["-q"], 2)) == code
    if code == 1:
        assert "too much" in capfd.readouterr().out


def test_words_go_to_all_of_them(project: Path) -> None:
    assert _shared(project, _parts(project), ["-q", "-k", "test_b"], 3) == {0}
    assert len((project / "ran").read_text().splitlines()) == 4
    assert _shared(project, _parts(project), ["-q", "-k", "nothing"], 2) == {5}
