"""The environment variables of a build: the target's toolchain and nothing of the user's shell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import Requirement

from bringup.context import Context
from bringup.errors import ConfigError, PrepareError
from bringup.model.plan import Package, Step
from bringup.planning.resolve import arch_lists
from bringup.system.environ import process_environment
from bringup.system.fs import make_dir, point_link
from bringup.toolchain.facts import FactCache
from bringup.toolchain.links import link_tools, shadow_make, share_ninja
from bringup.toolchain.programs import find_program, rust_homes

EPOCH = 1700000000
GIB = 1 << 30


def launcher_for(package: Package, ctx: Context) -> Path | None:
    """Return the launcher that goes in front of this package's compilers; None where it is built without one."""
    if ctx.budget is None or ctx.tools.gcc is None or package.build.backend == "repack":
        return None
    return ctx.budget.launcher([ctx.tools.gcc.gcc])


def package_jobs(package: Package, ctx: Context) -> int:
    """Return how many compilers of this package may run: the run's jobs, or fewer where memory sets the limit.

    With a launcher in front of them they wait for memory one by one, each for what it needs.
    """
    if launcher_for(package, ctx) is not None:
        return ctx.jobs
    by_memory = (
        int(ctx.memory_bytes / GIB / package.build.memory_per_job_gib) if package.build.memory_per_job_gib else 0
    )
    return max(1, min(ctx.jobs, by_memory or ctx.jobs))


def build_environment(package: Package, step: Step, ctx: Context, jobs: int) -> dict[str, str]:
    """Return the environment of a package's build.

    Raises:
        PrepareError: a tool that the recipe names is missing or too old.
        ConfigError: the recipe uses a placeholder that does not exist.
    """
    place = ctx.layout.build_env(package.name, step.fingerprint)
    env = {name: value for name, value in ctx.env.items() if name not in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    env["HOME"] = str(make_dir(ctx.layout.work(package.name) / "home"))
    env["SOURCE_DATE_EPOCH"] = str(EPOCH)
    # Source trees are no repositories; what asks git for a version must not find one around the build directory.
    env["GIT_CEILING_DIRECTORIES"] = str(ctx.layout.work(package.name))
    env["VIRTUAL_ENV"] = str(place)
    values = placeholders(package, step, ctx, jobs)
    shared = _toolchain(package, ctx, place, env, values)
    env["PATH"] = f"{place / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    env |= find_tools(package.build.tools, place / "bin", ctx)
    if package.build.max_jobs and not shared:  # it becomes ninja's -j, which would end its part in the budget
        env["MAX_JOBS"] = str(jobs)
    where = f"recipes/{package.name}.toml: build.env"
    for name, text in package.build.env.items():
        env[name] = fill(text, values, where=f"{where}.{name}")
    return env


def placeholders(package: Package, step: Step, ctx: Context, jobs: int) -> dict[str, str]:
    """Return the values that `{...}` in the recipe's env and settings stand for."""
    place = ctx.layout.build_env(package.name, step.fingerprint)
    target = ctx.plan.target
    site = place / "lib" / f"python{target.python.version}" / "site-packages"
    values = {
        "cc": str(place / "bin/gcc"),
        "cxx": str(place / "bin/g++"),
        "cuda": target.cuda.version,
        "cuda_short": target.cuda.version.replace(".", ""),
        "epoch": str(EPOCH),
        "jobs": str(jobs),
        "local": target.local,
        "python": str(place / "bin/python"),
        "site_packages": str(site),
        "source": str(ctx.layout.source(package.name)),
        "version": package.version,
        "work": str(ctx.layout.work(package.name)),
    }
    if ctx.tools.cuda is not None:
        values["cuda_home"] = str(ctx.tools.cuda.root)
        values["nvcc"] = str(place / "bin/nvcc")
    for name, text in arch_lists(target.gpu, ctx.plan.packages).items():
        values[f"arch.{name}"] = text
    for name in package.extras:
        values[f"extra.{name}"] = str(ctx.layout.work(package.name) / "extras" / name)
    return values


def fill(text: str, values: Mapping[str, str], *, where: str) -> str:
    """Replace placeholders; `{{` and `}}` stand for braces.

    Raises:
        ConfigError: a placeholder is not known.
    """

    def value(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] not in values:
            msg = f"{where}: no placeholder {{{match[1]}}}; known: {', '.join(sorted(values))}"
            raise ConfigError(msg)
        return values[match[1]]

    return re.sub(r"\{\{|\}\}|\{([a-z_]+(?:\.[A-Za-z0-9._-]+)?)\}", value, text)


def _toolchain(package: Package, ctx: Context, place: Path, env: dict[str, str], values: Mapping[str, str]) -> bool:
    """Link the toolchain and add its variables; tell whether ninja takes part in the budget of jobs."""
    gcc, cuda = ctx.tools.gcc, ctx.tools.cuda
    if gcc is None:
        msg = f"{package.name}: the host compiler comes before the build"
        raise PrepareError(msg)

    launcher, shared = launcher_for(package, ctx), False
    link_tools(place / "bin", gcc, cuda if package.build.cuda else None, {}, launcher=launcher)
    if launcher is not None and ctx.budget is not None:
        env |= ctx.budget.environment(package.name, ctx.layout.work(package.name))
        shadow_make(place / "bin", env)
        shared = share_ninja(place / "bin", env)

    env |= {"CC": values["cc"], "CXX": values["cxx"]}
    if not package.build.cuda:
        return shared
    if cuda is None:
        msg = f"{package.name}: the CUDA toolkit comes before the build"
        raise PrepareError(msg)
    home, nvcc = str(cuda.root), values["nvcc"]
    env |= {
        "CUDA_HOME": home,
        "CUDA_PATH": home,
        "CUDA_TOOLKIT_ROOT_DIR": home,
        "CUDACXX": nvcc,
        # Without these, torch.utils.cpp_extension and FlashInfer take the one in CUDA_HOME, past our launcher.
        "PYTORCH_NVCC": nvcc,
        "FLASHINFER_NVCC": nvcc,
        "CMAKE_CUDA_COMPILER": nvcc,
        "CUDAHOSTCXX": values["cxx"],
        "CMAKE_CUDA_HOST_COMPILER": values["cxx"],
        "TORCH_CUDA_ARCH_LIST": values.get(f"arch.{package.name}", values["arch.torch"]),
        "FLASHINFER_CUDA_ARCH_LIST": values["arch.flashinfer"],
    }
    return shared


def find_tools(tools: tuple[str, ...], bin_dir: Path, ctx: Context) -> dict[str, str]:
    """Link programs that a recipe needs ("cargo>=1.85") into the build's bin and return variables they need.

    Raises:
        PrepareError: one is missing or too old.
    """
    user = process_environment()
    facts = FactCache(ctx.layout.cache / "facts.json")
    more: dict[str, str] = {}
    for wanted in tools:
        name = Requirement(wanted).name
        program = find_program(wanted, facts=facts, env=user)
        found = program.path
        if found is None:
            msg = f"this package needs {wanted}, and {name} {program.why}"
            mend = program.hint or f"install {wanted} (no root needed)"
            raise PrepareError(msg, hint=f"{mend}; or choose a variant of the recipe without it")
        point_link(bin_dir / name, found)
        if name == "cargo":
            if (found.parent / "rustc").exists():
                point_link(bin_dir / "rustc", found.parent / "rustc")
            more = {**rust_homes(user), "CARGO_NET_OFFLINE": "true"}
    return more
