"""Checks of CUDA toolkits: what is there, whether it is whole, and which one would be taken."""

from __future__ import annotations

from pathlib import Path

from packaging.version import Version

from bringup.doctor.facts import Facts, ToolkitFacts
from bringup.doctor.model import Verdict, bad, good, skip
from bringup.doctor.registry import check, listed

INCLUDE_VARIABLES = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH")


def _named(toolkit: ToolkitFacts) -> str:
    return f"{toolkit.root} ({', '.join(toolkit.origins)})"


def _chosen(toolkit: ToolkitFacts) -> bool:
    """Whether the user's shell names this toolkit, and not only a usual place."""
    return any(origin != "usual place" for origin in toolkit.origins)


def _relevant(facts: Facts) -> list[ToolkitFacts]:
    """Return the toolkits that would be used: those that are named, or of the release that is wanted."""
    return [one for one in facts.toolkits if one.exists and (_chosen(one) or one.release == facts.cuda_wanted)]


@check("toolkit.usable")
def usable(facts: Facts) -> Verdict:
    """See whether a build finds a toolkit, or can make one."""
    if facts.usable_toolkit:
        return good(facts.usable_toolkit)
    made = [name for name in facts.question.providers if name != "system"]
    if made:
        what = {"wheels": "PyPI's wheels", "debs": "Debian's packages"}
        return good(
            f"none installed that fits; a build assembles CUDA {facts.question.release.version} from {what[made[0]]}"
        )
    return bad(facts.refused_toolkits)


@check("toolkit.home")
def home(facts: Facts) -> Verdict:
    """See that CUDA_HOME and CUDA_PATH name a folder with nvcc."""
    names = [name for name in ("CUDA_HOME", "CUDA_PATH") if facts.variables.get(name)]
    if not names:
        return good("not set")
    problems = [
        f"{name}={facts.variables[name]} " + ("has no bin/nvcc" if toolkit.exists else "does not exist")
        for toolkit in facts.toolkits
        for name in names
        if name in toolkit.origins and (not toolkit.exists or "bin/nvcc" in toolkit.missing_parts)
    ]
    if not problems:
        return good(", ".join(f"{name}={facts.variables[name]}" for name in names))
    return bad(listed(problems), issue=None if "bin/nvcc" in problems[0] else "cuda-home-not-set")


@check("toolkit.one")
def one_toolkit(facts: Facts) -> Verdict:
    """Compare the toolkit of CUDA_HOME with that of PATH."""
    by_origin = {origin: one for one in facts.toolkits for origin in one.origins if one.nvcc}
    home_, path = by_origin.get("CUDA_HOME") or by_origin.get("CUDA_PATH"), by_origin.get("PATH")
    if home_ is None or path is None or home_.root == path.root:
        return good("no more than one is named")
    if home_.nvcc == path.nvcc:
        return good(f"both are nvcc {home_.nvcc}")
    seen = f"CUDA_HOME has nvcc {home_.nvcc} ({home_.root}), and PATH {path.nvcc} ({path.root})"
    return bad(seen, only_warn=home_.release == path.release)


@check("toolkit.release")
def release(facts: Facts) -> Verdict:
    """Compare the nvcc that the shell names with the CUDA of torch or of the target."""
    toolkit, wanted = facts.toolkit_in_use, facts.cuda_wanted
    whose = "this environment's torch" if facts.site and facts.site.torch_cuda else "the target"
    if toolkit is None or not toolkit.nvcc or (not facts.serving and not _chosen(toolkit)):
        return skip("no nvcc is named by CUDA_HOME or PATH")
    seen = f"nvcc {toolkit.nvcc} at {_named(toolkit)}; {whose} has CUDA {wanted}"
    if toolkit.release == wanted:
        return good(seen)
    same_major = toolkit.release.partition(".")[0] == wanted.partition(".")[0]
    newer = Version(toolkit.release) > Version(wanted)
    issue = "libcudart-undefined-symbol-by-version" if newer and same_major else None
    return bad(seen, only_warn=same_major or not facts.serving, issue=issue, values={"cuda": wanted})


@check("toolkit.headers")
def headers(facts: Facts) -> Verdict:
    """See that headers are there in every toolkit that would be used."""
    looked = _relevant(facts)
    missing = [(one, one.missing_headers) for one in looked if one.missing_headers]
    if not missing:
        return good(f"all in {listed([str(one.root) for one in looked])}") if looked else skip("no toolkit is named")
    seen = listed([f"{_named(one)} has no {', '.join(names[:4])}" for one, names in missing])
    names = {name for _, found in missing for name in found}
    # Without the formats' headers nothing compiles; the others are wanted by some kernels only.
    core = any(name.startswith(("cuda", "crt")) and "/std/" not in name for name in names)
    issue = None if any(name.startswith("cuda_") for name in names) else "cuda13-cccl-headers-moved"
    if not any(name.startswith(("cuda_", "cub/", "cuda/std")) for name in names):
        issue = "flashinfer-ninja-build-failed"
    return bad(seen, issue=issue, only_warn=not core and not _compiles(facts))


def _compiles(facts: Facts) -> bool:
    """Whether the environment compiles FlashInfer's modules while it serves."""
    versions = facts.site.versions if facts.site else {}
    return "flashinfer-python" in versions and "flashinfer-jit-cache" not in versions


@check("toolkit.parts")
def parts(facts: Facts) -> Verdict:
    """See that nvcc has the programs and the runtime library that it needs."""
    problems = [
        f"{_named(one)} has no {', '.join(one.missing_parts[:4])}"
        for one in _relevant(facts)
        if one.missing_parts and one.missing_parts != ("bin/nvcc",)
    ]
    silent = [f"{_named(one)}: nvcc does not run" for one in _relevant(facts) if not one.nvcc and not one.missing_parts]
    problems += silent
    return bad(listed(problems)) if problems else good("complete")


@check("toolkit.mixed")
def mixed(facts: Facts) -> Verdict:
    """Compare nvcc with cuda.h in the same folder."""
    problems = [
        f"{_named(one)}: nvcc {one.nvcc}, cuda.h of {one.headers}"
        for one in facts.toolkits
        if one.nvcc and one.headers and one.release != one.headers
    ]
    chosen = any(_chosen(one) for one in facts.toolkits if one.nvcc and one.headers and one.release != one.headers)
    return bad(listed(problems), only_warn=not chosen) if problems else good("compilers and headers belong together")


@check("toolkit.links")
def links(facts: Facts) -> Verdict:
    """Name symbolic links that lead nowhere."""
    broken = [f"{link} -> {_target(link)}" for one in facts.toolkits for link in one.broken_links]
    return bad(f"lead nowhere: {listed(broken)}", only_warn=not facts.serving) if broken else good("all lead somewhere")


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return "?"


@check("toolkit.gpu")
def knows_gpu(facts: Facts) -> Verdict:
    """See that the nvcc in use can make code for the GPU."""
    toolkit, gpu = facts.toolkit_in_use, facts.question.gpu
    if toolkit is None or not toolkit.nvcc:
        return skip("no nvcc is named by CUDA_HOME or PATH")
    have = Version(toolkit.release)
    if have < Version(gpu.cuda.min):
        seen = f"nvcc {toolkit.nvcc} at {_named(toolkit)}; {gpu.title} needs {gpu.cuda.min} or newer"
        return bad(seen, only_warn=not facts.serving and not _chosen(toolkit))
    if gpu.cuda.before and have >= Version(gpu.cuda.before):
        seen = f"nvcc {toolkit.nvcc} at {_named(toolkit)}; {gpu.title} needs one before {gpu.cuda.before}"
        return bad(seen, issue="nvcc-unsupported-gpu-arch-removed-cuda13", only_warn=not facts.serving)
    return good(f"nvcc {toolkit.nvcc} makes {gpu.machine_code.exact}")


@check("toolkit.distribution")
def distribution(facts: Facts) -> Verdict:
    """Warn of the distribution's nvcc where it comes first."""
    found = [one for one in facts.toolkits if one.distribution]
    if not found:
        return good("not installed, or not first on PATH")
    return bad(f"nvcc {found[0].nvcc or '?'} of the distribution comes first on PATH", only_warn=True)


@check("toolkit.include-path")
def include_path(facts: Facts) -> Verdict:
    """Warn of CUDA folders in the compilers' own search variables."""
    found = [
        f"{name} has {folder}"
        for name in INCLUDE_VARIABLES
        for folder in facts.variables.get(name, "").split(":")
        if "cuda" in folder.lower() or "/nvidia/" in folder or "cccl" in folder
    ]
    return bad(listed(found), only_warn=not facts.serving) if found else good("name no CUDA headers")


@check("toolkit.library-path")
def library_path(facts: Facts) -> Verdict:
    """Warn of CUDA libraries of another major version, or a cuDNN or NCCL, that LD_LIBRARY_PATH puts first."""
    major = facts.cuda_wanted.partition(".")[0]
    wrong, shadow = [], []
    for path in facts.library_path:
        stem, _, version = path.name.partition(".so.")
        if stem == "libcudart" and version and version.partition(".")[0] != major:
            wrong.append(path)
        elif stem in ("libcudnn", "libnccl") and version:
            shadow.append(path)
    if wrong:
        seen = f"{listed([str(path) for path in wrong])}; CUDA {major} is used"
        return bad(
            seen,
            issue="libcudart-undefined-symbol-by-version",
            only_warn=not facts.serving,
            values={"folder": str(wrong[0].parent)},
        )
    if shadow:
        seen = f"{listed([str(path) for path in shadow])} win over those that torch brings"
        issue = None if "cudnn" in shadow[0].name else "torch-nccl-undefined-symbol"
        return bad(seen, issue=issue, only_warn=True, values={"folder": str(shadow[0].parent)})
    return good("puts no CUDA library before torch's")


@check("toolkit.stub")
def stub(facts: Facts) -> Verdict:
    """Find the linker's stub of libcuda where the loader would take it."""
    found = [path for path in facts.library_path if path.parent.name == "stubs" and path.name.startswith("libcuda.so")]
    if not found:
        return good("not on LD_LIBRARY_PATH")
    return bad(f"{found[0]} is on LD_LIBRARY_PATH", values={"folder": str(found[0].parent)})


@check("toolkit.ptxas")
def ptxas(facts: Facts) -> Verdict:
    """Compare every ptxas with the first release that knows the GPU."""
    gpu = facts.question.gpu
    if not facts.ptxas:
        return skip("none is here")
    old = [
        f"{one.path} ({one.origin}) is {one.version or 'not there'}"
        for one in facts.ptxas
        if (not one.version and one.origin.startswith("TRITON_"))
        or (one.version and Version(one.version) < Version(gpu.cuda.min))
    ]
    if not old:
        return good(listed([f"{one.version} ({one.origin})" for one in facts.ptxas]))
    used = any(one.split("(")[1].startswith(("Triton", "TRITON", "PATH", "CUDA")) for one in old)
    return bad(f"{listed(old)}; {gpu.machine_code.exact} needs {gpu.cuda.min} or newer", only_warn=not used)
