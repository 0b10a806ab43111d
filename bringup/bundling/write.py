"""`invoke bundle`: everything that a target needs on a machine without a network, in parts of a limited size."""

from __future__ import annotations

import datetime
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from bringup import __version__
from bringup.bundling.engine_wheel import engine_requirements, engine_wheel
from bringup.bundling.glibc import glibc_of_ours, glibc_of_wheel, highest
from bringup.bundling.parts import SUMS, tree_size, write_parts
from bringup.bundling.script import install_script
from bringup.bundling.sources import build_pins, check_fetched, check_toolkit_travels, source_files, toolkit_to_compile
from bringup.bundling.without_torch import check_torch_can_stay, names, torch_wanted
from bringup.config.lockfile import Pin
from bringup.context import Context
from bringup.engine import take_ready_tools
from bringup.environment import our_wheels, pins_to_install
from bringup.errors import InstallError, StorageError, UsageError
from bringup.harvest import find_harvest, take_along
from bringup.model.frozen import FILE, SCHEMA, Frozen
from bringup.model.plan import Decision
from bringup.session import Session
from bringup.survey import pick_gcc
from bringup.system.apt import fetch_debs
from bringup.system.apt_sources import DebianMirror, find_mirror
from bringup.system.downloads import DownloadCache, obtain_all
from bringup.system.fs import free_bytes, remove_tree, storage_errors, write_atomic, write_json
from bringup.system.pypi_wheels import PinnedProject, locate_wheels, target_tags
from bringup.system.runlock import run_lock
from bringup.toolchain.facts import FactCache
from bringup.toolchain.interpreter import PythonPlaces
from bringup.toolchain.python_debs import unpacked_python

MIB = 1 << 20
CARRIED = Path(__file__).with_name("carried")
SETUP = CARRIED / "setup_node.py"
UNFINISHED = ".new"
# Newest glibc of the machines that wheels are chosen for; wheels for older ones fit as well.
NODE_GLIBC = 39


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingredient:
    """One kind of thing in a bundle.

    Attributes:
        name: for people.
        files: (name in the stream, path) of each file or folder.
    """

    name: str
    files: tuple[tuple[str, Path], ...]

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return sum(tree_size(path) for _, path in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleOptions:
    """What a bundle is to hold.

    Attributes:
        out: folder to write; must not exist or be empty.
        part_size: bytes of a part at most.
        with_toolkit: add nvcc and the rest of the CUDA toolkit.
        without_torch: leave PyTorch and NVIDIA's libraries out; the node has them.
        sources: instead of what is built here, carry what a node needs to build it; implies `with_toolkit`.
        harvest: wheel that `verify --harvest` made on a node; that of the target's own folder if None.
    """

    out: Path
    part_size: int
    with_toolkit: bool = False
    without_torch: bool = False
    sources: bool = False
    harvest: Path | None = None


def write_bundle(session: Session, options: BundleOptions, say: Callable[[str], None]) -> None:
    """Write the bundle of a target that is built and installed here.

    Raises:
        InstallError: the target is not built.
        UsageError: the output folder is not empty, or parts are too small.
        FetchError: a file cannot be fetched; StorageError: no space.
    """
    ctx = session.context
    if options.part_size < MIB:
        msg = f"--part-size {options.part_size}: a part has at least 1M"
        raise UsageError(msg)
    check_output(options.out)
    if options.without_torch:
        check_torch_can_stay(ctx, sources=options.sources)
    check_fetched(ctx) if options.sources else check_built(ctx)
    with run_lock(ctx.layout.root), tempfile.TemporaryDirectory(prefix="bringup-bundle-") as name:
        take_ready_tools(ctx)
        if options.with_toolkit or options.sources:
            check_toolkit_travels(ctx, "--sources" if options.sources else "--with-toolkit")
        scratch = Path(name)
        frozen = frozen_of(session, options)
        ingredients = list(gather(session, options, frozen, scratch, say))
        frozen = with_glibc(frozen, ctx, ingredients)
        write_json(scratch / FILE, frozen)
        description = ((FILE, scratch / FILE), ("setup_node.py", SETUP))
        ingredients.append(Ingredient(name="description", files=description))
        parts = _write(ingredients, frozen, options, say)
    say(f"  {len(parts)} parts of up to {options.part_size / MIB:.0f} MiB in {options.out}")
    say(f"  next: carry them to the node and run: {install_command(options)}")


def _write(
    ingredients: Sequence[Ingredient], frozen: Frozen, options: BundleOptions, say: Callable[[str], None]
) -> list[str]:
    """Say what goes in, write it beside its place, and rename; returns the names of the parts."""
    total, width = sum(one.size for one in ingredients), max(len(one.name) for one in ingredients)
    for one in ingredients:
        count = len(one.files)
        say(f"  {one.name:<{width}} {one.size / MIB:>9.1f} MiB  {count} file{'s' if count != 1 else ''}")
    say(f"  {'in all':<{width}} {total / MIB:>9.1f} MiB")
    if free_bytes(options.out) < total * 1.02:
        free = free_bytes(options.out) / MIB
        msg = f"{options.out}: the bundle takes {total / MIB:.0f} MiB and {free:.0f} MiB are free"
        raise StorageError(msg, hint="name a folder on another disk with --output")
    # An empty folder that is there may be a mounted disk: it can be filled, and not replaced.
    there = options.out.is_dir()
    fresh = options.out / UNFINISHED if there else options.out.with_name(f".{options.out.name}{UNFINISHED}")
    remove_tree(fresh)
    files = [pair for one in ingredients for pair in one.files]
    parts = write_parts(fresh, files, options.part_size)
    write_atomic(fresh / "install.sh", install_script(frozen, total, (fresh / SUMS).read_bytes()))
    with storage_errors(options.out, every=True):
        if there:
            # The script last: without it nothing looks like a bundle.
            for path in sorted(fresh.iterdir(), key=lambda path: path.name == "install.sh"):
                path.rename(options.out / path.name)
            fresh.rmdir()
        else:
            fresh.rename(options.out)
    return parts


def install_command(options: BundleOptions) -> str:
    """Return how the bundle is installed from the folder that it is carried to."""
    python = "--python NODES_PYTHON " if options.without_torch else ""
    return f"sh {shlex.quote(options.out.name)}/install.sh {python}DESTINATION"


def check_output(out: Path) -> None:
    """Fail if the folder to write is no folder or holds something.

    Raises:
        UsageError: the hint names another way.
    """
    if os.path.lexists(out) and (not out.is_dir() or any(one.name != UNFINISHED for one in out.iterdir())):
        msg = f"{out} is not empty" if out.is_dir() else f"{out} is there and is no folder"
        raise UsageError(msg, hint="name another folder with --output, or remove it")


def check_built(ctx: Context) -> None:
    """Fail if a step of the plan is left to do.

    Raises:
        InstallError: the target is not built.
    """
    undone = [step.id for step in ctx.plan.steps if step.decision is Decision.RUN and step.id != "environment:verify"]
    if undone:
        gpu, stack = ctx.plan.target.gpu.name, ctx.plan.stack.name
        msg = f"{ctx.plan.target.id} (stack {stack}) is not built: {', '.join(undone[:4])}"
        raise InstallError(msg, hint=f"invoke build --gpu {gpu} --stack {stack}")


def gather(
    session: Session, options: BundleOptions, frozen: Frozen, scratch: Path, say: Callable[[str], None]
) -> Iterator[Ingredient]:
    """Yield what goes into the bundle; what is missing in the cache is fetched."""
    ctx = session.context
    target = ctx.plan.target
    mirror = find_mirror(ctx.request.debian_mirror) if ctx.request.debian_mirror else None
    python = unpacked_python(target.python, _python_places(ctx, mirror))
    tree = python.executable.parents[2]
    yield Ingredient(name=f"Python {python.version}", files=((f"build/toolchains/{tree.name}", tree),))
    release = pick_gcc(target.cuda, ctx.gccs)
    debs = fetch_debs(release.debs.packages, release.debs.suite, ctx.downloads, mirror=mirror)
    yield Ingredient(name=f"gcc {release.version}", files=_cached(ctx.downloads, debs))
    if (options.with_toolkit or options.sources) and ctx.tools.cuda is not None:
        home = ctx.tools.cuda.root
        tree = toolkit_to_compile(home, scratch / "toolkit") if options.sources else home
        yield Ingredient(name=f"CUDA {target.cuda.release}", files=((f"build/toolchains/{home.name}", tree),))
    say("  looking for the wheels of the lock")
    travel = build_pins(ctx) if options.sources else pins_to_install(ctx)
    left = names(frozen.node_torch)
    pins = [pin for pin in travel if pin.name not in left]
    if frozen.node_torch:
        say(f"  {len(left)} distributions are left to the node, which must have {frozen.node_torch}")
    wheels = _wheels(ctx, [_project(pin) for pin in pins])
    yield Ingredient(name="wheels of the lock", files=tuple((f"wheels/{path.name}", path) for path in wheels))
    if options.sources:
        yield Ingredient(name="sources", files=_cached(ctx.downloads, source_files(ctx)))
    else:
        ours = [
            (f"cache/store/{fingerprint[:2]}/{fingerprint}", ctx.store.folder(fingerprint))
            for fingerprint in ctx.plan.fingerprints.values()
        ]
        yield Ingredient(name=f"our wheels ({', '.join(our_wheels(ctx))})", files=tuple(ours))
        yield from _harvest(ctx, options, say)
    engine = [engine_wheel(ctx.data, scratch), *_wheels(ctx, engine_requirements())]
    yield Ingredient(name="bringup itself", files=tuple((f"engine-wheels/{path.name}", path) for path in engine))


def _python_places(ctx: Context, mirror: DebianMirror | None) -> PythonPlaces:
    return PythonPlaces(
        dest_root=ctx.layout.toolchains,
        cache=ctx.downloads,
        facts=FactCache(ctx.layout.cache / "facts.json"),
        user_env=ctx.env,
        mirror=mirror,
    )


def with_glibc(frozen: Frozen, ctx: Context, ingredients: Sequence[Ingredient]) -> Frozen:
    """Return the description with the lowest C library that runs all that travels."""
    names = [path.name for one in ingredients for _, path in one.files if path.suffix == ".whl"]
    ours = "" if frozen.sources else glibc_of_ours(ctx)
    return replace(frozen, glibc=highest([frozen.glibc, ours, *map(glibc_of_wheel, names)]))


def _harvest(ctx: Context, options: BundleOptions, say: Callable[[str], None]) -> Iterator[Ingredient]:
    if options.harvest:
        take_along(ctx, options.harvest)
    wheel, why = find_harvest(ctx)
    if why:
        say(f"  {why}")
    if wheel:
        yield Ingredient(name="harvest of a node", files=((f"build/{ctx.layout.target}/wheels/{wheel.name}", wheel),))


def _project(pin: Pin) -> PinnedProject:
    hashes = frozenset(one.removeprefix("sha256:") for one in pin.hashes)
    return PinnedProject(name=pin.name, version=pin.version, hashes=hashes)


def _cached(cache: DownloadCache, paths: Sequence[Path]) -> tuple[tuple[str, Path], ...]:
    return tuple((f"cache/downloads/{path.relative_to(cache.root).as_posix()}", path) for path in paths)


def _wheels(ctx: Context, projects: Sequence[PinnedProject]) -> list[Path]:
    target = ctx.plan.target
    found = locate_wheels(projects, target_tags(target.python.version, target.machine, NODE_GLIBC))
    hashes = [(wanted.sha256, wanted.filename) for wanted in found.values()]
    by_hash = {wanted.sha256: wanted for wanted in found.values()}
    files = obtain_all(ctx.downloads, hashes, lambda missing: [by_hash[sha256] for sha256 in missing])
    return [files[wanted.sha256] for wanted in found.values()]


def frozen_of(session: Session, options: BundleOptions) -> Frozen:
    """Return what the node has to know."""
    ctx = session.context
    target, request = ctx.plan.target, ctx.request
    release = pick_gcc(target.cuda, ctx.gccs)
    toolkit = ctx.tools.cuda.provider if ctx.tools.cuda else target.providers[0]
    return Frozen(
        schema=SCHEMA,
        target=target.id,
        gpu=target.gpu.name,
        stack=ctx.plan.stack.name,
        cuda=target.cuda.version,
        toolkit=toolkit,
        variants=dict(request.variants),
        full=request.full,
        python=session.toolchain.python.identity,
        nvcc=session.toolchain.cuda.identity,
        gcc=session.toolchain.gcc.identity,
        environment=ctx.plan.environment,
        with_toolkit=options.with_toolkit or options.sources,
        sources=options.sources,
        only=request.only if options.sources else (),
        driver=target.cuda.driver_compat if target.gpu.accelerator else "0",
        glibc=highest([release.debs.glibc, target.python.debs.glibc]),
        machine=target.machine,
        title=target.gpu.title,
        capability=target.gpu.capability.rstrip("af"),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=__version__,
        node_torch=torch_wanted(ctx) if options.without_torch else None,
    )
