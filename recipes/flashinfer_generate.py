"""Runs in FlashInfer's build environment: makes its ordinary wheel, or the ninja files of the wanted kernels.

    python flashinfer_generate.py wheel SOURCE OUT
    python flashinfer_generate.py modules REQUEST.json

It is a program and not a part of the engine, because only an interpreter that can import torch and FlashInfer can ask
FlashInfer which files a module consists of. Nothing is compiled here. The hook in flashinfer.py writes the request,
runs ninja over what this leaves behind, and packs the result.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

# Files below these folders of the source tree can change what is compiled.
TREES = ("csrc", "include", "3rdparty", "flashinfer/jit")
SINGLE = ("page", "cascade", "norm", "sampling", "rope", "quantization", "topk")
MLA_DIMS = {"head_dim_ckv": 512, "head_dim_kpe": 64}
# FlashInfer's fa3 kernels for 8-bit keys and values exist for these head dims only (flashinfer/aot.py, gen_fa3).
FP8_FA3_DIMS = frozenset({128, 256})


def _beside(name: str) -> Any:
    """Load a file of this folder by its path: on the search path, our flashinfer.py would be taken for FlashInfer."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ninja = _beside("flashinfer_ninja")
torch_modules = _beside("flashinfer_torch_modules")


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
    if torch_modules.needed():
        torch_modules.spread(env)


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
    maker = torch_modules.Maker() if torch_modules.needed() else Maker()
    for family in options["families"]:
        if family in SINGLE:
            yield family, maker.single(family)
        elif family == "activation":
            for name in options["activations"]:
                yield family, maker.activation(name)
        else:
            for function, arguments in _attention_calls(family, options):
                yield family, maker.attention(function, **arguments)


class Maker:
    """Asks FlashInfer's functions for the JitSpec of a module."""

    def single(self, family: str) -> Any:
        """The module of a family that has one; its function moved to flashinfer.jit with 0.4."""
        here = f"flashinfer.jit.{family}"
        module = importlib.import_module(here if importlib.util.find_spec(here) else f"flashinfer.{family}")
        return getattr(module, f"gen_{family}_module")()

    def activation(self, name: str) -> Any:
        """The module of one activation."""
        module: Any = importlib.import_module("flashinfer.activation")
        return module.gen_act_and_mul_module(name)

    def attention(self, function: str, **arguments: Any) -> Any:
        """The module that one function of flashinfer.jit.attention makes of `arguments`."""
        return getattr(importlib.import_module("flashinfer.jit.attention"), function)(**arguments)


def _attention_calls(family: str, options: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a function of flashinfer.jit.attention and its arguments for each module of `family`."""
    for query, store in _dtype_pairs(options):
        int32 = _dtype("i32")
        types = {"dtype_q": _dtype(query), "dtype_kv": _dtype(store), "dtype_o": _dtype(query), "dtype_idx": int32}
        if family == "mla":
            if store != query:
                continue  # FlashInfer has no MLA kernels for 8-bit keys and values (aot.py, gen_attention)
            for backend in ("fa2", "fa3") if options["hopper"] else ("fa2",):
                yield "gen_batch_mla_module", {"backend": backend, **types, **MLA_DIMS, "use_profiler": False}
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
                yield "gen_batch_decode_module", {**types, **shape}
                continue
            backend = family.removeprefix("prefill-")
            if backend == "fa3" and store != query:
                if dims[0] not in FP8_FA3_DIMS:
                    continue
                types = {**types, "dtype_q": _dtype(store)}  # fa3 has no mixed precision: the query is cast
            yield "gen_batch_prefill_module", {"backend": backend, **types, **shape, "use_fp16_qk_reduction": False}


def _dtype_pairs(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for query in options["dtypes"]:
        for store in dict.fromkeys((query, *options["kv_dtypes"])):
            yield query, store


def _dtype(name: str) -> Any:
    """Return the torch dtype that FlashInfer's module names call `name` ("bf16", "e4m3")."""
    utils: Any = importlib.import_module("flashinfer.jit.utils")
    return next(dtype for dtype, text in utils.filename_safe_dtype_map.items() if text == name)


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
        modules.append(ninja.Module(family, spec.name, Path(spec.ninja_path), request["costs"], moved=moved))
    manifest: dict[str, Any] = ninja.write_build(
        modules,
        state,
        jobs=request["jobs"],
        budget_mib=request["memory_bytes"] >> 20,
        gated=request.get("gated", False),
    )
    return manifest


def main(argv: list[str]) -> int:
    """Run one of the two commands of the module's docstring."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here]
    if argv[0] == "wheel":
        print(make_wheel(Path(argv[1]), Path(argv[2])))
    else:
        request = json.loads(Path(argv[1]).read_text())
        Path(request["manifest"]).write_text(json.dumps(make_modules(request), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
