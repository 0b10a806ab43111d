"""A launcher compiled for the tests, scripted compilers, and a job server over both."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bringup.building.unit_history import Unit, read_units
from bringup.system.groups import end_tree
from bringup.system.jobcontrol import Control
from bringup.system.jobserver import JobServer
from bringup.system.launcher import make_launcher, put_in_front

MIB = 1 << 20

# A compiler that does what its source says, one command a line: sleep, take memory, fail, be killed once.
COMPILER = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
    const char *source = "", *out = "";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--version")) { puts("scripted 1.0"); return 0; }
        if (!strcmp(argv[i], "-o") && i + 1 < argc) out = argv[++i];
        else if (argv[i][0] != '-') source = argv[i];
    }
    FILE *in = fopen(source, "r");
    if (!in) return 2;
    char word[32]; long value;
    while (fscanf(in, "%31s %ld", word, &value) == 2) {
        if (!strcmp(word, "sleep")) usleep((useconds_t)value * 1000);
        else if (!strcmp(word, "take")) { char *at = malloc((size_t)value << 20); memset(at, 1, (size_t)value << 20); }
        else if (!strcmp(word, "say")) fprintf(stderr, "line %ld\n", value);
        else if (!strcmp(word, "exit")) { return (int)value; }
        else if (!strcmp(word, "nice") && nice(0) != value) return 3;
        else if (!strcmp(word, "die")) { /* by this signal, the first time */
            char mark[4096]; struct stat st;
            snprintf(mark, sizeof mark, "%s.died", out);
            if (stat(mark, &st)) { fclose(fopen(mark, "w")); kill(getpid(), (int)value); }
        }
        else if (!strcmp(word, "killed")) { /* as gcc and nvcc tell that a part of theirs was killed, the first time */
            char mark[4096]; struct stat st;
            snprintf(mark, sizeof mark, "%s.died", out);
            if (stat(mark, &st)) {
                fclose(fopen(mark, "w"));
                fputs("fatal error: Killed signal terminated program cc1plus\n", stderr);
                return (int)value;
            }
        }
    }
    FILE *to = fopen(out, "w");
    fprintf(to, "made of %s\n", source);
    return fclose(to);
}
"""


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found, why = make_launcher(tmp_path_factory.mktemp("launcher"), ["cc"], dict(os.environ))
    assert found is not None, why
    return found


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiler")
    (folder / "compiler.c").write_text(COMPILER)
    subprocess.run(["cc", "-O1", "-w", "-o", folder / "scripted", folder / "compiler.c"], check=True)
    return folder / "scripted"


class Bench:
    """Units to compile in a folder, a server, and a launcher in front of the scripted compiler."""

    def __init__(self, folder: Path, launcher: Path, scripted: Path) -> None:
        self.folder = folder
        self.cxx = folder / "bin" / "g++"
        put_in_front(launcher, self.cxx, scripted)
        self.records = folder / "units.jsonl"
        self.said: list[str] = []
        self.started: list[subprocess.Popen[bytes]] = []
        self.server: JobServer | None = None

    def serve(self, jobs: int = 2, mib: int = 1000, usual: int = 100, **more: Any) -> JobServer:
        control = Control(
            jobs=jobs, memory_bytes=mib * MIB, usual_mib=dict.fromkeys(("c", "c++", "cuda", "link"), usual), **more
        )

        def roots() -> list[int]:
            return [one.pid for one in self.started if one.poll() is None]

        self.server = JobServer(control, roots=roots, say=self.said.append, parent=self.folder)
        return self.server

    @property
    def env(self) -> dict[str, str]:
        assert self.server is not None
        return {
            "PATH": "/usr/bin:/bin",
            "MAKEFLAGS": self.server.makeflags,
            "BRINGUP_JOBS": str(self.server.folder),
            "BRINGUP_PACKAGE": "demo",
            "BRINGUP_TREE": str(self.folder),
            "BRINGUP_UNITS": str(self.records),
            "BRINGUP_RUN": "test",
        }

    def compile(self, name: str, *script: str, **env: str) -> subprocess.Popen[bytes]:
        """Start compiling a unit that does what `script` says: "sleep 100", "take 300", "exit 1"."""
        (self.folder / f"{name}.cc").write_text("\n".join(script))
        argv = [self.cxx, "-O2", "-c", f"{name}.cc", "-o", f"{name}.o"]
        started = subprocess.Popen(
            argv, cwd=self.folder, env=self.env | env, stderr=subprocess.PIPE, start_new_session=True
        )
        self.started.append(started)
        return started

    def units(self) -> dict[str, list[Unit]]:
        """Return the records by unit."""
        found: dict[str, list[Unit]] = {}
        for unit in read_units(self.records):
            found.setdefault(unit.name.removesuffix(".cc"), []).append(unit)
        return found

    def made(self, name: str) -> bool:
        return (self.folder / f"{name}.o").exists()


@pytest.fixture
def bench(tmp_path: Path, launcher: Path, scripted: Path) -> Iterator[Bench]:
    one = Bench(tmp_path, launcher, scripted)
    yield one
    for started in one.started:
        if started.poll() is None:
            end_tree(started.pid)
        started.wait()
        if started.stderr is not None:
            started.stderr.close()
    if one.server is not None:
        one.server.close()
