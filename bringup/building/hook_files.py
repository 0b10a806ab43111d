"""Which files belong to a recipe's hook; they enter the fingerprint of what it builds."""

from __future__ import annotations

from pathlib import Path


def hook_file(data: Path, package: str) -> Path:
    """Return where the hook of a package is."""
    return data / "recipes" / f"{package.replace('-', '_')}.py"


def hook_files(data: Path, package: str) -> list[Path]:
    """Return the hook and the files beside it that belong to it: those whose names begin with its own."""
    stem = package.replace("-", "_")
    folder = data / "recipes"
    return sorted(
        [
            *folder.glob(f"{stem}.py"),
            *folder.glob(f"{stem}_*.py"),
            *folder.glob(f"{stem}.*.toml"),
            *folder.glob(f"{stem}_*.toml"),
        ]
    )
