"""JSON schemas of the data files, made from the models: a key exists once, in its model."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import msgspec

from bringup.config.settings import UserSettings
from bringup.model.gpu import Gpu
from bringup.model.knowledge import KnowledgeFile
from bringup.model.recipe import Recipe
from bringup.model.stack import Stack
from bringup.model.toolchain import CudaRelease, GccRelease, PythonRelease

Model = type[msgspec.Struct]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """A kind of data file.

    Attributes:
        model: what it is read into.
        title: heading of its page.
        place: where such files are, for people.
        globs: the same as patterns below the root of the checkout, for editors.
        others: patterns of files among those that have another shape.
        text: one or two sentences.
    """

    model: Model
    title: str
    place: str
    globs: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    text: str


FILES: dict[str, DataFile] = {
    "recipe": DataFile(
        model=Recipe,
        title="Recipe",
        place="recipes/<name>.toml",
        globs=("recipes/*.toml",),
        others=("recipes/*.units.toml", "recipes/*_prebuild.toml"),
        text="A package: where it comes from, how it becomes a wheel, and what that wheel must hold. "
        "[Add a recipe or a version](../how-to/new-recipe.md) tells how to write one.",
    ),
    "stack": DataFile(
        model=Stack,
        title="Stack",
        place="recipes/stacks/<name>.toml",
        globs=("recipes/stacks/*.toml",),
        text="Packages and versions that are known to go together. What is there: [stacks](stacks.md).",
    ),
    "gpu": DataFile(
        model=Gpu,
        title="GPU",
        place="toolchains/gpus/<name>.toml",
        globs=("toolchains/gpus/*.toml",),
        text="A GPU model. [Add a GPU](../how-to/new-gpu.md) tells how to write one; what is there: [GPUs](gpus.md).",
    ),
    "cuda": DataFile(
        model=CudaRelease,
        title="CUDA release",
        place="toolchains/cuda/<version>.toml",
        globs=("toolchains/cuda/*.toml",),
        text="A CUDA release and the ways to come by its toolkit: [toolchains](../how-to/toolchains.md).",
    ),
    "python": DataFile(
        model=PythonRelease,
        title="Python",
        place="toolchains/python/<version>.toml",
        globs=("toolchains/python/*.toml",),
        text="The Python that target environments are made of.",
    ),
    "gcc": DataFile(
        model=GccRelease,
        title="Host compiler",
        place="toolchains/gcc/<version>.toml",
        globs=("toolchains/gcc/*.toml",),
        text="A host compiler that can be unpacked where the system has none in range.",
    ),
    "known-issue": DataFile(
        model=KnowledgeFile,
        title="Known issues file",
        place="knowledge/<topic>.toml",
        globs=("knowledge/*.toml",),
        text="Known failures and how they show in a log. What is there: [known issues](known-issues.md).",
    ),
    "settings": DataFile(
        model=UserSettings,
        title="Settings",
        place="~/.config/bringup/config.toml",
        text="What a user or a site sets once; flags win over it. `BRINGUP_CONFIG` names another file.",
    ),
}


def schemas() -> dict[str, str]:
    """Return the JSON schema of every kind of file, by file name; the docstrings are its descriptions."""
    found = {}
    for name, file in FILES.items():
        schema = msgspec.json.schema(file.model)
        for model in models(file.model):
            _describe(schema["$defs"].get(model.__name__, {}), model)
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{file.title}: {file.place}"}
        found[f"{name}.schema.json"] = msgspec.json.format(msgspec.json.encode({**head, **schema})).decode() + "\n"
    return found


def _describe(definition: dict[str, Any], model: Model) -> None:
    summary, attributes = docstring(model)
    definition["description"] = summary
    for key, value in definition.get("properties", {}).items():
        if key in attributes:
            value["description"] = attributes[key]


def editor_rules() -> str:
    """Return the configuration of Taplo, which editors take the schema of a TOML file from."""
    parts = ["# Made by `invoke schema` for editors that use Taplo; do not edit."]
    for name, file in FILES.items():
        if not file.globs:
            continue
        parts += ["", "[[rule]]", f"include = {_toml(file.globs)}"]
        parts += [f"exclude = {_toml(file.others)}"] if file.others else []
        parts += ["", "[rule.schema]"]
        parts += [f'path = "docs/schemas/{name}.schema.json"']
    return "\n".join(parts) + "\n"


def _toml(values: tuple[str, ...]) -> str:
    return f"[{', '.join(json_text(one) for one in values)}]"


def json_text(value: Any) -> str:
    """Return a value as JSON, which for strings, numbers and lists is TOML as well."""
    return msgspec.json.encode(value).decode()


def models(root: Model) -> list[Model]:
    """Return `root` and every model below it, in the order they are met."""
    found: list[Model] = []

    def visit(hint: Any) -> None:
        if is_model(hint):
            if hint not in found:
                found.append(hint)
                for _, inner in hints(hint):
                    visit(inner)
            return
        for inner in get_args(hint):
            visit(inner)

    visit(root)
    return found


@functools.cache
def hints(model: Model) -> list[tuple[str, Any]]:
    """Return names and types of a model's fields, in their order."""
    types = get_type_hints(model, include_extras=True)
    return [(field.name, types[field.name]) for field in msgspec.structs.fields(model)]


def is_model(hint: Any) -> typing.TypeGuard[Model]:
    """Tell whether a type is a table of its own."""
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def docstring(model: type) -> tuple[str, dict[str, str]]:
    """Split a docstring into its text and the meaning of each attribute."""
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
