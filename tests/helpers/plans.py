"""Plans of small data folders as text that is compared with what is expected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bringup.config.catalogue import load_catalogue
from bringup.config.lockfile import read_lock
from bringup.model.plan import Package, Plan, Request, Target
from bringup.planning.known import Tool, Toolchain
from bringup.planning.planner import make_plan
from bringup.planning.resolve import file_hash, resolve_packages
from bringup.planning.target import resolve_target
from helpers.data_root import Recipe, write_data

READY = Toolchain(
    python=Tool(identity="cp311", ready=True, why="python here"),
    gcc=Tool(identity="gcc-1", ready=True, why="gcc here"),
    cuda=Tool(identity="cuda-1", ready=True, why="cuda here"),
)


class Known:
    """What is there already: wheels by fingerprint, builds by package, finished steps."""

    def __init__(self) -> None:
        self.wheels: dict[str, str] = {}
        self.builds: dict[str, tuple[Mapping[str, Any], float]] = {}
        self.steps: dict[str, str] = {}
        self.interfaces: dict[str, str] = {}
        self.headers: dict[str, dict[str, str]] = {}

    def changed_headers(self, fingerprint: str) -> Mapping[str, str]:
        return self.headers.get(fingerprint, {})

    def interface(self, fingerprint: str) -> str:
        return self.interfaces.get(fingerprint, "")

    def wheel(self, fingerprint: str) -> tuple[bool, str]:
        problem = self.wheels.get(fingerprint)
        return problem == "", problem or ""

    def last_build(self, package: str) -> tuple[Mapping[str, Any], float] | None:
        return self.builds.get(package)

    def done(self, step_id: str, fingerprint: str) -> bool:
        return self.steps.get(step_id) == fingerprint

    def carry_out(self, plan: Plan) -> None:
        """Become what is there after this plan."""
        for name, fingerprint in plan.fingerprints.items():
            self.wheels[fingerprint] = ""
            self.builds[name] = (plan.inputs[name], 1.0)
        for step in plan.steps:
            self.steps[step.id] = step.fingerprint


class World:
    """A data folder with its state; `plan` makes a plan of it as it is now."""

    def __init__(self, folder: Path, *recipes: Recipe, **values: Any) -> None:
        self.data = write_data(folder, *recipes, **values)
        self.known = Known()
        self.tools = READY
        self.hooks: dict[str, list[str]] = {}

    def resolve(self, request: Request, *, missing: tuple[str, ...] = ()) -> tuple[Target, dict[str, Package], Any]:
        catalogue = load_catalogue(self.data)
        target, stack = resolve_target(request, catalogue, gpu=catalogue.gpu(request.gpu), machine="x86_64")
        hashes = {path: file_hash(path) for path in (self.data / "patches").rglob("*.patch")}
        absent = dict.fromkeys(missing, "is not here")
        packages = resolve_packages(request, catalogue, target, stack, patch_hash=hashes, missing_tools=absent)
        return target, packages, stack

    def plan(self, *, missing: tuple[str, ...] = (), **asked: Any) -> Plan:
        request = Request(gpu="h200", **asked)
        target, packages, stack = self.resolve(request, missing=missing)
        lock = read_lock(self.data / "recipes/stacks/tiny.lock") if stack.lock else None
        return make_plan(
            request, target, stack, packages, toolchain=self.tools, lock=lock, hooks=self.hooks, state=self.known
        )

    def change(self, file: str, old: str, new: str) -> None:
        path = self.data / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))


def shown(plan: Plan, *, why: bool = False) -> str:
    """Return a plan as lines "decision package:phase", with reasons if asked for."""
    return "\n".join(f"{step.decision} {step.id}" + (f": {step.why}" if why else "") for step in plan.steps)
