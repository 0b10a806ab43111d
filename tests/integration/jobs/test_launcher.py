"""The launcher with scripted compilers: who waits for whom, what is recorded, what happens to those that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bringup.building.unit_history import predicted_mib, read_guesses, read_units, write_guesses, write_history
from bringup.errors import ConfigError
from bringup.system import jobtable
from bringup.system.groups import start_time
from bringup.system.jobcontrol import Control, change, read_control, write_control


def wait(started: subprocess.Popen[bytes]) -> str:
    """Return what the compiler said, and fail if it failed."""
    _, said = started.communicate(timeout=20)
    assert started.returncode == 0, said
    return said.decode()


def overlap(first, second) -> bool:
    """Tell whether two ran at the same time; their times are rounded, and the clock may be set."""
    grain = 0.005
    return first.start + grain < second.start + second.wall and second.start + grain < first.start + first.wall


def until(true, seconds=10.0):
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_runs_the_compiler_and_records_what_it_took(bench):
    bench.serve()
    wait(bench.compile("a", "take 40", "sleep 30"))
    assert (bench.folder / "a.o").read_text() == "made of a.cc\n"
    (unit,) = bench.units()["a"]
    assert unit.key == "demo|a.cc|a.o"
    assert (unit.lang, unit.exit, unit.signal, unit.attempt, unit.need_mib, unit.run) == ("c++", 0, 0, 1, 100, "test")
    assert 40 << 10 < unit.rss_kib < 60 << 10
    assert 0.03 <= unit.wall < 5
    assert (unit.package, unit.name) == ("demo", "a.cc")


def test_status_and_output_are_the_compilers(bench):
    bench.serve()
    started = bench.compile("a", "say 7", "exit 3")
    _, said = started.communicate(timeout=20)
    assert (started.returncode, said) == (3, b"line 7\n")
    assert [(unit.exit, unit.attempt) for unit in bench.units()["a"]] == [(3, 1)]
    started = bench.compile("b", "die 15")
    started.communicate(timeout=20)
    assert started.returncode == -signal.SIGTERM


def test_becomes_the_compiler_where_there_is_nothing_to_govern(bench):
    bench.serve()
    said = subprocess.run([bench.cxx, "--version"], env=bench.env, capture_output=True, text=True, check=True).stdout
    assert said == "scripted 1.0\n"
    (bench.folder / "a.cc").write_text("")
    for env in ({"PATH": "/usr/bin:/bin"}, bench.env | {"BRINGUP_INSIDE": "1"}):
        subprocess.run([bench.cxx, "-c", "a.cc", "-o", "a.o"], env=env, cwd=bench.folder, check=True)
    trial = bench.folder / "cmTC_1.cc"
    trial.write_text("")
    subprocess.run([bench.cxx, "-c", trial, "-o", "cmTC_1.o"], env=bench.env, cwd=bench.folder, check=True)
    assert not bench.records.exists()


def test_compiles_without_a_server_that_is_gone_and_says_so(bench):
    bench.serve()
    env = {"BRINGUP_JOBS": str(bench.folder / "gone")}
    assert "no job budget" in wait(bench.compile("a", **env))
    assert bench.made("a")


def test_no_more_compilers_than_jobs_however_many_are_started(bench):
    bench.serve(jobs=2)
    for started in [bench.compile(f"u{number}", "sleep 60") for number in range(6)]:
        wait(started)
    units = [unit for (unit,) in bench.units().values()]
    assert len(units) == 6
    assert max(sum(overlap(one, other) for other in units) for one in units) <= 3  # itself, one before, one after
    assert max(unit.running for unit in units) <= 2
    assert any(unit.why == "jobs" and unit.wait > 0.03 for unit in units)


def test_large_units_wait_for_memory_and_small_ones_pass(bench):
    server = bench.serve(jobs=4, mib=1000)
    write_guesses(server.folder / "guesses", [("other", 1, "*large*"), ("demo", 700, "*large*")])
    first = bench.compile("large1", "sleep 250")
    until(lambda: any(entry.running for entry in jobtable.read_table(server.table)[0]))
    second = bench.compile("large2", "sleep 30")
    until(lambda: len(jobtable.read_table(server.table)[0]) == 2)
    small = bench.compile("small", "sleep 30")
    for started in (first, second, small):
        wait(started)
    (one,), (two,), (three,) = (bench.units()[name] for name in ("large1", "large2", "small"))
    assert (one.need_mib, two.need_mib, three.need_mib) == (700, 700, 100)
    assert not overlap(one, two)
    assert overlap(one, three)
    assert two.why == "memory"
    assert two.wait > 0.05


def test_what_a_unit_took_is_reserved_for_it_the_next_time(bench):
    server = bench.serve()
    wait(bench.compile("a", "take 60"))
    write_history(server.folder / "history", predicted_mib(read_units(bench.records)))
    wait(bench.compile("a", "take 60"))
    first, second = bench.units()["a"]
    assert first.need_mib == 100
    assert 60 < second.need_mib < 90


def test_a_unit_that_takes_more_than_reserved_keeps_others_out(bench):
    server = bench.serve(jobs=4, mib=150, usual=50)
    first = bench.compile("a", "take 120", "sleep 900")
    until(lambda: any(entry.seen_mib > 100 for entry in jobtable.read_table(server.table)[0]))
    second = bench.compile("b")
    wait(first)
    wait(second)
    assert not overlap(bench.units()["a"][0], bench.units()["b"][0])


@pytest.mark.parametrize("how", ["die 9", "killed 1", "killed 4", "killed 137"])
def test_killed_for_memory_is_compiled_again_alone(bench, how):
    bench.serve(jobs=4)
    other = bench.compile("other", "sleep 300")
    said = wait(bench.compile("a", "sleep 30", how))
    wait(other)
    assert "demo: a.cc was killed at" in said
    assert "compiled again alone" in said
    assert "terminated program" not in said, "what the first attempt said would be taken for a failure"
    first, second = bench.units()["a"]
    assert (first.attempt, second.attempt, second.exit) == (1, 2, 0)
    assert first.signal == 9 or first.exit > 0
    assert overlap(first, bench.units()["other"][0])
    assert not overlap(second, bench.units()["other"][0])
    assert bench.made("a")


def test_killed_twice_fails(bench):
    bench.serve()
    (bench.folder / "a.cc").write_text("")
    started = bench.compile("a", "say 1", "killed 1", "exit 137")
    _, said = started.communicate(timeout=20)
    assert started.returncode == 137
    assert said.endswith(b"line 1\n")
    assert [unit.exit for unit in bench.units()["a"]] == [1, 137]


def test_a_killed_launcher_leaves_no_compiler_and_no_place(bench):
    server = bench.serve(jobs=1)
    first = bench.compile("a", "sleep 20000")
    until(lambda: any(entry.child for entry in jobtable.read_table(server.table)[0]))
    (entry,) = jobtable.read_table(server.table)[0]
    second = bench.compile("b")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    wait(second)
    until(lambda: start_time(entry.child) == "" or "\nState:\tZ" in Path(f"/proc/{entry.child}/status").read_text())
    assert not bench.made("a")


def test_limits_change_while_it_runs(bench):
    server = bench.serve(jobs=1)
    first = bench.compile("a", "sleep 500")
    until(lambda: any(entry.running for entry in jobtable.read_table(server.table)[0]))
    second = bench.compile("b", "nice 7")
    until(lambda: len(jobtable.read_table(server.table)[0]) == 2)
    change(server.folder, jobs=2, nice=7)
    wait(second)
    assert first.poll() is None
    wait(first)


def test_start_is_told_when_the_compiler_starts(bench):
    bench.serve(jobs=1)
    told = bench.folder / "told"
    told.touch()
    first = bench.compile("a", "sleep 200")
    until(lambda: any(entry.running for entry in jobtable.read_table(bench.server.table)[0]))
    second = bench.compile("b", BRINGUP_START="@start b", BRINGUP_START_TO=str(told))
    time.sleep(0.05)
    assert told.read_text() == ""
    wait(first)
    wait(second)
    assert told.read_text() == "@start b\n"


def test_may_be_given_the_compiler_instead(bench):
    bench.serve()
    alone = bench.folder / "launcher"
    alone.write_bytes(bench.cxx.read_bytes())
    alone.chmod(0o755)
    (bench.folder / "a.cc").write_text("")
    real = (bench.folder / "bin/.behind/g++").readlink()
    subprocess.run([alone, real, "-c", "a.cc", "-o", "a.o"], cwd=bench.folder, env=bench.env, check=True)
    assert bench.made("a")
    assert len(bench.units()["a"]) == 1


def test_hashes_in_paths_do_not_make_another_unit(bench):
    bench.serve()
    folder = bench.folder / "0123456789abcdef0"
    folder.mkdir()
    (folder / 'odd"name.cc').write_text("")
    argv = [bench.cxx, "-c", folder / 'odd"name.cc', "-o", folder / "x.o"]
    subprocess.run(argv, env=bench.env, check=True)
    assert [unit.key for unit in read_units(bench.records)] == ["demo|#/odd_name.cc|#/x.o"]


def test_records_that_a_crash_cut_off_are_passed_over(bench):
    bench.serve()
    wait(bench.compile("a"))
    with bench.records.open("ab") as sink:
        sink.write(b'{"key":"demo|b.cc|b')
    assert [unit.name for unit in read_units(bench.records)] == ["a.cc"]
    assert list(read_units(bench.folder / "none")) == []


def test_control_file_keeps_every_value(tmp_path):
    control = Control(jobs=3, memory_bytes=5 << 30, nice=4, usual_mib={"c++": 9}, gauges={"stat": "/a b", "psi": "/p"})
    write_control(tmp_path, control)
    assert read_control(tmp_path) == control
    assert change(tmp_path, memory_bytes=1 << 30).memory_bytes == 1 << 30
    assert read_control(tmp_path).jobs == 3


def test_guesses_of_the_recipes(tmp_path):
    (tmp_path / "units").mkdir()
    (tmp_path / "units/a.toml").write_text('giant_mib = 9\nunits = [["x/*.o", 5, 700]]\n')
    (tmp_path / "b.units.toml").write_text('[[unit]]\nsource = "*"\ncpu_seconds = 1\nmemory_mib = 30\n')
    assert read_guesses(tmp_path, ["a", "b", "c"]) == [("a", 700, "x/*.o"), ("b", 30, "*")]
    (tmp_path / "b.units.toml").write_text('[[unit]]\nsource = "*"\n')
    with pytest.raises(ConfigError, match=r"b\.units\.toml: KeyError"):
        read_guesses(tmp_path, ["b"])
