"""Loads recipes/<package>.py and gives it what it may use."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from bringup.building.hook_files import hook_file
from bringup.context import Context
from bringup.errors import BuildError, ConfigError
from bringup.model.hooks import HookContext, Progress
from bringup.model.plan import Package, Step
from bringup.planning.resolve import arch_lists
from bringup.system import process
from bringup.system.fs import make_dir


def load_hook(data: Path, package: str) -> ModuleType:
    """Import a hook module.

    Raises:
        ConfigError: it cannot be imported or has no `build`.
    """
    path = hook_file(data, package)
    name = f"bringup_recipe_{package.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        msg = f"{path}: no such hook"
        raise ConfigError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        msg = f"{path}: {type(exc).__name__}: {exc}"
        raise ConfigError(msg) from exc
    if not hasattr(module, "build"):
        msg = f"{path}: a hook defines build(ctx)"
        raise ConfigError(msg)
    return module


def make_hook_context(
    package: Package, step: Step, ctx: Context, *, out: Path, env: Mapping[str, str], jobs: int
) -> HookContext:
    """Return what the hook of `package` may use in this step."""
    log = ctx.layout.log(step.id)

    def run(
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        what: str = "",
        on_line: Callable[[str], None] | None = None,
        check: bool = True,
    ) -> Any:
        whole = {**step_env, **(env or {})}
        return process.run(
            argv, env=whole, cwd=cwd, log=log, check=check, error=BuildError, what=what, on_line=on_line
        )  # fmt: skip

    def message(text: str) -> None:
        make_dir(log.parent)
        with log.open("a") as sink:
            sink.write(f"# {text}\n")

    def progress(value: Progress) -> None:
        ctx.reporter.progress(step, value)

    step_env = dict(env)
    target = ctx.plan.target
    return HookContext(
        package=package.name,
        version=package.version,
        source=ctx.layout.source(package.name),
        work=make_dir(ctx.layout.work(package.name) / "build"),
        out=out,
        python=ctx.layout.build_env(package.name, step.fingerprint) / "bin/python",
        env=step_env,
        cuda=target.cuda.version,
        local=target.local,
        arch=arch_lists(target.gpu, ctx.plan.packages),
        options=package.options,
        jobs=jobs,
        memory_bytes=ctx.memory_bytes,
        platform_tag=target.platform_tag,
        run=run,
        progress=progress,
        message=message,
    )
