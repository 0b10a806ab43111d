"""`invoke list`: what the data files hold, as short tables or JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bringup.config.catalogue import Catalogue
from bringup.model.gpu import Gpu

NO_CUDA = "no CUDA"


def rows(catalogue: Catalogue, kind: str) -> list[dict[str, Any]]:
    """Return one row for each thing of a kind."""
    return KINDS[kind](catalogue)


def tables(catalogue: Catalogue, kinds: Sequence[str]) -> list[str]:
    """Return one table for each kind."""
    out = []
    for kind in kinds:
        found = [{key: _text(value) for key, value in row.items()} for row in rows(catalogue, kind)]
        widths = {key: max(len(row[key]) for row in found) for key in found[0]} if found else {}
        lines = [kind]
        for row in found:
            lines.append("  " + "  ".join(text.ljust(widths[key]) for key, text in row.items()).rstrip())
        out.append("\n".join(lines))
    return out


def _text(value: Any) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _recipes(catalogue: Catalogue) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "versions": [version.version for version in one.versions], "summary": one.summary}
        for one in catalogue.recipes.values()
    ]


def _stacks(catalogue: Catalogue) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "cuda": [f"CUDA {name}" for name in one.cuda] if one.accelerator else [NO_CUDA],
            "title": one.title,
        }
        for one in catalogue.stacks.values()
    ]


def _gpus(catalogue: Catalogue) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "capability": one.capability if one.accelerator else "",
            "code": one.machine_code.exact if one.accelerator else "",
            "cuda": _range(one) if one.accelerator else NO_CUDA,
            "stack": one.stack,
            "title": one.title,
        }
        for one in catalogue.gpus.values()
    ]


def _range(gpu: Gpu) -> str:
    return f"CUDA {gpu.cuda.min}" + (f" to before {gpu.cuda.before}" if gpu.cuda.before else " or newer")


def _toolchains(catalogue: Catalogue) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for release in catalogue.cuda.values():
        ways = [name for name in ("system", "wheels", "debs") if getattr(release.providers, name) is not None]
        limits = f"gcc {release.host.gcc_min} to {release.host.gcc_max}, driver {release.driver_compat} or newer"
        found.append({"name": f"cuda {release.version}", "exact": release.release, "from": ways, "limits": limits})
    for python in catalogue.pythons.values():
        found.append(
            {"name": f"python {python.version}", "exact": python.uv, "from": ["system", "uv", "debs"], "limits": ""}
        )
    for gcc in catalogue.gccs.values():
        found.append(
            {"name": f"gcc {gcc.version}", "exact": str(gcc.version), "from": ["system", "debs"], "limits": ""}
        )
    return found


KINDS: dict[str, Callable[[Catalogue], list[dict[str, Any]]]] = {
    "stacks": _stacks,
    "recipes": _recipes,
    "gpus": _gpus,
    "toolchains": _toolchains,
}
