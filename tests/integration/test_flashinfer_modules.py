"""The smallest real ahead-of-time build: two FlashInfer modules for Hopper on a machine without a GPU.

FlashInfer's sdist, PyTorch and a CUDA toolkit come from PyPI; what is compiled is loaded by FlashInfer itself.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recipe_hooks import load_hook

from bringup.building.unit_history import read_guesses, read_units, write_guesses
from bringup.config.load import load_toml
from bringup.errors import BuildError
from bringup.formats.fatbin import device_code
from bringup.formats.source_archive import unpack_archive
from bringup.formats.wheel import check_wheel, unpack_wheel
from bringup.model.hooks import HookContext, Progress
from bringup.model.toolchain import CudaRelease
from bringup.system.downloads import DownloadCache
from bringup.system.environ import base_environment
from bringup.system.jobbudget import JobBudget
from bringup.system.jobcontrol import Control
from bringup.system.jobserver import JobServer
from bringup.system.launcher import make_launcher, put_in_front
from bringup.system.process import live, run
from bringup.system.pypi import fetch_index_file, find_uv
from bringup.toolchain.cuda_wheels import provide_wheels

pytestmark = [pytest.mark.network, pytest.mark.compile]

ROOT = Path(__file__).resolve().parents[2]
VERSION = "0.6.8.post1"
SDIST = ("flashinfer-python", VERSION, "b18e4121baf9b93fa9a9f368ba9b981a0342895f50ab9dddc224aeb964ed346f")
GROUPS = frozenset({"curand", "cublas"})
SMALL = {"families": ["page", "norm"]}
PINS = {"torch": "2.11.0", "apache-tvm-ffi": "0.1.9"}
EPOCH = "315532800"


hook = load_hook("flashinfer")
ninja_files = load_hook("flashinfer_ninja")


class Bench:
    """A place to build in, and what the last build said."""

    def __init__(self, folder: Path, python: Path, cuda: Path) -> None:
        self.folder = folder
        self.python = python
        self.source = folder / "source"
        self.env = base_environment(path=(python.parent, cuda / "bin"))
        self.env |= {"CUDA_HOME": str(cuda), "CC": "gcc", "CXX": "g++", "SOURCE_DATE_EPOCH": EPOCH}
        self.env["HOME"] = str(folder)
        self.progress: list[Progress] = []
        self.messages: list[str] = []

    def build(self, options: dict[str, Any], out: str) -> list[Path]:
        self.progress.clear()
        self.messages.clear()
        target = self.folder / out
        target.mkdir()
        return list(hook.build(self.context(options, target)))

    def context(self, options: dict[str, Any], out: Path) -> HookContext:
        return HookContext(
            package="flashinfer",
            version=VERSION,
            source=self.source,
            work=self.folder / "work",
            out=out,
            python=self.python,
            env=self.env,
            cuda="13.0",
            local="cu130",
            arch={"flashinfer": "9.0a"},
            options=options,
            jobs=2,
            memory_bytes=8 << 30,
            platform_tag="linux_x86_64",
            run=self.run,
            progress=self.progress.append,
            message=self.messages.append,
        )

    def run(
        self,
        argv: Any,
        *,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        what: str = "",
        on_line: Callable[[str], None] | None = None,
        check: bool = True,
    ) -> Any:
        whole = {**self.env, **(env or {})}
        log = self.folder / "build.log"
        return run(argv, env=whole, cwd=cwd, log=log, what=what, on_line=on_line, check=check)

    def ask(self, script: str, site: Path, **env: str) -> str:
        """Run a script in the build environment that finds the wheels unpacked at `site`."""
        added = {"PYTHONPATH": str(site), "FLASHINFER_CUDA_ARCH_LIST": "9.0a", **env}
        return str(self.run([self.python, "-c", script], env=added).output)


@pytest.fixture(scope="module")
def bench(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flashinfer")
    cache = DownloadCache(request.config.cache.mkdir("bringup-downloads"))
    recipe = tomllib.loads((ROOT / "recipes" / "flashinfer.toml").read_text())["build"]["requires"]
    wanted = [name for name in recipe if name not in PINS] + [f"{name}=={version}" for name, version in PINS.items()]
    python = folder / "env" / "bin" / "python"
    for argv in (
        [find_uv(), "venv", "--quiet", "--python", "3.11", folder / "env"],
        [find_uv(), "pip", "install", "--quiet", "--python", python, *wanted],
    ):
        run(argv, env=base_environment(), cwd=folder)
    release, problems = load_toml(ROOT / "toolchains" / "cuda" / "13.0.toml", CudaRelease)
    assert release is not None, problems
    cuda = provide_wheels(
        release,
        GROUPS,
        dest_root=folder,
        cache=cache,
        cc=Path("/usr/bin/gcc"),
        env=base_environment(),
    )
    unpack_archive(fetch_index_file(*SDIST, cache), folder / "source")
    return Bench(folder, python, cuda.root)


@pytest.fixture(scope="module")
def built(bench):
    """Give the site-packages with both wheels of a first build of two modules."""
    wheels = bench.build(SMALL, "first")
    assert [wheel.name for wheel in wheels] == [
        f"flashinfer_python-{VERSION}-py3-none-any.whl",
        f"flashinfer_jit_cache-{VERSION}+cu130-py3-none-linux_x86_64.whl",
    ]
    for wheel in wheels:
        assert check_wheel(wheel) == []
        unpack_wheel(wheel, bench.folder / "site")
    assert bench.progress[-1].done == bench.progress[-1].total == 4
    assert any("page: page" in progress.now for progress in bench.progress)
    return bench.folder / "site"


def test_flashinfer_finds_and_loads_the_modules(bench, built):
    script = (
        "from flashinfer.jit.page import gen_page_module\nfrom flashinfer.jit.norm import gen_norm_module\n"
        "from flashinfer.norm import get_norm_module\n"
        "print(gen_page_module().is_aot, gen_norm_module().is_aot)\n"
        "gen_page_module().build_and_load()\nget_norm_module()\nprint('loaded')\n"
    )
    assert bench.ask(script, built, FLASHINFER_DISABLE_JIT="1").splitlines()[-2:] == ["True True", "loaded"]


def test_what_was_not_compiled_is_missed_loudly(bench, built):
    script = "from flashinfer.jit.rope import gen_rope_module\ngen_rope_module().build_and_load()\n"
    with pytest.raises(BuildError, match="MissingJITCacheError"):
        bench.ask(script, built, FLASHINFER_DISABLE_JIT="1")


def test_the_modules_hold_machine_code_for_hopper_only(built):
    libraries = sorted(built.glob("flashinfer_jit_cache/jit_cache/*/*.so"))
    assert [path.name for path in libraries] == ["norm.so", "page.so"]
    for path in libraries:
        assert {(code.kind, code.arch) for code in device_code(path)} == {("cubin", "sm_90a")}


def test_the_wheel_lists_what_is_in_it(built):
    contents = json.loads((built / "flashinfer_jit_cache" / "modules.json").read_text())
    assert contents["schema"] == 1
    assert [module["name"] for module in contents["modules"]] == ["norm", "page"]
    assert contents["arch"] == "9.0a"


def test_a_second_build_compiles_nothing_and_gives_the_same_bytes(bench, built):
    again = bench.build(SMALL, "again")
    assert bench.messages[-1] == "FlashInfer: 0 units of 0 modules to compile, 2 modules are there"
    assert bench.progress == []
    for wheel in again:
        assert wheel.read_bytes() == (bench.folder / "first" / wheel.name).read_bytes()


def test_one_more_family_compiles_only_that(bench, built):
    bench.build({"families": ["page", "norm", "activation"]}, "more")
    assert bench.messages[-1] == "FlashInfer: 1 units of 1 modules to compile, 2 modules are there"


def test_another_head_dim_compiles_only_its_modules(bench):
    """FlashInfer's own generator names the modules; that those of 128 were compiled is told by their libraries."""
    families = {"families": ["prefill-fa2", "prefill-fa3", "decode", "page"]}

    def listed(*dims: int) -> dict[str, Any]:
        options = families | {"head_dims": list(dims)}
        made: dict[str, Any] = hook._generate(bench.context(options, bench.folder), hook.read_options(options))
        return made

    for module in listed(128)["modules"]:
        library = Path(module["library"])
        (key,) = re.findall(r"echo (\w+) >\$out.key", (library.parent / "units.ninja").read_text())
        library.write_bytes(b"")
        library.with_name(f"{library.name}.key").write_text(key)
    manifest = listed(128, 256)
    done = {module["label"]: module["done"] for module in manifest["modules"]}
    kinds = ("prefill-fa2", "prefill-fa3", "decode")
    assert done == {"page": True} | {f"{kind} bf16 hd{dim}": dim == 128 for kind in kinds for dim in (128, 256)}
    ninja = Path(manifest["state"], "build.ninja").read_text()
    assert ninja.count("subninja") == len(kinds)
    assert "head_dim_qk_128" not in ninja
    for module in manifest["modules"]:
        Path(module["library"]).unlink(missing_ok=True)


def test_an_interrupted_build_goes_on_where_it_was(bench, built):
    def stop(progress: Progress) -> None:
        if progress.done == 1:
            raise KeyboardInterrupt

    options = {"families": ["quantization", "cascade"]}
    with pytest.raises(KeyboardInterrupt):
        hook.build(replace(bench.context(options, bench.folder / "stopped"), progress=stop))
    bench.build(options, "resumed")
    left = bench.progress[-1].total  # the second compiler may have been done in the same moment
    assert left in (2, 3)
    assert bench.messages[-1] == f"FlashInfer: {left} units of 2 modules to compile, 0 modules are there"
    assert bench.progress[-1].done == left


def test_a_changed_header_compiles_what_is_affected_whatever_its_time(bench, built):
    header = bench.source / "include" / "flashinfer" / "page.cuh"
    before, times = header.read_text(), header.stat()
    header.write_text("#error stop here\n" + before)
    os.utime(header, (times.st_atime, times.st_mtime))
    try:
        with pytest.raises(BuildError, match=r"kernel 'page: .*page' does not compile: .*#error stop here") as info:
            bench.build({"families": ["page"]}, "broken")
        assert info.value.log
    finally:
        header.write_text(before)


def test_no_gpu_architecture_other_than_hopper_gets_fa3(bench, tmp_path):
    ctx = bench.context({"families": ["prefill-fa3", "page"]}, tmp_path)
    manifest = hook._generate(replace(ctx, arch={"flashinfer": "8.0"}), hook.read_options(ctx.options))
    assert [module["label"] for module in manifest["modules"]] == ["page"]
    assert "prefill-fa3 is left out" in bench.messages[-1]


def test_the_whole_set_and_the_large_families_can_be_listed(bench, tmp_path):
    def listed(**options: Any) -> list[str]:
        ctx = bench.context(options, tmp_path)
        manifest = hook._generate(ctx, hook.read_options(options))
        return sorted(module["label"] for module in manifest["modules"])

    attention = {"families": ["prefill-fa2", "prefill-fa3", "decode", "mla"]}
    kinds = [f"{family} {types}" for family in ("prefill-fa2", "decode") for types in ("bf16", "bf16/e4m3")]
    fa3 = ["prefill-fa3 bf16 hd64", "prefill-fa3 bf16 hd256", "prefill-fa3 e4m3>bf16 hd256"]
    assert listed(**attention, head_dims=[64, 256], kv_dtypes=["e4m3"]) == sorted(
        [*(f"{kind} hd{dim}" for kind in kinds for dim in (64, 256)), *fa3, "mla-fa2 bf16", "mla-fa3 bf16"]
    )
    assert len(listed(full=True)) > 500


def test_with_the_launcher_the_same_bytes_and_a_record_of_each_unit(bench, built, tmp_path):
    launcher, why = make_launcher(tmp_path, [Path("/usr/bin/gcc")], base_environment())
    assert launcher is not None, why
    programs = bench.python.parent
    for name, real in (("nvcc", Path(bench.env["CUDA_HOME"], "bin/nvcc")), ("g++", Path("/usr/bin/g++"))):
        put_in_front(launcher, programs / name, real)
    (bench.folder / "work").rename(bench.folder / "work-before")
    said: list[str] = []
    server = JobServer(Control(jobs=2, memory_bytes=8 << 30), roots=live, say=said.append, parent=tmp_path)
    write_guesses(server.folder / "guesses", read_guesses(ROOT / "recipes", ["flashinfer"]))
    budget = JobBudget(server, records=tmp_path / "units.jsonl", cache=tmp_path, env=bench.env, say=said.append)
    before = dict(bench.env)
    try:
        bench.env |= {**budget.environment("flashinfer", bench.folder), "FLASHINFER_NVCC": str(programs / "nvcc")}
        wheels = bench.build(SMALL, "launched")
        assert server.level() == 1
    finally:
        server.close()
        bench.env = before
    assert said == []
    for wheel in wheels:
        assert wheel.read_bytes() == (bench.folder / "first" / wheel.name).read_bytes()
    units = list(read_units(budget.records))
    assert sorted(unit.lang for unit in units) == ["cuda"] * 4 + ["link"] * 2
    assert [unit.exit for unit in units] == [0] * 6
    assert min(unit.rss_kib for unit in units if unit.lang == "cuda") > 100 << 10
    assert {unit.need_mib for unit in units if unit.lang == "cuda"} < set(range(100, 4000))
    assert bench.progress[-1].done == 4
    assert any("page: page" in progress.now for progress in bench.progress)


COMPILER = """#!/bin/sh
echo "start $1" >>{log}; sleep 0.4; echo "end $1" >>{log}; : >"$2"
"""
RULES = """
rule cuda_compile
  command = {compiler} $in $out

rule link
  command = : $ldflags; cat $in >$out
"""


def test_ninja_starts_heavy_units_first_and_few_at_a_time(bench, tmp_path):
    log, compiler = tmp_path / "log", tmp_path / "compiler"
    compiler.write_text(COMPILER.format(log=log))
    compiler.chmod(0o755)
    costs = [
        {"source": "*/heavy*", "cpu_seconds": 60, "memory_mib": 3000},
        {"source": "*", "cpu_seconds": 5, "memory_mib": 200},
    ]
    modules = []
    for name, files in (("light", ["a", "b", "c"]), ("mixed", ["x", "heavy1", "heavy2", "heavy3"])):
        folder, source = tmp_path / "state" / name, tmp_path / "source" / name
        folder.mkdir(parents=True)
        source.mkdir(parents=True)
        for file in files:
            (source / f"{file}.cu").touch()
        builds = [f"build {folder}/{file}.o: cuda_compile {source}/{file}.cu" for file in files]
        objects = " ".join(f"{folder}/{file}.o" for file in files)
        text = [RULES.format(compiler=compiler), *builds, f"build {folder}/{name}.so: link {objects}", ""]
        (folder / "build.ninja").write_text("\n".join(text))
        modules.append(ninja_files.Module("demo", name, folder / "build.ninja", costs, moved={}))
    made = ninja_files.write_build(modules, tmp_path / "state", jobs=4, budget_mib=4000)
    assert (made["heavy_depth"], made["light_depth"]) == (1, 4)
    lines: list[str] = []
    bench.run([bench.python.parent / "ninja", "-C", made["state"], "-j4"], on_line=lines.append)
    running, most, order = set(), 0, []
    for verb, unit in map(str.split, log.read_text().splitlines()):
        name = Path(unit).stem
        if verb == "start":
            running.add(name)
            order.append(name)
        else:
            running.remove(name)
        most = max(most, len([one for one in running if one.startswith("heavy")]))
    assert most == 1
    assert "heavy1" in order[:4]
    assert order.index("heavy2") < len(order) - 1
    assert [line for line in lines if line.startswith("@start ")]
    again = ninja_files.write_build(modules, tmp_path / "state", jobs=4, budget_mib=4000)
    assert [module["done"] for module in again["modules"]] == [True, True]


def test_a_shared_job_budget_is_kept_to(bench, tmp_path):
    """With a jobserver of no tokens ninja may run one command at a time, although the hook is told of two jobs."""
    fifo = tmp_path / "jobs"
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDWR)
    flags = {"MAKEFLAGS": f" -j2 --jobserver-auth=fifo:{fifo}"}
    try:
        ctx = bench.context({"families": ["cascade"]}, tmp_path / "out")
        ctx = replace(ctx, work=tmp_path / "work", env={**ctx.env, **flags})
        argv: list[list[str]] = []

        def run_with(words: Any, **rest: Any) -> Any:
            argv.append([str(word) for word in words])
            rest["env"] = {**flags, **(rest.get("env") or {})}
            return bench.run(words, **rest)

        at_once: list[int] = []
        (tmp_path / "out").mkdir()
        hook.build(
            replace(ctx, run=run_with, progress=lambda progress: at_once.append(len(progress.now.split(", ")))),
        )
    finally:
        os.close(descriptor)
    assert not any(word.startswith("-j") for words in argv if words[0].endswith("ninja") for word in words)
    assert max(at_once) == 1
