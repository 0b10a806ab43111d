"""CUDA 12.4 unpacked from Debian's packages (`debs`): an nvcc of CUDA 12 without root and without NVIDIA's site.

Debian spreads the toolkit over the system's folders and wraps nvcc in scripts with absolute paths; here the parts are
moved back to where NVIDIA has them, with a relocatable nvcc.profile. Static libraries (2.5 GB) are left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from bringup.errors import PrepareError
from bringup.model.toolchain import CudaRelease, PinnedDeb
from bringup.system.apt_sources import DebianMirror
from bringup.system.download import OnBytes
from bringup.system.downloads import DownloadCache
from bringup.system.fs import storage_errors
from bringup.toolchain.assemble import assemble, merge
from bringup.toolchain.cuda_layout import NVCC_PROFILE, finish_layout
from bringup.toolchain.debs import remove_dangling, unpack_debs
from bringup.toolchain.toolkit import Toolkit, deb_set, plan_identity, selected

UNPACKED = ".debian"
# Debian's folder -> folder of CUDA_HOME, in this order.
MOVES = (
    ("usr/lib/nvidia-cuda-toolkit/bin", "bin"),
    ("usr/lib/nvidia-cuda-toolkit/libdevice", "nvvm/libdevice"),
    ("usr/bin", "bin"),
    ("usr/include", "include"),
    ("usr/lib/x86_64-linux-gnu", "lib64"),
)


def deb_files(release: CudaRelease, groups: Iterable[str]) -> list[PinnedDeb]:
    """Return the packages that the toolkit with these groups is made of, for estimates and for filling a cache."""
    debs = deb_set(release)
    return selected(debs.packages, groups, release, "debs", debs.included)


def provide_debs(
    release: CudaRelease,
    groups: frozenset[str],
    *,
    dest_root: Path,
    cache: DownloadCache,
    cc: Path | None,
    env: Mapping[str, str],
    mirror: DebianMirror | None = None,
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> Toolkit:
    """Return the toolkit, assembled if it is not there: about a minute, most of it decompression.

    Raises:
        TargetError: Debian does not package this release, or no mirror is known.
        FetchError: a package is missing, gone or damaged.
        PrepareError: what came out is not a toolkit.
        StorageError: disk full or no permission.
    """
    identity = plan_identity(release, "debs", groups)

    def make(made: Path, home: Path) -> None:
        del home
        root = made / UNPACKED
        packages = deb_files(release, groups)
        unpack_debs(deb_set(release), packages, root, cache=cache, mirror=mirror, offline=offline, on_bytes=on_bytes)
        _rearrange(release, root, made)
        finish_layout(made, cc=cc, env=env)

    home = assemble(dest_root, f"cuda-{release.version}-debs", identity, make)
    return Toolkit(provider="debs", version=release.nvcc, root=home, nvcc=home / "bin/nvcc", identity=identity)


def _rearrange(release: CudaRelease, root: Path, made: Path) -> None:
    with storage_errors(made, every=True):
        for source, target in MOVES:
            if (root / source).is_dir():
                merge(root / source, made / target)
        if not (made / "bin/nvcc").is_file() or not (made / "bin/cicc").is_file():
            msg = f"the packages of toolchains/cuda/{release.version}.toml hold no nvcc and cicc"
            raise PrepareError(msg)
        (made / "nvvm/bin").mkdir(parents=True, exist_ok=True)
        (made / "bin/cicc").rename(made / "nvvm/bin/cicc")
        profile = made / "bin/nvcc.profile"
        profile.unlink(missing_ok=True)
        profile.write_text(NVCC_PROFILE)
        shutil.rmtree(root)
        remove_dangling(made / "lib64")
