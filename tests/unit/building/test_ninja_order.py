"""Long units first: build.ninja as CMake writes it, rewritten, and taken by a real ninja in that order."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bringup.building.ninja_order import MARK, POOL, UnitCosts, long_units_first, read_costs
from bringup.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
GIB = 1 << 30


def write_ninja(folder: Path) -> Path:
    """Units a to f; those of CMake carry variables, comments around them, and order-only needs."""
    units = "".join(
        f"#####\n# Object {name}\n\nbuild obj/{name}.o: compile src/{name}.c || gen\n  FLAGS = -O2 $\n      -Wall\n\n"
        for name in "abcdef"
    )
    text = (
        "# CMAKE generated file: DO NOT EDIT!\nninja_required_version = 1.5\n\ninclude rules.ninja\n\n"
        f"where = {folder}\n\nbuild gen: phony\n\n{units}"
        f"build all: phony {' '.join(f'obj/{name}.o' for name in 'abcdef')}\ndefault all\n"
    )
    (folder / "rules.ninja").write_text("rule compile\n  command = mkdir -p obj && touch $out\n  description = $out\n")
    (folder / "src").mkdir(exist_ok=True)
    for name in "abcdef":
        (folder / f"src/{name}.c").touch()
    file = folder / "build.ninja"
    file.write_text(text)
    return file


COSTS = UnitCosts(units=(("obj/c.o", 20, 500), ("obj/e.o", 90, 4000), ("obj/f*", 50, 3000)), giant_mib=2048)


def test_moves_long_units_to_the_front_and_limits_the_large_ones(tmp_path: Path):
    file = write_ninja(tmp_path)
    before = file.read_text()
    done = long_units_first(file, COSTS, memory_bytes=24 * GIB)
    assert done is not None
    assert (done.units, done.giants, done.depth) == (3, 2, 3)  # half of 24 GiB holds three of 4000 MiB
    text = file.read_text()
    order = [line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("build obj/")]
    assert order == ["obj/e.o", "obj/f.o", "obj/c.o", "obj/a.o", "obj/b.o", "obj/d.o"]
    assert text.count(f"pool = {POOL}") == 2
    left = [line for line in text.splitlines() if line and POOL not in line and line != MARK and "depth" not in line]
    assert sorted(left) == sorted(line for line in before.splitlines() if line)  # nothing lost, nothing doubled


def test_second_run_changes_nothing(tmp_path: Path):
    file = write_ninja(tmp_path)
    assert long_units_first(file, COSTS, memory_bytes=GIB)
    text = file.read_text()
    assert long_units_first(file, COSTS, memory_bytes=GIB) is None
    assert file.read_text() == text


def test_one_giant_at_a_time_is_always_possible(tmp_path: Path):
    done = long_units_first(write_ninja(tmp_path), COSTS, memory_bytes=GIB)
    assert done is not None
    assert done.depth == 1


def test_file_without_known_units_is_left_alone(tmp_path: Path):
    file = write_ninja(tmp_path)
    text = file.read_text()
    assert long_units_first(file, UnitCosts(units=(("x.o", 1, 1),), giant_mib=1), memory_bytes=GIB) is None
    assert file.read_text() == text


@pytest.mark.skipif(shutil.which("ninja") is None, reason="needs ninja")
def test_ninja_takes_them_in_that_order(tmp_path: Path):
    file = write_ninja(tmp_path)
    long_units_first(file, COSTS, memory_bytes=GIB)
    done = subprocess.run(["ninja", "-j1", "-v"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    taken = [line.rsplit("/", 1)[-1] for line in done.stdout.splitlines() if "touch" in line]
    # ninja sets units of a pool apart until it has seen all edges: the giants are among the first of theirs.
    assert taken.index("e.o") < taken.index("f.o")
    assert taken.index("c.o") < min(taken.index(name) for name in ("a.o", "b.o", "d.o"))


def test_wrong_file_is_named_with_its_key(tmp_path: Path):
    path = tmp_path / "x.units.toml"
    path.write_text('giant_mib = "much"\nunits = []\n')
    with pytest.raises(ConfigError, match=r"x\.units\.toml.*giant_mib"):
        read_costs(path)


def test_our_own_file_reads_and_is_sorted():
    costs = read_costs(ROOT / "recipes/units/pytorch.toml")
    seconds = [one[1] for one in costs.units]
    assert seconds == sorted(seconds, reverse=True)
    assert any(memory > costs.giant_mib for _, _, memory in costs.units)
