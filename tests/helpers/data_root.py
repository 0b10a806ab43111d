"""Small data folders: real toolchain files, and recipes and a stack made for one test."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STACK = "tiny"
NO_HASH = "0" * 64


@dataclass(kw_only=True)
class Recipe:
    """One recipe of a small data folder; `text` is more TOML at its end, `build` more keys of its [build]."""

    name: str
    version: str = "1.0"
    needs: tuple[str, ...] = ()
    url: str = "file:///nowhere.tar.gz"
    sha256: str = NO_HASH
    size: int = 0
    backend: str = "pep517"
    cuda: bool = False
    build: str = ""
    env: dict[str, str] = field(default_factory=dict)
    text: str = ""
    patches: dict[str, str] = field(default_factory=dict)
    built_against: tuple[str, ...] | None = None

    def toml(self) -> str:
        against = self.needs if self.built_against is None else self.built_against
        lines = [
            "schema = 1",
            f'name = "{self.name}"',
            f'distribution = "{self.name}"',
            f'module = "{self.name}"',
            'summary = "Sample"',
            'homepage = "https://example.org"',
            'license = "Apache-2.0"',
            f"needs = {json.dumps(self.needs)}",
            f"built_against = {json.dumps(against)}",
            "[[versions]]",
            f'version = "{self.version}"',
            f"patches = {json.dumps(sorted(self.patches))}",
            "  [versions.sources.archive]",
            '  kind = "url"',
            f'  url = "{self.url}"',
            f'  sha256 = "{self.sha256}"',
            f"  size = {self.size}",
            "[build]",
            f'backend = "{self.backend}"',
            f"cuda = {json.dumps(self.cuda)}",
            "memory_per_job_gib = 0.1",
            self.build,
            "  [build.env]",
            *(f"  {key} = {json.dumps(value)}" for key, value in self.env.items()),
            self.text,
        ]
        return "\n".join(lines) + "\n"


def write_data(
    folder: Path,
    *recipes: Recipe,
    lock: bool = False,
    gpus: tuple[str, ...] = ("h200",),
    cuda: tuple[str, ...] = ("13.0",),
    toolkits: tuple[str, ...] = ("system",),
    stack: str = "",
) -> Path:
    """Write a data folder with one stack of all recipes and return it; `stack` is more TOML of the stack."""
    for kind in ("cuda", "python", "gcc"):
        shutil.copytree(ROOT / "toolchains" / kind, folder / "toolchains" / kind)
    (folder / "toolchains/gpus").mkdir()
    for name in gpus:
        lines = (ROOT / f"toolchains/gpus/{name}.toml").read_text().splitlines()
        lines = [f'stack = "{STACK}"' if line.startswith("stack = ") else line for line in lines]
        (folder / f"toolchains/gpus/{name}.toml").write_text("\n".join(lines) + "\n")
    (folder / "recipes/stacks").mkdir(parents=True)
    packages = [f'{one.name} = {{ version = "{one.version}", source = "archive" }}' for one in recipes]
    head = [
        "schema = 1", f'name = "{STACK}"', 'title = "A stack for a test"', 'date = "2026-05-28"', 'python = "3.11"',
        f"cuda = {json.dumps(cuda)}", f"toolkits = {json.dumps(toolkits)}", f"lock = {json.dumps(lock)}",
        "[packages]", *packages, stack,
    ]  # fmt: skip
    (folder / f"recipes/stacks/{STACK}.toml").write_text("\n".join(head) + "\n")
    for one in recipes:
        write_recipe(folder, one)
    return folder


def write_recipe(folder: Path, one: Recipe) -> None:
    """Write one recipe with its patches, over what is there."""
    (folder / f"recipes/{one.name}.toml").write_text(one.toml())
    place = folder / "patches" / one.name / one.version
    shutil.rmtree(place, ignore_errors=True)
    for name, text in one.patches.items():
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def write_lock(folder: Path, *pins: str) -> None:
    """Write the stack's lock with these pins (of `pin`) as `invoke lock` would."""
    from bringup.config.catalogue import load_catalogue  # noqa: PLC0415
    from bringup.planning.locking import lock_inputs, render_lock  # noqa: PLC0415

    catalogue = load_catalogue(folder, locks=False)
    inputs = lock_inputs(catalogue.stacks[STACK], catalogue.recipes)
    (folder / f"recipes/stacks/{STACK}.lock").write_text(render_lock(inputs, "".join(f"{pin}\n" for pin in pins)))


def pin(name: str, version: str = "1.0", digest: str = "a" * 64, via: str = "") -> str:
    """Return one pin of a lock."""
    return f"{name}=={version} \\\n    --hash=sha256:{digest}" + (f"\n    # via {via}" if via else "")
