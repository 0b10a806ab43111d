"""Who may import whom, and who may touch the operating system. The table is the architecture; CONTRIBUTING.md tells it.

A module that is not in the table fails: put it in, as low as it can stand.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bringup"

PURE = {"errors", "model"}
DATA = PURE | {"formats"}
MACHINE = DATA | {"system"}
PARTS = {
    "config", "planning", "toolchain", "entry", "store", "remote", "context", "environment", "survey", "snapshot",
    "building", "verify", "harvest", "harvest_pack", "kept",
}  # fmt: skip
TOOLS = MACHINE | PARTS
ENGINE = TOOLS | {
    "phases",
    "schedule",
    "state",
    "stats",
    "session",
    "holding",
    "engine",
    "report",
    "diagnose",
    "doctor",
    "reporting",
}
# What a command does besides calling the engine. These know each other; nothing below knows them.
FRONT = {
    "flags", "commands", "listing", "housekeeping", "locking", "developer", "generated", "verification", "bundling",
    "output", "jobs", "words",
}  # fmt: skip

# part of bringup -> parts that its modules may import, besides itself
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "model": PURE,
    "launcher": set(),  # C, compiled by system.launcher
    "formats": PURE,
    "config": DATA,
    "planning": DATA | {"config"},
    "system": DATA,
    "toolchain": MACHINE,
    "entry": PURE,
    "store": MACHINE | {"entry"},
    "remote": MACHINE | {"config", "planning", "entry", "store"},
    "verify": MACHINE,
    "kept": MACHINE,
    "context": MACHINE | {"config", "toolchain", "store"},
    "environment": MACHINE | {"config", "toolchain", "store", "context"},
    "harvest": MACHINE | {"config", "toolchain", "store", "context", "environment"},
    "harvest_pack": MACHINE | {"config", "toolchain", "store", "context", "environment", "harvest"},
    "building": TOOLS - {"verify", "harvest", "harvest_pack", "kept"},
    "phases": TOOLS,
    "diagnose": MACHINE | {"config"},
    "doctor": TOOLS | {"diagnose"},
    "report": TOOLS | {"diagnose"},
    "reporting": TOOLS | {"diagnose", "doctor"},
    "schedule": MACHINE,
    "state": MACHINE | {"entry", "store", "context"},
    "stats": MACHINE | {"building", "report"},
    "survey": MACHINE | {"config", "planning", "toolchain"},
    "snapshot": MACHINE | {"config", "planning"},
    "session": TOOLS | {"state"},
    "holding": TOOLS | {"state", "session"},
    "engine": ENGINE,
    **dict.fromkeys(FRONT, ENGINE | FRONT | {"cli"}),
    "tasks": ENGINE | FRONT,
    "usage": ENGINE | FRONT | {"tasks"},
    "generated": ENGINE | FRONT | {"cli", "tasks", "usage"},  # the reference is made from the tasks
    "collection": ENGINE | FRONT | {"tasks"},
    "program": ENGINE | FRONT | {"tasks", "collection", "usage"},
    "cli": ENGINE | FRONT | {"tasks", "program"},
}
PHASES = {"fetch", "patch", "prepare", "build", "install", "verify"}
RECIPES_MAY_IMPORT = {"bringup.errors", "bringup.model", "bringup.formats"}

EVERYWHERE = {*sys.stdlib_module_names, "msgspec", "packaging", "bringup"}
ALSO = {part: {"invoke"} for part in ("collection", "program")}

# Scripts that are carried into the target's environment and run there by themselves: no part of this program.
CARRIED = (PACKAGE / "verify" / "levels", PACKAGE / "bundling" / "carried")

# Scripts of hooks that run in the Python of a build or target environment.
RUN_ELSEWHERE = {
    "flashinfer_generate.py", "flashinfer_torch_modules.py", "sglang_kernels_manager.py", "sglang_kernels_prebuild.py",
    "sglang_kernels_triton.py",
}  # fmt: skip

# Modules and names of `os` that reach outside the process; bringup.system wraps them.
OUTSIDE = {"subprocess", "socket", "ssl", "http", "urllib.request", "ftplib", "pty", "multiprocessing", "asyncio"}
OS_NAMES = {"environ", "environb", "getenv", "putenv", "unsetenv", "system", "popen", "chdir", "fchdir", "fork"}
OS_PREFIXES = ("exec", "spawn", "posix_spawn")


def modules(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*.py") if not set(CARRIED) & set(path.parents) and "_data" not in path.parts
    )


THERE = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


Import = ast.Import | ast.ImportFrom
# An import as it stands on lines of its own. Reading only these takes a tenth of the time.
ON_ITS_OWN = re.compile(
    r"^[ \t]*(from[ \t]+[.\w]+[ \t]+import[ \t]*(?:\([^()]*\)|[^\n(;]*)|import[ \t][^\n;]*)$", re.MULTILINE
)
REACHES = re.compile(rf"\bos\s*\.\s*(?:{'|'.join(OS_NAMES)}|{'|'.join(OS_PREFIXES)})")


def imports_in(tree: ast.AST) -> list[Import]:
    """Return every import of a tree, at any depth, also under TYPE_CHECKING."""
    return [node for node in ast.walk(tree) if isinstance(node, Import)]


@functools.cache
def quick_imports(source: str) -> list[Import]:
    """Return every import of a module, and perhaps more that stands in its texts."""
    found = list(ON_ITS_OWN.finditer(source))
    text, line = [], 1
    for match in found:
        here = source.count("\n", 0, match.start(1)) + 1
        text.append("\n" * (here - line) + match[1])
        line = here + match[1].count("\n")
    if len(found) != len(re.findall(r"\bimport\b", source)):  # the word stands elsewhere as well
        return imports_in(ast.parse(source))
    try:
        return imports_in(ast.parse("".join(text)))
    except SyntaxError:
        return imports_in(ast.parse(source))


def names(nodes: Iterable[Import], package: str) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of everything imported."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        else:
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def layer_problems(source: str, path: Path) -> list[str]:
    """Return the imports of one module that go against the table."""
    return _layer_problems(quick_imports(source), path) and _layer_problems(imports_in(ast.parse(source)), path)


def _layer_problems(nodes: Iterable[Import], path: Path) -> list[str]:
    part = part_of(path)
    package = ".".join(path.relative_to(ROOT).parent.parts)
    found = []
    for line, name in names(nodes, package):
        top, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if top not in EVERYWHERE | ALSO.get(part, set()):
            found.append(f"{path.relative_to(ROOT)}:{line}: imports {top}")
        elif top == "bringup" and other in THERE:
            if other != part and other not in ALLOWED.get(part, set()):
                found.append(f"{path.relative_to(ROOT)}:{line}: {part} may not import {other}")
            elif part == "phases" and name.split(".")[1] == "phases" and name.split(".")[2] in PHASES - {path.stem}:
                found.append(f"{path.relative_to(ROOT)}:{line}: a phase may not import a phase")
    return found


def outside_problems(source: str, path: Path) -> list[str]:
    """Return the places where one module reaches for subprocesses, the environment or sockets."""
    if not REACHES.search(source) and not any(map(is_outside, (name for _, name in names(quick_imports(source), "")))):
        return []
    tree = ast.parse(source)
    where = path.relative_to(ROOT)
    found = [f"{where}:{line}: imports {name}" for line, name in names(imports_in(tree), "") if is_outside(name)]
    for node in ast.walk(tree):
        of_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        if of_os and (node.attr in OS_NAMES or node.attr.startswith(OS_PREFIXES)):
            found.append(f"{where}:{node.lineno}: uses os.{node.attr}")
    return found


def is_outside(name: str) -> bool:
    top, _, rest = name.partition(".")
    banned = any(name == module or name.startswith(f"{module}.") for module in OUTSIDE)
    return banned or (top == "os" and (rest in OS_NAMES or rest.startswith(OS_PREFIXES)))


def test_every_part_has_its_place_in_the_table() -> None:
    parts = {part_of(path) for path in modules(PACKAGE)} - {"__init__"}
    assert parts - set(ALLOWED) == set(), "say in ALLOWED what these may import"


def test_imports_follow_the_table() -> None:
    paths = [path for path in modules(PACKAGE) if path.parent != PACKAGE or path.stem != "__init__"]
    assert len(paths) > 20
    assert [text for path in paths for text in layer_problems(path.read_text(), path)] == []


def test_only_system_reaches_outside() -> None:
    paths = [path for path in modules(PACKAGE) if part_of(path) != "system"]
    assert [text for path in paths for text in outside_problems(path.read_text(), path)] == []


def test_recipes_import_models_and_formats_only() -> None:
    for path in modules(ROOT / "recipes"):
        if path.name in RUN_ELSEWHERE:
            continue
        source = path.read_text()
        assert outside_problems(source, path) == []
        for line, name in names(quick_imports(source), ""):
            where = f"{path.name}:{line}: {name}"
            assert name.partition(".")[0] in EVERYWHERE, where
            if name.startswith("bringup"):
                assert ".".join(name.split(".")[:2]) in RECIPES_MAY_IMPORT, where


def test_carried_scripts_stand_alone() -> None:
    for path in [path for folder in CARRIED for path in folder.glob("*.py")]:
        for node in ast.parse(path.read_text()).body:
            for _, name in names(imports_in(node), ""):
                if name.startswith("bringup"):
                    assert isinstance(node, ast.If), f"{path.name}: {name} is not there at run time"
                    assert ast.unparse(node.test) == "TYPE_CHECKING", path.name


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("model/gpu.py", "from bringup.system import process"),
        ("model/gpu.py", "from ..system.process import run"),
        ("model/gpu.py", "import requests"),
        ("errors.py", "import bringup.model.gpu"),
        ("formats/elf.py", "def f():\n    from bringup.config import load"),
        ("system/fs.py", "from bringup.toolchain import cuda"),
        ("phases/build.py", "from bringup.phases.fetch import run"),
        ("phases/build.py", "from bringup.phases import fetch"),
        ("phases/build.py", "from . import fetch"),
        ("phases/build.py", "import invoke.tasks"),
    ],
)
def test_a_forbidden_import_is_found(where: str, source: str) -> None:
    assert len(layer_problems(source, PACKAGE / where)) == 1


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("phases/build.py", "from bringup.phases.build import x\nfrom bringup.system.process import run\nimport os"),
        (
            "config/load.py",
            "import tomllib\nimport msgspec\nfrom bringup.model.gpu import Gpu\nfrom bringup import __version__",
        ),
    ],
)
def test_an_allowed_import_is_not(where: str, source: str) -> None:
    assert layer_problems(source, PACKAGE / where) == []


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess",
        "from subprocess import run",
        "import os\nos.environ['A']",
        "from os import environ",
        "import os\nos.execvp('a', [])",
        "import urllib.request",
        "from urllib import request",
        "import os\nos.chdir('/')",
    ],
)
def test_reaching_outside_is_found(source: str) -> None:
    assert len(outside_problems(source, PACKAGE / "engine.py")) == 1


def test_paths_and_file_calls_are_not_outside() -> None:
    source = "import os\nimport urllib.parse\nos.path.join('a')\nos.stat('a')\nos.replace('a', 'b')"
    assert outside_problems(source, PACKAGE / "engine.py") == []
