"""The tasks that users type: read flags, call the engine, print. No decisions are made here.

A task imports what it needs when it runs, and invoke is not among it: start-up counts.
"""

from __future__ import annotations

import shlex

from bringup.flags import RUN, TARGET, Flags, Task, request_from, settings_from

JSON = {"json": (False, "write one JSON document to stdout and nothing else")}
WHY = {"why": ("", "package whose decisions are explained in full")}
DRY = {"dry-run": (False, "show the plan and stop")}
LEVELS = {
    "level": ([], "level to run: static, import, torch, flashinfer, sglang; all without it; may be repeated"),
    "require": ("", "level that must be OK, or the exit code is 9"),
    "wheel": ("", "examine this wheel file alone, at level static"),
    "set-env": ([], "KEY=VALUE set in the levels' processes only, to see a fault found; may be repeated"),
    "model": ("", "folder of a llama checkpoint for level sglang, instead of a small generated one"),
    "prompts": ("", "file of prompts for level sglang: JSON lines with `ids` or `text`"),
    "tp": (0, "GPUs for level sglang, by tensor parallelism"),
    "mem-fraction-static": (0.0, "share of GPU memory for weights and KV cache at level sglang"),
    "cuda-graph-max-bs": (0, "largest batch size captured at level sglang"),
    "allow-jit": (False, "let FlashInfer compile what was not built ahead; the level still fails, by name, if it does"),
    "harvest": (False, "pack what is compiled at run time as a wheel, instead of failing on it"),
    "time-limit": (0.0, "seconds that each level on the GPU may take"),
}
DOCTOR = {
    "env": ("", "an existing environment to examine: its folder, or its bin/python"),
    "deep": (False, "probe the network and read big files too"),
    "fix": (False, "mend what needs no root, after asking; everything can be undone"),
    "yes": (False, "do not ask"),
}
REPORT = {
    "upstream": ("", "project whose issue template is followed: flashinfer, sglang or pytorch"),
    "log": ("", "log of the failure"),
    "last": (False, "the log of our own last failure"),
    "env": ("", "environment to describe; the target's own without it"),
    "command": ("", "command that fails; that of the log without it"),
    "output": ("", "file to write; the terminal without it"),
}
INSTALL = {"harvest": ("", "wheel of `verify --harvest` to add to the environment that is installed")}
BUNDLE = {
    "output": ("", "folder to write; GPU.bundle/ here without it"),
    "part-size": ("60M", "largest size of a part"),
    "with-toolkit": (False, "add the CUDA toolkit, to compile on the node"),
    "sources": (False, "carry sources, toolkit and build tools instead of wheels, to build on the node"),
    "only": ([], "with --sources: package to build there, with what it needs; may be repeated"),
    "harvest": ("", "wheel of `verify --harvest` to carry; that in build/TARGET/wheels without it"),
    "without-torch": (False, "leave PyTorch and NVIDIA's libraries out; the node's own must equal the lock's"),
}


def build(flags: Flags) -> int | None:
    """Plan, fetch, patch, build, install and verify: the main job."""
    from bringup.commands import pipeline

    return pipeline.build(request_from(flags), settings_from(flags), dry_run=flags["dry_run"], json=flags["json"])


def plan(flags: Flags) -> int | None:
    """Show what `build` would do and why each step runs or is reused."""
    from bringup.commands import pipeline

    return pipeline.plan(request_from(flags), settings_from(flags), json=flags["json"], why=flags["why"])


def fetch(flags: Flags) -> int | None:
    """Fetch all that a build takes from the network: sources, toolchain, distributions; --offline works after it."""
    from bringup.commands import pipeline

    return pipeline.phase(request_from(flags), settings_from(flags), "fetch")


def patch(flags: Flags) -> int | None:
    """Fetch, then make clean source trees with the patches applied."""
    from bringup.commands import pipeline

    return pipeline.phase(request_from(flags), settings_from(flags), "patch")


def prepare(flags: Flags) -> int | None:
    """Fetch and patch, then make toolchain and build environments."""
    from bringup.commands import pipeline

    return pipeline.phase(request_from(flags), settings_from(flags), "prepare")


def install(flags: Flags) -> int | None:
    """Everything up to the target environment, without verifying it."""
    from bringup.commands import keeping, pipeline

    if flags["harvest"]:
        return keeping.install_harvest(request_from(flags), settings_from(flags), flags["harvest"])
    return pipeline.phase(request_from(flags), settings_from(flags), "install")


def verify(flags: Flags) -> int | None:
    """Verify the target environment, level by level."""
    from bringup.commands import pipeline

    return pipeline.verify(request_from(flags), settings_from(flags), flags)


def list_(flags: Flags) -> int | None:
    """List what there is: recipes, stacks, gpus or toolchains."""
    from bringup.commands import findings

    return findings.listing(settings_from(flags), flags["what"], json=flags["json"])


def lock(flags: Flags) -> int | None:
    """Resolve everything that a stack's recipes do not pin, as of the stack's date, and write its lock."""
    from bringup.commands import keeping

    return keeping.lock(settings_from(flags), flags["stack"])


def diagnose(flags: Flags) -> int | None:
    """Name the root cause of a failed build or launch: invoke diagnose LOG... (or - for stdin)."""
    from bringup.commands import findings

    return findings.diagnose(flags)


def doctor(flags: Flags) -> int | None:
    """Check this machine, or an environment (--env), against a target; every failure names its fix."""
    from bringup.commands import findings

    return findings.doctor(request_from(flags), settings_from(flags), flags)


def report(flags: Flags) -> int | None:
    """Write everything that an upstream issue needs, secrets removed; nothing is sent."""
    from bringup.commands import findings

    return findings.report(request_from(flags), settings_from(flags), flags)


def knowledge(flags: Flags) -> int | None:
    """Check the known issues, or begin a new one from a log (--new LOG)."""
    from bringup.commands import findings

    return findings.knowledge(flags)


def bundle(flags: Flags) -> int | None:
    """Write everything that a built target needs on a machine without a network, in parts of a limited size."""
    from bringup.commands import keeping

    return keeping.bundle(request_from(flags), settings_from(flags), flags)


def shell(flags: Flags) -> int | None:
    """Open a shell in the target's environment."""
    from bringup.commands import keeping

    return keeping.shell(request_from(flags), settings_from(flags))


def env(flags: Flags) -> int | None:
    """Print the exports of the target's environment: eval "$(./invokew env --gpu h200)"."""
    from bringup.commands import keeping

    return keeping.env(request_from(flags), settings_from(flags))


def clean(flags: Flags) -> int | None:
    """Remove what was made for a target; --all removes toolchains too, the cache stays."""
    from bringup.commands import keeping

    return keeping.clean(settings_from(flags), flags["target"], everything=flags["all"])


def gc(flags: Flags) -> int | None:
    """Keep the cache below a size: the files used longest ago go first."""
    from bringup.commands import keeping

    return keeping.gc(settings_from(flags), flags["max_size"])


def jobs(flags: Flags) -> int | None:
    """Show what a running build may use and what it compiles, or change that: --jobs, --memory, --nice."""
    from bringup.commands import keeping

    return keeping.jobs(settings_from(flags), flags)


def stats(flags: Flags) -> int | None:
    """Show what a target's build took: its steps, what bounded it, its ten worst units, what was reused."""
    from bringup.commands import findings

    return findings.stats(settings_from(flags), flags)


def schema(flags: Flags) -> int | None:
    """Make the reference pages and the JSON schemas of the data files; --check only compares."""
    from bringup.commands import keeping

    return keeping.schema(settings_from(flags), check=flags["check"])


def test(flags: Flags) -> int | None:
    """Run the tests: unit, then integration."""
    from bringup.commands import keeping

    words = [str(word) for word in shlex.split(flags["args"])]
    return keeping.run_tests(words, quick=flags["quick"])


def lint(flags: Flags) -> int | None:
    """Run ruff, mypy, shellcheck and the check of the generated docs."""
    from bringup.commands import keeping

    del flags
    return keeping.run_lint()


TEST = {"args": ("", "arguments for pytest, in one string: '-k wheel -x'"), "quick": (False, "unit tests only")}
KNOWLEDGE = {
    "check": (False, "check every entry against its excerpts; the same as no flag"),
    "new": ("", "log of a failure that is not known, to begin an entry from"),
    "id": ("", "id of the new entry; made from the log without it"),
}
JOBS = {
    "target": ("", "target whose build runs, h200-cu130-cp311; not needed if only one does"),
    "jobs": (0, "compilers at the same time from now on; those that run are not interrupted"),
    "memory": (0.0, "GiB of memory to use from now on"),
    "nice": ("", "niceness of compilers from now on, those that run included"),
}
STATS = {
    "target": ("", "target to tell about, h200-cu130-cp311; not needed if only one was built"),
    "gpu": ("", "GPU whose target is meant, or auto"),
    "cuda": ("", "CUDA release, 13.0, if the GPU has several targets"),
}
DEBUG = {"debug": RUN["debug"]}
BUILD_DIR = {"build-dir": TARGET["build-dir"]}
DATA = {"data": TARGET["data"]}
LOGS = {
    "log": ([], "log file; a plain argument is the same"),
    "last": (False, "the log that was written last"),
    "failed": (False, "the run did fail: do not judge that by how the log ends"),
    "brief": (False, "root line, known issue and the first two fixes only"),
}
CLEAN = {"target": ("", "target to remove, h200-cu130-cp311"), "all": (False, "everything")}
STACK = {"stack": ("", "stack to lock, a name of `invoke list stacks`")}
ABOUT = {
    "gpu": ("", "GPU that the log is about; that of the last build without it"),
    "stack": ("", "stack that the log is about; that of the last build without it"),
}

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task.of(build, TARGET, RUN, DRY, JSON),
        Task.of(plan, TARGET, RUN, JSON, WHY),
        Task.of(fetch, TARGET, RUN),
        Task.of(patch, TARGET, RUN),
        Task.of(prepare, TARGET, RUN),
        Task.of(install, TARGET, INSTALL, RUN),
        Task.of(verify, {**TARGET, "gpu": ("", TARGET["gpu"][1])}, LEVELS, JSON, DEBUG),
        Task.of(lock, STACK, DATA, DEBUG),
        Task.of(diagnose, LOGS, ABOUT, BUILD_DIR, JSON, DEBUG),
        Task.of(doctor, TARGET, DOCTOR, {"mirror": RUN["mirror"]}, JSON, DEBUG),
        Task.of(report, {**TARGET, "gpu": ("", TARGET["gpu"][1])}, REPORT, DEBUG),
        Task.of(knowledge, KNOWLEDGE, DEBUG),
        Task.of(bundle, TARGET, BUNDLE, {"debian-mirror": RUN["debian-mirror"]}, DEBUG),
        Task.of(shell, TARGET, DEBUG),
        Task.of(env, TARGET, DEBUG),
        Task.of(clean, CLEAN, BUILD_DIR, DEBUG),
        Task.of(gc, {"max-size": ("20G", "size to keep the cache below, 500M or 20G")}, DEBUG),
        Task.of(jobs, JOBS, BUILD_DIR, DEBUG),
        Task.of(stats, STATS, BUILD_DIR, DATA, JSON, DEBUG),
        Task.of(schema, {"check": (False, "fail if a file is out of date")}, DEBUG),
        Task.of(test, TEST, DEBUG),
        Task.of(lint, DEBUG),
        Task.of(list_, {"what": ("", "recipes, stacks, gpus or toolchains; everything without it")}, DATA, JSON, DEBUG),
    )
}

# What help and reference show together.
TASK_GROUPS = (
    ("Build", ("build", "plan", "fetch", "patch", "prepare", "install", "verify", "jobs")),
    ("Use what was built", ("shell", "env", "bundle")),
    ("Find out", ("list", "stats", "doctor", "diagnose", "report")),
    ("Keep house", ("clean", "gc", "lock")),
    ("Develop bringup", ("test", "lint", "schema", "knowledge")),
)
