"""The compiler cache in front of a real gcc: what hits, what misses, what it restores, and how it shares."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bringup.building.compiler_cache import CacheReport, cache_lines, compiler_lines, put_in_front, read_report
from bringup.formats.dependencies import listed_paths

GXX = Path(shutil.which("g++-12") or shutil.which("g++") or "/usr/bin/g++")
OLD = 1_700_000_000


class Checkout:
    """A source tree somewhere, with the cache in front of g++."""

    def __init__(self, folder: Path, cache: Path, *, share: str = "", identity: str = "gcc") -> None:
        self.folder = folder
        self.front = folder / "front"
        self.source = folder / "src"
        self.source.mkdir(parents=True)
        self.write("a.cpp", '#include "a.h"\n#include <cstddef>\nconst char *file = __FILE__; int a() { return A; }\n')
        self.write("a.h", "#define A 1\n")
        lines = cache_lines(cache, [(self.source, "@bringup-source"), (folder, "@bringup-work")], share=share)
        put_in_front(self.front, {"g++": GXX}, lines + compiler_lines("g++", GXX, identity, [GXX]))

    def write(self, name: str, text: str, when: int = OLD) -> None:
        (self.source / name).write_text(text)
        os.utime(self.source / name, (when, when))

    def compile(self, *more: str, code: int = 0, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        argv = [self.front / "g++", "-Wall", f"-I{self.source}", "-MD", "-MF", "a.d", *more]
        argv += ["-c", self.source / "a.cpp", "-o", "a.o"]
        whole = {"PATH": "/usr/bin:/bin", **(env or {})}
        done = subprocess.run(argv, cwd=out, env=whole, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done

    @property
    def object(self) -> bytes:
        return (self.folder / "out/a.o").read_bytes()

    @property
    def listed(self) -> str:
        return (self.folder / "out/a.d").read_text()

    def report(self) -> CacheReport:
        found = read_report(self.front)
        (self.front / "log").unlink(missing_ok=True)
        return found


@pytest.fixture
def here(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "here", tmp_path / "cache")


def outcome(checkout: Checkout) -> tuple[int, int]:
    report = checkout.report()
    return report.hits, report.misses


def test_the_second_time_nothing_is_compiled_and_all_is_there(here: Checkout):
    here.compile()
    first, listed = here.object, here.listed
    shutil.rmtree(here.folder / "out")
    here.compile()
    assert outcome(here) == (1, 1)
    assert here.object == first
    assert here.listed == listed
    assert str(here.source / "a.h") in listed


def test_a_moved_checkout_hits_and_its_dependencies_are_its_own(here: Checkout, tmp_path: Path):
    here.compile()
    there = Checkout(tmp_path / "somewhere/else", tmp_path / "cache")
    there.compile()
    assert outcome(there) == (1, 0)
    assert there.object == here.object
    assert str(there.source / "a.h") in there.listed
    assert str(here.folder) not in there.listed
    assert str(here.folder).encode() not in there.object


def test_the_object_is_the_one_that_a_compiler_in_the_other_checkout_makes(here: Checkout, tmp_path: Path):
    here.compile("-g")
    there = Checkout(tmp_path / "somewhere/else", tmp_path / "another cache")
    there.compile("-g")
    assert outcome(there) == (0, 1)
    assert there.object == here.object


@pytest.mark.parametrize("change", ["header", "source", "flag", "variable", "compiler", "same size and time"])
def test_whatever_changes_the_result_misses(here: Checkout, tmp_path: Path, change: str):
    here.compile()
    before = here.object
    more: list[str] = []
    env: dict[str, str] = {}
    other = here
    if change == "header":
        here.write("a.h", "#define A 22\n", OLD + 1)
    elif change == "source":
        here.write("a.cpp", "int b() { return 2; }\n", OLD + 1)
    elif change == "flag":
        more = ["-O2"]
    elif change == "variable":
        (tmp_path / "first").mkdir()
        env = {"CPATH": str(tmp_path / "first")}
    elif change == "compiler":
        other = Checkout(tmp_path / "there", tmp_path / "cache", identity="another gcc")
    else:
        here.write("a.h", "#define A 2\n", OLD)  # the change time and the inode's own are what is left to see it by
    other.compile(*more, env=env)
    assert outcome(other)[1] >= 1
    assert read_report(other.front).hits == 0
    if change in ("header", "source", "same size and time"):
        assert other.object != before


def test_what_was_read_is_listed_for_a_build_that_asks(here: Checkout, tmp_path: Path):
    listed = tmp_path / "listed"
    for _ in range(2):
        here.compile(env={"SUNPRO_DEPENDENCIES": str(listed)})
        assert any(path.endswith("/stddef.h") for path in listed_paths(listed.read_text()))
        assert str(here.source / "a.h") in listed_paths(listed.read_text())
        listed.unlink()
    assert outcome(here) == (1, 1)


def test_going_back_to_an_earlier_header_hits_again(here: Checkout):
    here.compile()
    first = here.object
    here.write("a.h", "#define A 22\n", OLD + 1)
    here.compile()
    here.write("a.h", "#define A 1\n", OLD + 2)
    here.compile()
    assert outcome(here) == (1, 2)
    assert here.object == first


def test_a_header_that_is_edited_while_it_is_compiled_is_not_kept(here: Checkout):
    here.write("a.h", "#define A 1\n", int(time.time()) + 3600)
    here.compile()
    assert here.report().unkept == 1
    here.compile()
    assert read_report(here.front).hits == 0


def test_warnings_are_said_again_and_errors_each_time(here: Checkout):
    here.write("a.cpp", "int a() { int unused; return 1; }\n")
    first = here.compile().stderr
    assert "unused variable" in first
    assert here.compile().stderr == first
    assert outcome(here) == (1, 1)
    here.write("a.cpp", "int a() { return nothing; }\n")
    for _ in range(2):
        assert "nothing" in here.compile(code=1).stderr
    assert here.report().failed == 2


@pytest.mark.parametrize("damage", [b"", b"1", b"1" + b"x" * 60])
def test_a_damaged_or_truncated_result_is_made_again(here: Checkout, tmp_path: Path, damage: bytes):
    here.compile()
    first = here.object
    for path in (tmp_path / "cache").glob("??/*-r"):
        path.write_bytes(damage or path.read_bytes()[:-1])
    here.compile()
    assert outcome(here) == (0, 2)
    assert here.object == first
    here.compile()
    assert outcome(here) == (1, 0)


def test_a_cache_that_cannot_be_written_costs_no_build(tmp_path: Path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    here = Checkout(tmp_path / "here", tmp_path / "cache")
    here.compile()
    assert here.object


def test_a_compiler_that_is_replaced_while_it_builds_is_not_cached(tmp_path: Path):
    mine = tmp_path / "g++"
    mine.write_text(f'#!/bin/sh\nexec {GXX} "$@"\n')
    mine.chmod(0o755)
    here = Checkout(tmp_path / "here", tmp_path / "cache")
    lines = cache_lines(tmp_path / "cache", [(here.source, "@bringup-source")])
    put_in_front(here.front, {"g++": mine}, lines + compiler_lines("g++", mine, "gcc", [mine]))
    here.compile()
    mine.write_text(f'#!/bin/sh\nexec {GXX} -DANOTHER "$@"\n')
    here.compile()
    assert here.report().uncached == {"the compiler was replaced while the build runs": 1}


def test_what_is_no_compilation_goes_straight_to_the_compiler(here: Checkout):
    done = subprocess.run([here.front / "g++", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == subprocess.run([GXX, "--version"], capture_output=True, text=True, check=True).stdout
    assert here.report() == CacheReport()


def test_results_are_shared_through_a_folder(tmp_path: Path):
    (tmp_path / "shared").mkdir()
    one = Checkout(tmp_path / "one", tmp_path / "cache1", share=str(tmp_path / "shared"))
    two = Checkout(tmp_path / "two", tmp_path / "cache2", share=str(tmp_path / "shared"))
    one.compile()
    two.compile()
    assert outcome(two) == (1, 0)
    assert two.object == one.object
    for path in (tmp_path / "shared").glob("??/*-r"):
        path.write_bytes(path.read_bytes()[:-3] + b"lie")
    three = Checkout(tmp_path / "three", tmp_path / "cache3", share=str(tmp_path / "shared"))
    three.compile()
    assert outcome(three) == (0, 1)
    assert three.object == one.object


@pytest.mark.parametrize("share", ["/nowhere/at/all", "redis://127.0.0.1:9"])
def test_a_share_that_is_gone_is_asked_once_and_named(tmp_path: Path, share: str):
    here = Checkout(tmp_path / "here", tmp_path / "cache", share=share)
    here.compile()
    here.compile()
    report = here.report()
    assert (report.hits, report.misses) == (1, 1)
    assert "no such folder" in report.unshared or "Connection refused" in report.unshared


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = ["redis-server", "--port", str(port), "--dir", str(folder), "--save", "", "--requirepass", "secret"]
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://:secret@127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no Redis server")
def test_results_are_shared_through_redis(tmp_path: Path):
    with redis(tmp_path) as address:
        one = Checkout(tmp_path / "one", tmp_path / "cache1", share=address)
        two = Checkout(tmp_path / "two", tmp_path / "cache2", share=address)
        one.compile()
        two.compile()
        assert outcome(two) == (1, 0)
        assert two.object == one.object
        wrong = Checkout(tmp_path / "wrong", tmp_path / "cache3", share=address.replace("secret", "guess"))
        wrong.compile()
        report = wrong.report()
        assert report.misses == 1
        assert "WRONGPASS" in report.unshared
