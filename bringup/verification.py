"""What `verify`, `shell`, `env` and `diagnose` need of an environment that is there already."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bringup.config.catalogue import Catalogue, load_catalogue
from bringup.config.near import nearest
from bringup.engine import take_ready_tools
from bringup.errors import BringupError, InstallError, UsageError, VerifyError
from bringup.formats.distribution_name import plain
from bringup.formats.wheel import WheelName
from bringup.model.plan import Decision, Phase, Request, Step
from bringup.model.verify import Level, LevelName, Status, level_from_checks
from bringup.output import print_json
from bringup.phases import verify
from bringup.report import Silent, level_lines
from bringup.session import Session, open_session
from bringup.system.fs import read_json
from bringup.system.layout import Layout, Settings
from bringup.system.runlock import run_lock
from bringup.verify.levels import prompt_file
from bringup.verify.native_code import NativeCode
from bringup.verify.static import check_wheel_static


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """Outcome of `verify`: its levels, where the evidence is, and the error to end with, if any."""

    target: str
    levels: tuple[Level, ...]
    path: Path
    document: Any
    error: BringupError | None


# Tokens that level sglang decodes for a prompt (TOKENS of its script, which does not load outside its environment).
TOKENS = 64


def verify_environment(request: Request, settings: Settings, flags: Mapping[str, Any]) -> Verification:
    """Run the levels that the flags ask for on the environment in force.

    Raises:
        InstallError: the plan's environment is not installed.
        UsageError: a flag's value cannot be read.
    """
    session = open_session(request, settings, Silent())
    step = installed_step(session)
    ctx = session.context
    options = options_from(flags)
    error: BringupError | None = None
    with run_lock(ctx.layout.root):
        take_ready_tools(ctx)
        started = time.monotonic()
        try:
            outcome = verify.run(step, ctx, options)
        except VerifyError as exc:
            error = exc
        else:
            if options.complete and not options.variables:
                session.state.finish(step, outcome, time.monotonic() - started)
    levels = verify.levels_of(ctx.layout.verify_json, step.fingerprint)
    wanted = options.levels or tuple(LevelName)
    return Verification(
        target=ctx.plan.target.id,
        levels=tuple(level for level in levels if level.level in wanted),
        path=ctx.layout.verify_json,
        document=read_json(ctx.layout.verify_json),
        error=error,
    )


def installed_step(session: Session) -> Step:
    """Return the verify step of an environment that is installed.

    Raises:
        InstallError: the environment of this plan is not there.
    """
    install = session.plan.step(f"environment:{Phase.INSTALL}")
    if install.decision is not Decision.REUSE:
        msg = f"the environment of {session.plan.target.id} (stack {session.plan.stack.name}) is not installed"
        gpu = session.plan.target.gpu.name
        raise InstallError(msg, hint=f"invoke build --gpu {gpu} --stack {session.plan.stack.name}")
    return session.plan.step(f"environment:{Phase.VERIFY}")


def options_from(flags: Mapping[str, Any]) -> verify.Options:
    """Read the options of verification.

    Raises:
        UsageError: an unknown level or a variable without a value.
    """
    levels = tuple(_level(name) for name in flags.get("level") or ())
    variables = {}
    for pair in flags.get("set_env") or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            msg = f"--set-env {pair}: wants the form NAME=VALUE"
            raise UsageError(msg)
        variables[name] = value
    sglang = sglang_arguments(flags)
    common = ["--harvest"] if flags.get("harvest") else []
    if flags.get("time_limit"):
        common += ["--time-limit", str(flags["time_limit"])]
    jit = ["--allow-jit"] if flags.get("allow_jit") else []
    arguments = {
        LevelName.TORCH: common,
        LevelName.FLASHINFER: [*common, *jit],
        LevelName.SGLANG: [*common, *jit, *sglang],
    }
    require = _level(flags["require"]) if flags.get("require") else None
    if require and levels and require not in levels:
        levels = (*levels, require)
    return verify.Options(
        levels=levels, require=require, arguments=arguments, variables=variables, harvest=bool(flags.get("harvest"))
    )


def sglang_arguments(flags: Mapping[str, Any]) -> list[str]:
    """Return what level sglang's script is told, with paths that hold in another working directory.

    Raises:
        UsageError: a checkpoint or its prompts cannot be used, or one of the two is missing.
    """
    given = {name: Path(flags[name]).expanduser().absolute() for name in ("model", "prompts") if flags.get(name)}
    if len(given) == 1:
        msg = f"--{next(iter(given))} wants {'--prompts' if 'model' in given else '--model'} with it"
        raise UsageError(msg, hint="a checkpoint needs prompts, JSON lines with `ids` or `text`")
    if given:
        try:
            prompt_file.check(given["model"], given["prompts"], TOKENS)
        except ValueError as exc:
            raise UsageError(str(exc)) from None
    ranges = {
        "tp": (0, math.inf, "a number of GPUs"),
        "mem_fraction_static": (0, 1, "a share of the GPU's memory, 0.5"),
        "cuda_graph_max_bs": (0, math.inf, "a batch size"),
    }
    for name, (least, most, what) in ranges.items():
        if not least <= flags.get(name, 0) <= most:  # false for NaN too
            raise UsageError(f"--{name.replace('_', '-')} {flags[name]}: wants {what}")
    told: dict[str, Any] = {**flags, **given}
    arguments: list[str] = []
    for flag in ("model", "prompts", "tp", "mem_fraction_static", "cuda_graph_max_bs"):
        if told.get(flag):
            arguments += [f"--{flag.replace('_', '-')}", str(told[flag])]
    return arguments


def _level(name: str) -> LevelName:
    try:
        return LevelName(name)
    except ValueError:
        near = nearest(name, [str(level) for level in LevelName])
        msg = f"unknown level {name!r}; known: {', '.join(LevelName)}"
        raise UsageError(msg, hint=f"did you mean {near}?" if near else "") from None


def verify_wheel(request: Request, settings: Settings, wheel: Path, *, json: bool) -> int | None:
    """Examine one wheel file against the GPU's machine code.

    Raises:
        VerifyError: a check fails.
        UsageError: there is no such file, or no --gpu to compare with.
    """
    if not wheel.is_file():
        msg = f"--wheel {wheel}: no such file"
        raise UsageError(msg)
    if not request.gpu:
        msg = "verify --wheel needs --gpu, to know which machine code the wheel should hold"
        raise UsageError(msg)
    catalogue = load_catalogue(settings.data)
    gpu = catalogue.gpu(request.gpu)
    rules = wheel_rules(catalogue, wheel, gpu.machine_code.exact, gpu.machine_code.any)
    checks = check_wheel_static(wheel, rules)
    level = level_from_checks(LevelName.STATIC, checks, seconds=0.0)
    if json:
        print_json({"schema": 1, "wheel": wheel.name, "level": level})
    else:
        print("\n".join([wheel.name, *level_lines([level])]))
    if level.status is Status.FAIL:
        # The table has told the causes.
        raise VerifyError(level.why if json else f"{wheel.name} fails level static", hint="build it anew for this GPU")
    return None


def wheel_rules(catalogue: Catalogue, wheel: Path, exact: str, native: tuple[str, ...]) -> list[NativeCode]:
    """Return what the recipe of a wheel promises; every library must run on the GPU if no recipe knows the wheel."""
    name = plain(WheelName.parse(wheel.name).distribution)
    for recipe in catalogue.recipes.values():
        if name in {plain(one) for one in (recipe.distribution, *recipe.extra_distributions)}:
            top = name.replace("-", "_")
            rules = [
                rule for rule in recipe.native_code if len(recipe.extra_distributions) == 0 or rule.glob.startswith(top)
            ]
            return [
                NativeCode(
                    glob=rule.glob, archs=(exact,) if rule.code == "exact" else native, exempt=rule.exempt, why=rule.why
                )
                for rule in rules
            ]
    return [NativeCode(glob="**/*.so", archs=native)]


def environment_variables(request: Request, settings: Settings) -> dict[str, str]:
    """Return the variables of the target's environment, for a shell.

    Raises:
        InstallError: it is not installed.
    """
    session = open_session(request, settings, Silent())
    installed_step(session)
    ctx = session.context
    take_ready_tools(ctx)
    place = ctx.layout.env
    variables = {
        "BRINGUP_TARGET": ctx.plan.target.id,
        "VIRTUAL_ENV": str(place),
        "PATH": f"{place}/bin",
        "CC": f"{place}/bin/gcc",
        "CXX": f"{place}/bin/g++",
        "CUDAHOSTCXX": f"{place}/bin/g++",
        "PIP_CONSTRAINT": f"{place}/constraints.txt",
        "UV_CONSTRAINT": f"{place}/constraints.txt",
    }
    if ctx.plan.target.gpu.accelerator:
        variables["TORCH_CUDA_ARCH_LIST"] = ctx.plan.target.gpu.arch["torch"]
        variables["FLASHINFER_CUDA_ARCH_LIST"] = ctx.plan.target.gpu.arch["flashinfer"]
    for package in ctx.plan.packages.values():
        variables |= package.recipe.run_env
    if ctx.tools.cuda:
        variables["CUDA_HOME"] = str(ctx.tools.cuda.root)
    return variables


def last_failed_log(settings: Settings) -> Path:
    """Return the log of the step that failed last; without such a step the log that was written last.

    Raises:
        UsageError: there is no log.
    """
    failures = sorted(settings.build.glob("*/failure.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in failures:
        known = read_json(path)
        log = known.get("log") if isinstance(known, dict) else None
        if isinstance(log, str) and log and Path(log).is_file():
            return Path(log)
    logs = sorted(settings.build.glob("*/logs/*.log"), key=lambda path: path.stat().st_mtime)
    if not logs:
        msg = f"no log below {settings.build}"
        raise UsageError(msg, hint="--build-dir names another folder")
    return logs[-1]


def facts_of_target(flags: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    """Return what is known of the target: of the one named, else of the one built last; nothing if there is none."""
    plans = sorted(settings.build.glob("*/plan.json"), key=lambda path: path.stat().st_mtime)
    facts: dict[str, str] = {}
    for path in reversed(plans):
        document = read_json(path)
        if isinstance(document, dict) and (not flags.get("gpu") or document["target"].startswith(f"{flags['gpu']}-")):
            facts = _facts_of(Layout(build=settings.build, target=document["target"], cache=settings.cache), document)
            break
    if flags.get("gpu"):
        facts["gpu"] = flags["gpu"]
    if flags.get("stack"):
        facts["stack"] = flags["stack"]
    return facts


def _facts_of(layout: Layout, document: Mapping[str, Any]) -> dict[str, str]:
    gpu, cuda, rest = layout.target.rpartition("-cu")
    digits = rest.partition("-")[0]
    if not cuda:  # cpu-cp311
        gpu = rest.partition("-")[0]
    return {
        "target": layout.target,
        "gpu": gpu,
        **({"cuda": f"{digits[:-1]}.{digits[-1]}"} if cuda else {}),
        "stack": str(document["stack"]),
        **document.get("versions", {}),
    }
