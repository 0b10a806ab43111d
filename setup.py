"""Packs the data folders of the repository's root into the wheel; everything else is in pyproject.toml."""

import ast
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SKIPPED = {"__pycache__"}

# Not ./build: that is where bringup puts what it makes, and a second wheel must not pick up a first one's leftovers.
SCRATCH = tempfile.TemporaryDirectory(prefix="bringup-wheel-")


def data_folders() -> tuple[str, ...]:
    """Return DATA_FOLDERS of bringup/config/paths.py, read without importing what may not be installed yet."""
    tree = ast.parse((ROOT / "bringup/config/paths.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DATA_FOLDERS":
            return tuple(ast.literal_eval(node.value))
    message = "bringup/config/paths.py does not assign DATA_FOLDERS"
    raise SystemExit(message)


def data_files() -> list[Path]:
    """Return every data file, relative to the repository's root."""
    files = (path for folder in data_folders() for path in (ROOT / folder).rglob("*") if path.is_file())
    return sorted(path.relative_to(ROOT) for path in files if not SKIPPED & set(path.parts))


class BuildWithData(build_py):
    """Copies the data folders to bringup/_data."""

    def run(self) -> None:
        """Copy the modules, then the data; an editable install reads the data where it is."""
        super().run()
        if self.editable_mode:
            return
        for path in data_files():
            target = Path(self.build_lib, "bringup", "_data", path)
            self.mkpath(str(target.parent))
            self.copy_file(str(ROOT / path), str(target))


setup(
    cmdclass={"build_py": BuildWithData},
    options={"build": {"build_base": SCRATCH.name}, "egg_info": {"egg_base": SCRATCH.name}},
)
