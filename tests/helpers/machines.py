"""Machines with one data folder, a cache each, and a remote store between them."""

from __future__ import annotations

from pathlib import Path

from helpers.data_root import write_data
from helpers.program import Program
from helpers.sdists import local_recipe

COMPILED = "with open({path!r}, 'a') as log:\n    log.write('alpha\\n')\nVALUE = 1\n"
CONFIG = "remote_store_timeout = 1.0\n"


class Machines:
    """Any number of machines; `url` is the remote store."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.log = folder / "compiled"
        recipe = local_recipe(folder / "src", "alpha", during_build=COMPILED.format(path=str(self.log)))
        self.data = write_data(folder / "data", recipe)
        (folder / "config.toml").write_text(CONFIG)

    def machine(self, name: str) -> Program:
        (self.folder / name).mkdir(exist_ok=True)
        program = Program.at(self.folder / name, self.data)
        # One toolkit for all: its content is what counts, and these scripts are equal anyway.
        program.env["BRINGUP_CONFIG"] = str(self.folder / "config.toml")
        return program

    def build(self, name: str, *flags: str) -> str:
        """Build on a machine and return what it said, in one line: long lines are wrapped."""
        store = ("--remote-store", self.url)
        return " ".join(self.machine(name).run("build", *store, *flags).text.split())

    def compiled(self) -> int:
        return self.log.read_text().count("alpha") if self.log.exists() else 0
