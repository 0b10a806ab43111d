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
from bringup.diagnose.knowledge import Knowledge, knowledge_folder

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
    "journal": prefixed("2025-05-01T10:00:{s:02}.123456+02:00 gpu07 build[123]: "),
    "teamcity": prefixed("[10:01:{s:02}]E:\t [Step 2/5] "),
    "jenkins-plain": prefixed("10:01:{s:02}  "),
    "seconds": prefixed("1747000000.{n:06} "),
    "handed on": prefixed("2025-03-07 23:50:27,531 - __main__ - INFO - [2025-03-07 23:50:27 TP0] "),
    "loguru": prefixed("2025-05-01 10:00:00.123 | ERROR    | run:main:12 - "),
    "clock": prefixed("(AReaL) 20251231-02:44:{s:02}.{n:03} Launcher INFO: "),
    "run view": prefixed("build (3.11, 12.4)\tRun tests\t2025-05-01T10:00:{s:02}.1234567Z "),
    "sky": prefixed("(worker1, rank=1, pid=123, ip=10.0.0.1) "),
    "numbered": prefixed("{n:6}\t"),
    "listing": prefixed("{n:4} | "),
    "indented": prefixed("    "),
    "quoted": prefixed("> "),
    "buildkit": lambda data: b"".join(
        f"{12.5 + n * 0.01:.2f} ".encode() + row + b"\n" for n, row in enumerate(data.rstrip(b"\n").split(b"\n"))
    ),
    "windows": lambda data: data.replace(b"\n", b"\r\n"),
    "colours": lambda data: re.sub(
        rb"(?i)\b(error|fatal|warning)\b", lambda found: b"\x1b[01;31m\x1b[K" + found[1] + b"\x1b[m\x1b[K", data
    ),
}
ROOT = rb"(?<![\w.:/])/(?:usr/local|home|root|opt|tmp|work|w|venv|env|src|workspace)/"
SAME_FAILURE = {
    "typographic quotes": lambda data: re.sub(rb"'([^'\n]{1,80})'", "\u2018\\1\u2019".encode(), data),
    "plain quotes": lambda data: data.replace("\u2018".encode(), b"'").replace("\u2019".encode(), b"'"),
    "other roots": lambda data: re.sub(ROOT, b"/mnt/nvme0/someone/", data),
    "other python": lambda data: re.sub(rb"python3\.\d+", b"python3.14", data),
    "conda's tools": lambda data: re.sub(rb"/usr/bin/(?=(?:ld|gcc|g\+\+)\b)", b"/c/bin/x86_64-conda-linux-gnu-", data),
    "make's end": lambda data: data.rstrip(b"\n") + b"\nmake: *** [Makefile:12: all] Error 2\n",
    "a CI's end": lambda data: data.rstrip(b"\n") + b"\nError: Process completed with exit code 1.\n",
}
FEWEST = 5  # lines from which a prefix can be learned
STRIDE = 3 if THOROUGH else 25
CLEAN = {name for name, want in EXPECTED.items() if want["answer"] == "clean"}
FAILED = [name for name, want in EXPECTED.items() if want["answer"] != "clean"]


EXCERPTS = sorted((knowledge_folder() / "excerpts").glob("*.log"))
KEPT = [*(LOGS / f"{name}.log" for name in EXPECTED), *EXCERPTS]


def changed(change, kept: list[Path], knowledge: Knowledge) -> list[tuple[str, object, object]]:
    """Return the logs whose answer or root line is another one once they are changed."""
    wrong = []
    for path in kept:
        data = path.read_bytes()
        before, after = (_root(answer_of(text, knowledge)) for text in (data, change(data)))
        if before != after:
            wrong.append((path.name, before, after))
    return wrong


def _root(answer: Diagnosis) -> tuple[str, int]:
    return name_of(answer), answer.findings[0].line_no if answer.findings else 0


@pytest.mark.parametrize("disguise", DISGUISES)
def test_prefixes_and_colours_change_nothing(disguise: str, knowledge: Knowledge):
    first = list(DISGUISES).index(disguise) % STRIDE  # each disguise has other logs
    kept = [path for path in KEPT[first::STRIDE] if path.read_bytes().count(b"\n") >= FEWEST]
    assert changed(DISGUISES[disguise], kept, knowledge) == []


@pytest.mark.parametrize("change", SAME_FAILURE)
def test_the_same_failure_elsewhere_has_the_same_answer(change: str, knowledge: Knowledge):
    first = list(SAME_FAILURE).index(change)
    kept = [path for path in KEPT[first::STRIDE] if not change.endswith("end") or path.stem not in CLEAN]
    assert changed(SAME_FAILURE[change], kept, knowledge) == []


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
