"""bringup itself as a wheel, and the distributions that it needs on a node."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bringup import __version__
from bringup.config.paths import DATA_FOLDERS, PACKAGE, data_root
from bringup.formats.wheel import make_wheel
from bringup.system.pypi_wheels import PinnedProject


def engine_requirements() -> list[PinnedProject]:
    """Return bringup's own requirements at the versions that run now, with what they require."""
    found: dict[str, PinnedProject] = {}
    todo = ["invoke", "msgspec", "packaging", "uv"]
    while todo:
        name = str(canonicalize_name(todo.pop()))
        if name in found:
            continue
        distribution = importlib.metadata.distribution(name)
        found[name] = PinnedProject(name=name, version=distribution.version)
        for text in distribution.requires or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                todo.append(need.name)
    return list(found.values())


def engine_wheel(data: Path, scratch: Path) -> Path:
    """Pack the engine and the data files that are in use as one wheel."""
    tree = scratch / "engine"
    ignore = shutil.ignore_patterns("__pycache__", "_data")
    shutil.copytree(PACKAGE, tree / "bringup", ignore=ignore)
    for folder in DATA_FOLDERS:
        # A data folder of one's own has recipes; known issues are the program's.
        source = data_root() / folder if folder == "knowledge" else data / folder
        if source.is_dir():
            shutil.copytree(source, tree / "bringup/_data" / folder, ignore=ignore)
    out = scratch / "engine-wheel"
    out.mkdir()
    requires = ("invoke", "msgspec", "packaging", "uv")
    return make_wheel(tree, out, name="bringup", version=__version__, tag="py3-none-any", requires=requires)
