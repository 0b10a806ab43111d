"""GPUs that the driver shows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from bringup.errors import BringupError, TargetError
from bringup.system import process
from bringup.system.environ import process_environment


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """One GPU as nvidia-smi prints it.

    Attributes:
        name: "NVIDIA H200".
        capability: "9.0".
        driver: driver version.
        memory_mib: memory of the card.
    """

    name: str
    capability: str
    driver: str
    memory_mib: int


def nvidia_smi(env: Mapping[str, str]) -> str | None:
    """Return the driver's program, None without one."""
    # The user's PATH first: clusters keep the driver's programs in places of their own.
    path = f"{process_environment().get('PATH', '')}:{env.get('PATH', '')}:/usr/local/nvidia/bin:/usr/lib/wsl/lib"
    return shutil.which("nvidia-smi", path=path)


def visible_devices(env: Mapping[str, str]) -> tuple[Device, ...]:
    """Return the GPUs of this machine; none without a driver."""
    smi = nvidia_smi(env)
    if smi is None:
        return ()
    query = "--query-gpu=name,compute_cap,driver_version,memory.total"
    try:
        done = process.run(
            [smi, query, "--format=csv,noheader,nounits"], env=env, check=False, error=TargetError, timeout=60
        )
    except BringupError:
        return ()
    if done.returncode:
        return ()
    rows = [line.split(", ") for line in done.output.splitlines() if line.count(", ") == 3]
    return tuple(
        Device(name=row[0], capability=row[1], driver=row[2], memory_mib=int(row[3]) if row[3].isdigit() else 0)
        for row in rows
    )
