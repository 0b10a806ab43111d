"""Reference pages of the data files, made from the models as their schemas are."""

from __future__ import annotations

import enum
import re
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec

from bringup.config.schema import FILES, DataFile, Model, docstring, hints, is_model, json_text, models
from bringup.model import base

# Spellings that have a name of their own in the tables, by their pattern.
_SPELLED: tuple[tuple[Any, str], ...] = (
    (base.Name, "name"),
    (base.Sha256, "SHA-256"),
    (base.Commit, "commit"),
    (base.Capability, "capability"),
    (base.CudaVersion, "CUDA version"),
)
SPELLINGS: dict[str, str] = {hint.__metadata__[0].pattern: text for hint, text in _SPELLED}


def reference_pages() -> dict[str, str]:
    """Return one page for each kind of file, by file name."""
    return {f"{name}.md": _page(name, file) for name, file in FILES.items()}


def _page(name: str, file: DataFile) -> str:
    known = models(file.model)
    parts = [f"# {file.title}: `{file.place}`", "", file.text, ""]
    parts += [
        f"Made from the models by `invoke schema`; edit those. For editors: `docs/schemas/{name}.schema.json`.",
        "",
    ]
    if len(known) > 1:
        parts += ["Tables: " + ", ".join(f"[{title(one)}](#{anchor(one)})" for one in known) + ".", ""]
    places = _places(file.model)
    spellings: set[str] = set()
    for model in known:
        parts += _section(model, places[model])
        spellings |= {pattern for _, hint in hints(model) for pattern in _patterns(hint)}
    used = [(text, pattern) for pattern, text in SPELLINGS.items() if pattern in spellings]
    if used:
        parts += ["## Spellings", "", "| type | matches |", "|---|---|"]
        parts += [f"| {text} | `{_code(pattern)}` |" for text, pattern in used]
    return "\n".join(parts).rstrip() + "\n"


def title(model: Model) -> str:
    """Return "GitSource" as "Git source"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__)
    return words[0] + words[1:].lower()


def anchor(model: Model) -> str:
    """Return the anchor of the model's heading."""
    return title(model).lower().replace(" ", "-")


def _places(root: Model) -> dict[Model, list[str]]:
    """Return the headers that each model's tables have in TOML, "[[versions]]"; none for the file itself."""
    found: dict[Model, list[str]] = {root: []}

    def visit(model: Model, path: str) -> None:
        for name, hint in hints(model):
            key = f"{path}.{name}" if path else name
            for inner, many, named in _inner(hint):
                below = f"{key}.<name>" if named else key
                headers = found.setdefault(inner, [])
                headers.append(f"[[{below}]]" if many else f"[{below}]")
                visit(inner, below)

    visit(root, "")
    return found


def _inner(hint: Any, *, many: bool = False, named: bool = False) -> Iterator[tuple[Model, bool, bool]]:
    """Yield the models in a field's type, each with whether it is in a list and whether in a table of names."""
    if is_model(hint):
        yield hint, many, named
        return
    origin = get_origin(hint)
    for one in get_args(hint):
        yield from _inner(one, many=many or origin is tuple, named=named or origin is dict)


def _section(model: Model, headers: list[str]) -> list[str]:
    config = model.__struct_config__
    summary, attributes = docstring(model)
    lines = [f"## {title(model)}", ""]
    if headers:
        kind = f', with `{config.tag_field} = "{config.tag}"`' if config.tag else ""
        lines += ["In " + ", ".join(f"`{one}`" for one in dict.fromkeys(headers)) + kind + ".", ""]
    lines += [summary, "", "| key | type | default | meaning |", "|---|---|---|---|"]
    types = dict(hints(model))
    for field in msgspec.structs.fields(model):
        default = "required" if field.required else _default(field)
        meaning = attributes.get(field.name, "")
        lines.append(f"| `{field.name}` | {_type(types[field.name])} | {default} | {_cell(meaning)} |")
    return [*lines, ""]


def _cell(text: str) -> str:
    """Escape what Markdown would take for a column or, outside of code, for a tag."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "\\<") for index, part in enumerate(parts))


def _code(text: str) -> str:
    return text.replace("|", "\\|")


def _default(field: Any) -> str:
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if value is None or isinstance(value, msgspec.Struct):
        return ""
    return f"`{json_text(value)}`"


def _patterns(hint: Any) -> Iterator[str]:
    for meta in getattr(hint, "__metadata__", ()):
        if getattr(meta, "pattern", None):
            yield meta.pattern
    for inner in get_args(hint):
        yield from _patterns(inner)


def _type(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return "any"
    if is_model(hint):
        return f"[{title(hint)}](#{anchor(hint)})"
    if isinstance(hint, enum.EnumMeta):
        values: list[Any] = list(hint)
        return " or ".join(f"`{_code(json_text(value))}`" for value in values)
    if isinstance(hint, type) and not args:
        names = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
        return names.get(hint.__name__, hint.__name__)
    if hasattr(hint, "__metadata__"):
        pattern = next(_patterns(hint), "")
        inner = _type(args[0])
        return SPELLINGS.get(pattern) or (f"{inner} like `{_code(pattern)}`" if pattern else inner)
    if origin is tuple:
        return f"list of {_plural(_type(args[0]))}"
    if origin is dict:
        return f"table of {_plural(_type(args[1]))}"
    if origin is typing.Literal:
        return " or ".join(f"`{_code(json_text(arg))}`" for arg in args)
    kinds = [arg for arg in args if arg is not type(None)]
    if len(kinds) > 1 and all(is_model(arg) and arg.__struct_config__.tag for arg in kinds):
        field = kinds[0].__struct_config__.tag_field
        kinds_shown = ", ".join(f"[{arg.__struct_config__.tag}](#{anchor(arg)})" for arg in kinds)
        return f"table whose `{field}` is {kinds_shown}"
    return " or ".join(_type(arg) for arg in kinds)


def _plural(text: str) -> str:
    if text in ("string", "integer", "number", "name", "commit", "CUDA version"):
        return text + "s"
    if text.startswith("table"):
        return "tables" + text.removeprefix("table")
    return "capabilities" if text == "capability" else text
