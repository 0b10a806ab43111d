"""Checks by reading alone that one Python package calls another with arguments that exist.

Neither package is imported. `Library` reads the definitions of the called package and follows its re-exports;
`calls_into` finds what a file imports from it and every call of those names, through local aliases, `self.x = name`
and keyword dictionaries built with `dict(...)`; `Call.problem` binds the arguments to the definition.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Library:
    """The definitions of one package, read from its files."""

    def __init__(self, package: Path) -> None:
        self.root = package
        self.name = package.name
        self._scopes: dict[str, dict[str, ast.AST]] = {}

    def _file(self, module: str) -> Path | None:
        base = self.root.joinpath(*module.split(".")[1:])
        return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)

    def _scope(self, module: str) -> dict[str, ast.AST]:
        if module not in self._scopes:
            path = self._file(module)
            names: dict[str, ast.AST] = {}
            if path is not None:
                for node in _flat(ast.parse(path.read_text()).body):
                    for name in _bound(node):
                        # A definition is better than the stand-in that an `except ImportError` binds.
                        if not (name in names and isinstance(names[name], Definition)):
                            names[name] = node
            self._scopes[module] = names
        return self._scopes[module]

    def find(self, module: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> Definition | str | None:
        """Return the definition, "module" for a submodule, "value" for any other name, None if there is none."""
        if (module, name) in seen or self._file(module) is None:
            return None
        node = self._scope(module).get(name)
        if isinstance(node, Definition):
            return node
        if isinstance(node, ast.ImportFrom):
            source = self._absolute(module, node)
            if source.split(".")[0] != self.name:
                return "value"
            original = next(a.name for a in node.names if (a.asname or a.name) == name)
            return self.find(source, original, seen | {(module, name)})
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id != name:
            return self.find(module, node.value.id, seen | {(module, name)})
        if node is not None:
            return "value"
        if self._file(f"{module}.{name}") is not None:
            return "module"
        for star in self._scope(module).values():
            if isinstance(star, ast.ImportFrom) and star.names[0].name == "*":
                found = self.find(self._absolute(module, star), name, seen | {(module, name)})
                if found is not None:
                    return found
        return None

    def _absolute(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        path = self._file(module)
        base = module.split(".")
        drop = node.level - (1 if path is not None and path.name == "__init__.py" else 0)
        base = base[: len(base) - drop]
        return ".".join([*base, *([node.module] if node.module else [])])


@dataclass
class Use:
    """A name that a file takes from the library, and where it is called."""

    where: str
    module: str
    name: str
    call: ast.Call | None = None
    extra_keywords: list[str] = field(default_factory=list)
    open_ended: bool = False
    method: str = ""

    def problem(self, library: Library) -> str:
        """Return what is wrong with this use; empty if nothing is."""
        found = library.find(self.module, self.name)
        path = f"{self.module}.{self.name}"
        if found is None:
            return f"{self.where}: {path} does not exist"
        if self.call is None or not isinstance(found, Definition):
            return ""
        target: ast.AST | None = found
        if isinstance(found, ast.ClassDef):
            target = _method(library, self.module, found, self.method or "__init__")
            if target is None and self.method:
                return f"{self.where}: {path} has no method {self.method}"
        if not isinstance(target, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return ""
        signature = _signature(target, bound=isinstance(found, ast.ClassDef))
        positional = [0 for arg in self.call.args if not isinstance(arg, ast.Starred)]
        keywords = {word.arg: 0 for word in self.call.keywords if word.arg}
        keywords.update(dict.fromkeys(self.extra_keywords, 0))
        starred = self.open_ended or len(positional) != len(self.call.args)
        try:
            (signature.bind_partial if starred else signature.bind)(*positional, **keywords)
        except TypeError as exc:
            dot = f".{self.method}" if self.method else ""
            return f"{self.where}: {path}{dot}: {exc}"
        return ""


def calls_into(library: str, file: Path, shown: str) -> Iterator[Use]:
    """Yield every import from `library` and every call of what was imported, in one file."""
    tree = ast.parse(file.read_text())
    names: dict[str, tuple[str, str]] = {}
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == library:
            for alias in node.names:
                names[alias.asname or alias.name] = (node.module or "", alias.name)
                yield Use(f"{shown}:{node.lineno}", node.module or "", alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == library:
                    modules[alias.asname or library] = alias.name if alias.asname else library
    for _ in range(2):  # an alias of an alias, as `_comm = comm` after `import flashinfer.comm as comm`
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
                for target in node.targets:
                    key = ast.unparse(target)
                    value = ast.unparse(node.value)
                    if value in modules:
                        modules.setdefault(key, modules[value])
                    elif (got := _resolve(value, names, modules)) is not None:
                        names.setdefault(key, got)
    objects = _objects(tree, names, modules)
    for function, call in _calls(tree):
        text = ast.unparse(call.func)
        where = f"{shown}:{call.lineno}"
        extra, open_ended = _dictionaries(function, call)
        got = _resolve(text, names, modules)
        if got is not None:
            yield Use(where, *got, call=call, extra_keywords=extra, open_ended=open_ended)
            continue
        owner, _, method = text.rpartition(".")
        if owner in objects:
            yield Use(where, *objects[owner], call=call, extra_keywords=extra, open_ended=open_ended, method=method)


def guarded_imports(file: Path) -> set[str]:
    """Return the names that a file imports only inside a `try` that catches ImportError."""
    guarded: set[str] = set()
    everywhere: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            everywhere += [alias.name for alias in node.names]
        if isinstance(node, ast.Try) and any("ImportError" in ast.unparse(h.type or h) for h in node.handlers):
            guarded |= {a.name for stmt in node.body if isinstance(stmt, ast.ImportFrom) for a in stmt.names}
    return {name for name in guarded if everywhere.count(name) == 1}


def _resolve(text: str, names: dict[str, tuple[str, str]], modules: dict[str, str]) -> tuple[str, str] | None:
    if text in names:
        return names[text]
    for alias, module in modules.items():
        if text.startswith(f"{alias}."):
            *path, name = text.removeprefix(f"{alias}.").split(".")
            if all(part.isidentifier() for part in (*path, name)):
                return ".".join([module, *path]), name
    return None


def _objects(tree: ast.AST, names: dict[str, tuple[str, str]], modules: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Names that are assigned an instance of an imported class in this file."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            got = _resolve(ast.unparse(node.value.func), names, modules)
            if got is not None and got[1][:1].isupper():
                for target in node.targets:
                    found[ast.unparse(target)] = got
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.Call]]:
    def walk(node: ast.AST, function: ast.AST) -> Iterator[tuple[ast.AST, ast.Call]]:
        for child in ast.iter_child_nodes(node):
            inner = child if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
            if isinstance(child, ast.Call):
                yield inner, child
            yield from walk(child, inner)

    yield from walk(tree, tree)


def _dictionaries(function: ast.AST, call: ast.Call) -> tuple[list[str], bool]:
    """Return the keywords that `**name` adds where `name` is a dict of known keys, and whether some are unknown."""
    extra: list[str] = []
    unknown = False
    for word in call.keywords:
        if word.arg is not None:
            continue
        keys: list[str] | None = None
        if isinstance(word.value, ast.Name):
            keys = _keys_of(function, word.value.id)
        unknown = unknown or keys is None
        extra += keys or []
    return extra, unknown


def _keys_of(function: ast.AST, name: str) -> list[str] | None:
    keys: list[str] = []
    known = False
    for node in ast.walk(function):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if ast.unparse(target) == name:
                value = node.value  # type: ignore[union-attr]
                if isinstance(value, ast.Call) and ast.unparse(value.func) == "dict" and not value.args:
                    keys += [word.arg for word in value.keywords if word.arg]
                    known = True
                elif isinstance(value, ast.Dict):
                    keys += [key.value for key in value.keys if isinstance(key, ast.Constant)]
                    known = True
            elif (
                isinstance(target, ast.Subscript)
                and isinstance(target.slice, ast.Constant)
                and ast.unparse(target.value) == name
            ):
                keys.append(target.slice.value)
    return keys if known else None


def _method(library: Library, module: str, owner: ast.ClassDef, name: str) -> ast.AST | None:
    for node in _flat(owner.body):
        if name in _bound(node):
            return node
    for base in owner.bases:
        found = library.find(module, ast.unparse(base))
        if isinstance(found, ast.ClassDef):
            return _method(library, module, found, name)
    return None


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool) -> inspect.Signature:
    args = function.args
    kind = inspect.Parameter
    both = [*args.posonlyargs, *args.args]
    first_default = len(both) - len(args.defaults)
    static = any(ast.unparse(mark) == "staticmethod" for mark in function.decorator_list)
    out = []
    for number, arg in enumerate(both):
        if number == 0 and bound and not static:
            continue
        default = 0 if number >= first_default else kind.empty
        how = kind.POSITIONAL_ONLY if number < len(args.posonlyargs) else kind.POSITIONAL_OR_KEYWORD
        out.append(kind(arg.arg, how, default=default))
    if args.vararg:
        out.append(kind(args.vararg.arg, kind.VAR_POSITIONAL))
    for arg, default_node in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        out.append(kind(arg.arg, kind.KEYWORD_ONLY, default=kind.empty if default_node is None else 0))
    if args.kwarg:
        out.append(kind(args.kwarg.arg, kind.VAR_KEYWORD))
    return inspect.Signature(out)


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body with those inside its `if` and `try` blocks."""
    for node in body:
        yield node
        for block in ("body", "orelse", "finalbody", "handlers"):
            if isinstance(node, (ast.If, ast.Try, ast.With)):
                for inner in getattr(node, block, []):
                    yield from _flat(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, Definition):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets]
    if isinstance(node, ast.AnnAssign):
        return [ast.unparse(node.target)]
    return []
