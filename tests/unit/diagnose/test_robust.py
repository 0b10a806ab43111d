# ruff: noqa: E501 - lines of logs are as long as they are
"""Whatever a log holds, the answer comes in bounded time and cannot steer a terminal."""

import gzip
import io
import re
import time

import pytest
from helpers.own_data import own_knowledge
from hypothesis import example, given, settings
from hypothesis import strategies as st
from thorough import THOROUGH, examples

from bringup.diagnose import diagnose_paths, diagnose_stream, reader, render
from bringup.diagnose.conflict import conflicts
from bringup.diagnose.ending import facts_of
from bringup.diagnose.evidence import Evidence
from bringup.diagnose.hints import hints
from bringup.diagnose.moves import built, spoken
from bringup.diagnose.shapes import SHAPES
from bringup.diagnose.supply import Supply
from bringup.diagnose.text import MAX_LINE, clean_line, printable
from bringup.errors import UsageError
from bringup.model.knowledge import Kind

PIECES = [
    b"error: ", b"Traceback (most recent call last):\n", b'  File "x.py", line 1\n', b"\x1b[31m", b"\x1b]0;title\x07", b"\r",
    b"\n", b"CMake Error at x:1 (message):\n", b"  \n", b"Caused by:\n", b"ValueError: ", b"\xff\xfe", b"\x00", b"fatal error: ",
    b"cuda_fp8.h", b"[rank0]: ", b"#12 3.4 ", "致命错误：".encode(), b"\x9b31m", "\u202e".encode(),  # noqa: RUF001
    b"Killed\n", b"ninja: build stopped: subcommand failed.\n", b"thread 'main' panicked at a:1:1:\n", b"No space left on device",
]  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=40)), max_size=60).map(b"".join))
@example(b"")
@example(b"Traceback (most recent call last):")
@example(b"CMake Error at x:1 (message):")
def test_any_bytes(data: bytes):
    answer = diagnose_stream(io.BytesIO(data), knowledge=own_knowledge())
    text = render(answer)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    for finding in answer.findings:
        assert 1 <= finding.line_no <= max(1, answer.lines)
        assert "\x1b" not in finding.line


@given(st.binary(max_size=300))
def test_cleaned_lines_have_no_controls(raw: bytes):
    line = clean_line(raw.replace(b"\n", b""))
    assert len(line.text) <= MAX_LINE
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", line.text)


HOSTILE = {
    "a": "a" * MAX_LINE,
    "spaces": "error" + " " * MAX_LINE,
    "colons": ":1" * (MAX_LINE // 2),
    "brackets": "(1): error " * (MAX_LINE // 11),
    "paths": "/a" * (MAX_LINE // 2) + ": error",
    "dots": "a." * (MAX_LINE // 2) + "Error",
    "quotes": "'\"`" * (MAX_LINE // 3),
    "digits": "1" * MAX_LINE + ":",
    "errors": "error: error: fatal error: " * (MAX_LINE // 27),
    "errorerror": "error" * (MAX_LINE // 5),
    "ld": "ld: -l" * (MAX_LINE // 6),
    "words": "rror: cuda/std cub:: has no member undefined symbol: cannot find " * (MAX_LINE // 64),
}

READERS = {
    "conflicts": lambda text: conflicts(f"Because {text}", [text] * 6),
    "built": lambda text: built([text] * 4, own_knowledge()),
    "spoken": lambda text: spoken([text], own_knowledge()),
    "symbol": lambda text: Supply(own_knowledge().providers).find(Kind.SYMBOL, text[:400]),
    "identifier": lambda text: Supply(own_knowledge().providers).find(Kind.IDENTIFIER, text[:400]),
    "hints": lambda text: hints(text, [text] * 4),
    "ending": lambda text: facts_of(own_knowledge().ending, [clean_line(text.encode())] * 14, Evidence()),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_expression_takes_long(name: str):
    text = HOSTILE[name][:MAX_LINE]
    patterns = [pattern for _, pattern in (*own_knowledge().advice, *own_knowledge().mentions)]
    for item in own_knowledge().issues.values():
        patterns += [
            pattern
            for signature in item.signatures
            for pattern in (signature.pattern, *signature.near, *signature.unless)
        ]
    slow = []
    runs = [(pattern, pattern.search) for pattern in patterns] + [(s.pattern, s.pattern.match) for s in SHAPES]
    runs += [(re.compile(name), run) for name, run in READERS.items()]
    for pattern, run in runs:
        best = _seconds(run, text)
        if best > 0.1:
            best = min(best, _seconds(run, text))  # the first time something else may have been in the way
        if best > 0.1:
            slow.append((pattern.pattern, best))
    assert slow == []


def _seconds(run, text: str) -> float:
    start = time.process_time()
    run(text)
    return time.process_time() - start


def test_an_endless_line_takes_bounded_memory_and_keeps_the_count(monkeypatch):
    monkeypatch.setattr(reader, "CHUNK", 256 << 10)
    monkeypatch.setattr(reader, "ENDLESS", 128 << 10)
    data = b"x" * (1 << 20) + b"\nerror: real\n" + b"y" * (700 << 10)
    answer = diagnose_stream(io.BytesIO(data), knowledge=own_knowledge())
    assert [(finding.line, finding.line_no) for finding in answer.findings] == [("error: real", 2)]
    assert answer.lines == 3


def test_a_root_at_every_place_of_a_block_is_numbered_right():
    row = b"[1/2] c++ -c x.cpp\n"
    for before in (0, 1, 1000, 110_000, 220_000) if THOROUGH else (0, 1, 20_000):
        answer = diagnose_stream(
            io.BytesIO(row * before + b"a.c:1:1: error: x\n" + row * 50), knowledge=own_knowledge()
        )
        assert answer.findings[0].line_no == before + 1


def test_a_damaged_archive_is_read_up_to_the_damage(tmp_path):
    rows = (b"[%d/2000] c++ -c x%d.cpp\n" % (number, number * number) for number in range(2000))
    whole = gzip.compress(b"a.c:1:1: error: x\n" + b"".join(rows), mtime=0)
    path = tmp_path / "log.gz"
    path.write_bytes(whole[: len(whole) // 2])
    assert diagnose_paths([str(path)])[0].findings[0].line_no == 1


def test_missing_log_is_the_users_mistake(tmp_path):
    with pytest.raises(UsageError, match="cannot read the log"):
        diagnose_paths([str(tmp_path / "none.log")])


def test_printable_is_short_and_plain():
    assert printable("a\x1b[31mb\tc\x07" + "z" * 900, limit=20) == "ab    czzzzzzzzzzzz…"
