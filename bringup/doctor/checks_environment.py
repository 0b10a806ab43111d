"""Checks of an existing Python environment: `--env PATH`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from bringup.doctor.facts import Facts, Site
from bringup.doctor.model import Verdict, bad, good, skip
from bringup.doctor.registry import CheckFunction, check, listed
from bringup.doctor.rules import BadCombination, rules
from bringup.formats.distribution_name import plain
from bringup.toolchain.python import apt_command

KERNELS = ("sgl-kernel", "sglang-kernel")


def of_site(function: Callable[[Facts, Site], Verdict]) -> CheckFunction:
    """Turn a check of an environment into one of facts: without --env it is skipped."""

    @wraps(function)
    def checked(facts: Facts) -> Verdict:
        if facts.site is None:
            return skip("examined with --env PATH")
        return function(facts, facts.site)

    return checked


def by_itself(function: Callable[[Site], Verdict]) -> CheckFunction:
    """As `of_site`, for checks that look at nothing but the environment."""
    return of_site(wraps(function)(lambda _facts, site: function(site)))


def fits(version: str, specifier: str) -> bool:
    """Whether an installed version meets a range; local labels and pre-releases count as their release."""
    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


@check("environment.python")
@of_site
def python(facts: Facts, site: Site) -> Verdict:
    """See that Python.h is there, and that the Python is not newer than what packages have wheels for."""
    minor = ".".join(site.python.split(".")[:2])
    values = {"python": minor, "apt": apt_command(facts.question.python, minor, facts.host.distribution)}
    if site.has_headers is False:
        return bad(f"{site.prefix}: Python {site.python}, and Python.h is not there", values=values)
    wanted = facts.question.python.version
    if Version(values["python"]) >= Version("3.13") > Version(wanted):
        seen = f"{site.prefix}: Python {site.python}; stacks are for {wanted}, some packages have no wheel for 3.13"
        values = {"python": wanted, "apt": apt_command(facts.question.python, wanted, facts.host.distribution)}
        return bad(seen, issue="rust-compiler-missing-setuptools-rust", only_warn=True, values=values)
    return good(f"{site.prefix}: Python {site.python}, {len(site.versions)} distributions")


@check("environment.torch")
@of_site
def torch(facts: Facts, site: Site) -> Verdict:
    """See that torch is there, has CUDA, and is the one that its metadata, our constraints and the stack name."""
    recorded = site.versions.get("torch", "")
    package = facts.question.packages.get("pytorch")
    wanted = site.ours.get("torch") or (package.version if package else "")
    values = {"torch_wanted": wanted}
    if not site.torch and not recorded:
        return bad("there is no torch", values=values)
    if not site.torch:
        return bad(f"torch {recorded} is recorded as installed, and torch/version.py is gone", values=values)
    if recorded and _release(recorded) != _release(site.torch):
        seen = f"torch/version.py is {site.torch}, and its metadata {recorded}: one was put over the other"
        return bad(seen, values=values)
    if not site.torch_cuda:
        return bad(f"torch {site.torch} is built without CUDA", values=values)
    ours = site.ours.get("torch", "")
    # A published wheel is pinned without its local label, ours with it.
    if ours and (site.torch if "+" in ours else _release(site.torch)) != ours:
        return bad(f"torch {site.torch} replaced what was installed, {ours}", values=values)
    major = facts.question.release.version.partition(".")[0]
    if site.torch_cuda.partition(".")[0] != major:
        seen = f"torch {site.torch} is for CUDA {site.torch_cuda}, and stack {facts.question.stack.name} is for {major}"
        return bad(seen, only_warn=True, values=values)
    return good(f"torch {site.torch} for CUDA {site.torch_cuda}")


def _release(version: str) -> str:
    return version.partition("+")[0]


@check("environment.cuda-majors")
@of_site
def cuda_majors(facts: Facts, site: Site) -> Verdict:
    """Find NVIDIA's packages for another CUDA major than torch's; without a suffix the version tells (from 13 on)."""
    wanted = facts.cuda_wanted.partition(".")[0]
    found: dict[str, str] = {}
    for name in site.versions:
        stem, _, tail = name.rpartition("-cu")
        if name.startswith("nvidia-") and stem and tail in ("11", "12", "13"):
            found[name] = tail
    unsuffixed = site.versions.get("nvidia-cuda-runtime", "")
    if unsuffixed:
        found["nvidia-cuda-runtime"] = unsuffixed.partition(".")[0]
    wrong = sorted(name for name, major in found.items() if major != wanted)
    if not wrong:
        return good(f"all are for CUDA {wanted}")
    seen = f"{listed(wrong)} beside torch for CUDA {wanted}"
    # A package whose twin is there as well clashes; one alone is dead weight or somebody's dependency.
    twins = [name for name in wrong if f"{name.rpartition('-cu')[0]}-cu{wanted}" in found]
    clash = bool(twins) or "nvidia-cuda-runtime" in wrong
    issue = None if any("nccl" in name for name in wrong) else "libnvrtc-so-12-missing"
    return bad(seen, issue=issue, only_warn=not clash, values={"names": " ".join(wrong)})


@check("environment.torchvision")
@by_itself
def torchvision(site: Site) -> Verdict:
    """Compare torchvision with torch by the table of its README."""
    have, torch_ = site.versions.get("torchvision", ""), site.torch or site.versions.get("torch", "")
    if not have or not torch_:
        return skip("not both are installed")
    wanted = rules().torchvision.get(".".join(torch_.split(".")[:2]), "")
    if not wanted:
        return skip(f"which torchvision goes with torch {torch_} is not known")
    if have.split(".")[:2] != wanted.split("."):
        return bad(f"torchvision {have} with torch {torch_}, which goes with {wanted}", values={"wanted": wanted})
    return good(f"torchvision {have} with torch {torch_}")


@check("environment.kernel-package")
@by_itself
def kernel_package(site: Site) -> Verdict:
    """See that only one distribution brings sgl_kernel."""
    found = [f"{name} {site.versions[name]}" for name in KERNELS if name in site.versions]
    if len(found) > 1:
        return bad(f"{' and '.join(found)} are both installed")
    return good(found[0]) if found else skip("neither is installed")


@check("environment.kernel-torch")
@by_itself
def kernel_torch(site: Site) -> Verdict:
    """Compare the kernel package with the torch that it was built for; one of ours was built for what is there."""
    version = site.versions.get("sglang-kernel", "")
    wanted = rules().kernels_torch.get(_release(version), "")
    if not version or not wanted or not site.torch or "sglang-kernel" in site.ours:
        return skip("nothing to compare")
    values = {"wanted": wanted}
    if _release(site.torch) != wanted:
        return bad(f"sglang-kernel {version} was built for torch {wanted}, and torch is {site.torch}", values=values)
    return good(f"sglang-kernel {version} with torch {site.torch}")


@check("environment.flashinfer")
@by_itself
def flashinfer(site: Site) -> Verdict:
    """See that FlashInfer's packages are of one version; the cache of modules may carry a local label."""
    own = site.versions.get("flashinfer-python", "")
    if not own:
        return skip("FlashInfer is not installed")
    others = {name: site.versions.get(name, "") for name in ("flashinfer-cubin", "flashinfer-jit-cache")}
    wrong = [f"{name} {version}" for name, version in others.items() if version and _release(version) != _release(own)]
    if wrong:
        wanted = " ".join(f"{name.partition(' ')[0]}=={own}" for name in wrong)
        return bad(f"flashinfer-python {own} with {' and '.join(wrong)}", values={"wanted": wanted})
    if _release(own) in ("0.0.0", "0.0.0.dev0"):
        return bad(
            f"flashinfer-python {own}: it was built without its version", issue="flashinfer-version-unknown-no-git"
        )
    return good(f"flashinfer-python {own}")


@check("environment.floors")
@of_site
def floors(facts: Facts, site: Site) -> Verdict:
    """Compare what is installed with what the installed SGLang asserts at its start."""
    if not site.floors:
        return skip("no SGLang with such assertions is installed")
    if facts.variables.get("SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK", "").lower() in ("1", "true"):
        return good("SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK is set")
    problems, wanted, issue = [], [], None
    for name, lowest in site.floors:
        have = site.versions.get(name) or (site.versions.get("sglang-kernel", "") if name == "sgl-kernel" else "")
        if not have:
            problems.append(f"{name} is not installed, {lowest} is asserted")
            issue = issue or "flashinfer-min-version-not-installed"
        elif not fits(have, f">={lowest}"):
            problems.append(f"{name} is {have}, {lowest} is asserted")
            issue = "sglang-assert-pkg-version-too-old"
        else:
            continue
        wanted.append(f"{name}=={lowest}")
    if problems:
        return bad(listed(problems), issue=issue, values={"wanted": " ".join(wanted)})
    return good(listed([f"{name} >= {lowest}" for name, lowest in site.floors]))


@check("environment.runtime-files")
@of_site
def runtime_files(facts: Facts, site: Site) -> Verdict:
    """Name files that packages need while they run."""
    if not site.absent:
        return good("all are there")
    issue, _, text = site.absent[0].partition("|")
    rule = next(one for one in rules().runtime_files if text.startswith(one.paths[0]))
    nvshmem = f"nvidia-nvshmem-cu{facts.cuda_wanted.partition('.')[0]}"
    wanted = nvshmem if "nvshmem" in rule.paths[0] else Requirement(rule.package).name
    wanted = "apache-tvm-ffi" if "tvm_ffi" in rule.paths[0] else wanted
    needed = "cutlass" in text or "tvm_ffi" in text
    seen = listed([one.partition("|")[2] for one in site.absent])
    return bad(seen, issue=issue or "", only_warn=not needed, values={"wanted": wanted})


@check("environment.combinations")
@of_site
def combinations(facts: Facts, site: Site) -> Verdict:
    """Look the installed versions up among those that are known not to go together."""
    found = [one for one in rules().combinations if _applies(one, facts, site)]
    if not found:
        return good(f"none of {len(rules().combinations)} known ones")
    worst = min(found, key=lambda one: one.warn)
    seen = listed([f"{_held(one, site)}: {one.effect}" for one in found])
    return bad(seen, issue=worst.issue, fix=worst.fix, only_warn=worst.warn)


def _applies(one: BadCombination, facts: Facts, site: Site) -> bool:
    for text in one.packages:
        want = Requirement(text)
        have = site.torch if want.name == "torch" and site.torch else site.versions.get(plain(want.name), "")
        if not have or not fits(have, str(want.specifier)):
            return False
    if one.driver and not (facts.driver.kernel and fits(facts.driver.kernel, one.driver)):
        return False
    return not one.cuda or fits(facts.cuda_wanted, one.cuda)


def _held(one: BadCombination, site: Site) -> str:
    names = [plain(Requirement(text).name) for text in one.packages]
    return " with ".join(f"{name} {site.versions.get(name, '') or site.torch}" for name in names)


@check("environment.requirements")
@by_itself
def requirements(site: Site) -> Verdict:
    """Name requirements that are not met, SGLang's and torch's first."""
    if not site.conflicts:
        return good("all are met")
    leading = ("sglang ", "torch ", "torchvision ", "flashinfer-python ")
    ordered = sorted(site.conflicts, key=lambda line: not line.startswith(leading))
    wanted = ordered[0].partition(" wants ")[2].partition(", ")[0]
    return bad(listed(ordered), only_warn=True, values={"wanted": f"'{wanted}'"})


@check("environment.files")
@by_itself
def files(site: Site) -> Verdict:
    """Find what an interrupted or a second installer left."""
    problems = [f"{name} has two dist-info folders" for name in site.doubled]
    problems += [f"{name} is what an interrupted pip left" for name in site.leftovers]
    problems += [f"{name} lacks {', '.join(paths[:2])}" for name, paths in site.missing_files.items()]
    if not problems:
        return good("as recorded")
    names = " ".join([*site.doubled, *site.missing_files]) or site.leftovers[0].replace("~", "?")
    return bad(listed(problems), only_warn=not (site.missing_files or site.doubled), values={"names": names})


@check("environment.user-site")
@by_itself
def user_site(site: Site) -> Verdict:
    """Find packages in ~/.local that come first."""
    if not site.user_site:
        return good("nothing there comes first")
    names = " ".join(text.partition(" ")[0] for text in site.user_site)
    values = {"names": names, "python": ".".join(site.python.split(".")[:2])}
    return bad(f"~/.local has {listed(site.user_site)}", values=values)
