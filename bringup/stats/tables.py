"""`invoke stats`: a target's steps, its worst units and what was reused, from its records."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bringup.building.unit_history import Unit, read_units
from bringup.errors import UsageError
from bringup.report import duration, wrapped
from bringup.stats.critical import ONE_UNIT, Critical, critical
from bringup.stats.runs import PARTS, Run, StepRun, read_run
from bringup.system.fs import read_json
from bringup.system.layout import Layout

WORST = 10
LONG = 56  # characters of a name that a table shows whole


def find_target(build: Path, *, target: str = "", gpu: str = "", cuda: str = "") -> str:
    """Return the target that is meant, one that something was built for.

    Args:
        build: the build directory.
        target: its id, or "" if the GPU says it or there is only one.
        gpu: name of its GPU.
        cuda: its CUDA release, "13.0".

    Raises:
        UsageError: there is no such build, or several.
    """
    built = sorted(path.parent.name for path in build.glob("*/records") if any(path.glob("*.json")))
    built = sorted({*built, *(path.parent.name for path in build.glob("*/run.json"))})
    release = f"-cu{cuda.replace('.', '')}-" if cuda else ""
    fits = [name for name in built if not gpu or name.startswith((f"{gpu}-cu", f"{gpu}-cp"))]
    fits = [name for name in fits if release in name and (not target or name == target)]
    asked = " ".join(filter(None, (target, gpu, f"CUDA {cuda}" if cuda else "")))
    if not fits:
        msg = f"{build}: no build{f' of {asked}' if asked else ''} is recorded here"
        known = f"there are builds of {', '.join(built)}; " if built else ""
        raise UsageError(msg, hint=f"{known}invoke build makes one, --build-dir names another folder")
    if len(fits) > 1:
        msg = f"{build}: builds of several targets are recorded here: {', '.join(fits)}"
        raise UsageError(msg, hint="name one with --target")
    return fits[0]


def last_bound_lines(layout: Layout) -> list[str]:
    """Return the critical path of a target's last run and what bounded it; nothing without a record of it."""
    run = read_run(layout.run)
    return bound_lines(_critical(critical(run, units_of(layout, run)))) if run else []


def units_of(layout: Layout, run: Run) -> list[Unit]:
    """Return the compiled units of a run."""
    return list(read_units(layout.units, run=run.units)) if run.units else []


def bound_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the critical path and what bounded it, for people; of steps only those that took some time."""
    path = [step for step in found["path"] if step["seconds"] >= 0.05]
    if not path:
        return []
    steps = ", ".join(f"{step['step'].replace(':', ' ')} {duration(step['seconds'])}" for step in path)
    shares = sorted(found["shares"].items(), key=lambda one: -one[1])
    parts = ", ".join(f"{cause} {duration(seconds)}" for cause, seconds in shares)
    alone = f" ({found['unit']}, {duration(found['unit_seconds'])} alone)" if found["bound"] == ONE_UNIT else ""
    bound = f"{found['bound']}{alone}: {parts}"
    return [*wrapped("  critical path: ", steps), *wrapped("  bounded by:    ", bound)]


def document(layout: Layout) -> dict[str, Any]:
    """Return what `stats --json` prints."""
    run = read_run(layout.run)
    plan = read_json(layout.root / "plan.json")
    planned = plan.get("steps", []) if isinstance(plan, dict) else []
    last = {unit.key: unit for unit in read_units(layout.units)}
    found = critical(run, units_of(layout, run)) if run else None
    steps = _steps(layout, run)
    decisions = [str(step.get("decision", "")) for step in planned]
    return {
        "schema": 1,
        "target": layout.target,
        "run": _run(run) if run else None,
        "steps": steps,
        "worst_by_time": _worst(last.values(), lambda unit: unit.wall),
        "worst_by_memory": _worst(last.values(), lambda unit: unit.rss_kib),
        "reuse": {name: decisions.count(name) for name in ("run", "reuse", "skip")} | _cache(steps),
        "critical": _critical(found) if found else None,
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "date": datetime.datetime.fromtimestamp(run.started, datetime.UTC).isoformat(timespec="seconds"),
        "stack": run.stack,
        "seconds": run.seconds,
        "outcome": run.outcome,
        "jobs": run.jobs,
        "memory_mib": run.memory_mib,
    }


def _critical(found: Critical) -> dict[str, Any]:
    return {
        "path": [{"step": step.step, "seconds": step.seconds} for step in found.path],
        "seconds": round(found.seconds, 2),
        "bound": found.bound,
        "shares": dict(found.shares),
        "unit": found.unit,
        "unit_seconds": found.unit_seconds,
    }


def _steps(layout: Layout, run: Run | None) -> list[dict[str, Any]]:
    """Return a row for each step that was ever finished, and for what failed in the last run; newest last."""
    rows = []
    bad = {step.step: step for step in run.steps if step.outcome != "done"} if run else {}
    for path in layout.records.glob("*.json"):
        record = read_json(path)
        if isinstance(record, dict) and "seconds" in record and record.get("step") not in bad:
            rows.append(_row(record, run.jobs if run else 0))
    rows.sort(key=lambda row: str(row["date"]))
    return [*rows, *(_ended(step, run.jobs if run else 0) for step in bad.values())]


def _row(record: Mapping[str, Any], jobs: int) -> dict[str, Any]:
    facts = record.get("facts") or {}
    units = facts.get("units") or {}
    seconds, tools = float(record["seconds"]), record.get("tool_seconds")
    network, unpacking = record.get("download_seconds"), record.get("unpack_seconds")
    others = [part for part in (tools, network, unpacking) if part is not None]
    # Commands that a hook starts in threads of its own are seen through their units only.
    known = [float(one["cpu_seconds"]) for one in (record, units) if "cpu_seconds" in one]
    cpu = max(known) if known else None
    jobs = int(facts.get("jobs") or jobs)
    cache = facts.get("compiler_cache") or {}
    return {
        "step": record["step"],
        "outcome": "done",
        "date": record.get("date", ""),
        "seconds": seconds,
        "tool_seconds": tools,
        "download_seconds": network,
        "unpack_seconds": unpacking,
        "own_seconds": None if tools is None else round(max(0.0, seconds - sum(map(float, others))), 2),
        "cpu_seconds": cpu,
        "cores_busy": round(cpu / (seconds * jobs), 3) if cpu is not None and seconds and jobs else None,
        "peak_mib": units.get("peak_mib"),
        "together_mib": units.get("together_mib"),
        "compiled": units.get("count", 0),
        "cache": {key: cache.get(key, 0) for key in ("hits", "misses")} if cache else None,
    }


def _ended(step: StepRun, jobs: int) -> dict[str, Any]:
    """Return the row of a step that failed or was stopped."""
    date = datetime.datetime.fromtimestamp(step.end, datetime.UTC).isoformat(timespec="seconds")
    known = {"step": step.step, "seconds": round(step.seconds, 2), "date": date}
    row = _row(known | {name: getattr(step, name) for name in PARTS}, jobs)
    return row | {"outcome": step.outcome}


def _cache(steps: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    found = [step["cache"] for step in steps if step["cache"]]
    return {f"compiler_{key}": sum(int(one[key]) for one in found) for key in ("hits", "misses")}


def _worst(units: Any, by: Any) -> list[dict[str, Any]]:
    return [
        {
            "unit": unit.key,
            "seconds": round(unit.wall, 2),
            "cpu_seconds": round(unit.cpu, 2),
            "peak_mib": unit.rss_kib >> 10,
            "waited_seconds": round(unit.wait, 2),
            "waited_for": unit.why,
        }
        for unit in sorted(units, key=by, reverse=True)[:WORST]
    ]


def lines(found: Mapping[str, Any]) -> list[str]:
    """Return what `stats` prints of its document."""
    run, reuse = found["run"], found["reuse"]
    out = [found["target"]]
    if run:
        state = {"running": "running, or killed"}.get(run["outcome"], run["outcome"])
        limits = f"{run['jobs']} jobs, {run['memory_mib'] / 1024:.1f} GiB of memory"
        date = str(run["date"]).replace("T", " ").replace("+00:00", " UTC")
        out.append(f"  last run {date}: {state}, {duration(run['seconds'])}, {limits}")
        out += bound_lines(found["critical"])
    head = ("wall", "tools", "network", "unpacking", "own", "cpu", "busy", "peak", "units")
    width = max((len(row["step"]) for row in found["steps"]), default=4)
    out.append(f"  {'step':<{width}}" + "".join(f"{name:>13}" for name in head))
    out += [_line(row, width) for row in found["steps"]]
    for title, key in (("longest units", "worst_by_time"), ("largest units", "worst_by_memory")):
        if found[key]:
            out += ["", f"  {title}"]
        for unit in found[key]:
            package, source, output = unit["unit"].split("|", 2)
            figures = f"{duration(unit['seconds']):>12}  {unit['peak_mib'] / 1024:5.1f} GiB"
            out.append(f"  {figures}  {package}: {_short(source or output)}")
    out += ["", f"  last plan: {reuse['run']} to run, {reuse['reuse']} reused, {reuse['skip']} not needed"]
    if reuse["compiler_hits"] + reuse["compiler_misses"]:
        out.append(f"  compiler cache: {reuse['compiler_hits']} hits, {reuse['compiler_misses']} misses")
    return out


def _short(path: str) -> str:
    """Return a path for a table; long names in it, as generators make them, are shown without their middle."""
    return "/".join(name if len(name) <= LONG else f"{name[:20]}...{name[-10:]}" for name in path.split("/"))


def _line(row: Mapping[str, Any], width: int) -> str:
    busy = "" if row["cores_busy"] is None else f"{row['cores_busy']:.0%}"
    peak = "" if row["peak_mib"] is None else f"{row['peak_mib'] / 1024:.1f} GiB"
    keys = ("seconds", "tool_seconds", "download_seconds", "unpack_seconds", "own_seconds", "cpu_seconds")
    times = ["" if row[key] is None else duration(row[key]) for key in keys]
    cells = "".join(f"{text:>13}" for text in (*times, busy, peak, str(row["compiled"] or "")))
    return f"  {row['step']:<{width}}{cells}{'' if row['outcome'] == 'done' else '  ' + row['outcome']}".rstrip()
