"""Who builds again after a change, and who silently does not: bringup, fromager, pip's wheel cache, uv's cache, ccache.

    python benchmarks/change_detection.py [--fromager FROMAGER] [--pip PIP] [--uv UV] [--ccache CCACHE]

One package with a C extension (markupsafe, from its sdist on PyPI) is built; then one thing changes and the same
command is given again. The change shows in the result, so the verdict is taken from the wheel, not from what a tool
says: "new" is a result with the change, "OLD" one without it.

- patch: a patch of the package changes. pip and uv know no patches; their way is a source tree that is edited. For the
  other changes they get the sdist.
- flag: a compiler flag of the build changes (the recipe's env; CFLAGS for pip and uv; fromager's settings).
- compiler: the compiler under the same path is replaced by another one.
- header: a header outside of the sources that is compiled in changes.
- nothing: nothing changes, and nothing should be built.

The compiler is a script that hands over to gcc and puts its own mark into what it compiles, so that it can be replaced.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _common import (  # noqa: E402
    SAMPLES,
    fresh,
    sample_data,
    sample_environment,
    table,
    timed,
    tool,
    version_of,
    write_result,
    write_sample,
)  # fmt: skip

NAME = "markupsafe"
VERSION = SAMPLES[NAME][0]
CHANGES = ("patch", "flag", "compiler", "header", "nothing")
PATCH = """From: A <a@example.org>
Date: Thu, 1 Jan 2026 00:00:00 +0000
Subject: [PATCH] Mark
Upstream-Status: Inappropriate [a benchmark]
---
diff --git a/src/markupsafe/_speedups.c b/src/markupsafe/_speedups.c
--- a/src/markupsafe/_speedups.c
+++ b/src/markupsafe/_speedups.c
@@ -1,1 +1,2 @@
+__attribute__((used)) static const char patch_mark[] = "MARK-patch-{value}";
 #include <Python.h>
"""
COMPILER = """#!/bin/sh
for word in "$@"; do
  case $word in -c) exec {gcc} -include {header} '-DMARK_COMPILER="MARK-compiler-{value}"' "$@" ;; esac
done
exec {gcc} "$@"
"""
HEADER = """#ifndef MARKS
#define MARKS
#ifdef MARK_COMPILER
__attribute__((used)) static const char compiler_mark[] = MARK_COMPILER;
#endif
#ifdef MARK_FLAG
#define MARK_TEXT(x) #x
#define MARK_VALUE(x) MARK_TEXT(x)
__attribute__((used)) static const char flag_mark[] = "MARK-flag-" MARK_VALUE(MARK_FLAG);
#endif
__attribute__((used)) static const char header_mark[] = "MARK-header-{value}";
#endif
"""


class World:
    """What changes: a patch, a flag, a compiler, a header."""

    def __init__(self, folder: Path, testing: str) -> None:
        self.folder = folder
        self.testing = testing
        self.bin = folder / "bin"
        self.header = folder / "include/marks.h"
        self.values = dict.fromkeys(CHANGES, "1")
        self.write()

    def change(self, what: str) -> None:
        self.values[what] = "2"
        self.write()

    def write(self) -> None:
        self.header.parent.mkdir(parents=True, exist_ok=True)
        self.header.write_text(HEADER.replace("{value}", self.values["header"]))
        self.bin.mkdir(parents=True, exist_ok=True)
        for name, real in (
            ("gcc", "gcc-12"),
            ("cc", "gcc-12"),
            ("gcc-12", "gcc-12"),
            ("g++-12", "g++-12"),
            ("g++", "g++-12"),
        ):
            path = self.bin / name
            text = COMPILER.format(gcc=f"/usr/bin/{real}", header=self.header, value=self.values["compiler"])
            path.write_text(text)
            path.chmod(0o755)

    @property
    def flag(self) -> str:
        return f"-DMARK_FLAG={self.values['flag']}"


Build = Callable[[], Path]


def marks(wheel: Path) -> dict[str, str]:
    """Return the marks in the compiled extension of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        data = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".so"))
    return {what.decode(): value.decode() for what, value in re.findall(rb"MARK-([a-z]+)-([0-9])", data)}


def ours(world: World, env: dict[str, str], _tool: Path) -> Build:
    folder = world.folder / "ours"
    folder.mkdir()
    env = {**env, "BRINGUP_CACHE": str(folder / "cache")}
    data, _ = sample_data(folder)

    def build() -> Path:
        more = f'  [build.env]\n  CFLAGS = "{world.flag}"\n'
        write_sample(data, NAME, more=more, patch=PATCH.format(value=world.values["patch"]))
        argv = [sys.executable, "-c", RUN.format(bin=str(world.bin)), "build", "--gpu", "cpu", "--data", data,
                "--build-dir", folder / "build", "--only", NAME]  # fmt: skip
        timed(argv, cwd=ROOT, env=env)
        wheels = sorted((folder / "cache/store").glob("??/*/markupsafe*.whl"), key=lambda one: one.stat().st_ctime_ns)
        return latest(wheels, data, folder, env, world)

    return build


# The program itself, looking for compilers in our folder only: on a user's machine it is /usr/bin.
RUN = """
import sys
from pathlib import Path
from bringup.toolchain import host_compiler
host_compiler.find_gcc.__kwdefaults__["search"] = (Path({bin!r}),)
from bringup.cli import main
sys.exit(main())
"""


def latest(wheels: list[Path], data: Path, folder: Path, env: dict[str, str], world: World) -> Path:
    """Return the wheel that the plan stands for now."""
    import json  # noqa: PLC0415

    argv = [sys.executable, "-c", RUN.format(bin=str(world.bin)), "plan", "--gpu", "cpu", "--data", data,
            "--build-dir", folder / "build", "--json"]  # fmt: skip
    plan = json.loads(timed(argv, cwd=ROOT, env=env)["output"])
    (key,) = [one["fingerprint"] for one in plan["steps"] if (one["package"], one["phase"]) == (NAME, "build")]
    (found,) = [wheel for wheel in wheels if wheel.parent.name == key]
    return found


def source(world: World, folder: Path) -> Path:
    """Return an edited source tree, for tools that know no patches."""
    archive = next((world.folder / "sdists").glob("markupsafe-*.tar.gz"))
    tree = folder / "tree"
    if not tree.exists():
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        next(folder.glob("markupsafe-*")).rename(tree)
    file = tree / "src/markupsafe/_speedups.c"
    text = re.sub(r"^.*patch_mark.*\n", "", file.read_text())
    mark = f'__attribute__((used)) static const char patch_mark[] = "MARK-patch-{world.values["patch"]}";\n'
    if not file.read_text().startswith(mark):
        file.write_text(mark + text)
    return tree


def with_pip(world: World, env: dict[str, str], pip: Path) -> Build:
    """Pip wheel, from a tree for the patch and from the index (with its wheel cache) for the rest."""
    folder = fresh(world.folder / "pip")

    def build() -> Path:
        out = fresh(folder / "out")
        what = str(source(world, folder)) if world.testing == "patch" else f"{NAME}=={VERSION}"
        argv = [pip, "wheel", "-q", "--no-deps", "--no-binary", ":all:", "-w", out, what]
        timed(argv, env={**env, "PATH": f"{world.bin}:{env['PATH']}", "CFLAGS": world.flag, "CC": "gcc"})
        return next(out.glob("*.whl"))

    return build


def with_uv(world: World, env: dict[str, str], uv: Path) -> Build:
    """Uv pip install of a tree or of the index's sdist; the result is read from the environment."""
    folder = fresh(world.folder / "uv")
    timed([uv, "venv", "-q", "--python", sys.executable, folder / "venv"], env=env)

    def build() -> Path:
        what = str(source(world, folder)) if world.testing == "patch" else f"{NAME}=={VERSION}"
        python = folder / "venv/bin/python"
        whole = {**env, "PATH": f"{world.bin}:{env['PATH']}", "CFLAGS": world.flag, "CC": "gcc"}
        timed([uv, "pip", "install", "-q", "--no-deps", "--no-binary", ":all:", "--python", python, what], env=whole)
        packed = folder / "installed.whl"
        with zipfile.ZipFile(packed, "w") as archive:
            for path in (folder / "venv").glob("lib/python3*/site-packages/markupsafe/*.so"):
                archive.write(path, path.name)
        return packed

    return build


def with_fromager(world: World, env: dict[str, str], fromager: Path) -> Build:
    """Fromager with a patch and a settings file."""
    folder = fresh(world.folder / "fromager")

    def build() -> Path:
        patches = fresh(folder / "patches") / f"markupsafe-{VERSION}"
        patches.mkdir()
        (patches / "001-mark.patch").write_text(PATCH.format(value=world.values["patch"]))
        settings = fresh(folder / "settings")
        (settings / "markupsafe.yaml").write_text(f"env:\n  CFLAGS: '{world.flag}'\n  CC: gcc\n")
        places = {
            "--sdists-repo": "sdists",
            "--wheels-repo": "wheels",
            "--work-dir": "work",
            "--patches-dir": "patches",
        }
        words = [word for flag, name in places.items() for word in (flag, folder / name)]
        argv = [fromager, *words, "--settings-dir", settings, "bootstrap", f"{NAME}=={VERSION}"]
        timed(argv, env={**env, "PATH": f"{fromager.parent}:{world.bin}:{env['PATH']}"}, cwd=folder)
        return next((folder / "wheels/downloads").glob("markupsafe*.whl"))

    return build


def with_ccache(world: World, env: dict[str, str], ccache: Path) -> Build:
    """Pip without its cache, so that everything is built, and ccache before the compiler."""
    inner = with_pip(world, env, Path(env["BENCH_PIP"]))
    del inner
    folder = fresh(world.folder / "ccache")

    def build() -> Path:
        out = fresh(folder / "out")
        whole = {**env, "PATH": f"{world.bin}:{env['PATH']}", "CFLAGS": world.flag, "CC": f"{ccache} {world.bin}/gcc"}
        whole["CCACHE_DIR"] = str(folder / "cache")
        tree = source(world, folder)
        shutil.rmtree(tree / "build", ignore_errors=True)  # setuptools would not even ask the compiler
        argv = [env["BENCH_PIP"], "wheel", "-q", "--no-deps", "--no-cache-dir", "-w", out, tree]
        timed(argv, env=whole)
        return next(out.glob("*.whl"))

    return build


def verdict(make: Callable[[World, dict[str, str], Path], Build], program: Path, what: str, env: dict[str, str]) -> str:
    """Build, change one thing, build again, and tell what the second result holds."""
    with tempfile.TemporaryDirectory(prefix="bringup-change-") as name:
        folder = Path(name)
        shutil.copytree(env["BENCH_SDISTS"], folder / "sdists")
        world = World(folder, what)
        own = {**sample_environment(folder), **{key: env[key] for key in ("BENCH_PIP", "BENCH_SDISTS")}}
        own |= {key: env[key] for key in ("LD_LIBRARY_PATH",) if key in env}
        build = make(world, own, program)
        first = marks(build())
        expected = {key: "1" for key in CHANGES if key != "nothing" and (key == what or key != "patch" or key in first)}
        if first != expected:
            return f"not comparable: {first}"
        world.change(what)
        second = marks(build())
        if what == "nothing":
            return "same" if second == expected else "changed"
        if second == expected | {what: "2"}:
            return "new"
        return "OLD" if second == expected else f"mixed: {second}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--fromager", "--pip", "--uv", "--ccache"):
        parser.add_argument(name, default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    makers: dict[str, Any] = {"bringup": ours}
    programs: dict[str, Path] = {"bringup": Path(sys.executable)}
    for name, make in (("fromager", with_fromager), ("pip", with_pip), ("uv", with_uv), ("ccache", with_ccache)):
        found = tool(name, getattr(args, name))
        if found:
            makers[name], programs[name] = make, found
    versions = {name: version_of(path) for name, path in programs.items() if name != "bringup"}
    results: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="bringup-sdists-") as sdists:
        pip = programs.get("pip") or Path(sys.executable).with_name("pip")
        env = {**os.environ, "BENCH_PIP": str(pip), "BENCH_SDISTS": sdists}
        argv = [pip, "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", sdists, f"{NAME}=={VERSION}"]
        timed(argv, env={**os.environ})
        for name, make in makers.items():
            results[name] = {what: verdict(make, programs[name], what, env) for what in CHANGES}
            print(name, results[name], flush=True)
    write_result("change-detection", versions, results, args.out)
    print(show(results))
    return 0


def show(results: dict[str, dict[str, str]]) -> str:
    """Return the table: what the second result holds after each change."""
    return table(["tool", *CHANGES], [[name, *(found[what] for what in CHANGES)] for name, found in results.items()])


if __name__ == "__main__":
    sys.exit(main())
