"""Whole builds with real compilers, one process of which is killed at random again and again: are the wheels the same?

    python benchmarks/real_kills.py [--kills 20] [--seed 1] [--out benchmarks/results/real-kills.json]

`bringup build` makes the sample packages of tests/packages (CMake, ninja, nvcc, setuptools, a code generator) from git
repositories on loopback, installs and verifies them. That is done once undisturbed. Then, at a random moment of each
run, a random process of it gets SIGKILL: bringup itself, git, uv, CMake, ninja, a launcher, nvcc or a part of it. The
same command is started again until it ends well, and each file of its wheels is compared with that of the undisturbed
build. Then everything that was made is removed and it goes on. No run may end with a bug of ours, exit code 1.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from _common import ROOT, timed, write_result

sys.path += [str(ROOT / "tests/integration"), str(ROOT / "tests")]
from gitserver import git_http
from sample_data import write_data
from test_git_pipeline import Pipeline, descendants

FLAGS = ("--variant", "minirust=plain")  # without Rust, so that no Rust has to be there
# nvcc names symbols of an object after a temporary file, another one each time, unless it lies beside the object.
SAME_NAMES = '  [build.env]\n  NVCC_APPEND_FLAGS = "-objtemp"\n'


class Killer:
    """Runs the program and kills one process of each run."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        self.pipeline = pipeline
        self.rng = random.Random(seed)
        self.killed: dict[str, int] = {}
        self.codes: dict[str, int] = {}

    def run(self, longest: float) -> tuple[bool, bool]:
        """Build once, with a kill within so many seconds; return whether it ended well and whether it was killed."""
        process = self.pipeline.start("build", *FLAGS)
        time.sleep(self.rng.uniform(0.05, longest))
        victim = self.rng.choice(descendants(process.pid)) if process.poll() is None else 0
        hit = bool(victim) and self.kill(victim)
        output, _ = process.communicate(timeout=600)
        code = process.returncode
        self.codes[str(code)] = self.codes.get(str(code), 0) + 1
        if code == 1 or "a bug in bringup" in output:
            raise SystemExit(f"a bug of ours:\n{output[-4000:]}")
        return code == 0, hit

    def kill(self, pid: int) -> bool:
        """Send SIGKILL and note what was hit."""
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            os.kill(pid, signal.SIGKILL)
        except OSError:
            return False
        self.killed[name] = self.killed.get(name, 0) + 1
        return True


def wheels(pipeline: Pipeline) -> dict[str, str]:
    """Return the hash of every file of every wheel in the store."""
    found = {}
    for path in sorted((pipeline.folder / "cache/store").rglob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                found[f"{path.name}/{name}"] = hashlib.sha256(archive.read(name)).hexdigest()
    return found


def clear(pipeline: Pipeline) -> None:
    """Remove what was made and fetched; the git mirrors too, so that fetching is killed as well."""
    for folder in (pipeline.build_dir, pipeline.folder / "cache"):
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/real-kills.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bringup-kills-") as name, git_http(Path(name) / "git") as server:
        sample = write_data(Path(name) / "data", server)
        for recipe in (sample.data / "recipes").glob("*.toml"):
            recipe.write_text(recipe.read_text().replace("  [build.env]\n", SAME_NAMES))
        pipeline = Pipeline(folder=Path(name), sample=sample)
        started = time.monotonic()
        pipeline.run("build", *FLAGS)
        undisturbed = time.monotonic() - started
        wanted = wheels(pipeline)
        killer, done, runs, wrong, builds = Killer(pipeline, options.seed), 0, 0, 0, 0
        clear(pipeline)
        while done < options.kills:
            well, hit = killer.run(undisturbed)
            runs, done = runs + 1, done + hit
            if well or done == options.kills:
                pipeline.run("build", *FLAGS)
                pipeline.run("verify", "--level", "static", *FLAGS)
                builds, wrong = builds + 1, wrong + (wheels(pipeline) != wanted)
                clear(pipeline)
    results = {
        "kills": done, "by_name": dict(sorted(killer.killed.items())), "runs": runs, "exit_codes": killer.codes,
        "builds": builds, "wheels": len({file.partition("/")[0] for file in wanted}), "files": len(wanted),
        "results_wrong": wrong, "undisturbed_s": round(undisturbed, 1),
    }  # fmt: skip
    print(results)
    said = timed([pipeline.cuda / "bin/nvcc", "--version"])["output"]
    write_result("real-kills", {"nvcc": said.rpartition(", V")[2].split()[0]}, results, options.out)
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
