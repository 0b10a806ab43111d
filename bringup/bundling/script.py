"""install.sh of a bundle: the carried script with the figures of this bundle."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from bringup.bundling.without_torch import PROBE, shell_values
from bringup.model.frozen import Frozen

SCRIPT = Path(__file__).with_name("carried") / "install.sh"


def install_script(frozen: Frozen, total: int, sums: bytes) -> str:
    """Return install.sh with the figures of this bundle at its top.

    Args:
        frozen: what the bundle is for.
        total: bytes of what is in it.
        sums: content of parts.sha256.
    """
    # Wheels are unpacked beside themselves: compressed and installed they take about three and a half times the bundle.
    values = {
        "TARGET": frozen.target,
        "STACK": frozen.stack,
        "MACHINE": frozen.machine,
        "GLIBC": frozen.glibc,
        "DRIVER": frozen.driver,
        "CUDA": frozen.cuda,
        "GPU": frozen.title,
        "CAPABILITY": frozen.capability,
        "NEED_KIB": str(int(total * 3.5) // 1024),
        "NEXT": f"build --gpu {frozen.gpu}" if frozen.sources else "verify",
        "SUMS": hashlib.sha256(sums).hexdigest(),
        **shell_values(frozen.node_torch),
    }
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    return SCRIPT.read_text().replace("# @VALUES@\n", head).replace("# @PROBE@\n", PROBE.read_text())
