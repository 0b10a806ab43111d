"""Gather every fact once; the checks then only look at values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bringup.doctor import gather_toolkits as toolkits
from bringup.doctor.facts import Driver, Facts, Host, Question
from bringup.doctor.gather_binaries import gather_binaries, gather_reach
from bringup.doctor.gather_caches import gather_caches
from bringup.doctor.gather_host import gather_disks, gather_driver, gather_host
from bringup.doctor.gather_site import gather_site
from bringup.doctor.places import Places
from bringup.system.gpus import visible_devices

_GLIBCXX = re.compile(rb"GLIBCXX_3\.4\.(\d+)")


def gather(
    question: Question, places: Places, *, host: Host | None = None, mirrors: Sequence[tuple[str, str]] = ()
) -> Facts:
    """Return the facts about this machine.

    Args:
        question: what it is examined for.
        places: where to look.
        host: facts about the computer itself; this one's if None.
        mirrors: for git, address prefixes and what stands in their place.

    Raises:
        UsageError: the environment asked for is none.
    """
    site = gather_site(question, places)
    found = toolkits.gather_toolkits(question, places)
    usable, refused = toolkits.usable_toolkit(question, places)
    compiler, refused_compilers = toolkits.usable_compiler(question, places)
    devices = visible_devices(places.env)
    driver = gather_driver(places, fabric=question.deep and len(devices) > 1)
    if not driver.kernel and devices:
        driver = Driver(kernel=devices[0].driver, library=driver.library, fabric=driver.fabric)
    return Facts(
        question=question,
        host=host or gather_host(places),
        disks=gather_disks(places),
        devices=devices,
        driver=driver,
        toolkits=found,
        usable_toolkit=usable,
        refused_toolkits=refused,
        compiler=compiler,
        refused_compilers=refused_compilers,
        compilers=toolkits.gather_compilers(places),
        target_python=toolkits.usable_python(question, places),
        ptxas=toolkits.gather_ptxas(found, [site.packages] if site else [], places),
        tools=toolkits.gather_tools(places),
        missing_tools=toolkits.missing_tools(question, places),
        variables=dict(places.env),
        library_path=toolkits.library_path(places),
        conda_libstdcxx=_libstdcxx(places),
        caches=gather_caches(places),
        site=site,
        binaries=gather_binaries(question, site, places),
        reach=gather_reach(question, places, mirrors) if question.deep else (),
    )


def _libstdcxx(places: Places) -> tuple[str, str]:
    """Return the highest GLIBCXX of conda's libstdc++ and of the system's; "" without."""
    prefix = places.env.get("CONDA_PREFIX", "")
    if not prefix:
        return "", ""
    system = [places.under(f"usr/lib/{arch}-linux-gnu/libstdc++.so.6") for arch in ("x86_64", "aarch64")]
    return _highest(Path(prefix, "lib/libstdc++.so.6")), max((_highest(path) for path in system), key=len)


def _highest(library: Path) -> str:
    try:
        minors = [int(text) for text in _GLIBCXX.findall(library.read_bytes())]
    except OSError:
        return ""
    return f"3.4.{max(minors)}" if minors else ""
