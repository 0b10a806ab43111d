"""Checks of the GPU and its driver."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

from bringup.doctor.facts import Facts
from bringup.doctor.model import Verdict, bad, good, skip
from bringup.doctor.registry import check, listed

FABRIC_GOOD = ("Completed", "N/A", "")


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


@check("gpu.present")
def present(facts: Facts) -> Verdict:
    """Compare the devices' capability with the target's; another GPU only warns, because building needs none."""
    gpu = facts.question.gpu
    if not facts.devices:
        return skip("no GPU is visible here: building works, running does not")
    wanted = gpu.capability.rstrip("af")
    others = [f"{one.name} ({one.capability})" for one in facts.devices if one.capability != wanted]
    if others:
        seen = f"{listed(others)}, and the target is {gpu.title} ({wanted})"
        return bad(seen, only_warn=not facts.serving)
    return good(f"{len(facts.devices)} x {facts.devices[0].name}, capability {wanted}")


@check("gpu.machine")
def machine(facts: Facts) -> Verdict:
    """Compare the CPU architecture with those that carry the GPU."""
    gpu = facts.question.gpu
    if facts.host.arch in gpu.machines:
        return good(facts.host.arch)
    return bad(f"this machine is {facts.host.arch}, and {gpu.title} comes with {', '.join(gpu.machines)}")


@check("driver.cuda")
def driver_cuda(facts: Facts) -> Verdict:
    """Compare the driver with the minimum of the CUDA release that is used, and with the GPU's first branch."""
    driver = facts.driver.kernel
    if not driver:
        return skip("no NVIDIA driver here")
    release = facts.question.releases.get(facts.cuda_wanted, facts.question.release)
    have, values = _version(driver), {"driver_min": release.driver_min, "cuda": release.version}
    if have < _version(release.driver_compat):
        return bad(f"driver {driver}; CUDA {release.version} needs {release.driver_compat} or newer", values=values)
    if have < _version(facts.question.gpu.driver_min):
        seen = f"driver {driver}; {facts.question.gpu.title} needs branch {facts.question.gpu.driver_min} or newer"
        return bad(seen, values=values)
    if have < _version(release.driver_min):
        seen = (
            f"driver {driver} runs machine code of CUDA {release.version}, but no PTX: that needs {release.driver_min}"
        )
        return bad(seen, issue="ptx-unsupported-toolchain", only_warn=True, values=values)
    return good(f"driver {driver} for CUDA {release.version}")


@check("driver.library")
def driver_library(facts: Facts) -> Verdict:
    """Compare the two halves of the driver."""
    kernel, library = facts.driver.kernel, facts.driver.library
    if not kernel or not library:
        return skip("one part of the driver is not here to be compared")
    if kernel != library:
        return bad(f"the kernel runs driver {kernel}, and libcuda is {library}")
    return good(f"both are {kernel}")


@check("driver.loader")
def driver_loader(facts: Facts) -> Verdict:
    """See that libcuda.so.1 is found where there is a driver."""
    if not facts.driver.kernel and not facts.devices:
        return skip("no NVIDIA driver here")
    if facts.host.loadable.get("libcuda.so.1", True):
        return good("libcuda.so.1 is found")
    return bad("there is a driver, and libcuda.so.1 is in no folder that the loader searches")


@check("driver.fabric")
def driver_fabric(facts: Facts) -> Verdict:
    """See that the fabric of a machine with NVSwitch is up."""
    state = facts.driver.fabric
    if not facts.question.deep:
        return skip("asked with --deep")
    if state in FABRIC_GOOD:
        return good(state) if state else skip("the driver shows no fabric")
    return bad(f"the fabric is {state}")
