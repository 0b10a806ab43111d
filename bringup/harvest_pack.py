"""Pack what a node compiled at run time as a wheel of ours.

Triton's entries are found from any place under any user, because their keys hash contents and versions. Other caches
tie what they hold to paths and times, so their items are listed and not packed: what makes them is built ahead.
"""

from __future__ import annotations

import datetime
import hashlib
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bringup.context import Context
from bringup.environment import site_packages
from bringup.formats.wheel import make_wheel
from bringup.harvest import DISTRIBUTION, MODULE, Item, Manifest, lay_harvest, what_it_fits
from bringup.model.plan import Step
from bringup.model.verify import Check, Status
from bringup.system.fs import make_dir, read_json, remove_tree, sha256_of, write_json

MANAGER = "sglang_kernels_manager.py"
"""File in recipes/ that finds the entries at run time; it travels in the wheel."""


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """A harvest that was packed: its wheel, None if there was nothing to pack, and everything that was found."""

    wheel: Path | None
    items: tuple[Item, ...]


def pack(harvested: Path, *, into: Path, installed: Path, facts: Mapping[str, str], manager: Path) -> Packed:
    """Pack what the sglang level left below `harvested`, with what an installed harvest holds, as one wheel.

    Args:
        harvested: folders written by jit_caches.harvest, one for each engine.
        into: where the wheel goes; an earlier harvest there is replaced.
        installed: the harvest's folder in site-packages; its entries are kept if they are for the same facts.
        facts: what the entries fit (harvest.what_it_fits).
        manager: file that finds the entries at run time.

    Raises:
        StorageError: disk full.
    """
    items, entries = collect(harvested)
    if not entries:
        return Packed(wheel=None, items=tuple(items))
    kept = [item for item in _installed_items(installed, facts) if item.key not in entries]
    for item in kept:
        entries[item.key] = {path.name: path for path in sorted((installed / "triton/files" / item.key).iterdir())}
    items += kept
    names = {item.key: item.name for item in items}
    with tempfile.TemporaryDirectory(prefix="bringup-harvest-") as name:
        package = Path(name) / MODULE
        index = {
            key: {"name": names[key], "files": _lay(package / "triton", key, entries[key])} for key in sorted(entries)
        }
        write_json(package / "triton/index.json", {"schema": 1, "entries": index})
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        manifest = Manifest(fits=dict(facts), linkage=platform.architecture()[1], date=date, items=tuple(items))
        write_json(package / "manifest.json", msgspec.to_builtins(manifest))
        shutil.copyfile(manager, package / "manager.py")
        (package / "__init__.py").write_text('"""What Triton compiled on a node; manifest.json lists it."""\n')
        (Path(name) / f"{MODULE}.pth").write_text(pth_line(MODULE))
        for old in make_dir(into).glob(f"{MODULE}-*.whl"):
            remove_tree(old)
        version = version_of(facts, sorted(index))
        wheel = make_wheel(Path(name), into, name=DISTRIBUTION, version=version, tag=tag_of(facts))
    return Packed(wheel=wheel, items=tuple(items))


def _installed_items(installed: Path, facts: Mapping[str, str]) -> list[Item]:
    """Return the packed items of a harvest that is installed and fits."""
    try:
        earlier = msgspec.convert(read_json(installed / "manifest.json"), Manifest)
    except msgspec.ValidationError:
        return []
    folder = installed / "triton/files"
    return [item for item in earlier.items if earlier.fits == facts and item.packed and (folder / item.key).is_dir()]


def pth_line(package: str) -> str:
    """Return the line that Python runs at its start: it sets a variable if that is not set, and imports nothing."""
    return f'import os; os.environ.setdefault("TRITON_CACHE_MANAGER", "{package}.manager:PackagedCacheManager")\n'


def version_of(facts: Mapping[str, str], keys: list[str]) -> str:
    """Return a version that another target, lock or content does not share: 1+sm90a.1f2e3d4c.5b6a7988."""
    code = facts["gpu"].replace("_", "")
    target = hashlib.sha256(msgspec.json.encode(dict(facts), order="sorted")).hexdigest()[:8]
    return f"1+{code}.x{target}.x{hashlib.sha256(' '.join(keys).encode()).hexdigest()[:8]}"


def tag_of(facts: Mapping[str, str]) -> str:
    """Return the wheel's tag: launchers are extension modules of one Python."""
    major, minor, *_ = facts["python"].split(".")
    return f"cp{major}{minor}-cp{major}{minor}-linux_{facts['machine']}"


def collect(harvested: Path) -> tuple[list[Item], dict[str, dict[str, Path]]]:
    """Return the items below `harvested` and the files of Triton's entries by key; group files are left out."""
    items: dict[tuple[str, str], Item] = {}
    entries: dict[str, dict[str, Path]] = {}
    for folder in sorted(path.parent for path in harvested.glob("*/manifest.json")):
        for cache, name, key, files in _units(folder):
            if cache == "triton":
                files = {name: path for name, path in files.items() if not name.startswith("__grp__")}  # noqa: PLW2901
                entries[key] = files
            items[cache, key] = Item(
                kind=cache,
                name=name,
                key=key,
                size=sum(path.stat().st_size for path in files.values()),
                sha256=hashlib.sha256(b"".join(files[one].read_bytes() for one in sorted(files))).hexdigest(),
                packed=cache == "triton",
                why="" if cache == "triton" else "this cache ties its content to paths; build it ahead in a recipe",
            )
    return list(items.values()), entries


def _units(folder: Path) -> Iterator[tuple[str, str, str, dict[str, Path]]]:
    """Yield cache, name, key and files of every unit of one harvest."""
    for item in msgspec.json.decode((folder / "manifest.json").read_bytes())["items"]:
        cache, keys = item["cache"], {file.split("/")[0] for file in item["files"]}
        if cache == "triton":
            for key in sorted(keys):
                where = folder / cache / key
                yield cache, item["name"], key, {path.name: path for path in sorted(where.iterdir()) if path.is_file()}
        elif cache != "driver":
            files = {file: folder / cache / file for file in item["files"]}
            yield cache, item["name"], item["files"][0], {name: path for name, path in files.items() if path.is_file()}


def _lay(folder: Path, key: str, files: Mapping[str, Path]) -> dict[str, Any]:
    """Copy an entry's files and return what the index says of them."""
    listed = {}
    for name, path in files.items():
        target = folder / "files" / key / name
        make_dir(target.parent)
        shutil.copyfile(path, target)
        size, digest = target.stat().st_size, sha256_of(target)
        listed[name] = {"path": f"files/{key}/{name}", "sha256": digest, "size": size}
    return listed


def harvest_check(step: Step, ctx: Context, harvested: Path) -> Check:
    """Pack and install what the sglang level left below `harvested`; returns the check that names all of it.

    Raises:
        InstallError: the wheel cannot be installed.
    """
    packed = pack(
        harvested,
        into=ctx.layout.root / "wheels",
        installed=site_packages(ctx.layout.environment(step.fingerprint)) / MODULE,
        facts=what_it_fits(ctx),
        manager=ctx.data / "recipes" / MANAGER,
    )
    names = sorted({f"{item.kind}: {item.name}" for item in packed.items})
    left = [item for item in packed.items if not item.packed]
    if packed.wheel is None:
        why = (
            f"nothing to pack; compiled and tied to this node: {', '.join(names)}" if names else "nothing was compiled"
        )
        evidence: dict[str, Any] = {"wheel": None}
    else:
        lay_harvest(step, ctx, packed.wheel)
        why = f"{len(packed.items) - len(left)} items in {packed.wheel}, installed here: {', '.join(names)}"
        evidence = {"wheel": packed.wheel.name, "sha256": sha256_of(packed.wheel)}
    evidence["items"] = msgspec.to_builtins(packed.items)
    return Check(id="sglang.harvest", status=Status.OK, why=why, evidence=evidence)
