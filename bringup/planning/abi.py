"""Whether published binaries have the C++ ABI of the PyTorch that they would be loaded into. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bringup.config.variants import has_new_abi, variants_with_abi
from bringup.errors import TargetError
from bringup.model.plan import Package
from bringup.model.source import WheelSource

NAMES = {True: "the new C++ ABI (_GLIBCXX_USE_CXX11_ABI=1)", False: "the old C++ ABI (_GLIBCXX_USE_CXX11_ABI=0)"}


@dataclass(frozen=True, kw_only=True, slots=True)
class AbiClash:
    """A published wheel and a variant of PyTorch that do not go together.

    Attributes:
        package: the recipe of the wheel.
        message: wheel, variant, both ABIs, and what would happen.
        variants: variants of PyTorch that have the wheel's ABI, those that keep most of the chosen one first.
    """

    package: str
    message: str
    variants: tuple[str, ...]


def find_abi_clash(packages: Mapping[str, Package]) -> AbiClash | None:
    """Return the first published wheel that was linked against a PyTorch of the other C++ ABI; None if all fit."""
    torch = packages.get("pytorch")
    if torch is None or not torch.built or isinstance(torch.source, WheelSource):
        return None
    has = has_new_abi(torch.recipe, torch.variant)
    for package in packages.values():
        version = next(one for one in package.recipe.versions if one.version == package.version)
        wants = version.cxx11_abi
        if package.built or wants is None or wants == has:
            continue
        msg = (
            f"{package.name} {package.version} was published for a PyTorch with {NAMES[wants]}, and variant "
            f"{torch.variant!r} of pytorch has {NAMES[has]}: it would fail with undefined symbols"
        )
        able = variants_with_abi(torch.recipe, torch.variant, new=wants)
        return AbiClash(package=package.name, message=msg, variants=tuple(able))
    return None


def check_cxx11_abi(packages: Mapping[str, Package]) -> None:
    """Fail if a published wheel was linked against a PyTorch of the other C++ ABI: it would not load.

    Raises:
        TargetError: names the wheel, the variant of PyTorch, and the variants that have the wheel's ABI.
    """
    clash = find_abi_clash(packages)
    if clash:
        able = " or ".join(clash.variants)
        raise TargetError(clash.message, hint=f"--variant pytorch={able}" if able else "build it from source")
