"""Phase verify: levels from static to a served model, each with evidence in verify.json."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bringup.context import Context, Outcome
from bringup.errors import VerifyError
from bringup.harvest_pack import harvest_check
from bringup.model.hooks import Progress
from bringup.model.plan import Step
from bringup.model.verify import Check, Level, LevelName, Status, VerifyReport, level_from_checks
from bringup.phases.verify_static import static_checks, wheel_hashes
from bringup.system import process
from bringup.system.environ import process_environment
from bringup.system.fs import make_dir, read_json, remove_tree, write_json
from bringup.system.gpus import Device, nvidia_smi, visible_devices
from bringup.verify import static
from bringup.verify.node_torch import read_note

LEVELS = Path(static.__file__).parent / "levels"
PREBUILT = "sglang-kernels"
RUN_TIME = ("triton", "inductor")  # compilers of Python kernels; their launchers are built at run time otherwise
WITHOUT_GPU = (LevelName.STATIC, LevelName.IMPORT)
SCRIPTS = {
    LevelName.TORCH: "torch_level.py",
    LevelName.FLASHINFER: "flashinfer_level.py",
    LevelName.SGLANG: "sglang_level.py",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `verify` takes besides the target.

    Attributes:
        levels: levels to run; all if empty.
        require: a level that must be OK, or the run fails.
        arguments: passed on to the scripts of the graph levels.
        variables: fault cases: variables set in the children only.
        harvest: pack what the sglang level compiles, and install it.
    """

    levels: tuple[LevelName, ...] = ()
    require: LevelName | None = None
    arguments: Mapping[LevelName, Sequence[str]] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    harvest: bool = False

    @property
    def complete(self) -> bool:
        """Whether the levels that need no GPU are among those that run."""
        return not self.levels or set(WITHOUT_GPU) <= set(self.levels)


def run(step: Step, ctx: Context, options: Options) -> Outcome:
    """Run the levels and write verify.json.

    Raises:
        VerifyError: a level fails, or the required one is not OK.
    """
    devices = visible_devices(ctx.env)
    wanted = options.levels or tuple(LevelName)
    levels = []
    for index, name in enumerate(wanted):
        ctx.reporter.progress(step, Progress(done=index, total=len(wanted), now=f"level {name}"))
        levels.append(_run_level(name, step, ctx, options, devices))
    report = VerifyReport(
        target=ctx.plan.target.id,
        stack=ctx.plan.stack.name,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        levels=merge_levels(levels_of(ctx.layout.verify_json, step.fingerprint), levels),
    )
    write_json(ctx.layout.verify_json, {**msgspec.to_builtins(report), "environment": step.fingerprint})
    _judge(levels, options, ctx)
    text = ", ".join(f"{level.level} {level.status}" for level in levels)
    return Outcome(note=text, outputs=(ctx.layout.verify_json,), facts={"levels": [level.level for level in levels]})


def levels_of(file: Path, environment: str) -> tuple[Level, ...]:
    """Return the levels that verify.json holds of this environment; none if it is about another."""
    known = read_json(file)
    if not isinstance(known, dict) or known.get("environment") != environment:
        return ()
    try:
        return msgspec.convert({k: v for k, v in known.items() if k != "environment"}, VerifyReport).levels
    except msgspec.ValidationError:
        return ()


def merge_levels(before: Sequence[Level], now: Sequence[Level]) -> tuple[Level, ...]:
    """Return both, in the order of levels; what ran now replaces what ran before."""
    found = {level.level: level for level in [*before, *now]}
    return tuple(found[name] for name in LevelName if name in found)


def _judge(levels: Sequence[Level], options: Options, ctx: Context) -> None:
    failed = [level for level in levels if level.status is Status.FAIL]
    if failed:
        lines = [f"  {why}" for level in failed for why in
                 dict.fromkeys(check.why for check in level.checks if check.status is Status.FAIL)]  # fmt: skip
        lines = lines or [f"  {level.level}: {level.why}" for level in failed]
        names = ", ".join(level.level for level in failed)
        msg = f"verification fails at {names}:\n" + "\n".join(lines)
        raise VerifyError(msg, hint=f"the evidence is in {ctx.layout.verify_json}")
    if options.require:
        level = next((one for one in levels if one.level is options.require), None)
        if level is None or level.status is not Status.OK:
            why = level.why if level else "it did not run"
            msg = f"level {options.require} is required and is {level.status if level else 'missing'}: {why}"
            raise VerifyError(msg, hint=f"the evidence is in {ctx.layout.verify_json}")


def _run_level(name: LevelName, step: Step, ctx: Context, options: Options, devices: Sequence[Device]) -> Level:
    started = time.monotonic()
    if name is LevelName.STATIC:
        checks = static_checks(ctx, step)
        seconds = round(time.monotonic() - started, 2)
        return level_from_checks(name, checks, seconds=seconds, evidence=wheel_hashes(ctx, checks))
    if name is LevelName.IMPORT:
        return _script(name, "import_level.py", step, ctx, options, _import_setup(ctx, devices))
    reason = unable(name, ctx, devices)
    if reason:
        check = Check(id=f"{name}.gpu", status=Status.SKIPPED, required=True, why=reason)
        return level_from_checks(name, (check,), seconds=0.0)
    arguments: list[str | Path] = [*options.arguments.get(name, ()), *_allowed(name, ctx)]
    if not (options.harvest and name is LevelName.SGLANG):
        return _script(name, SCRIPTS[name], step, ctx, options, _Setup(arguments=arguments))
    folder = ctx.layout.root / "verify" / "harvest"
    remove_tree(folder)
    level = _script(name, SCRIPTS[name], step, ctx, options, _Setup(arguments=[*arguments, "--harvest-into", folder]))
    checks = (*level.checks, *([harvest_check(step, ctx, folder)] if level.status is Status.OK else []))
    seconds = round(time.monotonic() - started, 2)
    return level_from_checks(name, checks, seconds=seconds, evidence=level.evidence, warnings=level.warnings)


def _allowed(name: LevelName, ctx: Context) -> tuple[str, ...]:
    """Return what the sglang level lets pass: what only `sglang-kernels` would bring along, if it is not there."""
    if name is not LevelName.SGLANG or PREBUILT in ctx.plan.packages:
        return ()
    return tuple(word for compiler in RUN_TIME for word in ("--allow-compiler", compiler))


def unable(name: LevelName, ctx: Context, devices: Sequence[Device]) -> str:
    """Return why a level that needs the GPU cannot run here, with what to do; "" if it can."""
    gpu = ctx.plan.target.gpu
    wanted = {LevelName.FLASHINFER: "flashinfer", LevelName.SGLANG: "sglang"}.get(name)
    if wanted and wanted not in ctx.plan.packages:
        return f"the stack {ctx.plan.stack.name} has no {wanted}"
    if not gpu.accelerator:
        return f"the target is {gpu.title}"
    where = gpu.title.removeprefix("NVIDIA ")
    stack = ctx.plan.stack.name
    command = f"on a machine with an {where}: invoke verify --gpu {gpu.name} --stack {stack} --level {name}"
    if not devices:
        return f"no GPU is visible here; {command}"
    if all(device.capability != gpu.capability.rstrip("af") for device in devices):
        seen = ", ".join(sorted({f"{device.name} ({device.capability})" for device in devices}))
        return f"the target is {gpu.title} ({gpu.capability}) and this machine has {seen}; {command}"
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Setup:
    arguments: Sequence[str | Path] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def _cuda_of_torch(ctx: Context) -> str:
    """Return the CUDA release that the target's PyTorch has to be built for; "" where it has none."""
    if "pytorch" not in ctx.plan.packages:
        return ""
    return ctx.plan.target.cuda.version if ctx.plan.target.gpu.accelerator else "none"


def _import_setup(ctx: Context, devices: Sequence[Device]) -> _Setup:
    """Write what the import level is to check; without a driver, its child alone sees the generated stub of libcuda."""
    folder = make_dir(ctx.layout.root / "verify")
    theirs = read_note(ctx.layout.environment(ctx.plan.environment))
    packages = list(ctx.plan.packages.values())
    variables: dict[str, str] = {}
    driver = "the machine's own libcuda"
    without_driver: list[str] = []
    if not devices:
        wants = [package.name for package in packages if package.recipe.import_stub]
        stub = ctx.tools.cuda.root / "driver-stub/libcuda.so.1" if ctx.tools.cuda else None
        if wants and stub is not None and stub.exists():
            variables["LD_LIBRARY_PATH"] = str(stub.parent)
            driver = "a generated stub of libcuda.so.1 in this child process only, because this machine has no driver"
        else:
            without_driver = wants
            driver = "none, and no stub of it"
    request = {
        "packages": [
            {
                "name": package.name,
                "module": package.recipe.module,
                "distribution": package.distribution,
                "version": package.version,
                "site": theirs.distributions["torch"].site if theirs and package.distribution == "torch" else "",
            }
            for package in packages
            if package.name not in without_driver
        ],
        "without_driver": without_driver,
        "cuda": _cuda_of_torch(ctx),
        "driver": driver,
    }
    write_json(folder / "import-request.json", request)
    for package in packages:
        variables |= package.recipe.import_env
    return _Setup(arguments=("--request", folder / "import-request.json"), variables=variables)


def level_path(place: Path, smi: str | None) -> str:
    """Return PATH of a level's child: the target's tools, the system's, and last the folder of the driver's programs.

    Last, because of what else is in that folder nothing may go before the system's.
    """
    folders = [str(place / "bin"), "/usr/local/bin", "/usr/bin", "/bin", *([str(Path(smi).parent)] if smi else [])]
    return ":".join(dict.fromkeys(folders))


def level_environment(ctx: Context, place: Path) -> dict[str, str]:
    """Return the environment of a level's child: the target's tools first, nothing inherited that steers a library."""
    env = dict(ctx.env)
    # The environment is complete: bytecode written now spares the user's first start half of its imports' time.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PATH"] = level_path(place, nvidia_smi(ctx.env))
    env["VIRTUAL_ENV"] = str(place)
    if ctx.tools.cuda:
        env["CUDA_HOME"] = str(ctx.tools.cuda.root)
        # Triton links its launchers with -lcuda; a driver may come without the name that a linker looks for.
        env["LIBRARY_PATH"] = str(ctx.tools.cuda.root / "lib64/stubs")
    env |= {"CC": str(place / "bin/gcc"), "CXX": str(place / "bin/g++")}
    env["HF_HUB_OFFLINE"] = "1"
    # Which GPUs are this user's is no option of a library: it is kept. nvidia-smi counts in the order of the bus.
    env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if (chosen := process_environment().get("CUDA_VISIBLE_DEVICES")) is not None:
        env["CUDA_VISIBLE_DEVICES"] = chosen
    for package in ctx.plan.packages.values():
        env |= package.recipe.run_env
    return env


def _script(name: LevelName, script: str, step: Step, ctx: Context, options: Options, setup: _Setup) -> Level:
    place = ctx.layout.environment(step.fingerprint)
    out = ctx.layout.root / "verify" / f"{name}.json"
    make_dir(out.parent)
    remove_tree(out)
    env = {**level_environment(ctx, place), **setup.variables, **options.variables}
    started = time.monotonic()
    done = process.run(
        [place / "bin/python", "-u", LEVELS / script, "--json", out, *setup.arguments],
        env=env, cwd=out.parent, log=ctx.layout.root / "logs" / f"verify.{name}.log", check=False, what=f"level {name}",
    )  # fmt: skip
    seconds = round(time.monotonic() - started, 2)
    document = read_json(out)
    if not isinstance(document, dict):
        why = f"the level's process ended without a result ({process.describe_status(done.returncode)})"
        tail: dict[str, Any] = {"output": done.output[-2000:]}
        return level_from_checks(
            name, (Check(id=f"{name}.process", status=Status.FAIL, why=why, evidence=tail),), seconds=seconds
        )
    return level_from_checks(
        name,
        msgspec.convert(document["checks"], tuple[Check, ...]),
        seconds=seconds,
        evidence=document.get("evidence", {}),
        warnings=tuple(document.get("warnings", ())),
    )
