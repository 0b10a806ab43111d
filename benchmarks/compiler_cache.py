"""Compiler caches on real FlashInfer and PyTorch units: cold, warm, and from a moved checkout with a moved toolkit.

    python benchmarks/compiler_cache.py --flashinfer BUILD/work/flashinfer --cuda CUDA_HOME --site SITE_PACKAGES
        --pytorch TREE --ccache CCACHE --sccache SCCACHE

Command lines are those of ninja files that a build left behind: FlashInfer's modules of a `bringup build`, and c10 of a
configured PyTorch tree. Each cache gets every unit three times: with an empty cache, again with outputs removed, and
from a copy of sources and toolkit in other folders. "none" is the compiler alone. Units run one after another.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _common import FailedError, fresh, table, timed, tool, version_of, write_result

from bringup.building.compiler_cache import cache_lines, compiler_lines, put_in_front, read_report

MODULES = ("page", "norm", "quantization", "cascade", "silu_and_mul")
C10 = 12


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One compilation: words with {places} in them."""

    name: str
    compiler: str
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Where sources and toolkit lie, and where outputs go."""

    places: dict[str, Path]
    out: Path


def flashinfer_units(work: Path) -> list[Unit]:
    """Return the compilations of some modules as FlashInfer's ninja files say them, wherever they were written."""
    (state,) = [path.parent for path in (work / "build").glob("*/modules")]
    units = []
    for module in MODULES:
        file = state / "modules" / module / "build.ninja"
        listed = subprocess.run(
            ["ninja", "-f", file, "-t", "commands"], cwd=file.parent, check=True, capture_output=True, text=True
        )
        for line in listed.stdout.splitlines():
            if " -c " not in line:
                continue
            words = shlex.split(line)
            program = "nvcc" if words[0].endswith("nvcc") else "g++"
            output = words[words.index("-o") + 1]
            text = "\0".join(words[1:])
            # The build environment under both of its names.
            text = re.sub(r"[^\0]*/(?:build/env|buildenvs/[^/\0]+)/bin/(?:gcc|g\+\+)(?=\0)", "g++-12", text)
            text = re.sub(r"[^\0]*/(?:build/env|buildenvs/[^/\0]+)/lib/python[0-9.]+/site-packages", "{site}", text)
            text = text.replace(output, "{out}/" + f"{module}-{Path(output).name}")
            wrote = {
                "state": output.partition("/modules/")[0],
                "source": next(word.removesuffix("/csrc") for word in words if word.endswith("/csrc")),
                "cuda": next(word.removesuffix("/include/cccl") for word in words if word.endswith("/include/cccl")),
            }
            for name, folder in wrote.items():
                text = text.replace(folder + "/", "{" + name + "}/")
            units.append(Unit(name=f"{module}/{Path(output).name}", compiler=program, words=tuple(text.split("\0"))))
    return units


def pytorch_units(tree: Path) -> list[Unit]:
    """Return the compilations of the largest sources of c10."""
    listed = subprocess.run(
        ["ninja", "-t", "commands", "lib/libc10.so"], cwd=tree / "build", check=True, capture_output=True, text=True
    )
    sized = []
    for line in listed.stdout.splitlines():
        found = re.search(r" -c (\S*)/(c10/\S+\.cpp)$", line)
        if found:
            sized.append(((tree / found[2]).stat().st_size, found[2], line.replace(found[1] + "/", "{tree}/")))
    units = []
    for _, name, line in sorted(sized, reverse=True)[:C10]:
        words = [word.replace("c10/CMakeFiles/c10.dir/", "{out}/") for word in shlex.split(line)[1:]]
        units.append(Unit(name=name, compiler="g++", words=tuple(words)))
    return units


def command(unit: Unit, place: Checkout) -> list[str]:
    """Return the words of a unit in a checkout."""
    found = []
    for word in unit.words:
        for name, folder in {**place.places, "out": place.out}.items():
            word = word.replace("{" + name + "}", str(folder))  # noqa: PLW2901
        found.append(word)
    return found


def run_all(
    units: list[Unit],
    place: Checkout,
    front: dict[str, list[str]],
    env: dict[str, str],
    spell: Callable[[list[str]], list[str]] = list,
) -> dict[str, Any]:
    """Compile all units and return seconds in all and by unit."""
    fresh(place.out)
    for unit in units:
        for word in command(unit, place):
            if word.startswith(str(place.out)):
                Path(word).parent.mkdir(parents=True, exist_ok=True)
    each = {}
    for unit in units:
        each[unit.name] = timed([*front[unit.compiler], *spell(command(unit, place))], cwd=place.out, env=env)
    return {
        "wall_s": round(sum(one["wall_s"] for one in each.values()), 2),
        "cpu_s": round(sum(one["cpu_s"] for one in each.values()), 2),
        "units": {name: one["wall_s"] for name, one in each.items()},
    }


class Cache:
    """How one cache is put in front of compilers, and what it says about hits."""

    def __init__(self, name: str, folder: Path, env: dict[str, str]) -> None:
        self.name = name
        self.folder = fresh(folder)
        self.env = env

    def front(self, place: Checkout) -> dict[str, list[str]]:
        return {"g++": ["/usr/bin/g++-12"], "nvcc": [str(place.places["cuda"] / "bin/nvcc")]}

    def spell(self, words: list[str]) -> list[str]:
        """Return a command line as this cache understands it."""
        return words

    def hits(self) -> tuple[int, int]:
        """Return hits and compilations since the last call."""
        return 0, 0

    def close(self) -> None:
        """End what runs."""


class Ccache(Cache):
    """ccache; FlashInfer's long names of -MD and -MF, which it does not know, are spelled short for it."""

    def __init__(self, program: Path, folder: Path, env: dict[str, str]) -> None:
        super().__init__("ccache", folder, env)
        self.program = program
        self.env = env | {"CCACHE_DIR": str(folder), "CCACHE_NOHASHDIR": "1", "CCACHE_COMPILERCHECK": "content"}

    def front(self, place: Checkout) -> dict[str, list[str]]:
        self.env["CCACHE_BASEDIR"] = os.path.commonpath([str(one) for one in place.places.values()])
        return {name: [str(self.program), *words] for name, words in super().front(place).items()}

    def spell(self, words: list[str]) -> list[str]:
        short = {"--generate-dependencies-with-compile": "-MD", "--dependency-output": "-MF"}
        return [short.get(word, word) for word in words]

    def hits(self) -> tuple[int, int]:
        said = timed([self.program, "--print-stats"], env=self.env)["output"]
        found = {name: int(value) for name, _, value in (line.partition("\t") for line in said.splitlines())}
        timed([self.program, "-z"], env=self.env)
        hits = found["direct_cache_hit"] + found["preprocessed_cache_hit"]
        return hits, hits + found["cache_miss"]


class Sccache(Cache):
    """sccache with a server of its own."""

    def __init__(self, program: Path, folder: Path, env: dict[str, str]) -> None:
        super().__init__("sccache", folder, env)
        self.program = program
        self.env = env | {
            "SCCACHE_DIR": str(folder), "SCCACHE_SERVER_UDS": str(folder) + ".sock", "SCCACHE_CACHE_SIZE": "5G",
        }  # fmt: skip

    def front(self, place: Checkout) -> dict[str, list[str]]:
        if len({str(one) for one in place.places.values()}) > 1:
            self.close()  # the server reads these when it starts
        self.env["SCCACHE_BASEDIRS"] = ":".join(str(one) for one in place.places.values())
        return {name: [str(self.program), *words] for name, words in super().front(place).items()}

    def hits(self) -> tuple[int, int]:
        said = timed([self.program, "--show-stats"], env=self.env)["output"]

        def count(label: str) -> int:
            match = re.search(rf"^{label}\s+(\d+)$", said, re.MULTILINE)
            return int(match[1]) if match else 0

        timed([self.program, "--zero-stats"], env=self.env)
        return count("Cache hits"), count("Cache hits") + count("Cache misses")

    def close(self) -> None:
        subprocess.run([self.program, "--stop-server"], env=self.env, check=False, capture_output=True)


class Ours(Cache):
    """The cache of this project."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        super().__init__("bringup", folder, env)
        self.fronts: list[Path] = []

    def front(self, place: Checkout) -> dict[str, list[str]]:
        front = place.out.with_name(f"{place.out.name}-front")
        nvcc = place.places["cuda"] / "bin/nvcc"
        programs = {"g++": Path("/usr/bin/g++-12"), "nvcc": nvcc}
        named = [(path, f"@bringup-{name}") for name, path in {**place.places, "out": place.out}.items()]
        config = cache_lines(self.folder, named)
        config += compiler_lines("g++", programs["g++"], "gcc 12", [programs["g++"]])
        config += compiler_lines("nvcc", nvcc, "nvcc, gcc 12", [nvcc])
        put_in_front(front, programs, config)
        self.fronts = [front]
        return {name: [str(front / name)] for name in programs}

    def hits(self) -> tuple[int, int]:
        report = read_report(self.fronts[0])
        (self.fronts[0] / "log").unlink(missing_ok=True)
        return report.hits, report.hits + report.misses + report.unkept + sum(report.uncached.values())


def checkout(folder: Path, flashinfer: Path, cuda: Path, site: Path, tree: Path) -> Checkout:
    """Copy sources and toolkit to a folder, by links where possible, and return where they are."""
    (state,) = [path.parent for path in (flashinfer / "build").glob("*/modules")]
    wanted = {"source": flashinfer / "source", "state": state, "cuda": cuda, "site": site / "tvm_ffi", "tree": tree}
    places = {}
    for name, path in wanted.items():
        target = folder / name / ("tvm_ffi" if name == "site" else "x")
        target.parent.mkdir(parents=True)
        only = ["c10", "torch/headeronly", "build", "nlohmann", "third_party"] if name == "tree" else ["."]
        for part in only:
            if (path / part).exists():
                (target / part).parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-al", path / part, target / part], check=True)
        places[name] = target.parent if name == "site" else target
    (folder / "out").mkdir(parents=True)
    return Checkout(places=places, out=folder / "out")


def measure(cache: Cache, units: list[Unit], here: Checkout, there: Checkout) -> dict[str, Any]:
    """Return seconds and hits of the three runs."""
    found = {}
    for name, place in (("cold", here), ("warm", here), ("moved", there)):
        front = cache.front(place)
        cache.hits()
        try:
            found[name] = run_all(units, place, front, cache.env, cache.spell)
        except FailedError as exc:
            found[name] = {"failed": str(exc)[-500:]}
            continue
        hits, asked = cache.hits()
        found[name] |= {"hits": hits, "asked": asked}
    cache.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--flashinfer", "--cuda", "--site", "--pytorch"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--ccache", default="")
    parser.add_argument("--sccache", default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")}
    nvcc_units = flashinfer_units(args.flashinfer)
    groups = {"FlashInfer": nvcc_units, "PyTorch c10": pytorch_units(args.pytorch)}
    results: dict[str, Any] = {}
    versions = {"nvcc": timed([args.cuda / "bin/nvcc", "--version"])["output"].split()[-1]}
    with tempfile.TemporaryDirectory(prefix="bringup-cc-") as name:
        folder = Path(name)
        places = (args.flashinfer, args.cuda, args.site, args.pytorch)
        here, there = checkout(folder / "here", *places), checkout(folder / "moved/deeper", *places)
        makers: list[Any] = [lambda f: Ours(f, env)]
        for program, kind in ((tool("ccache", args.ccache), Ccache), (tool("sccache", args.sccache), Sccache)):
            if program:
                versions[program.name] = version_of(program)
                makers.append(lambda f, p=program, k=kind: k(p, f, env))
        for group, units in groups.items():
            plain = Cache("none", folder / "none", env)
            results[group] = {"units": len(units), "none": run_all(units, here, plain.front(here), env)}
            for make in makers:
                cache = make(folder / f"cache-{len(results)}")
                results[group][cache.name] = measure(cache, units, here, there)
                shutil.rmtree(cache.folder, ignore_errors=True)
                print(group, cache.name, "done", flush=True)
            print(show(results), flush=True)
    write_result("compiler-cache", versions, results, args.out)
    return 0


def show(results: dict[str, Any]) -> str:
    """Return the table: seconds, times faster than no cache, hits."""
    rows = []
    for group, found in results.items():
        none = found["none"]["wall_s"]
        rows.append([group, "none", "", none, "", ""])
        for name, runs in found.items():
            if name in ("units", "none"):
                continue
            for run, one in runs.items():
                if "failed" in one:
                    rows.append([group, name, run, "failed", "", ""])
                    continue
                share = f"{one['hits']} of {one['asked']}"
                rows.append([group, name, run, one["wall_s"], f"{none / one['wall_s']:.1f}x", share])
    return table(["units", "cache", "run", "seconds", "against none", "hits"], rows)


if __name__ == "__main__":
    sys.exit(main())
