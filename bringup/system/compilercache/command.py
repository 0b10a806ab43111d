"""Command lines of gcc and nvcc: what one compiles, what it writes, and what of it names places and not content."""

from __future__ import annotations

import os

SOURCES = (".c", ".cc", ".cpp", ".cxx", ".c++", ".C", ".cu")
# With these the result depends on more than the files that are read, or there is more than one result.
UNKNOWN = (
    "-E", "-S", "-M", "-MM", "-save-temps", "--save-temps", "-keep", "--keep", "-gsplit-dwarf", "--coverage",
    "-coverage", "-fprofile-arcs", "-ftest-coverage", "-fprofile-use", "-fprofile-generate", "-fplugin", "-fmodules",
    "-fdump",
    "-ptx", "--ptx", "-cubin", "--cubin", "-fatbin", "--fatbin", "-optix-ir", "--optix-ir", "-dlink", "--device-link",
    "-link", "--link", "-lib", "--lib", "-run", "--run", "-dryrun", "--dryrun", "-###", "-time", "--time", "-wrapper",
    "-gen-opt-lto", "--clean-targets", "-v", "-fdirectives-only", "-iplugindir",
)  # fmt: skip
COMPILE = ("-c", "--compile", "-dc", "--device-c", "-dw", "--device-w")
OUTPUT = ("-o", "--output-file")
DEPENDENCY_FILE = ("-MF", "--dependency-output", "-dependency-output")
DEPENDENCIES = (
    "-MD", "-MMD", "--generate-dependencies-with-compile", "-generate-dependencies-with-compile",
    "--generate-nonsystem-dependencies-with-compile", "-generate-nonsystem-dependencies-with-compile",
)  # fmt: skip
RESPONSE = ("--options-file", "-optf")
# Their value is a path that matters by what is there: in a key it may stand with a name for its beginning.
PATHS = (
    "-I", "-isystem", "-iquote", "-idirafter", "-include", "-imacros", "-isysroot", "-B", "-ccbin", "-MT", "-MQ",
    "--include-path", "--system-include", "--pre-include", "--compiler-bindir", "--sysroot", "--dependency-target-name",
    *OUTPUT, *DEPENDENCY_FILE, *RESPONSE,
)  # fmt: skip


class Command:
    """One compilation.

    Attributes:
        source: the file that is compiled.
        output: the object.
        dependencies: file that the user wants dependencies in; "" if none.
        real: arguments to run, so that dependencies are written.
        key: arguments with the beginnings of paths replaced by names.
    """

    __slots__ = ("dependencies", "key", "output", "real", "source")

    def __init__(self, source: str, output: str, dependencies: str, real: list[str], key: list[str]) -> None:
        self.source = source
        self.output = output
        self.dependencies = dependencies
        self.real = real
        self.key = key


class NotCachedError(Exception):
    """This command line is run as it is; the text says why."""


class Places:
    """Folders that are somewhere else in another checkout, with the names that stand for them."""

    def __init__(self, roots: list[tuple[str, str]]) -> None:
        self.roots = sorted(roots, key=lambda root: -len(root[0]))

    def hide(self, path: str) -> str:
        """Return a path with the name of its place."""
        for folder, name in self.roots:
            if path.startswith(folder) and path[len(folder) : len(folder) + 1] in ("", "/"):
                return name + path[len(folder) :]
        return path

    def show(self, path: str) -> str:
        """Return the path that `hide` made a name of, here."""
        if path.startswith("@"):
            for folder, name in self.roots:
                if path.startswith(name) and path[len(name) : len(name) + 1] in ("", "/"):
                    return folder + path[len(name) :]
        return path

    def hide_all(self, text: str) -> str:
        """Replace places anywhere in a text."""
        for folder, name in self.roots:
            text = text.replace(folder + "/", name + "/")
        return text

    def show_all(self, text: str) -> str:
        """Undo `hide_all`."""
        for folder, name in self.roots:
            text = text.replace(name + "/", folder + "/")
        return text


def parse(arguments: list[str], places: Places, dependency_file: str) -> Command:
    """Return what a command line does.

    Args:
        arguments: those of the compiler.
        places: what is replaced in the key.
        dependency_file: where dependencies go if the user does not want any.

    Raises:
        NotCachedError: it is not one compilation of one file into an object, or one whose inputs are not all known.
    """
    words = list(_expanded(arguments))
    if not any(word in COMPILE for word in words):
        raise NotCachedError("no compilation")
    for word in words:
        if word in UNKNOWN or word.partition("=")[0] in UNKNOWN:
            raise NotCachedError(word.partition("=")[0])
    sources, key, found, wanted = [], [], {"output": "", "dependencies": ""}, False
    index = 0
    while index < len(words):
        word = words[index]
        option, value, used = _split(word, words, index)
        if option in OUTPUT:
            found["output"] = value
        elif option in DEPENDENCY_FILE:
            found["dependencies"] = value
        elif word in DEPENDENCIES:
            wanted = True
        elif not word.startswith("-") and word.endswith(SOURCES):
            sources.append(word)
        if option:
            key += [option, places.hide(value)]
        else:
            key.append(places.hide(word) if not word.startswith("-") else word)
        index += used
    if len(sources) != 1:
        raise NotCachedError("several sources" if sources else "no source")
    source = sources[0]
    output = found["output"] or f"{os.path.splitext(os.path.basename(source))[0]}.o"  # noqa: PTH119, PTH122 - speed
    dependencies = found["dependencies"]
    if wanted and not dependencies:
        dependencies = f"{os.path.splitext(output)[0]}.d"  # noqa: PTH122
    real = [_with_system(word) for word in arguments]
    if not wanted:
        real += ["-MD", "-MF", dependency_file]
    elif not found["dependencies"]:
        real += ["-MF", dependencies]
    return Command(source, output, dependencies if wanted else "", real, key)


def _with_system(word: str) -> str:
    """Have headers of the system listed too: a result depends on them as well."""
    if word == "-MMD":
        return "-MD"
    if word.endswith("-generate-nonsystem-dependencies-with-compile"):
        return "--generate-dependencies-with-compile"
    return word


def _split(word: str, words: list[str], index: int) -> tuple[str, str, int]:
    """Return option, path and number of words of an option that names a path; ("", "", 1) of every other word."""
    if word in PATHS:
        if index + 1 >= len(words):
            raise NotCachedError("option without value")
        return word, words[index + 1], 2
    name, equals, value = word.partition("=")
    if equals and name in PATHS:
        return name, value, 1
    for option in ("-I", "-isystem", "-iquote", "-B", "-o"):
        if word.startswith(option) and len(word) > len(option) and not word.startswith("-objtemp"):
            return option, word[len(option) :], 1
    return "", "", 1


def _expanded(arguments: list[str]) -> list[str]:
    """Put what response files say in their place."""
    words: list[str] = []
    index = 0
    while index < len(arguments):
        word = arguments[index]
        file = ""
        if word in RESPONSE and index + 1 < len(arguments):
            index += 1
            file = arguments[index]
        elif word.startswith("@"):
            file = word[1:]
        if file:
            import shlex  # noqa: PLC0415 - seldom needed

            try:
                with open(file, encoding="utf-8") as text:  # noqa: PTH123 - pathlib takes long to import
                    words += shlex.split(text.read())
            except (OSError, ValueError) as exc:
                raise NotCachedError("response file") from exc
        else:
            words.append(word)
        index += 1
    return words


def listed_files(text: str) -> list[str]:
    """Return the files that a dependency file names behind its target."""
    _, _, rest = text.replace("\\\n", " ").partition(": ")
    if "\\ " not in rest:
        return rest.split()
    return [one.replace("\0", " ") for one in rest.replace("\\ ", "\0").split()]
