"""A change upstream that nobody can see when linking: what was built against it is taken as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.data_root import write_data
from helpers.program import Program
from helpers.sdists import local_recipe

COMPILED = (
    "import os\nwith open({path!r}, 'a') as log:\n    log.write('{name}\\n')\nVALUE = os.environ.get('FLAG', '')\n"
)
INTERFACE = '[interface]\nfiles = ["alpha-*.dist-info/METADATA"]'


@pytest.fixture
def program(tmp_path: Path) -> Program:
    recipes = [
        local_recipe(
            tmp_path / "src",
            name,
            during_build=COMPILED.format(path=str(tmp_path / "compiled"), name=name),
            **more,
        )
        for name, more in (
            ("alpha", {"env": {"FLAG": "1"}, "text": INTERFACE}),
            ("beta", {"needs": ("alpha",)}),
        )
    ]
    return Program.at(tmp_path, write_data(tmp_path / "data", *recipes))


def change(program: Program, old: str, new: str) -> None:
    path = program.data / "recipes/alpha.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def compiled(program: Program) -> list[str]:
    return (program.folder / "compiled").read_text().split()


def test_in_one_run_what_is_downstream_is_not_built_again(program: Program):
    program.run("build")
    assert compiled(program) == ["alpha", "beta"]
    change(program, 'FLAG = "1"', 'FLAG = "2"')
    text = program.run("build").text
    assert compiled(program) == ["alpha", "beta", "alpha"]
    assert "not built again: the binary interface of alpha is the one it was built against" in text
    assert program.python("import alpha, beta; print(alpha.VALUE)") == "2"
    assert "nothing to do" in program.run("build").text


def test_when_the_interface_is_known_the_plan_says_so(program: Program):
    program.run("build")
    change(program, 'FLAG = "1"', 'FLAG = "2"')
    program.run("build", "--only", "alpha")
    assert program.plan()["beta:build"] == ("reuse", "built against the same binary interface of alpha")
    program.run("build")
    assert compiled(program) == ["alpha", "beta", "alpha"]
    assert program.plan()["beta:build"] == ("reuse", "nothing changed since it was built")


def test_another_interface_builds_what_is_downstream(program: Program):
    program.run("build")
    change(program, '"alpha-*.dist-info/METADATA"', '"alpha.py"')
    change(program, 'FLAG = "1"', 'FLAG = "2"')
    program.run("build")
    change(program, 'FLAG = "2"', 'FLAG = "3"')
    program.run("build")
    assert compiled(program) == ["alpha", "beta"] * 3


STALE = """
import os, pathlib
made = pathlib.Path("build/object")
if not made.exists():
    made.parent.mkdir()
    made.write_text(os.environ.get("FLAG", ""))
VALUE = made.read_text()
"""


def test_objects_of_other_flags_are_not_taken(tmp_path: Path):
    """setuptools takes what it finds in build/, whatever it was compiled with."""
    recipe = local_recipe(tmp_path / "src", "alpha", during_build=STALE, env={"FLAG": "1"})
    program = Program.at(tmp_path, write_data(tmp_path / "data", recipe))
    program.run("build")
    change(program, 'FLAG = "1"', 'FLAG = "2"')
    program.run("build")
    assert program.python("import alpha; print(alpha.VALUE)") == "2"


OUTSIDE = """
import os, pathlib
header = pathlib.Path({header!r})
with open(os.environ["SUNPRO_DEPENDENCIES"], "a") as listed:
    listed.write(f"a.o: {{header}}\\n")
made = pathlib.Path("build/object")
if not made.exists():
    made.parent.mkdir(exist_ok=True)
    made.write_text(header.read_text())
VALUE = made.read_text()
"""


def test_a_header_of_the_machine_that_was_compiled_in_counts(tmp_path: Path):
    (tmp_path / "usr").mkdir()
    header = tmp_path / "usr/some.h"
    header.write_text("1")
    recipe = local_recipe(tmp_path / "src", "alpha", during_build=OUTSIDE.format(header=str(header)))
    program = Program.at(tmp_path, write_data(tmp_path / "data", recipe))
    program.run("build")
    assert program.plan()["alpha:build"][0] == "reuse"
    header.write_text("2")
    decision, why = program.plan()["alpha:build"]
    assert (decision, why) == ("run", "changed since the last build: headers of this machine")
    program.run("build")
    assert program.python("import alpha; print(alpha.VALUE)") == "2"
    assert program.plan()["alpha:build"][0] == "reuse"
    header.write_text("1")
    assert program.plan()["alpha:build"][0] == "reuse"
