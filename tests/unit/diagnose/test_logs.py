"""Diagnose the output of real tools; what each log is, a person has written down in logs/expected.toml."""

import gzip
import io
import re
import tomllib
from pathlib import Path

import pytest
from helpers.own_data import own_knowledge
from thorough import THOROUGH

from bringup.diagnose import Diagnosis, diagnose_paths, diagnose_stream
from bringup.diagnose.knowledge import Knowledge

LOGS = Path(__file__).parent / "logs"
EXPECTED = tomllib.loads((LOGS / "expected.toml").read_text(encoding="utf-8"))

# A harmless build before the failure, as it stands in real logs.
BEFORE = b"".join(
    b"[%d/6000] /usr/bin/c++ -DERROR_CHECK -I/src/error -Wall -Werror -o f%d_error.o -c /src/f%d_error.cpp\n"
    % (n, n, n)
    for n in range(300)
)


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return own_knowledge()


def answer_of(data: bytes, knowledge: Knowledge) -> Diagnosis:
    return diagnose_stream(io.BytesIO(data), knowledge=knowledge)


def name_of(answer: Diagnosis) -> str:
    return (answer.findings[0].id if answer.findings else None) or str(answer.status)


@pytest.mark.parametrize("name", EXPECTED)
def test_answer_and_root_line(name: str, knowledge: Knowledge):
    want = EXPECTED[name]
    answer = answer_of((LOGS / f"{name}.log").read_bytes(), knowledge)
    assert name_of(answer) == want["answer"]
    if want["answer"] != "clean":
        best = answer.findings[0]
        assert (best.line_no, best.line) == (want["line_no"], want["line"])
        assert best.fix
        assert all(text.strip() for text in best.fix)
        assert bool(best.url) == (want["answer"] != "unknown")
        assert bool(best.search) == (want["answer"] == "unknown")


def prefixed(template: str):
    def change(data: bytes) -> bytes:
        rows = data.rstrip(b"\n").split(b"\n")
        return b"\n".join(template.format(s=n % 60, n=n).encode() + row for n, row in enumerate(rows)) + b"\n"

    return change


DISGUISES = {
    "github": prefixed("2025-05-01T10:01:{s:02}.1234567Z "),
    "docker": prefixed("#12 {n}.123 "),
    "compose": prefixed("sglang-1  | "),
    "rank": prefixed("[rank3]: "),
    "jenkins": prefixed("[12:34:{s:02}] "),
    "slurm": prefixed("0: "),
    "mpi": prefixed("[1,0]<stderr>:"),
    "sglang": prefixed("[2025-05-01 10:00:{s:02} TP0] "),
    "gitlab": prefixed("2024-05-01T10:00:{s:02}.123456Z 00O "),
    "json-file": lambda data: b"".join(
        b'{"log":"' + row.replace(b'"', b'\\"') + b'\\n","stream":"stderr","time":"2025-05-01T10:00:00Z"}\n'
        for row in data.rstrip(b"\n").split(b"\n")
    ),
    "windows": lambda data: data.replace(b"\n", b"\r\n"),
    "colours": lambda data: re.sub(
        rb"(?i)\b(error|fatal|warning)\b", lambda found: b"\x1b[01;31m\x1b[K" + found[1] + b"\x1b[m\x1b[K", data
    ),
}
STRIDE = 3 if THOROUGH else 25
FAILED = [name for name, want in EXPECTED.items() if want["answer"] != "clean"]


@pytest.mark.parametrize("disguise", DISGUISES)
def test_prefixes_and_colours_change_nothing(disguise: str, knowledge: Knowledge):
    wrong = []
    first = list(DISGUISES).index(disguise) % STRIDE  # each disguise has other logs
    for name in FAILED[first::STRIDE]:
        answer = answer_of(DISGUISES[disguise]((LOGS / f"{name}.log").read_bytes()), knowledge)
        best = answer.findings[0] if answer.findings else None
        if best is None or (name_of(answer), best.line_no) != (EXPECTED[name]["answer"], EXPECTED[name]["line_no"]):
            wrong.append((name, name_of(answer), best and best.line))
    assert wrong == []


def test_a_long_harmless_build_before_changes_only_the_line_number(knowledge: Knowledge):
    wrong = []
    for name in FAILED[::STRIDE]:
        answer = answer_of(BEFORE + (LOGS / f"{name}.log").read_bytes(), knowledge)
        line_no = answer.findings[0].line_no - 300 if answer.findings else None
        if (name_of(answer), line_no) != (EXPECTED[name]["answer"], EXPECTED[name]["line_no"]):
            wrong.append((name, name_of(answer), line_no))
    assert wrong == []


def test_several_logs_plain_and_packed_give_one_answer_each(tmp_path: Path):
    plain = LOGS / "ld_lcuda.log"
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    clean = tmp_path / "clean.log"
    clean.write_text("all is well\n", encoding="utf-8")
    answers = diagnose_paths([str(plain), str(packed), str(clean)])
    assert [name_of(answer) for answer in answers] == ["ld-cannot-find-lcuda", "ld-cannot-find-lcuda", "clean"]
    assert [answer.log for answer in answers] == [str(plain), str(packed), str(clean)]
