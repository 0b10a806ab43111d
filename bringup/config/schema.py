"""JSON schemas and reference pages, both made from the models: a key exists once, in its model."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from bringup.config.settings import UserSettings
from bringup.model.gpu import Gpu
from bringup.model.recipe import Recipe
from bringup.model.stack import Stack
from bringup.model.toolchain import CudaRelease, GccRelease, PythonRelease

FILES: dict[str, tuple[type[msgspec.Struct], str, str]] = {
    "recipe": (Recipe, "recipes/<name>.toml", "A package: how it is had and built."),
    "stack": (Stack, "recipes/stacks/<name>.toml", "Packages and versions that go together."),
    "gpu": (Gpu, "toolchains/gpus/<name>.toml", "A GPU model."),
    "cuda": (CudaRelease, "toolchains/cuda/<version>.toml", "A CUDA release."),
    "python": (PythonRelease, "toolchains/python/<version>.toml", "The Python of target environments."),
    "gcc": (GccRelease, "toolchains/gcc/<version>.toml", "A host compiler that can be unpacked."),
    "settings": (UserSettings, "~/.config/bringup/config.toml", "What a user or a site sets once."),
}


def schemas() -> dict[str, str]:
    """Return the JSON schema of every kind of file, by file name."""
    found = {}
    for name, (model, _, text) in FILES.items():
        schema = msgspec.json.schema(model)
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": text, **schema}
        found[f"{name}.schema.json"] = msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"
    return found


def reference_pages() -> dict[str, str]:
    """Return one page for each kind of file, by file name."""
    return {f"{name}.md": _page(model, place, text) for name, (model, place, text) in FILES.items()}


def _page(model: type[msgspec.Struct], place: str, text: str) -> str:
    parts = [f"# `{place}`", "", f"{text} Made from the models by `invoke schema`; do not edit.", ""]
    for kind in _models(model):
        parts += _section(kind)
    return "\n".join(parts).rstrip() + "\n"


def _models(model: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """Return `model` and every model below it, in the order they are met."""
    found: list[type[msgspec.Struct]] = []

    def visit(hint: Any) -> None:
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            if hint not in found:
                found.append(hint)
                for inner in get_type_hints(hint, include_extras=True).values():
                    visit(inner)
            return
        for inner in get_args(hint):
            visit(inner)

    visit(model)
    return found


def _section(model: type[msgspec.Struct]) -> list[str]:
    config = model.__struct_config__
    heading = f"## {model.__name__}" + (f' (`{config.tag_field} = "{config.tag}"`)' if config.tag else "")
    summary, attributes = _docstring(model)
    lines = [heading, "", summary, "", "| key | type | default | meaning |", "|---|---|---|---|"]
    hints = get_type_hints(model, include_extras=True)
    for field in msgspec.structs.fields(model):
        meaning = attributes.get(field.name, "")
        default = "required" if field.required else f"`{_default(field)}`"
        cells = (f"`{field.name}`", f"`{_type(hints[field.name])}`", default, meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def _default(field: Any) -> str:
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, msgspec.Struct):
        return "{}"
    return msgspec.json.encode(value).decode()


def _docstring(model: type) -> tuple[str, dict[str, str]]:
    """Split a docstring into its first part and its attributes."""
    text = inspect.getdoc(model) or ""
    summary, _, rest = text.partition("\nAttributes:\n")
    attributes: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        match = re.match(r"    (\w+): (.*)", line)
        if match:
            name = match[1]
            attributes[name] = match[2]
        elif name and line.strip():
            attributes[name] += " " + line.strip()
    return " ".join(summary.split()), attributes


def _type(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return "any"
    if isinstance(hint, type) and not args:
        return {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}.get(
            hint.__name__, hint.__name__
        )
    if hasattr(hint, "__metadata__"):
        pattern = next((meta.pattern for meta in hint.__metadata__ if getattr(meta, "pattern", None)), "")
        return _type(args[0]) + (f" matching {pattern}" if pattern else "")
    if origin is tuple:
        return f"list of {_type(args[0])}"
    if origin is dict:
        return f"table of {_type(args[1])}"
    if str(origin) == "typing.Literal":
        return " or ".join(msgspec.json.encode(arg).decode() for arg in args)
    return " or ".join("nothing" if arg is type(None) else _type(arg) for arg in args)
