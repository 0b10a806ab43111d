"""CUDA assembled from NVIDIA's wheels on PyPI (`wheels`): no root and no download site, from CUDA 13 on.

The wheels share a folder (`nvidia/cu13`) that is nearly a CUDA_HOME; `cuda_layout` adds what is missing. They are
unpacked from our own cache of checked files and not installed by uv, which would link files from its cache that must
not be edited in place.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from bringup.errors import PrepareError
from bringup.formats.wheel import unpack_wheel
from bringup.model.toolchain import CudaRelease, PinnedWheel
from bringup.system.download import OnBytes
from bringup.system.downloads import DownloadCache
from bringup.system.fs import storage_errors
from bringup.system.pypi import IndexFile, fetch_index_files
from bringup.system.spent import spent_on
from bringup.toolchain.assemble import assemble, merge
from bringup.toolchain.cuda_layout import finish_layout
from bringup.toolchain.toolkit import Toolkit, plan_identity, selected, wheel_set

SITE = ".site-packages"


def wheel_files(release: CudaRelease, groups: Iterable[str]) -> list[PinnedWheel]:
    """Return the wheels that the toolkit with these groups is made of, for estimates and for filling a cache."""
    return selected(wheel_set(release).packages, groups, release, "wheels")


def fetch_wheels(
    release: CudaRelease,
    groups: Iterable[str],
    cache: DownloadCache,
    *,
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> dict[str, Path]:
    """Return the wheels by hash, fetched where they are not in the cache. Raises as `fetch_index_files` does."""
    files = [
        IndexFile(name=pin.name, version=pin.version, sha256=pin.sha256, size=pin.size)
        for pin in wheel_files(release, groups)
    ]
    return fetch_index_files(files, cache, offline=offline, on_bytes=on_bytes)


def provide_wheels(
    release: CudaRelease,
    groups: frozenset[str],
    *,
    dest_root: Path,
    cache: DownloadCache,
    cc: Path | None,
    env: Mapping[str, str],
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> Toolkit:
    """Return the toolkit, assembled if it is not there.

    Raises:
        TargetError: the release has no compiler on PyPI.
        FetchError: a wheel is missing or damaged.
        PrepareError: what came out is not a toolkit.
        StorageError: disk full or no permission.
    """
    identity = plan_identity(release, "wheels", groups)

    def make(made: Path, home: Path) -> None:
        del home
        files = fetch_wheels(release, groups, cache, offline=offline, on_bytes=on_bytes)
        _unpack(release, wheel_files(release, groups), files, made)
        finish_layout(made, cc=cc, env=env)

    home = assemble(dest_root, f"cuda-{release.version}-wheels", identity, make)
    return Toolkit(provider="wheels", version=release.nvcc, root=home, nvcc=home / "bin/nvcc", identity=identity)


def _unpack(release: CudaRelease, pins: list[PinnedWheel], files: Mapping[str, Path], made: Path) -> None:
    common = wheel_set(release).root
    site = made / SITE
    for pin in pins:
        with spent_on("unpack"):
            unpack_wheel(files[pin.sha256], site)
    with storage_errors(made, every=True):
        for root in sorted({pin.root or common for pin in pins}):
            if not (site / root).is_dir():
                msg = f"toolchains/cuda/{release.version}.toml: none of the wheels has the folder {root}"
                raise PrepareError(msg)
            merge(site / root, made)
        shutil.rmtree(site)
    if not (made / "bin/nvcc").is_file():
        msg = f"the wheels of toolchains/cuda/{release.version}.toml hold no bin/nvcc below {common}"
        raise PrepareError(msg)
