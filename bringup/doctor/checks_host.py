"""Checks of compilers, the computer's resources and other programs."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.version import Version

from bringup.doctor.facts import Facts, Program
from bringup.doctor.gather_host import NETWORK_FILE_SYSTEMS
from bringup.doctor.model import Verdict, bad, good, skip
from bringup.doctor.registry import check, listed
from bringup.doctor.rules import rules
from bringup.model.source import GitSource
from bringup.toolchain.programs import FoundProgram
from bringup.toolchain.python import apt_command

GIB = 1 << 30
MIB = 1 << 20
INSTALL = {
    "cargo": "install Rust 1.85 or newer from https://rustup.rs (no root)",
    "protoc": "apt-get install protobuf-compiler",
}


def _major(program: Program) -> int:
    text = program.version.partition(".")[0]
    return int(text) if text.isdigit() else 0


@check("compiler.usable")
def compiler_usable(facts: Facts) -> Verdict:
    """See whether a build finds a host compiler, or can unpack one."""
    host = facts.question.release.host
    values = {"gcc_min": str(host.gcc_min), "gcc_max": str(host.gcc_max)}
    if not facts.compiler:
        return bad(facts.refused_compilers, values=values)
    if facts.refused_compilers:
        # A build works, but gcc, g++ and their headers have to be fetched first.
        return bad(f"{facts.refused_compilers}; a build takes {facts.compiler}", only_warn=True, values=values)
    return good(f"{facts.compiler}; nvcc accepts {host.gcc_min} to {host.gcc_max}")


@check("compiler.inherited")
def compiler_inherited(facts: Facts) -> Verdict:
    """Compare what the shell names with what nvcc accepts."""
    toolkit = facts.toolkit_in_use
    release = facts.question.releases.get(toolkit.release if toolkit else "", facts.question.release)
    gone = [
        f"{one.origin}={one.path} does not exist" for one in facts.compilers if not one.version and one.origin != "PATH"
    ]
    host = release.host
    new = [one for one in facts.compilers if _major(one) > host.gcc_max]
    old = [one for one in facts.compilers if 0 < _major(one) < host.gcc_min]
    if gone or new:
        seen = listed([*gone, *(f"{one.origin}: {one.path} is {one.version}" for one in new)])
        limit = f"; nvcc {release.nvcc} accepts gcc up to {host.gcc_max}" if new else ""
        return bad(f"{seen}{limit}", only_warn=not facts.serving and not gone)
    if old:
        seen = listed([f"{one.origin}: {one.path} is {one.version}" for one in old])
        return bad(f"{seen}; PyTorch and FlashInfer want gcc {host.gcc_min} or newer", only_warn=True, issue="")
    if not facts.compilers:
        return skip("none is named")
    return good(listed([f"{one.origin} {one.path.name} {one.version}" for one in facts.compilers]))


@check("compiler.c")
def compiler_c(facts: Facts) -> Verdict:
    """See that Triton finds a C compiler."""
    found = [one for one in facts.compilers if one.origin in ("PATH", "CC") and one.version]
    if found:
        return good(str(found[0].path))
    return bad("neither cc nor gcc is on PATH, and CC is not set", only_warn=not facts.serving)


@check("host.glibc")
def glibc(facts: Facts) -> Verdict:
    """Compare the C library with what wheels need and with what CUDA 12's headers bear."""
    have = facts.host.glibc
    shown = f"glibc {have[0]}.{have[1]}"
    if have == (0, 0):
        return bad("the C library is not GNU's: published wheels do not load", issue="")
    if have < (2, 28):
        return bad(f"{shown}; published wheels need 2.28", issue="")
    if have >= (2, 41) and Version(facts.cuda_wanted) < Version("13.0"):
        return bad(f"{shown} with CUDA {facts.cuda_wanted}", only_warn=facts.serving)
    return good(shown)


@check("host.disk")
def disk(facts: Facts) -> Verdict:
    """Compare free space with the stack's estimate, summed up by file system."""
    stack = facts.question.stack
    sources = sum(one.build.disk_mib for one in facts.question.packages.values() if one.built)
    need = {"build": (stack.disk_mib + sources) * MIB, "cache": stack.download_mib * MIB, "temporary files": GIB}
    wanted: dict[int, int] = {}
    for one in facts.disks:
        wanted[one.device] = wanted.get(one.device, 0) + need.get(one.purpose, 0)
    short = [
        f"{one.path} ({one.purpose}) has {one.free_bytes / GIB:.1f} GiB free, {wanted[one.device] / GIB:.0f} are needed"
        for one in facts.disks
        if need.get(one.purpose) and one.free_bytes < wanted[one.device]
    ]
    if short and facts.serving:
        # What is examined is there already; only what it writes at run time counts.
        short = [f"{one.path} has {one.free_bytes / GIB:.1f} GiB free" for one in facts.disks if one.free_bytes < GIB]
    if short:
        return bad(listed(short))
    return good(listed([f"{one.purpose}: {one.free_bytes / GIB:.0f} GiB free" for one in facts.disks]))


@check("host.writable")
def writable(facts: Facts) -> Verdict:
    """See that files can be written where they have to be."""
    locked = [f"{one.path} ({one.purpose})" for one in facts.disks if not one.writable]
    return bad(f"cannot be written: {listed(locked)}") if locked else good("all can be written")


@check("host.noexec")
def noexec(facts: Facts) -> Verdict:
    """Find mounts from which nothing may be run."""
    found = [f"{one.path} ({one.purpose})" for one in facts.disks if one.noexec]
    return bad(f"mounted noexec: {listed(found)}") if found else good("programs may run in all of them")


@check("host.network-home")
def network_home(facts: Facts) -> Verdict:
    """Warn of kernel caches on a network file system."""
    found = [f"{one.path} is on {one.kind}" for one in facts.disks if one.kind in NETWORK_FILE_SYSTEMS]
    caches = [text for text in found if ".cache" in text]
    return bad(listed(caches), only_warn=True) if caches else good("caches are on a local file system")


@check("host.memory")
def memory(facts: Facts) -> Verdict:
    """Compare memory with the heaviest compiler of the stack, one at a time and as many as there are cores."""
    built = [one for one in facts.question.packages.values() if one.built]
    if not built:
        return good("nothing is compiled")
    heaviest = max(built, key=lambda one: one.build.memory_per_job_gib)
    need, have = heaviest.build.memory_per_job_gib, facts.host.memory_bytes / GIB
    values = {"need": f"{need:g}"}
    if facts.serving:
        return good(f"{have:.0f} GiB")
    if need > have:
        return bad(f"{have:.1f} GiB; one compiler of {heaviest.recipe.name} takes {need:g} GiB", values=values)
    free = facts.host.available_bytes / GIB
    if need > free:
        seen = f"{free:.1f} of {have:.0f} GiB are free; one compiler of {heaviest.recipe.name} takes {need:g} GiB"
        return bad(seen, only_warn=True, values=values)
    jobs = min(facts.host.cores, int(have * 0.8 / need))
    limit = {"cgroup": " (limit of the cgroup)", "Slurm": " (limit of the Slurm job)"}.get(facts.host.memory_from, "")
    name = heaviest.recipe.name
    return good(f"{have:.0f} GiB{limit} for {facts.host.cores} cores: {jobs} of {name}'s largest compilers at a time")


@check("host.limits")
def limits(facts: Facts) -> Verdict:
    """Compare ulimits with what servers and builds open."""
    host, found = facts.host, []
    if 0 <= host.nofile < rules().nofile:
        found.append(f"{host.nofile} open files (ulimit -n), {rules().nofile} are wanted")
    if 0 <= host.nproc < 4 * host.cores + 256:
        found.append(f"{host.nproc} processes (ulimit -u)")
    if 0 <= host.memlock < 64 * 1024 and len(facts.devices) > 1:
        found.append(f"{host.memlock} bytes of locked memory (ulimit -l); NCCL over InfiniBand needs more")
    shown = "no limit" if host.nofile < 0 else str(host.nofile)
    return bad(listed(found), only_warn=True) if found else good(f"open files: {shown}")


@check("host.shm")
def shm(facts: Facts) -> Verdict:
    """Compare /dev/shm with what several GPUs need."""
    size, least = facts.host.shm_bytes / GIB, rules().shm_gib
    if size >= least:
        return good(f"{size:.1f} GiB")
    seen = f"{size * 1024:.0f} MiB; with several GPUs {least:g} GiB or more are wanted"
    return bad(seen, only_warn=len(facts.devices) < 2)


@check("host.libnuma")
def libnuma(facts: Facts) -> Verdict:
    """See that sgl-kernel finds libnuma."""
    if facts.host.loadable.get("libnuma.so.1", True):
        return good("is found")
    if "sgl-kernel" not in facts.question.packages and not facts.serving:
        return skip("nothing in this stack needs it")
    return bad("libnuma.so.1 is in no folder that the loader searches", only_warn=not facts.serving)


@check("tools.git")
def git(facts: Facts) -> Verdict:
    """See that git is here where a source is a repository."""
    wants = [one.recipe.name for one in facts.question.packages.values() if isinstance(one.source, GitSource)]
    if "git" in facts.tools:
        return good(f"git {facts.tools['git'].version}")
    if not wants or facts.serving:
        return skip("no source is a repository")
    return bad(f"there is no git, and {', '.join(wants)} come from repositories")


@check("tools.recipes")
def recipe_tools(facts: Facts) -> Verdict:
    """See that programs which recipes need are here; without them a variant may do."""
    if not facts.missing_tools:
        return good("all are here, or none is needed")
    if facts.serving:
        return skip("nothing is built")
    seen = [f"{tool} ({_seen(one)})" for tool, one in facts.missing_tools.items()]
    name, first = next(iter(facts.missing_tools.items()))
    issue = "rust-protoc-missing" if Requirement(name).name == "protoc" else None
    if Requirement(name).name == "cargo" and first.version:
        issue = "cargo-edition2024-required"
    mends = [one.hint or INSTALL.get(Requirement(tool).name, tool) for tool, one in facts.missing_tools.items()]
    values = {"install": "; ".join(mends)}
    return bad(f"missing: {listed(seen)}", issue=issue, values=values, only_warn=_all_optional(facts))


def _seen(one: FoundProgram) -> str:
    return one.version or ("not installed" if one.why == "is not here" else one.why)


def _all_optional(facts: Facts) -> bool:
    """Whether every package that lacks a program has a variant that does without."""
    wants = [
        one for one in facts.question.packages.values() if one.built and set(one.build.tools) & set(facts.missing_tools)
    ]
    return all(one.variant and one.recipe.variants[one.variant].fallback for one in wants)


@check("tools.cmake")
def cmake(facts: Facts) -> Verdict:
    """Warn of CMake 4 where PyTorch is 2.6 or older."""
    pytorch = facts.question.packages.get("pytorch")
    have = facts.tools.get("cmake")
    if have is None or pytorch is None or Version(pytorch.version) >= Version("2.7"):
        return good("does not matter: builds bring their own")
    if Version(have.version or "0") >= Version("4"):
        return bad(f"cmake {have.version} at {have.path}, and PyTorch is {pytorch.version}", only_warn=True)
    return good(f"cmake {have.version}")


@check("tools.ninja")
def ninja(facts: Facts) -> Verdict:
    """See that an environment that compiles while serving finds ninja."""
    if facts.site is None:
        return skip("our builds bring their own")
    if "ninja" in facts.site.programs or "ninja" in facts.tools:
        return good("is found")
    compiles = "flashinfer-python" in facts.site.versions
    return bad(f"neither in {facts.site.prefix}/bin nor on PATH", only_warn=not compiles)


@check("tools.ldconfig")
def ldconfig(facts: Facts) -> Verdict:
    """See that Triton can ask for libcuda's place."""
    if "ldconfig" in facts.tools:
        return good(str(facts.tools["ldconfig"].path))
    return bad("neither on PATH nor in /sbin", only_warn=True)


@check("python.target")
def python_target(facts: Facts) -> Verdict:
    """See that target environments can be made."""
    if facts.target_python:
        return good(facts.target_python)
    if facts.serving:
        return skip("an existing environment is examined")
    release = facts.question.python
    values = {"python": release.version, "apt": apt_command(release, release.version, facts.host.distribution)}
    return bad(
        f"no Python {facts.question.python.version} with headers is here; a build has to fetch one",
        only_warn=True,
        values=values,
    )
