"""Phase prepare of the toolchain itself: Python, host compiler and CUDA toolkit of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bringup.context import Context, Outcome
from bringup.errors import BringupError
from bringup.model.plan import Step
from bringup.planning.tools import toolkit_groups
from bringup.survey import pick_gcc
from bringup.system.environ import process_environment
from bringup.toolchain.cuda import Provider, provide_cuda
from bringup.toolchain.facts import FactCache
from bringup.toolchain.host_compiler import find_gcc
from bringup.toolchain.interpreter import PythonPlaces
from bringup.toolchain.python import provide_python

if TYPE_CHECKING:  # what is there already needs no network
    from bringup.system.apt_sources import DebianMirror


def python(step: Step, ctx: Context) -> Outcome:
    """Find or unpack the target's Python.

    Raises:
        TargetError: none of the ways works on this machine.
        FetchError: a package is missing or damaged.
    """
    places = PythonPlaces(
        dest_root=ctx.layout.toolchains,
        cache=ctx.downloads,
        facts=facts(ctx),
        user_env=process_environment(),
        mirror=_mirror(ctx),
        offline=ctx.request.offline,
        on_bytes=ctx.bytes_progress(step),
    )
    found = ctx.tools.python = provide_python(
        ctx.plan.target.python, places, providers=("debs",) if ctx.frozen else ("system", "uv", "debs")
    )
    return Outcome(note=f"{found.version} ({found.provider})", outputs=(found.executable,))


def gcc(step: Step, ctx: Context) -> Outcome:
    """Find the host compiler in the range that the CUDA release accepts, or unpack one.

    Raises:
        TargetError: there is none; names the package to install.
    """
    release = ctx.plan.target.cuda
    if ctx.request.host_compiler == "debs":
        from bringup.toolchain.gcc_debs import provide_gcc  # noqa: PLC0415

        found = provide_gcc(
            pick_gcc(release, ctx.gccs),
            dest_root=ctx.layout.toolchains,
            cache=ctx.downloads,
            mirror=_mirror(ctx),
            offline=ctx.request.offline,
            on_bytes=ctx.bytes_progress(step),
        )
    else:
        found = find_gcc(release.host, facts=facts(ctx), cuda=release.version)
    ctx.tools.gcc = found
    return Outcome(note=f"gcc {found.version} at {found.gcc}", outputs=(found.gcc,))


def cuda(step: Step, ctx: Context) -> Outcome:
    """Find or assemble the CUDA toolkit, from the first provider that can.

    Raises:
        TargetError: no provider can.
        FetchError: a package is missing or damaged.
        PrepareError: what came out is no toolkit.
    """
    target = ctx.plan.target
    refused: list[BringupError] = []
    for provider in target.providers:
        try:
            found = provide_cuda(
                target.cuda,
                cast("Provider", provider),
                groups=toolkit_groups(ctx.plan.packages),
                dest_root=ctx.layout.toolchains,
                cache=ctx.downloads,
                facts=facts(ctx),
                cc=ctx.tools.gcc.gcc if ctx.tools.gcc else None,
                env=ctx.env,
                user_env=process_environment(),
                mirror=_mirror(ctx),
                offline=ctx.request.offline,
                on_bytes=ctx.bytes_progress(step),
            )
        except BringupError as exc:
            refused.append(exc)
            continue
        ctx.tools.cuda = found
        return Outcome(note=f"nvcc {found.version} ({found.provider})", outputs=(found.nvcc,))
    if len(refused) == 1:
        raise refused[0]
    reasons = "\n".join(f"  {name}: {exc.message}" for name, exc in zip(target.providers, refused, strict=True))
    raise type(refused[-1])(f"CUDA {target.cuda.version}: no provider works:\n{reasons}", hint=refused[-1].hint)


def facts(ctx: Context) -> FactCache:
    """Return what is remembered about installed tools."""
    return FactCache(ctx.layout.cache / "facts.json")


def _mirror(ctx: Context) -> DebianMirror | None:
    if not ctx.request.debian_mirror:
        return None
    from bringup.system.apt_sources import find_mirror  # noqa: PLC0415

    return find_mirror(ctx.request.debian_mirror)
