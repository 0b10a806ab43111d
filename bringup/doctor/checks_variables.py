"""Checks of what the shell or an image left in the environment, and of the network."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from bringup.doctor.facts import Facts
from bringup.doctor.model import Verdict, bad, good, skip
from bringup.doctor.registry import check, listed
from bringup.doctor.rules import rules

ARCH_VARIABLES = ("TORCH_CUDA_ARCH_LIST", "FLASHINFER_CUDA_ARCH_LIST", "CMAKE_CUDA_ARCHITECTURES", "CUDAARCHS")
PYTHON_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "LD_PRELOAD")
_LOWEST = 75  # FlashInfer's own: sm_75
_NAMES = {"kepler": 35, "maxwell": 52, "pascal": 61, "volta": 70, "turing": 75, "ampere": 86, "ada": 89, "hopper": 90}


def architectures(text: str) -> list[int]:
    """Return the numbers in an arch list in any of the usual spellings: "9.0a 8.6+PTX", "90a;80-real", "Hopper"."""
    found = []
    for word in re.split(r"[\s;,]+", text.strip()):
        number = re.match(r"(?:sm_|compute_)?(\d+)(?:\.(\d))?", word)
        if number and number[2] is not None:
            found.append(int(number[1]) * 10 + int(number[2]))
        elif number:
            found.append(int(number[1]))
        elif word.lower() in _NAMES:
            found.append(_NAMES[word.lower()])
    return found


@check("variables.arch")
def arch_lists(facts: Facts) -> Verdict:
    """Compare inherited arch lists with the GPU."""
    gpu = facts.question.gpu
    major, minor = gpu.capability.rstrip("af").split(".")
    own = int(major) * 10 + int(minor)
    values = {
        "torch_arch": gpu.arch.get("torch", gpu.capability),
        "flashinfer_arch": gpu.arch.get("flashinfer", gpu.capability),
    }
    problems: list[str] = []
    names: list[str] = []
    issue = None
    for name in ARCH_VARIABLES:
        text = facts.variables.get(name, "")
        archs = architectures(text)
        if not text or (archs and own in archs and min(archs) >= _LOWEST):
            continue
        names.append(name)
        if not archs:
            problems.append(f"{name}={text!r} names no architecture")
            issue = issue or "torch-unknown-cuda-arch"
        elif own not in archs:
            problems.append(f"{name}={text!r} does not name {gpu.capability}")
            issue = issue or (None if min(archs) < _LOWEST else "flashinfer-no-supported-cuda-archs")
        else:
            problems.append(f"{name}={text!r} names architectures below 7.5")
            if int(facts.cuda_wanted.partition(".")[0]) >= 13:
                issue = issue or "nvcc-unsupported-gpu-arch-removed-cuda13"
    if (
        "flashinfer" in facts.question.packages
        and names
        and names[0] == "TORCH_CUDA_ARCH_LIST"
        and "below" in problems[0]
    ):
        issue = None  # FlashInfer's refusal comes before any compiler's
    if not problems:
        return good("none is set, or they name this GPU")
    return bad(listed(problems), issue=issue, only_warn=not facts.serving, values=values | {"names": " ".join(names)})


@check("variables.flags")
def flags(facts: Facts) -> Verdict:
    """Name variables that change what is compiled."""
    found = [name for name in rules().flags if facts.variables.get(name)]
    if not found:
        return good("none is set")
    seen = listed([f"{name}={facts.variables[name]}" for name in found])
    return bad(seen, only_warn=True, values={"names": " ".join(found)})


@check("variables.python")
def python_variables(facts: Facts) -> Verdict:
    """Name variables that put other modules or libraries first."""
    found = [name for name in PYTHON_VARIABLES if facts.variables.get(name)]
    if not found:
        return good("none is set")
    seen = listed([f"{name}={facts.variables[name]}" for name in found])
    return bad(seen, only_warn=not (facts.serving and "PYTHONHOME" in found), values={"names": " ".join(found)})


@check("variables.allocator")
def allocator(facts: Facts) -> Verdict:
    """Find the setting that custom all-reduce cannot bear."""
    text = facts.variables.get("PYTORCH_CUDA_ALLOC_CONF", "") or facts.variables.get("PYTORCH_ALLOC_CONF", "")
    if "expandable_segments:true" in text.lower().replace(" ", ""):
        return bad(f"PYTORCH_CUDA_ALLOC_CONF={text}", only_warn=True)
    return good(text or "not set")


@check("variables.conda")
def conda(facts: Facts) -> Verdict:
    """See whether an active conda environment puts its own compilers and libraries first."""
    prefix = facts.variables.get("CONDA_PREFIX", "")
    if not prefix:
        return good("none is active")
    problems = []
    for name in ("LD_LIBRARY_PATH", "CMAKE_PREFIX_PATH", "CPATH", "LIBRARY_PATH"):
        if any(part.startswith(prefix) for part in facts.variables.get(name, "").split(":")):
            problems.append(f"{name} names it")
    compilers = [one for one in facts.compilers if str(one.path).startswith(prefix + "/")]
    problems += [f"{compilers[0].origin} takes its {compilers[0].path.name}"] if compilers else []
    own, system = facts.conda_libstdcxx
    if own and system and [*map(int, own.split("."))] < [*map(int, system.split("."))]:
        problems.append(f"its libstdc++ ends at GLIBCXX_{own}, the system's at GLIBCXX_{system}")
    if not problems:
        return good(f"{prefix} is active and in nobody's way")
    return bad(f"{prefix}: {listed(problems)}", only_warn=not facts.serving)


@check("variables.proxy")
def proxy(facts: Facts) -> Verdict:
    """See that proxies can be read, are the same in both spellings and leave this machine out."""
    problems = []
    values = {}
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        lower, upper = facts.variables.get(name, ""), facts.variables.get(name.upper(), "")
        values[name] = lower or upper
        if lower and upper and lower != upper:
            problems.append(f"{name} and {name.upper()} differ")
        if values[name] and not _readable(values[name]):
            problems.append(f"{name} is no address of the form http://host:port")
    if values["http_proxy"] and not values["https_proxy"] and not values["all_proxy"]:
        problems.append("http_proxy is set and https_proxy is not")
    exempt = f"{facts.variables.get('no_proxy', '')},{facts.variables.get('NO_PROXY', '')}"
    if any(values.values()) and "127.0.0.1" not in exempt and exempt != "*,":
        problems.append("no_proxy does not name 127.0.0.1")
    if problems:
        return bad(listed(problems), only_warn=True)
    return good("set" if any(values.values()) else "none")


def _readable(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https", "socks5", "socks5h") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@check("network.reach")
def reach(facts: Facts) -> Verdict:
    """Name sources that do not answer."""
    if not facts.question.deep:
        return skip("asked with --deep")
    out = [problem for _, problem in facts.reach if problem]
    return bad(listed(out)) if out else good(listed([f"{name} answers" for name, _ in facts.reach]))
