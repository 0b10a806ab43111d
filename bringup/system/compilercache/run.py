"""One compilation: from the cache, or by the compiler and then into the cache."""

from __future__ import annotations

import os
import sys
import time
from _blake2 import blake2b

from bringup.system.compilercache.command import Command, NotCachedError, Places, listed_files, parse
from bringup.system.compilercache.results import Hashes, Results, State, remove, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bringup.system.compilercache.share import Redis, SharedFolder

# Variables that change what a compiler makes or where it looks.
VARIABLES = (
    "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "GCC_EXEC_PREFIX", "COMPILER_PATH", "SOURCE_DATE_EPOCH",
    "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS",
)  # fmt: skip
INSIDE = "BRINGUP_COMPILER_CACHE_INSIDE"
# gcc would list here what it reads, were it not told to write a dependency file.
READ = "SUNPRO_DEPENDENCIES"


class Config:
    """What the file says that `bringup.building.compiler_cache` writes beside its scripts."""

    def __init__(self, file: str, name: str) -> None:
        self.values: dict[str, str] = {}
        self.places: list[tuple[str, str]] = []
        self.stamps: list[tuple[str, str]] = []
        with open(file, encoding="utf-8", errors="surrogateescape") as text:  # noqa: PTH123
            for line in text.read().split("\n"):
                key, _, rest = line.partition("\t")
                if key == "place":
                    folder, _, place = rest.partition("\t")
                    self.places.append((folder, place))
                elif key == f"stamp {name}":
                    path, _, stamp = rest.partition("\t")
                    self.stamps.append((path, stamp))
                else:
                    self.values[key] = rest
        self.program = self.values[f"program {name}"]
        self.identity = self.values[f"identity {name}"]


def main(config_file: str, name: str, arguments: list[str]) -> int:
    """Do what the compiler `name` would do with these arguments, and return its exit status."""
    config = Config(config_file, name)
    unit = _Unit(config, arguments)
    try:
        unit.prepare()
    except NotCachedError as exc:
        unit.note("uncached", str(exc))
        os.environ[INSIDE] = "1"
        os.execv(config.program, [config.program, *arguments])  # noqa: S606
    if unit.restore():
        unit.note("hit", "")
        return 0
    return unit.compile(name)


class _Unit:
    def __init__(self, config: Config, arguments: list[str]) -> None:
        self._config = config
        self._arguments = arguments
        self._places = Places(config.places)
        self._spare = f"{config.values['spare']}/{os.getpid()}"
        self._hashes = Hashes(f"{config.values['root']}/hashes")
        self._results = Results(config.values["root"], self._shared())
        self._listed = ""
        self._key = ""
        self._started = 0
        self._command = Command("", "", "", [], [])

    def prepare(self) -> None:
        """Find out what is compiled; raises NotCachedError."""
        for path, stamp in self._config.stamps:
            stat = os.stat(path)  # noqa: PTH116
            if f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}" != stamp:
                raise NotCachedError("the compiler was replaced while the build runs")
        spare = f"{self._spare}.d"
        self._command = command = parse(self._arguments, self._places, spare)
        self._listed = command.dependencies or spare
        source = self._hashes.of(command.source)
        if source in ("", "?"):
            raise NotCachedError("__TIMESTAMP__" if source else "the source cannot be read")
        parts = [
            self._config.identity, self._places.hide(os.getcwd()), source,  # noqa: PTH109
            *(f"{one}={os.environ.get(one, '')}" for one in VARIABLES), *command.key,
        ]  # fmt: skip
        self._key = _digest("\0".join(parts))

    def restore(self) -> bool:
        """Write the files of a known result, if all that it was made of is the same here."""
        for state in self._results.states(self._key):
            if any(self._hashes.of(self._places.show(path)) != known for path, known in state.files):
                continue
            files = self._results.load(state.result)
            if files is None or "object" not in files:
                continue
            text = files.get("dependencies", b"").decode("utf-8", "surrogateescape")
            listed = self._places.show_all(text).encode("utf-8", "surrogateescape")
            if self._command.dependencies and not write_atomic(self._command.dependencies, listed):
                return False
            if not write_atomic(self._command.output, files["object"]):
                return False
            if files.get("messages"):
                sys.stderr.write(self._places.show_all(files["messages"].decode("utf-8", "replace")))
            self._tell([self._places.show(path) for path, _ in state.files])
            self._hashes.save()
            return True
        return False

    def compile(self, name: str) -> int:
        """Run the compiler and keep what it makes."""
        messages = f"{self._spare}.txt"
        command = self._command
        # Of several that fit gcc takes the last; the most exact place comes first here.
        maps = [f"-ffile-prefix-map={folder}={place[1:]}" for folder, place in reversed(self._places.roots)]
        more = [f"-Xcompiler={one}" for one in maps] if name == "nvcc" else maps
        env = {**os.environ, INSIDE: "1"}
        self._started = time.time_ns()
        actions = [(os.POSIX_SPAWN_OPEN, 2, messages, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)]
        program = self._config.program  # its own name, too: nvcc looks for what belongs to it beside that
        pid = os.posix_spawn(program, [program, *command.real, *more], env, file_actions=actions)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = _read(messages)
        sys.stderr.buffer.write(said)
        sys.stderr.flush()
        kept = status == 0 and self._keep(said)
        remove(messages)
        if not command.dependencies:
            remove(self._listed)
        self.note("miss" if kept else "failed" if status else "unkept", "")
        return status if status >= 0 else 128 - status

    def _keep(self, said: bytes) -> bool:
        dependencies = _read(self._listed).decode("utf-8", "surrogateescape")
        made = _read(self._command.output)
        if not dependencies or not made:
            return False
        files = []
        for path in dict.fromkeys(listed_files(dependencies)):
            known = self._hashes.of(path)
            if known in ("", "?"):
                return False
            files.append((self._places.hide(os.path.normpath(path)), known))
        if self._hashes.newest > self._started:  # edited while it was compiled: nobody knows what the compiler saw
            return False
        state = State(_digest("\n".join([self._key, *(f"{path}\t{known}" for path, known in files)])), files)
        hidden = {
            "object": made,
            "dependencies": self._places.hide_all(dependencies).encode("utf-8", "surrogateescape"),
            "messages": self._places.hide_all(said.decode("utf-8", "replace")).encode(),
        }
        self._results.save(self._key, state, hidden)
        self._tell([path for path in listed_files(dependencies) if path.startswith("/")])
        self._hashes.save()
        return True

    def _tell(self, paths: list[str]) -> None:
        """Add the files that were read to the list that the build is asked to make, as gcc would."""
        if os.environ.get(READ):
            with open(os.environ[READ], "a", encoding="utf-8", errors="surrogateescape") as listed:  # noqa: PTH123
                listed.write(f"object: {' '.join(path.replace(' ', chr(92) + ' ') for path in paths)}\n")

    def note(self, outcome: str, why: str) -> None:
        """Add one line to the list of what happened; short lines are appended whole."""
        line = f"{outcome}\t{why}\t{self._command.output or ' '.join(self._arguments)[-200:]}\n"
        with open(self._config.values["log"], "a", encoding="utf-8", errors="surrogateescape") as log:  # noqa: PTH123
            log.write(line)

    def _shared(self) -> SharedFolder | Redis | None:
        off = f"{self._config.values['spare']}/share-off"
        if not self._config.values["share"] or os.path.exists(off):  # noqa: PTH110
            return None
        from bringup.system.compilercache.share import open_shared  # noqa: PLC0415 - sockets are slow to import

        def failed(why: str) -> None:
            write_atomic(off, why.encode())  # the other units of this build do not ask any more

        return open_shared(self._config.values["share"], failed)


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b""
