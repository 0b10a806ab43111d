"""Variants of recipes: one by its name, or several features joined by "+". Pure."""

from __future__ import annotations

from bringup.config.near import nearest
from bringup.errors import UsageError
from bringup.model.recipe import Recipe

JOIN = "+"


def choose_variant(recipe: Recipe, asked: str) -> str:
    """Return the variant that was asked for, or the recipe's first where nothing was.

    Raises:
        UsageError: one of its features does not exist, or two of them set a variable to different values.
    """
    chosen = asked or next(iter(recipe.variants), "")
    problem = variant_problem(recipe, chosen)
    if problem:
        wrong = next((one for one in chosen.split(JOIN) if one not in recipe.variants), "")
        near = nearest(wrong, list(recipe.variants))
        raise UsageError(f"{recipe.name} {problem}", hint=f"did you mean {near}?" if near else "")
    return chosen


def variant_problem(recipe: Recipe, variant: str) -> str:
    """Return why a recipe has no such variant ("has no variant 'fast'; ..."); "" if it has."""
    if not variant:
        return ""
    for name in variant.split(JOIN):
        if name not in recipe.variants:
            return f"has no variant {name!r}; it has {', '.join(recipe.variants) or 'none'}"
    values: dict[str, tuple[str, str]] = {}
    for name in features(recipe, variant):
        for variable, value in recipe.variants[name].env.items():
            other, before = values.setdefault(variable, (name, value))
            if before != value:
                return f"has no variant {variant!r}: {other} sets {variable} to {before!r} and {name} to {value!r}"
    return ""


def features(recipe: Recipe, variant: str) -> tuple[str, ...]:
    """Return the names of all variants that one stands for, what it includes before itself, each once.

    Names that the recipe does not have are left out: `variant_problem` tells of them.
    """
    found: dict[str, None] = {}
    open_names: set[str] = set()

    def add(name: str) -> None:
        if name in found or name in open_names or name not in recipe.variants:
            return
        open_names.add(name)
        for included in recipe.variants[name].includes:
            add(included)
        found[name] = None

    for name in variant.split(JOIN) if variant else ():
        add(name)
    return tuple(found)


def variant_env(recipe: Recipe, variant: str) -> dict[str, str]:
    """Return the variables that a variant adds to the build's environment."""
    return {key: value for name in features(recipe, variant) for key, value in recipe.variants[name].env.items()}


def variant_requires(recipe: Recipe, variant: str) -> tuple[str, ...]:
    """Return the build requirements that a variant adds, each once."""
    lines = [line for name in features(recipe, variant) for line in recipe.variants[name].requires]
    if not lines:
        return ()
    from packaging.requirements import Requirement  # noqa: PLC0415 - slow to import, for few variants

    return tuple({Requirement(line).name + str(Requirement(line).specifier): line for line in lines}.values())


def has_new_abi(recipe: Recipe, variant: str) -> bool:
    """Return whether std::string of what a variant builds is that of gcc 5 and newer."""
    return all(recipe.variants[name].cxx11_abi for name in features(recipe, variant))


def variants_with_abi(recipe: Recipe, variant: str, *, new: bool) -> list[str]:
    """Return variants of the wanted C++ ABI, those that keep most of `variant` first."""
    old = [name for name, one in recipe.variants.items() if not has_new_abi(recipe, name)]
    if new:
        kept = [name for name in variant.split(JOIN) if name not in old]
        return list(dict.fromkeys([JOIN.join(kept)] if kept else [])) or [
            name for name in recipe.variants if name not in old
        ]
    alone = [name for name in old if not recipe.variants[name].includes]
    return [JOIN.join([*variant.split(JOIN), name] if variant else [name]) for name in alone]
