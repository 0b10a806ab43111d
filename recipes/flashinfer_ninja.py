"""Ninja files for FlashInfer's modules: named units, heavy ones first and few at a time, finished modules left out.

Loaded by flashinfer_generate.py, which asks FlashInfer for the modules. Nothing here needs torch or FlashInfer.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

# ninja says when a unit is done and not when it starts; each command says that itself, into ninja's own output. Where a
# launcher makes compilers wait for memory, it is the launcher that says so, once the compiler starts.
START = (
    "export BRINGUP_START='@start $unit' BRINGUP_START_TO=/proc/$$PPID/fd/1; "
    '[ -n "$$BRINGUP_JOBS" ] || { echo "$$BRINGUP_START" >>"$$BRINGUP_START_TO"; } 2>/dev/null; '
)


def unit_cost(costs: Iterable[Mapping[str, Any]], source: str) -> tuple[float, int]:
    """Return (CPU seconds, peak MiB) of compiling `source` ("<folder>/<file>"), from the first row that matches."""
    for row in costs:
        if fnmatch.fnmatchcase(source, row["source"]):
            return float(row["cpu_seconds"]), int(row["memory_mib"])
    msg = f"the cost table has no row for {source}; its last row must be '*'"
    raise ValueError(msg)


def module_label(family: str, name: str) -> str:
    """Return what a person calls the module `name`: "prefill-fa3 bf16 hd128"."""
    pattern = r"dtype_q_(\w+?)_dtype_kv_(\w+?)_dtype_o_([a-z0-9]+)_.*?head_dim_qk_(\d+)_head_dim_vo_(\d+)"
    found = re.search(pattern, name)
    if not found:
        mla = re.match(r"batch_mla_attention_dtype_q_(\w+?)_dtype_kv", name)
        return f"mla-{'fa3' if name.endswith('_sm90') else 'fa2'} {mla[1]}" if mla and family == "mla" else name
    query, store, made, left, right = found.groups()
    types = (query if query == store else f"{query}/{store}") + ("" if made == query else f">{made}")
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
        # Until 0.3 outputs are relative to FlashInfer's cache folder, later they are absolute.
        text = ninja.read_text().replace("$name/$name.so", str(self.library)).replace(" $name/", f" {self.folder}/")
        for old, new in moved.items():
            for before in (" ", " -I", " -L"):
                text = text.replace(f"{before}{old}/", f"{before}{new}/")
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

    def finished(self, key: str) -> bool:
        """Whether the library is there and was linked from what `key` stands for."""
        stamp = self.library.with_name(self.library.name + ".key")
        return self.library.is_file() and stamp.is_file() and stamp.read_text().strip() == key

    def entry(self, *, done: bool) -> dict[str, Any]:
        """Return the module's entry of the manifest."""
        entry = {"name": self.name, "family": self.family, "label": self.label, "library": str(self.library)}
        return {**entry, "done": done, "units": self.units}

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


def write_build(
    modules: list[Module], state: Path, *, jobs: int, budget_mib: int, gated: bool = False
) -> dict[str, Any]:
    """Write one ninja build over all modules that are not finished, below `state`; return what the hook goes by.

    Args:
        modules: all modules.
        state: folder for the build.
        jobs: compilers at the same time.
        budget_mib: memory for all of them.
        gated: a launcher makes compilers wait for memory, so that pools are not needed to keep heavy units apart.
    """
    modules = sorted(modules, key=lambda module: -max(unit["cpu_seconds"] for unit in module.units))
    keys = {module.name: module.key(state) for module in modules}
    pending = [module for module in modules if not module.finished(keys[module.name])]
    sizes = [unit["memory_mib"] for module in pending for unit in module.units]
    limit, heavy, light = pool_depths(sizes, jobs=jobs, budget_mib=budget_mib)
    depths = (0, 0) if gated else (heavy, light)  # 0: no limit
    lines = ["ninja_required_version = 1.5", "builddir = .", "pool heavy", f"  depth = {depths[0]}"]
    lines += ["pool light", f"  depth = {depths[1]}"]
    for module in pending:
        path = module.folder / "units.ninja"
        write_if_changed(path, module.ninja_text(keys[module.name], limit))
        lines.append(f"subninja {path}")
    write_if_changed(state / "build.ninja", "\n".join(lines) + "\n")
    listed = [module.entry(done=module not in pending) for module in modules]
    return {"state": str(state), "heavy_mib": limit, "heavy_depth": heavy, "light_depth": light, "modules": listed}
