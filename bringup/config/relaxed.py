"""Models in which every field is optional, so that a document can be searched for all its problems.

Only used once a document has failed: the strict model is what valid documents are read with.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, UnsetType


@functools.cache
def relaxed(model: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return a twin of `model` whose required fields may be missing (they are UNSET then)."""
    hints = get_type_hints(model, include_extras=True)
    config = model.__struct_config__
    fields = [
        (field.encode_name, Union[_relax(hints[field.name]), UnsetType], UNSET)  # noqa: UP007
        for field in msgspec.structs.fields(model)
    ]
    return msgspec.defstruct(
        model.__name__,
        fields,
        kw_only=True,
        tag_field=config.tag_field,
        tag=config.tag,
        forbid_unknown_fields=True,
    )


def _relax(hint: Any) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return relaxed(hint)
    if origin is Annotated:
        return Annotated[(_relax(args[0]), *args[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(_relax(arg) for arg in args)]  # noqa: UP007
    if origin in (tuple, dict):
        return origin[tuple(arg if arg is Ellipsis else _relax(arg) for arg in args)]
    return hint


def missing(value: Any, model: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of required fields that are UNSET in `value`, an instance of `relaxed(model)`."""
    if isinstance(value, msgspec.Struct):
        strict = _strict_twin(value, model)
        hints = get_type_hints(strict)
        for field in msgspec.structs.fields(strict):
            inner = getattr(value, field.encode_name)
            if inner is UNSET:
                if field.required:
                    yield (*path, field.encode_name)
            else:
                yield from missing(inner, hints[field.name], (*path, field.encode_name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from missing(item, model, (*path, f"[{index}]"))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from missing(item, model, (*path, key))


def _strict_twin(value: msgspec.Struct, hint: Any) -> type[msgspec.Struct]:
    """Return the strict model among those that `hint` names whose relaxed twin `value` is of."""
    todo = [hint]
    while todo:
        kind = todo.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if isinstance(value, relaxed(kind)):
                return kind
        else:
            todo.extend(get_args(kind))
    msg = f"{type(value).__name__} is no twin of a model in {hint}"
    raise LookupError(msg)
