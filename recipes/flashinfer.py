"""FlashInfer: its ordinary wheel, and the kernels a stack names, compiled ahead of time without a GPU.

The kernels go into a wheel `flashinfer_jit_cache`, the name under which FlashInfer looks for prebuilt modules
(flashinfer/jit/env.py, `_get_aot_dir`); with it nothing of theirs is compiled where a model is served. What is compiled
is data: `[options.flashinfer]` of the stack, see `Options` and docs/how-to/flashinfer-kernels.md.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shutil
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bringup.errors import BuildError, ConfigError
from bringup.formats.ninja import NINJA_STATUS, Watch
from bringup.formats.wheel import EPOCH, make_wheel
from bringup.model.hooks import HookContext

HERE = Path(__file__).resolve().parent
GENERATE = HERE / "flashinfer_generate.py"
COSTS = HERE / "flashinfer.units.toml"

FAMILIES = (
    "prefill-fa2", "prefill-fa3", "decode", "mla",
    "page", "cascade", "norm", "sampling", "rope", "activation", "quantization", "topk",
)  # fmt: skip
LLAMA = tuple(name for name in FAMILIES if name not in {"mla", "topk"})
HOPPER_ONLY = "prefill-fa3"

# Modules include the headers of TVM-FFI, or until 0.3 those of torch: then each change of a header compiles them again.
# RECORD has the hash of each file of an installed torch. The C++ ABI is in the commands that torch writes.
BINDING = """
import hashlib
from importlib.metadata import distributions
found = {dist.metadata["Name"]: dist for dist in distributions()}
if "apache-tvm-ffi" in found:
    print("apache-tvm-ffi", found["apache-tvm-ffi"].version)
else:
    torch = found["torch"]
    lines = (torch.read_text("RECORD") or "").splitlines()
    used = sorted(line for line in lines if line.startswith(("torch/include/", "torch/version.py")))
    print("torch", torch.version, hashlib.sha256("\\n".join(used).encode()).hexdigest())
"""

INIT = '''"""FlashInfer kernels compiled ahead of time; FlashInfer finds them through this package."""

from pathlib import Path

__version__ = "{version}"


def get_jit_cache_dir() -> str:
    """Return the folder that holds <module>/<module>.so."""
    return str(Path(__file__).parent / "jit_cache")
'''


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """`[options.flashinfer]` of a stack: which kernels are compiled. The defaults are those of a llama in bf16.

    Attributes:
        families: kinds of modules, of FAMILIES.
        head_dims: a number, or [query-key, value] where they differ.
        dtypes: of queries and outputs: "bf16", "f16".
        kv_dtypes: of cached keys and values beside that of the queries: "e4m3", "e5m2".
        activations: for the family activation: "silu", "gelu", "gelu_tanh".
        sliding_window: variants of the attention kernels.
        logits_soft_cap: variants of the attention kernels.
        full: the whole set of FlashInfer's own ahead-of-time build instead; hours of CPU time.
    """

    families: tuple[str, ...] = field(default=LLAMA, metadata={"of": FAMILIES})
    head_dims: tuple[tuple[int, int], ...] = ((128, 128),)
    dtypes: tuple[str, ...] = field(default=("bf16",), metadata={"of": ("bf16", "f16")})
    kv_dtypes: tuple[str, ...] = field(default=(), metadata={"of": ("e4m3", "e5m2")})
    activations: tuple[str, ...] = field(default=("silu",), metadata={"of": ("silu", "gelu", "gelu_tanh")})
    sliding_window: tuple[bool, ...] = (False,)
    logits_soft_cap: tuple[bool, ...] = (False,)
    full: bool = False


def read_options(table: Mapping[str, Any]) -> Options:
    """Return the checked options.

    Raises:
        ConfigError: naming every wrong key and value, with the nearest valid name.
    """
    known = {one.name: one for one in fields(Options)}
    problems: list[str] = []
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            shown = key if key.isidentifier() else repr(key)
            problems.append(f"{shown}: no such option{_nearest(key, known)}")
        elif key == "full":
            values[key] = value
            problems += [] if isinstance(value, bool) else [f"full = {value!r}: expected true or false"]
        elif not isinstance(value, (list, tuple)):
            problems.append(f"{key} = {value!r}: expected a list")
        else:
            read = _read_item(key, known[key].metadata.get("of", ()), problems)
            values[key] = tuple(dict.fromkeys(read(item) for item in value))
    families = values.get("families", LLAMA)
    if not values.get("full") and not families:
        problems.append("families = []: nothing would be compiled; leave the key out for the llama set")
    if not values.get("full") and set(families) & {"prefill-fa2", "prefill-fa3", "decode", "mla"}:
        needed = ("head_dims", "dtypes", "sliding_window", "logits_soft_cap")
        problems += [f"{key} = []: the attention families need one" for key in needed if values.get(key) == ()]
    if problems:
        raise ConfigError("\n".join(f"[options.flashinfer] {problem}" for problem in problems))
    return Options(**values)


def _read_item(key: str, valid: tuple[str, ...], problems: list[str]) -> Any:
    def read(item: Any) -> Any:
        if key == "head_dims":
            pair = (item, item) if isinstance(item, int) else tuple(item) if isinstance(item, list) else ()
            right = len(pair) == 2 and all(type(dim) is int and 16 <= dim <= 576 and dim % 16 == 0 for dim in pair)
            if not right:
                problems.append(f"head_dims = {item!r}: expected a multiple of 16 up to 576, or [query-key, value]")
            return pair
        if not valid:
            problems.extend([] if isinstance(item, bool) else [f"{key} = {item!r}: expected true or false"])
        elif item not in valid:
            problems.append(f"{key} = {item!r}: unknown{_nearest(str(item), valid)}; known are {', '.join(valid)}")
        return item if isinstance(item, (str, bool)) else str(item)

    return read


def _nearest(word: str, known: Any) -> str:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {found[0]!r}?" if found else ""


def build(ctx: HookContext) -> list[Path]:
    """Build and return FlashInfer's own wheel and `flashinfer_jit_cache`.

    Raises:
        ConfigError: wrong options.
        BuildError: a unit does not compile (named), or the memory is too small for it.
    """
    options = read_options(ctx.options)
    epoch = int(ctx.env.get("SOURCE_DATE_EPOCH", EPOCH))
    shutil.rmtree(ctx.source / "build", ignore_errors=True)  # setuptools would pack what an earlier version left there
    ctx.run(
        [ctx.python, GENERATE, "wheel", ctx.source, ctx.out],
        cwd=ctx.source,
        env={"SOURCE_DATE_EPOCH": str(epoch)},
        what="build the FlashInfer wheel",
    )
    manifest = _generate(ctx, options)
    _compile(ctx, manifest)
    kernels = _pack(ctx, manifest, epoch)
    return [*sorted(path for path in ctx.out.glob("*.whl") if path != kernels), kernels]


def _generate(ctx: HookContext, options: Options) -> dict[str, Any]:
    """Let FlashInfer write down what each module is made of; nothing is compiled."""
    archs = ctx.arch["flashinfer"]
    wanted = list(options.families)
    hopper = re.search(r"(^| )9\.0", archs) is not None
    if HOPPER_ONLY in wanted and not hopper:
        wanted.remove(HOPPER_ONLY)
        ctx.message(f"FlashInfer: {HOPPER_ONLY} is left out, its kernels run on 9.0 only and the target is {archs}")
    versions = [
        ctx.run([Path(ctx.env["CUDA_HOME"], "bin", "nvcc"), "--version"], what="ask nvcc for its version").output,
        ctx.run([ctx.env.get("CXX", "c++"), "--version"], what="ask the host compiler for its version").output,
        ctx.run([ctx.python, "-c", BINDING], what="look for what the kernels are bound with").output,
    ]
    ctx.work.mkdir(parents=True, exist_ok=True)
    manifest = ctx.work / "manifest.json"
    request = {
        "source": str(ctx.source),
        "work": str(ctx.work),
        "manifest": str(manifest),
        "toolchain": "\n".join([ctx.version, archs, *versions]),
        "jobs": ctx.jobs,
        "memory_bytes": ctx.memory_bytes,
        "gated": "BRINGUP_JOBS" in ctx.env,
        "costs": tomllib.loads(COSTS.read_text())["unit"],
        "options": {
            **{one.name: getattr(options, one.name) for one in fields(Options)},
            "families": wanted,
            "hopper": hopper,
        },
    }
    path = ctx.work / "request.json"
    path.write_text(json.dumps(request, indent=1) + "\n")
    ctx.run([ctx.python, GENERATE, "modules", path], env=_environment(ctx), what="list the FlashInfer kernels")
    read: dict[str, Any] = json.loads(manifest.read_text())
    return read


def _environment(ctx: HookContext) -> dict[str, str]:
    """What FlashInfer's generator reads. -objtemp and -s make objects and libraries the same from build to build."""
    return {
        "PYTHONPATH": str(ctx.source),
        "FLASHINFER_WORKSPACE_BASE": str(ctx.work),
        "FLASHINFER_CUDA_ARCH_LIST": ctx.arch["flashinfer"],
        "FLASHINFER_EXTRA_CUDAFLAGS": "-objtemp",
        "FLASHINFER_EXTRA_LDFLAGS": "-Wl,-s",
    }


def _compile(ctx: HookContext, manifest: Mapping[str, Any]) -> None:
    """Run ninja once over everything that is not there yet."""
    pending = [module for module in manifest["modules"] if not module["done"]]
    beside = ctx.python.parent / "ninja"
    # Any -j switches off ninja's part in a shared job budget.
    shared = "--jobserver" in ctx.env.get("MAKEFLAGS", "")
    argv = [beside if beside.is_file() else "ninja", "-C", manifest["state"], *([] if shared else [f"-j{ctx.jobs}"])]
    units = _left(ctx, argv, [unit for module in pending for unit in module["units"]])
    reused = len(manifest["modules"]) - len(pending)
    ctx.message(f"FlashInfer: {len(units)} units of {len(pending)} modules to compile, {reused} modules are there")
    if not pending:
        return
    limit = manifest["heavy_mib"]
    watch = Watch(
        costs={unit["name"]: unit["cpu_seconds"] for unit in units},
        objects={unit["object"]: unit["name"] for unit in units},
        heavy=frozenset(unit["name"] for unit in units if unit["memory_mib"] > limit),
        heavy_depth=manifest["heavy_depth"],
        jobs=min(ctx.jobs, manifest["heavy_depth"] + manifest["light_depth"]),
    )

    def on_line(text: str) -> None:
        now = time.monotonic()
        if watch.line(text, now):
            ctx.progress(watch.progress(now))

    ctx.progress(watch.progress(time.monotonic()))
    try:
        ctx.run(argv, env={"NINJA_STATUS": NINJA_STATUS}, what="compile the FlashInfer kernels", on_line=on_line)
    except BuildError as exc:
        raise _named(exc, watch, ctx.jobs) from exc


def _left(ctx: HookContext, argv: list[str | Path], units: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the units that ninja would compile: an interrupted build has left some of their objects."""
    if not units:
        return []
    would = Watch(costs={unit["name"]: 0.0 for unit in units})

    def on_line(text: str) -> None:
        would.line(text, 0.0)

    ctx.run([*argv, "-n"], env={"NINJA_STATUS": NINJA_STATUS}, what="see what is left to compile", on_line=on_line)
    return [unit for unit in units if unit["name"] in would.done]


def _named(exc: BuildError, watch: Watch, jobs: int) -> BuildError:
    if not watch.failed:
        return exc
    reason = watch.first_error()
    message = f"FlashInfer kernel {watch.failed[0]!r} does not compile" + (f": {reason[:400]}" if reason else "")
    killed = any("Killed" in line or "code=137" in line for line in watch.excerpt)
    hint = f"a compiler was killed, most likely for memory: try --jobs {max(1, jobs // 2)}" if killed else exc.hint
    return BuildError(message, hint=hint, log=exc.log)


def _pack(ctx: HookContext, manifest: Mapping[str, Any], epoch: int) -> Path:
    """Pack the libraries as FlashInfer looks for them, with a list of what is inside."""
    version = f"{ctx.version}+{ctx.local}"
    tree = ctx.work / "wheel"
    shutil.rmtree(tree, ignore_errors=True)
    package = tree / "flashinfer_jit_cache"
    # Until 0.3 FlashInfer looks for prebuilt modules in its own package only.
    own = "flashinfer_jit_cache" not in (ctx.source / "flashinfer" / "jit" / "env.py").read_text()
    cache = tree / "flashinfer" / "data" / "aot" if own else package / "jit_cache"
    package.mkdir(parents=True)
    listed = []
    for module in sorted(manifest["modules"], key=lambda one: str(one["name"])):
        name, library = module["name"], Path(module["library"])
        folder = cache / name
        folder.mkdir(parents=True)
        shutil.copyfile(library, folder / library.name)
        digest = hashlib.sha256(library.read_bytes()).hexdigest()
        listed.append({"name": name, "label": module["label"], "units": len(module["units"]), "sha256": digest})
    contents = {"schema": 1, "version": version, "cuda": ctx.cuda, "arch": ctx.arch["flashinfer"], "modules": listed}
    (package / "__init__.py").write_text(INIT.format(version=version))
    (package / "modules.json").write_text(json.dumps(contents, indent=1) + "\n")
    wheel = make_wheel(
        tree,
        ctx.out,
        name="flashinfer-jit-cache",
        version=version,
        tag=f"py3-none-{ctx.platform_tag}",
        requires=[f"flashinfer-python=={ctx.version}"],
        summary=f"FlashInfer kernels for {ctx.arch['flashinfer']}, CUDA {ctx.cuda}, compiled ahead of time",
        requires_python=">=3.10",
        epoch=epoch,
    )
    shutil.rmtree(tree)
    return wheel
