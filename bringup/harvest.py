"""The wheel of what a node compiled at run time: whether it fits here, and laying it down.

harvest_pack.py makes it on a node, a bundle carries it, installation lays it down like every wheel of ours.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bringup.context import Context
from bringup.environment import site_packages
from bringup.errors import BringupError, InstallError, VerifyError
from bringup.model.plan import Step
from bringup.model.verify import Check, Status
from bringup.system.fs import make_dir, read_json

DISTRIBUTION = "bringup-harvest"
MODULE = "bringup_harvest"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One harvested thing.

    Attributes:
        kind: whose cache it was in: triton, tvm-ffi, flashinfer, inductor, sglang, deep-gemm, cute-dsl.
        name: kernel or module.
        key: its folder in that cache.
        size: bytes of all its files.
        sha256: of its files, one after another by name.
        packed: whether it is in the wheel.
        why: why it is not.
    """

    kind: str
    name: str
    key: str
    size: int
    sha256: str
    packed: bool
    why: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """manifest.json of the wheel.

    Attributes:
        schema: version of this shape.
        fits: what the entries depend on; all of it has to be the same where they are used.
        linkage: "ELF" where the command `file` was installed, else ""; it enters the keys of Triton's launchers.
        date: when they were harvested.
        items: all of them.
    """

    schema: int = 1
    fits: dict[str, str]
    linkage: str
    date: str
    items: tuple[Item, ...]


def what_it_fits(ctx: Context) -> dict[str, str]:
    """Return what harvested entries depend on: GPU, Python, the compilers' versions and the lock."""
    packages = ctx.plan.packages
    lock = ctx.lock
    facts = {
        "machine": ctx.plan.target.machine,
        "gpu": ctx.plan.target.gpu.machine_code.exact,
        "python": ctx.plan.target.python.version,
        "cuda": ctx.plan.target.cuda.version,
    }
    for name in ("torch", "triton"):
        if lock is not None and name in lock.pins:
            facts[name] = lock.pins[name].version
    facts |= {package.distribution: package.version for package in packages.values() if package.name != "triton"}
    if lock is not None:
        text = "\n".join(
            sorted(f"{pin.name}=={pin.version} {' '.join(sorted(pin.hashes))}" for pin in lock.pins.values())
        )
        facts["lock"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return dict(sorted(facts.items()))


def misfit(manifest: Manifest, facts: Mapping[str, str]) -> str:
    """Return in what the harvest differs from the target, "" if it fits."""
    names = sorted({*manifest.fits, *facts})
    other = [name for name in names if manifest.fits.get(name) != facts.get(name)]
    return ", ".join(
        f"{name} {manifest.fits.get(name, 'none')} where {facts.get(name, 'none')} is here" for name in other
    )


def read_manifest(wheel: Path) -> Manifest:
    """Return the manifest of a harvest's wheel.

    Raises:
        ArchiveError: the file is no wheel.
        VerifyError: it is no harvest, or its manifest cannot be read.
    """
    from bringup.formats.wheel_read import open_wheel  # noqa: PLC0415 - most targets have no harvest

    with open_wheel(wheel) as archive:
        try:
            return msgspec.json.decode(archive.read(f"{MODULE}/manifest.json"), type=Manifest)
        except (KeyError, msgspec.MsgspecError) as exc:
            msg = f"{wheel.name}: not a harvest, its {MODULE}/manifest.json cannot be used: {exc}"
            raise VerifyError(msg, hint="make it anew with verify --harvest on a node") from exc


def find_harvest(ctx: Context) -> tuple[Path | None, str]:
    """Return the harvest of this target that fits, or None and why one that is there is ignored."""
    found = sorted((ctx.layout.root / "wheels").glob(f"{MODULE}-*.whl"), key=lambda path: path.stat().st_mtime)
    if not found:
        return None, ""
    try:
        why = misfit(read_manifest(found[-1]), what_it_fits(ctx))
    except BringupError as exc:
        why = exc.message
    return (None, f"{found[-1].name} is ignored: {why}") if why else (found[-1], "")


def take_along(ctx: Context, wheel: Path) -> Path:
    """Copy a harvest to where the target's is looked for, if it fits.

    Raises:
        VerifyError: it does not fit; ArchiveError: it is no wheel.
    """
    why = misfit(read_manifest(wheel), what_it_fits(ctx))
    if why:
        msg = f"{wheel.name} does not fit {ctx.plan.target.id}: {why}"
        raise VerifyError(msg, hint="harvest on a node with this bundle: verify --harvest")
    place = ctx.layout.root / "wheels" / wheel.name
    if place.resolve() != wheel.resolve():
        make_dir(place.parent)
        shutil.copy2(wheel, place)
    return place


def lay_harvest(step: Step, ctx: Context, wheel: Path) -> None:
    """Install a harvest into the environment.

    Raises:
        InstallError: it cannot be installed, or a file has another hash.
    """
    place = ctx.layout.environment(step.fingerprint)
    ctx.uv(
        "pip", "install", "--quiet", "--python", place / "bin/python", "--no-deps", "--reinstall", wheel,
        step=step, error=InstallError, what="installation of the harvest",
    )  # fmt: skip
    from bringup.formats.wheel import check_installed  # noqa: PLC0415

    problems = check_installed(site_packages(place), wheel)
    if problems:
        text = "; ".join(str(problem) for problem in problems[:5])
        raise InstallError(f"{wheel.name} is not what lies in the environment: {text}")


def check_harvest(ctx: Context, site: Path) -> tuple[Check, ...]:
    """Return one check that says what the environment's harvest is or why it has none; nothing if there was none."""
    wheel, why = find_harvest(ctx)
    if wheel is None and not why and not (site / MODULE).is_dir():
        return ()
    read = read_json(site / MODULE / "manifest.json")
    try:
        manifest = msgspec.convert(read, Manifest) if read is not None else None
    except msgspec.ValidationError as exc:
        text = f"{site / MODULE / 'manifest.json'} cannot be used: {exc}"
        return (Check(id="static.harvest", status=Status.FAIL, why=text),)
    if manifest is None:
        text = why or f"{wheel.name if wheel else MODULE} is not installed here; install the environment again"
        return (Check(id="static.harvest", status=Status.SKIPPED, why=text),)
    other = misfit(manifest, what_it_fits(ctx))
    if other:
        text = f"the installed harvest is of something else: {other}"
        return (Check(id="static.harvest", status=Status.FAIL, why=text),)
    text = f"{len(manifest.items)} items of {manifest.date} fit this target"
    if manifest.linkage != platform.architecture()[1]:
        text += "; its launchers are not found here, because only one of the two machines has the command `file`"
    return (
        Check(id="static.harvest", status=Status.OK, why=text, evidence={"manifest": msgspec.to_builtins(manifest)}),
    )
