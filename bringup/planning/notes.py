"""What a plan says of its packages, in words."""

from __future__ import annotations

from collections.abc import Mapping

from bringup.config.variants import features
from bringup.model.recipe import Recipe


def reasons(absent: Mapping[str, str]) -> str:
    """Return programs that are missing with why, "cargo>=1.85 is 1.75 here"."""
    return ", ".join(f"{tool} {why}" for tool, why in absent.items())


def variant_note(recipe: Recipe, variant: str) -> str:
    """Tell of a variant that stands for several; one alone is named by the recipe."""
    names = features(recipe, variant)
    return f"{recipe.name}: variant {variant} = {', '.join(names)}" if len(names) > 1 else ""
