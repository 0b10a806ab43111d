"""Which parts of the CUDA toolkit the packages of a plan want."""

from __future__ import annotations

from collections.abc import Mapping

from bringup.model.plan import Package


def toolkit_groups(packages: Mapping[str, Package]) -> frozenset[str]:
    """Return the optional parts ("curand", "cublas") that the packages which are built want."""
    wanted = [package for package in packages.values() if package.built and package.build.cuda]
    return frozenset(group for package in wanted for group in package.build.toolkit_groups)
