"""What the compiler cache takes a command line for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from bringup.system.compilercache.command import NotCachedError, Places, listed_files, parse

PLACES = Places([("/w/src", "@src"), ("/w", "@w"), ("/cuda", "@cuda")])


def of(line: str, places: Places = PLACES):
    return parse(line.split(), places, "/spare.d")


def test_the_source_the_output_and_the_dependencies_are_found():
    found = of(
        "-O2 -I/w/src/include -isystem /cuda/include -DA=/w/src -MD -MT a.o -MF out/a.d -o out/a.o -c /w/src/a.cpp"
    )
    assert (found.source, found.output, found.dependencies) == ("/w/src/a.cpp", "out/a.o", "out/a.d")
    assert found.real == of(" ".join(found.real)).real
    assert "@src/include" in found.key
    assert "@cuda/include" in found.key
    assert "@src/a.cpp" in found.key


def test_a_macro_keeps_its_path_because_it_can_end_up_in_the_object():
    assert "-DA=/w/src" in of("-DA=/w/src -c /w/src/a.cpp").key


def test_the_same_unit_of_a_moved_checkout_has_the_same_key():
    line = "-I{0}/include -I{0} -isystem{0}/x -include {0}/p.h -ccbin {1}/g++ -MD -MF {0}/a.d -c {0}/a.cu -o {0}/a.o"
    there = Places([("/else/where/s", "@src"), ("/other/cuda", "@cuda")])
    here = of(line.format("/w/src", "/cuda"))
    assert here.key == parse(line.format("/else/where/s", "/other/cuda").split(), there, "").key
    assert here.key != parse(line.format("/else/where/t", "/other/cuda").split(), there, "").key


def test_where_nobody_wants_dependencies_they_are_written_aside():
    found = of("-c a.c -o b.o")
    assert found.real == ["-c", "a.c", "-o", "b.o", "-MD", "-MF", "/spare.d"]
    assert found.dependencies == ""


def test_names_that_compilers_choose_themselves():
    assert of("-c /x/a.c").output == "a.o"
    found = of("-MD -c a.c -o out/b.o")
    assert found.dependencies == "out/b.d"
    assert found.real[-2:] == ["-MF", "out/b.d"]


@pytest.mark.parametrize(
    ("line", "real"),
    [
        ("-MMD -MF d -c a.c", "-MD -MF d -c a.c"),
        (
            "--generate-nonsystem-dependencies-with-compile --dependency-output d -c a.cu",
            "--generate-dependencies-with-compile --dependency-output d -c a.cu",
        ),
    ],
)
def test_headers_of_the_system_are_always_listed(line: str, real: str):
    assert of(line).real == real.split()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a.o b.o -o prog", "no compilation"),
        ("-c a.c b.c", "several sources"),
        ("-c a.o", "no source"),
        ("-c -", "no source"),
        ("-E -c a.c", "-E"),
        ("-c a.c -save-temps=obj", "-save-temps"),
        ("-c a.cu --keep", "--keep"),
        ("-c a.cu -ptx", "-ptx"),
        ("-c a.c --coverage", "--coverage"),
        ("-c a.c -fplugin=x.so", "-fplugin"),
        ("-c a.c -gsplit-dwarf", "-gsplit-dwarf"),
        ("-c a.c -o", "option without value"),
        ("-c a.c @/nowhere.rsp", "response file"),
    ],
)
def test_what_is_not_one_object_of_one_source_is_left_alone(line: str, why: str):
    with pytest.raises(NotCachedError, match=why):
        of(line)


def test_response_files_count_by_what_they_say(tmp_path: Path):
    file = tmp_path / "flags.rsp"
    file.write_text("-I/w/src/a -DX='1 2'\n")
    first = of(f"-c a.cu --options-file {file}")
    assert "@src/a" in first.key
    assert "-DX=1 2" in first.key
    assert str(file) in first.real
    file.write_text("-I/w/src/b\n")
    assert of(f"-c a.cu --options-file {file}").key != first.key


def test_dependency_files_are_read():
    text = "out/a.o: /w/src/a.cpp \\\n  /usr/include/x.h \\\n /w/with\\ space.h\n"
    assert listed_files(text) == ["/w/src/a.cpp", "/usr/include/x.h", "/w/with space.h"]


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(
        st.sampled_from(["/w", "/w/src", "/wx", "/cuda/../w", "a/b", "@src", "/w/src/a.h", "@other/x"]), max_size=4
    )
)
def test_hiding_a_place_can_be_undone(parts: list[str]):
    for part in parts:
        if not part.startswith("@"):
            assert PLACES.show(PLACES.hide(part)) == part


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.text(alphabet="-cogMDIF=@/. a", max_size=6), max_size=6))
def test_any_words_are_a_command_or_left_alone(words: list[str]):
    try:
        found = parse(words, PLACES, "/spare.d")
    except NotCachedError:
        return
    assert found.source
