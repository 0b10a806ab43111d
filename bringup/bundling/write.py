"""`invoke bundle`: everything that a target needs on a machine without a network, in parts of a limited size."""

from __future__ import annotations

import datetime
import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bringup import __version__
from bringup.bundling.parts import tree_size, write_parts
from bringup.bundling.sources import build_pins, check_fetched, source_files, toolkit_to_compile
from bringup.config.lockfile import Pin
from bringup.config.paths import DATA_FOLDERS, PACKAGE
from bringup.context import Context
from bringup.engine import take_ready_tools
from bringup.environment import our_wheels, pins_to_install
from bringup.errors import InstallError, StorageError, UsageError
from bringup.formats.wheel import make_wheel
from bringup.harvest import find_harvest, take_along
from bringup.model.frozen import FILE, SCHEMA, Frozen
from bringup.model.plan import Decision
from bringup.session import Session
from bringup.survey import pick_gcc
from bringup.system.apt import fetch_debs
from bringup.system.apt_sources import find_mirror
from bringup.system.downloads import DownloadCache, obtain_all
from bringup.system.fs import free_bytes, remove_tree, write_atomic, write_json
from bringup.system.pypi_wheels import PinnedProject, locate_wheels, target_tags
from bringup.system.runlock import run_lock
from bringup.toolchain.facts import FactCache
from bringup.toolchain.python import PythonPlaces, unpacked_python

MIB = 1 << 20
CARRIED = Path(__file__).with_name("carried")
SCRIPT = CARRIED / "install.sh"
SETUP = CARRIED / "setup_node.py"
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
        msg = f"--part-size {options.part_size}: at least 1M"
        raise UsageError(msg)
    if options.out.exists() and any(options.out.iterdir()):
        msg = f"{options.out} is not empty"
        raise UsageError(msg, hint="name another folder with --output, or remove it")
    check_fetched(ctx) if options.sources else check_built(ctx)
    with run_lock(ctx.layout.root), tempfile.TemporaryDirectory(prefix="bringup-bundle-") as name:
        take_ready_tools(ctx)
        scratch = Path(name)
        ingredients = list(gather(session, options, scratch, say))
        total = sum(one.size for one in ingredients)
        for one in ingredients:
            say(f"  {one.name:<28} {one.size / MIB:>9.1f} MiB  {len(one.files)} files")
        say(f"  {'in all':<28} {total / MIB:>9.1f} MiB")
        if free_bytes(options.out) < total * 1.02:
            free = free_bytes(options.out) / MIB
            msg = f"{options.out}: the bundle takes {total / MIB:.0f} MiB and {free:.0f} MiB are free"
            raise StorageError(msg, hint="name a folder on another disk with --output")
        fresh = options.out.with_name(f".{options.out.name}.new")
        remove_tree(fresh)
        files = [pair for one in ingredients for pair in one.files]
        parts = write_parts(fresh, files, options.part_size)
        write_atomic(fresh / "install.sh", install_script(frozen_of(session, options), total))
        if options.out.exists():
            options.out.rmdir()
        fresh.rename(options.out)
    say(f"  {len(parts)} parts of up to {options.part_size / MIB:.0f} MiB in {options.out}")
    say(f"  next: carry them to the node and run: sh {options.out.name}/install.sh DESTINATION")


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


def gather(session: Session, options: BundleOptions, scratch: Path, say: Callable[[str], None]) -> Iterator[Ingredient]:
    """Yield what goes into the bundle; what is missing in the cache is fetched."""
    ctx = session.context
    target = ctx.plan.target
    mirror = find_mirror(ctx.request.debian_mirror) if ctx.request.debian_mirror else None
    places = PythonPlaces(
        dest_root=ctx.layout.toolchains,
        cache=ctx.downloads,
        facts=FactCache(ctx.layout.cache / "facts.json"),
        user_env=ctx.env,
        mirror=mirror,
    )
    python = unpacked_python(target.python, places)
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
    pins = [pin for pin in travel if not (options.without_torch and _is_torch(pin.name))]
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
    write_json(scratch / FILE, frozen_of(session, options))
    yield Ingredient(name="description", files=((FILE, scratch / FILE), ("setup_node.py", SETUP)))


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


def _is_torch(name: str) -> bool:
    return name in ("torch", "triton") or name.startswith("nvidia-")


def _cached(cache: DownloadCache, paths: Sequence[Path]) -> tuple[tuple[str, Path], ...]:
    return tuple((f"cache/downloads/{path.relative_to(cache.root).as_posix()}", path) for path in paths)


def _wheels(ctx: Context, projects: Sequence[PinnedProject]) -> list[Path]:
    target = ctx.plan.target
    found = locate_wheels(projects, target_tags(target.python.version, target.machine, NODE_GLIBC))
    hashes = [(wanted.sha256, wanted.filename) for wanted in found.values()]
    by_hash = {wanted.sha256: wanted for wanted in found.values()}
    files = obtain_all(ctx.downloads, hashes, lambda missing: [by_hash[sha256] for sha256 in missing])
    return [files[wanted.sha256] for wanted in found.values()]


def engine_requirements() -> list[PinnedProject]:
    """Return bringup's own requirements at the versions that run now, with what they require."""
    found: dict[str, PinnedProject] = {}
    todo = ["invoke", "msgspec", "packaging", "uv"]
    while todo:
        name = str(canonicalize_name(todo.pop()))
        if name in found:
            continue
        distribution = importlib.metadata.distribution(name)
        found[name] = PinnedProject(name=name, version=distribution.version)
        for text in distribution.requires or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                todo.append(need.name)
    return list(found.values())


def engine_wheel(data: Path, scratch: Path) -> Path:
    """Pack the engine and the data files that are in use as one wheel."""
    tree = scratch / "engine"
    ignore = shutil.ignore_patterns("__pycache__", "_data")
    shutil.copytree(PACKAGE, tree / "bringup", ignore=ignore)
    for folder in DATA_FOLDERS:
        if (data / folder).is_dir():
            shutil.copytree(data / folder, tree / "bringup/_data" / folder, ignore=ignore)
    out = scratch / "engine-wheel"
    out.mkdir()
    requires = ("invoke", "msgspec", "packaging", "uv")
    return make_wheel(tree, out, name="bringup", version=__version__, tag="py3-none-any", requires=requires)


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
        driver=target.cuda.driver_compat,
        glibc=max(release.debs.glibc, target.python.debs.glibc, key=lambda text: tuple(map(int, text.split(".")))),
        machine=target.machine,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=__version__,
    )


def install_script(frozen: Frozen, total: int) -> str:
    """Return install.sh with the figures of this bundle at its top."""
    # Wheels are unpacked beside themselves: compressed and installed they take about three and a half times the bundle.
    values = {
        "TARGET": frozen.target,
        "STACK": frozen.stack,
        "MACHINE": frozen.machine,
        "GLIBC": frozen.glibc,
        "DRIVER": frozen.driver,
        "CUDA": frozen.cuda,
        "NEED_KIB": str(int(total * 3.5) // 1024),
        "NEXT": f"build --gpu {frozen.gpu}" if frozen.sources else "verify",
    }
    head = "".join(f"{name}='{value}'\n" for name, value in values.items())
    return SCRIPT.read_text().replace("# @VALUES@\n", head)
