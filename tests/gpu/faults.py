#!/usr/bin/env python3
"""Inject every fault of faults.toml on a node and see whether verification names its true cause.

    python3 tests/gpu/faults.py --root ~/h200 --files FOLDER --out OUT [--only ID]

ROOT is an installed bundle, FOLDER holds the faulty libraries (see faulty_kernels.py). OUT gets faults.json, which
also lets an interrupted run go on, and for each fault its scrubbed log and the levels of its verify.json. Needs
nothing but Python 3.11 and its standard library. Ends with 0 if every fault was found as expected, else with 9.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_world import Changes, memory_holder, scrub, toolkit_without

FAULTS = Path(__file__).with_name("faults.toml")
TOOLKITS = ("/usr/local/cuda-13.0", "/usr/local/cuda")
KEPT_OF_A_LOG = 24_000


@dataclass(frozen=True, kw_only=True)
class Node:
    """Where things are.

    Attributes:
        command: how bringup is started.
        target: build/<target> of the installation.
        files: folder of the faulty libraries.
        out: where results go.
        cuda: the node's CUDA toolkit.
        limit_s: seconds that one verification may take.
    """

    command: tuple[str, ...]
    target: Path
    files: Path
    out: Path
    cuda: Path
    limit_s: float

    @property
    def site(self) -> Path:
        """site-packages of the environment in force."""
        return next((self.target / "env").resolve().glob("lib/python3.*/site-packages"))

    @property
    def work(self) -> Path:
        """Folder for homes, the toolkit without a header and files put aside; on the environment's file system."""
        return self.target / "faults"


def judge(fault: Mapping[str, Any], exit_code: int, levels: Sequence[Mapping[str, Any]], console: str) -> list[str]:
    """Return in what way a verification did not do what is expected of it."""
    by_name = {level["level"]: level for level in levels}
    problems = [f"level {name} did not run" for name in fault["levels"] if name not in by_name]
    for name in fault.get("failing", fault["levels"]):
        status = by_name.get(name, {}).get("status")
        if status != fault["expect"]:
            problems.append(f"level {name} is {status} and not {fault['expect']}")
    wanted = 9 if fault["expect"] == "FAIL" else 0
    if exit_code != wanted:
        problems.append(f"exit code {exit_code} and not {wanted}")
    checks = [check for level in levels for check in level["checks"]]
    for named in fault.get("named", ()):
        if not any(told(check, named) for check in checks):
            problems.append(f"no {named.get('status', 'FAIL')} of {named['id']} says {named['why']!r}")
    unnamed = [check["id"] for check in checks if check["status"] == "FAIL" and "Not a known failure" in check["why"]]
    if unnamed:
        problems.append(f"failures without a cause: {', '.join(unnamed[:5])}")
    if "Traceback (most recent call last)" in console:
        problems.append("the console shows a stack trace")
    return problems


def told(check: Mapping[str, Any], named: Mapping[str, str]) -> bool:
    """Whether a check is the one that has to name the cause, and names it."""
    return (
        check["status"] == named.get("status", "FAIL")
        and re.fullmatch(named["id"], check["id"]) is not None
        and re.search(named["why"], check["why"]) is not None
    )


def filled(value: str, node: Node) -> str:
    """Fill in the places of the toolkits; the one without a header is made when it is first wanted."""
    if "{toolkit}" in value and not (node.work / "toolkit").exists():
        toolkit_without(node.cuda, "cuda_fp8.h", node.work / "toolkit")
    return value.replace("{toolkit}", str(node.work / "toolkit")).replace("{cuda}", str(node.cuda))


def verify(fault: Mapping[str, Any], more: Sequence[str], node: Node) -> tuple[int, str, list[dict[str, Any]]]:
    """Run one verification in a new home folder; returns exit code, console, and its levels."""
    home = node.work / "home"
    shutil.rmtree(home, ignore_errors=True)
    (home / "tmp").mkdir(parents=True)
    argv = [*node.command, *(word for level in fault["levels"] for word in ("--level", level))]
    argv += [*fault.get("flags", ()), *more]
    for name, value in fault.get("set_env", {}).items():
        argv += ["--set-env", f"{name}={filled(value, node)}"]
    env = {**os.environ, "HOME": str(home), "TMPDIR": str(home / "tmp"), **fault.get("inherit", {})}
    if "PYTHONPATH" not in fault.get("inherit", {}):
        env.pop("PYTHONPATH", None)
    file = node.target / "verify.json"
    file.unlink(missing_ok=True)
    done = subprocess.run(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        text=True, errors="replace", timeout=node.limit_s, check=False,
    )  # fmt: skip
    known = json.loads(file.read_text()) if file.exists() else {"levels": []}
    return done.returncode, done.stdout, [level for level in known["levels"] if level["level"] in fault["levels"]]


def run_fault(fault: Mapping[str, Any], node: Node) -> dict[str, Any]:
    """Inject one fault, verify, put everything back; returns the entry of faults.json."""
    started = time.monotonic()
    changes = Changes(node.site, node.work / "aside")
    file = node.target / "verify.json"
    kept = file.read_bytes() if file.exists() else None
    entry: dict[str, Any] = {"id": fault["id"], "title": fault["title"], "expect": fault["expect"], "attempts": []}
    try:
        changes.apply(fault, node.files)
        for more in fault.get("attempts", [[]]):
            with memory_holder(node.target / "env/bin/python", fault.get("holder_leaves_gib")):
                code, console, levels = verify(fault, more, node)
            problems = judge(fault, code, levels, console)
            entry["attempts"].append({"flags": more, "exit": code, "problems": problems})
            if not problems:
                break
        entry |= {"exit": code, "problems": problems, "levels": {one["level"]: one["status"] for one in levels}}
        entry["told"] = [
            {"check": check["id"], "status": check["status"], "why": check["why"][:600]}
            for level in levels for check in level["checks"] if check["status"] != "OK"
        ][:12]  # fmt: skip
        keep_logs(fault["id"], console, levels, node)
    except (OSError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
        entry |= {"problems": [f"the fault could not be injected or verified: {type(error).__name__}: {error}"]}
    finally:
        changes.undo()
        if kept is not None:
            file.write_bytes(kept)
    entry["seconds"] = round(time.monotonic() - started, 1)
    return entry


def keep_logs(name: str, console: str, levels: Sequence[dict[str, Any]], node: Node) -> None:
    """Write what the user saw, the levels' logs and documents, without names of this machine."""
    root = next((one for one in node.target.parents if one.name == "build"), node.target).parent
    known = {
        str(node.work / "home"): "/home/user", str(node.work): "/node/faults", str(root): "/home/user/h200",
        str(root.resolve()): "/home/user/h200", str(Path.home()): "/home/user", platform.node(): "node",
        str(node.files): "/node/files",
    }  # fmt: skip
    text = [f"$ bringup verify   # {name}\n{console}"]
    for level in levels:
        log = node.target / "logs" / f"verify.{level['level']}.log"
        body = log.read_text("utf-8", "replace") if log.exists() else ""
        text.append(f"== log of level {level['level']}\n{middle_out(body, KEPT_OF_A_LOG)}")
        for check in level["checks"]:
            if check["status"] == "FAIL" and check.get("evidence", {}).get("log_tail"):
                text.append(f"== evidence of {check['id']}\n{check['evidence']['log_tail']}")
    (node.out / f"{name}.log").write_text(scrub("\n".join(text), known), encoding="utf-8")
    (node.out / f"{name}.json").write_text(scrub(json.dumps({"levels": levels}, indent=1), known), encoding="utf-8")


def middle_out(text: str, most: int) -> str:
    """Return text with its middle left out where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n... {len(text) - most} characters left out ...\n{text[-most // 2 :]}"


def document(entries: Sequence[Mapping[str, Any]], node: Node) -> dict[str, Any]:
    """Return faults.json."""
    smi = ["nvidia-smi", "--query-gpu=name,uuid,driver_version", "--format=csv,noheader"]
    try:
        gpus = subprocess.run(smi, capture_output=True, text=True, check=False, timeout=60).stdout.splitlines()
    except OSError:
        gpus = []
    return {
        "schema": 1,
        "name": "h200-faults",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"gpus": gpus, "cores": len(os.sched_getaffinity(0)), "system": platform.platform()},
        "versions": {"python": platform.python_version()},
        "command": "python3 tests/gpu/faults.py --root ~/h200 --files FOLDER --out OUT",
        "results": {"faults": list(entries)},
    }


def node_of(options: argparse.Namespace) -> Node:
    """Return the places that the options mean."""
    if options.command:
        command, target = tuple(shlex.split(options.command)), options.target
    else:
        root = options.root.expanduser().resolve()
        command, target = (str(root / "bin/bringup"), "verify"), next((root / "build").glob("*/env")).parent
    cuda = options.cuda or next((Path(one) for one in TOOLKITS if Path(one, "bin/nvcc").exists()), Path(TOOLKITS[0]))
    return Node(
        command=command, target=target.absolute(), files=options.files, out=options.out, cuda=cuda,
        limit_s=options.limit,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("~/h200"), help="an installed bundle (default %(default)s)")
    parser.add_argument("--command", help="instead of --root: the words that start `bringup verify`; wants --target")
    parser.add_argument("--target", type=Path, help="with --command: its build/<target>")
    parser.add_argument("--files", type=Path, required=True, help="folder of the faulty libraries")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cuda", type=Path, help="the node's CUDA toolkit")
    parser.add_argument("--only", action="append", default=[], help="id of a fault; may be repeated")
    parser.add_argument("--limit", type=float, default=240, help="seconds for one verification (default %(default)s)")
    parser.add_argument("--again", action="store_true", help="also those that an earlier run into OUT has found")
    options = parser.parse_args(argv)
    node = node_of(options)
    node.out.mkdir(parents=True, exist_ok=True)
    back = Changes(node.site, node.work / "aside").undo()
    if back:
        print(f"put back {back} files that an interrupted run had changed", flush=True)
    faults = tomllib.loads(FAULTS.read_text("utf-8"))["fault"]
    unknown = set(options.only) - {fault["id"] for fault in faults}
    if unknown:
        parser.error(f"unknown fault: {', '.join(sorted(unknown))}")
    summary = node.out / "faults.json"
    known = json.loads(summary.read_text())["results"]["faults"] if summary.exists() else []
    entries = {entry["id"]: entry for entry in known}
    for fault in faults:
        if options.only and fault["id"] not in options.only:
            continue
        if not options.again and entries.get(fault["id"], {}).get("problems") == []:
            continue
        entry = entries[fault["id"]] = run_fault(fault, node)
        ordered = [entries[one["id"]] for one in faults if one["id"] in entries]
        summary.write_text(json.dumps(document(ordered, node), indent=1) + "\n", encoding="utf-8")
        state = "not as expected: " + "; ".join(entry["problems"]) if entry["problems"] else "found as expected"
        print(f"{time.strftime('%H:%M:%S')} {fault['id']:<40} {entry['seconds']:>6.1f} s  {state}", flush=True)
    shutil.rmtree(node.work, ignore_errors=True)
    wrong = [name for name, entry in entries.items() if entry["problems"]]
    print(f"{len(entries) - len(wrong)} of {len(entries)} faults as expected")
    return 9 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
