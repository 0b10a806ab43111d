"""A CUDA toolkit from whichever provider is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bringup.model.toolchain import CudaRelease
from bringup.system.downloads import DownloadCache
from bringup.toolchain.cuda_system import find_system
from bringup.toolchain.facts import FactCache
from bringup.toolchain.toolkit import PROVIDERS, Provider, Toolkit, plan_identity

if TYPE_CHECKING:  # an installed toolkit needs no network
    from bringup.system.apt_sources import DebianMirror
    from bringup.system.download import OnBytes

__all__ = ["PROVIDERS", "Provider", "Toolkit", "plan_identity", "provide_cuda"]


def provide_cuda(
    release: CudaRelease,
    provider: Provider,
    *,
    groups: frozenset[str],
    dest_root: Path,
    cache: DownloadCache,
    facts: FactCache,
    cc: Path | None,
    env: Mapping[str, str],
    user_env: Mapping[str, str],
    mirror: DebianMirror | None = None,
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> Toolkit:
    """Return a toolkit that is ready to use, assembled if need be.

    Args:
        release: which one.
        provider: how it is had.
        groups: parts beyond compiler and runtime, "curand".
        dest_root: folder of assembled toolkits.
        cache: downloads.
        facts: what is known about installed files.
        cc: C compiler, for the stub of libcuda; None where the toolkit is expected to be assembled already.
        env: environment of the commands that are run.
        user_env: the user's environment, where CUDA_HOME and environment modules are looked up.
        mirror: Debian mirror, for `debs`; found from the machine's configuration if None.
        offline: fetch nothing.
        on_bytes: told how many bytes have arrived.

    Raises:
        TargetError: not possible with this provider, or what is installed does not fit.
        FetchError: a file is missing or damaged.
        PrepareError: the toolkit could not be assembled.
        StorageError: disk full or no permission.
    """
    if provider == "system":
        return find_system(release, groups=groups, facts=facts, user_env=user_env)
    if provider == "wheels":
        from bringup.toolchain.cuda_wheels import provide_wheels  # noqa: PLC0415

        return provide_wheels(
            release, groups, dest_root=dest_root, cache=cache, cc=cc, env=env, offline=offline, on_bytes=on_bytes
        )
    from bringup.toolchain.cuda_debs import provide_debs  # noqa: PLC0415

    return provide_debs(
        release,
        groups,
        dest_root=dest_root,
        cache=cache,
        cc=cc,
        env=env,
        mirror=mirror,
        offline=offline,
        on_bytes=on_bytes,
    )
