"""Prefixes that no list knows are learned from the log, and messages are not taken for prefixes."""

import io

import pytest
from helpers.own_data import own_knowledge

from bringup.diagnose import Diagnosis, diagnose_stream
from bringup.diagnose.hints import hints, names
from bringup.diagnose.prefix import learn_prefix
from bringup.diagnose.text import clean_line

CMAKE = [
    "-- Detecting CXX compiler ABI info",
    "-- Configuring",
    "CMake Error at CMakeLists.txt:4 (add_subdirectory):",
    "  The source directory",
    "",
    "    /w/third_party/fmt",
    "",
    "  does not contain a CMakeLists.txt file.",
    "",
    "-- Configuring incomplete, errors occurred!",
]


def look(rows: list[str]) -> Diagnosis:
    return diagnose_stream(io.BytesIO(("\n".join(rows) + "\n").encode()), knowledge=own_knowledge())


@pytest.mark.parametrize("prefix", ["node-07: ", "build-kernels\t", "torch> ", "[worker 3] ", "app[12] | ", "gpu04 | "])
def test_prefixes_of_any_launcher(prefix: str) -> None:
    answer = look([(prefix + row).rstrip(" ") for row in CMAKE])
    assert [(finding.line_no, finding.line) for finding in answer.findings] == [
        (8, "does not contain a CMakeLists.txt file.")
    ]


def test_nodes_that_differ_in_their_number() -> None:
    rows = [f"node{n % 3}: {row}" for n in range(4) for row in ("cc -c a.c", "cc -c b.c")]
    learned = learn_prefix(("\n".join(rows) + "\n").encode())
    assert learned is not None
    line = clean_line(b'node2:   File "x.py", line 1', learned)
    assert (line.text, line.stream) == ('  File "x.py", line 1', "/node2:")


@pytest.mark.parametrize(
    "row", ["make: Nothing", "ERROR: no", "pip: x", "ImportError: x", "g++-12: error: y", "nothing"]
)
def test_words_that_speak_are_no_prefixes(row: str) -> None:
    assert learn_prefix(f"{row}\n".encode() * 20) is None


def test_few_lines_teach_nothing() -> None:
    assert learn_prefix(b"node1: a\n" * 2) is None


PLAIN = {
    "syslog": "Nov 20 09:14:03 gpu07 sglang[48213]: ",
    "ts": "Nov 20 09:14:03 ",
    "cri": "2026-11-20T09:14:03.120000412Z stderr F ",
    "pod": "[pod/sglang-7c9f6d9b4-x2x9p/server] ",
    "bamboo": "build\t20-Nov-2026 09:14:03\t",
    "obs": "[   12s] ",
    "step": "[Step 2/5] ",
}


@pytest.mark.parametrize("kind", PLAIN)
def test_more_known_prefixes(kind: str) -> None:
    assert clean_line(f"{PLAIN[kind]}CMake Error: no".encode()).text == "CMake Error: no"
    assert clean_line(f"{PLAIN[kind]}  indented".encode()).text == "  indented"


def test_what_the_log_advises_and_names() -> None:
    below = ["", "hint: Use `torch.cond` to express dynamic control flow.", "For more details visit", "  12 | use x;"]
    assert hints("Unsupported: branching", below) == ["Use `torch.cond` to express dynamic control flow."]
    assert hints("error: unknown option; did you mean '-std=c++20'?", []) == ["did you mean '-std=c++20'?"]
    assert hints("a", ["Add the prefix to CMAKE_PREFIX_PATH or set", '"x_DIR" to a directory.', "Then go on"]) == [
        'Add the prefix to CMAKE_PREFIX_PATH or set "x_DIR" to a directory.'
    ]
    assert names("error: 'foo' needs --enable-bar or FOO_HOME") == ["foo", "--enable-bar", "FOO_HOME"]


def test_a_traceback_that_a_server_survived_is_not_its_end() -> None:
    logged = [
        "[10:00:00] ERROR bad request",
        "Traceback (most recent call last):",
        '  File "s.py", line 1, in f',
        "ValueError: bad",
    ]
    serving = [f"[10:00:{n % 60:02d}] INFO 200 OK {n}" for n in range(400)]
    end = ["Traceback (most recent call last):", '  File "s.py", line 9, in g', "IndexError: index out of range"]
    rows = ["start", *logged, *serving, *end]
    assert look(rows).findings[0].line == "IndexError: index out of range"
    assert look(["start", *logged, *serving, "[10:09:00] INFO Finished server process [7]"]).findings == ()
    still_serving = look(["start", *logged, *serving])
    assert [best.line for best in still_serving.findings or still_serving.survived] == ["ValueError: bad"]


def test_general_advice_names_the_packages_of_the_traceback() -> None:
    rows = [
        "Traceback (most recent call last):",
        '  File "/w/serve.py", line 1, in <module>',
        '  File "/e/lib/python3.11/site-packages/transformers/modeling.py", line 1, in f',
        '  File "/e/lib/python3.11/site-packages/accelerate/hooks.py", line 1, in g',
        "TypeError: g() got an unexpected keyword argument 'offload'",
    ]
    assert "pip show accelerate transformers" in look(rows).findings[0].fix[0]


def test_a_chain_of_causes_ends_at_the_last_that_says_something() -> None:
    failed = ["error: Failed to build `x==1`", "  cause: The build backend returned an error"]
    killed = look(
        [*failed, "  cause: Call to `b.build_wheel` failed (signal: 9 (SIGKILL))", "", "hint: Build failures"]
    )
    assert killed.findings[0].line_no == 3
    told = look(
        [*failed, "  cause: Call to `b.build_wheel` failed (exit status: 1)", "", "  error: egg_base is not there"]
    )
    assert told.findings[0].line == "error: egg_base is not there"
