"""Recipes' hooks as modules: they are files beside the TOML and in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def load_hook(name: str) -> Any:
    """Return recipes/<name>.py as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"hook_under_test_{name}", RECIPES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
