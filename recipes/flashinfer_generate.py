"""Runs in FlashInfer's build environment: makes its ordinary wheel, or the ninja files of the wanted kernels.

    python flashinfer_generate.py wheel SOURCE OUT
    python flashinfer_generate.py modules REQUEST.json

It is a program and not a part of the engine, because only an interpreter that can import torch and FlashInfer can ask
FlashInfer which files a module consists of. Nothing is compiled here. The hook in flashinfer.py writes the request,
runs ninja over what this leaves behind, and packs the result.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

# Files below these folders of the source tree can change what is compiled.
TREES = ("csrc", "include", "3rdparty", "flashinfer/jit")
SINGLE = ("page", "cascade", "norm", "sampling", "rope", "quantization", "topk")
MLA_DIMS = {"head_dim_ckv": 512, "head_dim_kpe": 64}
# FlashInfer's fa3 kernels for 8-bit keys and values exist for these head dims only (flashinfer/aot.py, gen_fa3).
FP8_FA3_DIMS = frozenset({128, 256})
START = "{ echo '@start '$unit >>/proc/$$PPID/fd/1; } 2>/dev/null; "


def make_wheel(source: Path, out: Path) -> str:
    """Build the project at `source` by its own PEP 517 backend, without isolation; return the wheel's file name."""
    table = tomllib.loads((source / "pyproject.toml").read_text())["build-system"]
    sys.path[:0] = [str(source / folder) for folder in table.get("backend-path", [])]
    name, _, attribute = table["build-backend"].partition(":")
    backend: Any = importlib.import_module(name)
    for part in filter(None, attribute.split(".")):
        backend = getattr(backend, part)
    if hasattr(backend, "get_requires_for_build_wheel"):
        backend.get_requires_for_build_wheel()
    return str(backend.build_wheel(str(out)))


def tree_digest(source: Path, extra: str) -> str:
    """Return a digest of all that is compiled from `source`, by content, and of `extra`.

    Modification times are not enough: a tree unpacked again may carry older ones over newer content.
    """
    digest = hashlib.sha256(extra.encode())
    for tree in TREES:
        for path in sorted((source / tree).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"\0{path.relative_to(source)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def point_flashinfer_at(source: Path, state: Path) -> None:
    """Make FlashInfer take its C++ from the source tree and write below `state`, as its own aot.py does."""
    env: Any = importlib.import_module("flashinfer.jit.env")
    env.FLASHINFER_CSRC_DIR = source / "csrc"
    env.FLASHINFER_INCLUDE_DIR = source / "include"
    cutlass = source / "3rdparty" / "cutlass"
    env.CUTLASS_INCLUDE_DIRS = [cutlass / "include", cutlass / "tools" / "util" / "include"]
    env.SPDLOG_INCLUDE_DIR = source / "3rdparty" / "spdlog" / "include"
    env.FLASHINFER_WORKSPACE_DIR = state
    env.FLASHINFER_JIT_DIR = state / "modules"
    env.FLASHINFER_GEN_SRC_DIR = state / "generated"
    for folder in (env.FLASHINFER_JIT_DIR, env.FLASHINFER_GEN_SRC_DIR):
        folder.mkdir(parents=True, exist_ok=True)


def wanted_specs(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (family, FlashInfer's JitSpec) of every module that `options` name, each module once."""
    seen: set[str] = set()
    made = _full_specs() if options["full"] else _family_specs(options)
    for family, spec in made:
        if spec.name not in seen:
            seen.add(spec.name)
            yield family, spec


def _full_specs() -> Iterator[tuple[str, Any]]:
    """FlashInfer's own default set for the architectures asked for."""
    aot: Any = importlib.import_module("flashinfer.aot")
    wanted = aot.get_default_config()
    renamed = {f"{key}_": value for key, value in wanted.items() if not key.startswith("add_")}
    switches = {key: value for key, value in wanted.items() if key.startswith("add_")}
    for spec in aot.gen_all_modules(**renamed, **switches, sm_capabilities=aot.detect_sm_capabilities()):
        yield "full", spec


def _family_specs(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for family in options["families"]:
        if family in SINGLE:
            module: Any = importlib.import_module(f"flashinfer.jit.{family}")
            yield family, getattr(module, f"gen_{family}_module")()
        elif family == "activation":
            module = importlib.import_module("flashinfer.jit.activation")
            for name in options["activations"]:
                yield family, module.gen_act_and_mul_module(name)
        else:
            for spec in _attention_specs(family, options):
                yield family, spec


def _attention_specs(family: str, options: Mapping[str, Any]) -> Iterator[Any]:
    attention: Any = importlib.import_module("flashinfer.jit.attention")
    for query, store in _dtype_pairs(options):
        int32 = _dtype("i32")
        types = {"dtype_q": _dtype(query), "dtype_kv": _dtype(store), "dtype_o": _dtype(query), "dtype_idx": int32}
        if family == "mla":
            if store != query:
                continue  # FlashInfer has no MLA kernels for 8-bit keys and values (aot.py, gen_attention)
            for backend in ("fa2", "fa3") if options["hopper"] else ("fa2",):
                yield attention.gen_batch_mla_module(backend=backend, **types, **MLA_DIMS, use_profiler=False)
            continue
        for dims, window, cap in product(options["head_dims"], options["sliding_window"], options["logits_soft_cap"]):
            shape = {
                "head_dim_qk": dims[0],
                "head_dim_vo": dims[1],
                "pos_encoding_mode": 0,
                "use_sliding_window": window,
                "use_logits_soft_cap": cap,
            }
            if family == "decode":
                yield attention.gen_batch_decode_module(**types, **shape)
                continue
            backend = family.removeprefix("prefill-")
            if backend == "fa3" and store != query:
                if dims[0] not in FP8_FA3_DIMS:
                    continue
                types = {**types, "dtype_q": _dtype(store)}  # fa3 has no mixed precision: the query is cast
            yield attention.gen_batch_prefill_module(backend=backend, **types, **shape, use_fp16_qk_reduction=False)


def _dtype_pairs(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for query in options["dtypes"]:
        for store in dict.fromkeys((query, *options["kv_dtypes"])):
            yield query, store


def _dtype(name: str) -> Any:
    """Return the torch dtype that FlashInfer's module names call `name` ("bf16", "e4m3")."""
    utils: Any = importlib.import_module("flashinfer.jit.utils")
    return next(dtype for dtype, text in utils.filename_safe_dtype_map.items() if text == name)


def unit_cost(costs: Iterable[Mapping[str, Any]], source: str) -> tuple[float, int]:
    """Return (CPU seconds, peak MiB) of compiling `source` ("<folder>/<file>"), from the first row that matches."""
    for row in costs:
        if fnmatch.fnmatchcase(source, row["source"]):
            return float(row["cpu_seconds"]), int(row["memory_mib"])
    msg = f"the cost table has no row for {source}; its last row must be '*'"
    raise ValueError(msg)


def module_label(family: str, name: str) -> str:
    """Return what a person calls the module `name`: "prefill-fa3 bf16 hd128"."""
    found = re.search(r"dtype_q_(\w+?)_dtype_kv_(\w+?)_dtype_o.*?head_dim_qk_(\d+)_head_dim_vo_(\d+)", name)
    if not found:
        mla = re.match(r"batch_mla_attention_dtype_q_(\w+?)_dtype_kv", name)
        return f"mla-{'fa3' if name.endswith('_sm90') else 'fa2'} {mla[1]}" if mla and family == "mla" else name
    query, store, left, right = found.groups()
    types = query if query == store else f"{query}/{store}"
    dims = left if left == right else f"{left}x{right}"
    marks = [mark for mark, text in (("swa", "use_swa_True"), ("cap", "use_logits_cap_True")) if text in name]
    return " ".join((family, types, f"hd{dims}", *marks))


class Module:
    """One FlashInfer module: its units in the order they should start, and the ninja text that builds it."""

    def __init__(
        self, family: str, name: str, ninja: Path, costs: list[dict[str, Any]], *, moved: dict[str, str]
    ) -> None:
        self.family = family
        self.name = name
        self.label = module_label(family, name)
        self.folder = ninja.parent
        self.library = self.folder / f"{name}.so"
        text = ninja.read_text()
        for old, new in moved.items():
            text = text.replace(f" {old}/", f" {new}/")
        self._lines = text.splitlines()
        self.units = sorted(self._find_units(costs), key=lambda unit: (-unit["cpu_seconds"], unit["name"]))

    def _find_units(self, costs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for line in self._lines:
            found = re.fullmatch(r"build (\S+): (cuda_compile|compile) (\S+)", line)
            if found:
                source = Path(found[3])
                cpu, memory = unit_cost(costs, f"{source.parent.name}/{source.name}")
                short = source.stem if self.family != "full" else f"{source.parent.name}/{source.stem}"
                yield {
                    "name": f"{self.label}: {short.replace('_', ' ')}",
                    "object": found[1],
                    "source": found[3],
                    "rule": found[2],
                    "cpu_seconds": cpu,
                    "memory_mib": memory,
                }

    def key(self, state: Path) -> str:
        """Return a digest of the commands and of the sources that were generated below `state`."""
        digest = hashlib.sha256("\n".join(self._lines).encode())
        generated = {path.parent for unit in self.units if (path := Path(unit["source"])).is_relative_to(state)}
        for folder in sorted(generated):
            alone = [Path(u["source"]) for u in self.units] if folder.name == "generated" else sorted(folder.iterdir())
            for path in alone:
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def ninja_text(self, key: str, heavy_mib: int) -> str:
        """Return the module's ninja file with names, pools, the heavy units first and `key` left by the link."""
        out: list[str] = []
        for line in self._lines:
            if line.startswith("build ") and "compile " in line:
                continue
            if line.startswith("  command = "):
                linking = "$ldflags" in line
                command = line.removeprefix("  command = ")
                after = f" && echo {key} >$out.key" if linking else ""
                out += ["  command = " + ("" if linking else START) + command + after, "  description = $unit"]
            elif re.match(r"build \S+: (nvcc_)?link ", line):
                for unit in self.units:
                    pool = "heavy" if unit["memory_mib"] > heavy_mib else "light"
                    out += [f"build {unit['object']}: {unit['rule']} {unit['source']}"]
                    out += [f"  unit = {unit['name']}", f"  pool = {pool}"]
                out += [line, f"  unit = {self.label}: link"]
            else:
                out.append(line)
        return "\n".join(out) + "\n"


def pool_depths(memory: Iterable[int], *, jobs: int, budget_mib: int) -> tuple[int, int, int]:
    """Return (heavy limit in MiB, heavy depth, light depth) so that any mix of running units fits the budget.

    Units above the limit, a job's even share of the budget, are heavy. With `h` and `l` the largest heavy and light
    units, heavy depth x h + light depth x l never exceeds the budget unless one heavy unit alone does; then units run
    one at a time.
    """
    share = budget_mib // jobs
    sizes = sorted(memory)
    light = max((size for size in sizes if size <= share), default=0)
    heavy = max((size for size in sizes if size > share), default=0)
    if not heavy:
        return share, 1, jobs
    if heavy >= budget_mib:
        return 0, 1, 1
    depth = max(1, min(jobs, (budget_mib - jobs * light) // (heavy - light)))
    left = (budget_mib - depth * heavy) // light if light else jobs
    return (0, depth, depth) if left < 1 else (share, depth, min(jobs, left))


def write_if_changed(path: Path, text: str) -> None:
    """Write `text` unless the file holds it already: ninja and a resumed build go by modification times."""
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def link_environment(work: Path) -> dict[str, str]:
    """Give this build environment one name for all builds; return how its paths are rewritten.

    Each change of a stack comes with a new build environment. Its path in a command would make ninja compile all again
    and would end up in the libraries.
    """
    link = work / "env"
    link.unlink(missing_ok=True)
    link.symlink_to(sys.prefix)
    return {sys.prefix: str(link), str(Path(sys.prefix).resolve()): str(link)}


def make_modules(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write the ninja files for `request` and return the manifest: state folder, modules, units, what is done."""
    source = Path(request["source"])
    work = Path(request["work"])
    state = work / tree_digest(source, request["toolchain"])[:16]
    point_flashinfer_at(source, state)
    moved = link_environment(work)
    modules = []
    for family, spec in wanted_specs(request["options"]):
        spec.write_ninja()
        modules.append(Module(family, spec.name, Path(spec.ninja_path), request["costs"], moved=moved))
    modules.sort(key=lambda module: -max(unit["cpu_seconds"] for unit in module.units))
    keys = {module.name: module.key(state) for module in modules}
    pending = [module for module in modules if not _finished(module, keys[module.name])]
    sizes = [unit["memory_mib"] for module in pending for unit in module.units]
    limit, heavy, light = pool_depths(sizes, jobs=request["jobs"], budget_mib=request["memory_bytes"] >> 20)
    lines = ["ninja_required_version = 1.5", "builddir = .", "pool heavy", f"  depth = {heavy}"]
    # A pool of depth 1 for both kinds would still let one of each run: without a limit all units are heavy.
    lines += ["pool light", f"  depth = {light}"]
    for module in pending:
        path = module.folder / "units.ninja"
        write_if_changed(path, module.ninja_text(keys[module.name], limit))
        lines.append(f"subninja {path}")
    write_if_changed(state / "build.ninja", "\n".join(lines) + "\n")
    return {
        "state": str(state),
        "heavy_mib": limit,
        "heavy_depth": heavy,
        "light_depth": light,
        "modules": [
            {
                "name": module.name,
                "family": module.family,
                "label": module.label,
                "library": str(module.library),
                "done": module not in pending,
                "units": module.units,
            }
            for module in modules
        ],
    }


def _finished(module: Module, key: str) -> bool:
    stamp = module.library.with_name(module.library.name + ".key")
    return module.library.is_file() and stamp.is_file() and stamp.read_text().strip() == key


def main(argv: list[str]) -> int:
    """Run one of the two commands of the module's docstring."""
    here = Path(__file__).resolve().parent  # its flashinfer.py would be taken for FlashInfer itself
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here]
    if argv[0] == "wheel":
        print(make_wheel(Path(argv[1]), Path(argv[2])))
    else:
        request = json.loads(Path(argv[1]).read_text())
        write_if_changed(Path(request["manifest"]), json.dumps(make_modules(request), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
