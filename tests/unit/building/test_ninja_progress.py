"""Ninja's lines as progress: what is done, and how long the rest will take."""

import pytest

from bringup.building.ninja_progress import NinjaProgress, ninja_progress

COSTS = """
giant_mib = 2048
others_seconds = 2
units = [["d/long.cpp.o", 100, 500], ["d/made.cu.o", 50, 500], ["d/off.cu.o", 70, 500]]
"""
BUILD_NINJA = "build d/long.cpp.o: CXX long.cpp\nbuild d/made.cu.o: CUDA made.cu\nbuild d/x.cpp.o: CXX x.cpp\n"


@pytest.mark.parametrize(
    ("line", "now"),
    [
        ("[3/9] Building CXX object caffe2/CMakeFiles/t.dir/__/aten/src/ATen/Version.cpp.o", "src/ATen/Version.cpp"),
        ("[3/9] Linking CXX static library lib/libgloo.a", "lib/libgloo.a"),
        ("[3/9] c++ -MMD -MF x.o.d -I/i -c /s/csrc/nms.cpp -o /b/temp/csrc/nms.o -O3 -std=c++17", "temp/csrc/nms"),
    ],
)  # fmt: skip
def test_what_ninja_says(line, now):
    progress = NinjaProgress(jobs=2).line(line, 1.0)
    assert (progress.done, progress.total, progress.now, progress.eta_seconds) == (3, 9, now, None)


@pytest.mark.parametrize("line", ["ninja: no work to do.", "-- [1/2] configured", "[1/x] y", "", "[12/20]"])
def test_other_lines_say_nothing(line):
    assert NinjaProgress(jobs=2).line(line, 1.0) is None


def test_known_costs_tell_the_time_that_is_left(tmp_path):
    (tmp_path / "build/d").mkdir(parents=True)
    (tmp_path / "build/build.ninja").write_text(BUILD_NINJA)
    (tmp_path / "build/d/made.cu.o").touch()
    (tmp_path / "units.toml").write_text(COSTS)
    watch = ninja_progress([tmp_path / "build", tmp_path / "none"], tmp_path / "units.toml", jobs=2)
    assert watch.left == {"d/long.cpp.o": 100.0}  # the others are compiled, or not of this build
    assert watch.line("[1/12] Generating a.h", 0.0).eta_seconds is None
    # 11 edges are left: the long one and ten of 2 s, on two jobs that take what the table says
    assert watch.line("[1/12] Generating a.h", 118.0).eta_seconds == pytest.approx(120 / 2, rel=0.2)
    assert watch.line("[2/12] Building CXX object d/long.cpp.o", 118.0).eta_seconds < 15
    assert watch.line("[12/12] Linking CXX shared library lib/l.so", 119.0).eta_seconds is None


def test_a_slow_machine_needs_longer():
    def left_after(seconds):
        watch = NinjaProgress(jobs=1, others=1.0)
        watch.line("[1/1000] a.o", 0.0)
        return [watch.line(f"[{n}/1000] a.o", seconds * n).eta_seconds for n in range(2, 500)][-1]

    assert left_after(4.0) > 2 * left_after(1.0)


def test_without_a_table_no_time_is_told(tmp_path):
    watch = ninja_progress([tmp_path], tmp_path / "none.toml", jobs=2)
    watch.line("[1/9] a.o", 0.0)
    assert watch.line("[2/9] a.o", 500.0).eta_seconds is None
