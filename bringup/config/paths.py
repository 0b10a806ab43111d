"""Where the data files are: recipes, toolchains, patches, and knowledge of failures.

In a checkout they stand beside the package, where people edit them. An installed package carries a copy in `_data`.
"""

from __future__ import annotations

from pathlib import Path

from bringup.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent.parent

# The folders of a checkout's root that travel in the wheel; setup.py reads this line.
DATA_FOLDERS = ("recipes", "toolchains", "patches", "knowledge")


def data_root() -> Path:
    """Return the folder that holds `recipes`, `toolchains`, `patches` and `knowledge`.

    Raises:
        ConfigError: neither the package's own copy nor a checkout around it has them.
    """
    return find_data_root(PACKAGE)


def find_data_root(package: Path) -> Path:
    """Return the data folder that belongs to the package folder `package`; see `data_root`."""
    installed = package / "_data"
    for root in (installed, package.parent):
        if (root / "recipes").is_dir() and (root / "toolchains").is_dir():
            return root
    msg = f"no recipes and toolchains, neither in {installed} nor beside {package}"
    raise ConfigError(msg, hint="the installation is incomplete: install bringup again, or run ./invokew in a checkout")


def in_checkout() -> bool:
    """Return whether this code runs from a checkout, where the data files can be edited."""
    return data_root() == PACKAGE.parent
