"""Checks of kernels that were compiled at run time by something else than what is there now."""

from __future__ import annotations

from collections.abc import Iterable

from bringup.doctor.facts import CacheEntry, Facts
from bringup.doctor.model import Verdict, bad, good, skip
from bringup.doctor.registry import check, listed

# A compile of one FlashInfer module takes minutes; a lock that is older belongs to nobody.
STALE_LOCK_SECONDS = 3600.0
FLASHINFER = "flashinfer-python"


def stale(facts: Facts, kind: str) -> list[tuple[CacheEntry, str]]:
    """Return the entries of one cache that what is there now did not make, each with the reason."""
    judge = {"flashinfer": _flashinfer, "tvm-ffi": _module, "triton": _triton, "torch-extensions": _torch_extensions}
    found = []
    for entry in facts.caches:
        if entry.kind == kind and not entry.lock:
            reason = judge[kind](facts, entry)
            if reason:
                found.append((entry, reason))
    return found


def stale_locks(facts: Facts) -> list[CacheEntry]:
    """Return lock files that are older than any compile."""
    return [entry for entry in facts.caches if entry.lock and entry.age_s > STALE_LOCK_SECONDS]


def _flashinfer(facts: Facts, entry: CacheEntry) -> str:
    wanted = _wanted_flashinfer(facts)
    if wanted and entry.made_by and entry.made_by.partition("+")[0] != wanted.partition("+")[0]:
        return f"made by FlashInfer {entry.made_by}, {wanted} is used"
    return _module(facts, entry)


def _wanted_flashinfer(facts: Facts) -> str:
    if facts.site is not None:
        return facts.site.versions.get(FLASHINFER, "")
    package = facts.question.packages.get("flashinfer")
    return package.version if package else ""


def _module(facts: Facts, entry: CacheEntry) -> str:
    major = facts.cuda_wanted.partition(".")[0]
    other = [name for name in entry.needed if name != f"libcudart.so.{major}"]
    if other:
        return f"linked with {other[0]}, CUDA {major} is used"
    return f"made with {entry.missing[0]}, which is gone" if entry.missing else ""


def _triton(facts: Facts, entry: CacheEntry) -> str:
    tag = _python_tag(facts)
    return f"made for {entry.made_by}, {tag} is used" if tag and entry.made_by != tag else ""


def _torch_extensions(facts: Facts, entry: CacheEntry) -> str:
    tag = _python_tag(facts).replace("cp", "py")
    wanted = f"{tag}_cu{facts.cuda_wanted.replace('.', '')}"
    if tag and entry.made_by != wanted:
        return f"made for {entry.made_by}, {wanted} is used"
    return _module(facts, entry)


def _python_tag(facts: Facts) -> str:
    version = facts.site.python if facts.site else facts.question.python.version
    return f"cp{''.join(version.split('.')[:2])}"


def _verdict(facts: Facts, kind: str, *, only_warn: bool) -> Verdict:
    if not any(entry.kind == kind for entry in facts.caches):
        return good("empty")
    found = stale(facts, kind)
    if not found:
        return good("made by what is there now")
    seen = listed([f"{entry.path}: {reason}" for entry, reason in found], 2)
    return bad(seen, only_warn=only_warn, values={"path": str(found[0][0].path)})


@check("cache.flashinfer")
def flashinfer(facts: Facts) -> Verdict:
    """Find modules of another version or of a toolkit that is gone; the latter do not compile again."""
    broken = any(entry.missing or entry.needed for entry, _ in stale(facts, "flashinfer"))
    return _verdict(facts, "flashinfer", only_warn=not (broken and facts.serving))


@check("cache.tvm-ffi")
def tvm_ffi(facts: Facts) -> Verdict:
    """Find modules that were linked with another runtime."""
    return _verdict(facts, "tvm-ffi", only_warn=not facts.serving)


@check("cache.triton")
def triton(facts: Facts) -> Verdict:
    """Find launchers of another Python."""
    return _verdict(facts, "triton", only_warn=True)


@check("cache.torch-extensions")
def torch_extensions(facts: Facts) -> Verdict:
    """Find extensions for another Python or CUDA."""
    return _verdict(facts, "torch-extensions", only_warn=True)


@check("cache.locks")
def locks(facts: Facts) -> Verdict:
    """Find locks of compiles that ended without an end."""
    found = stale_locks(facts)
    if not found:
        return good("none is left over") if facts.caches else skip("no cache is here")
    seen = listed([f"{entry.path}, {entry.age_s / 3600:.0f} h old" for entry in found])
    held = any(entry.kind == "torch-extensions" for entry in found)
    return bad(seen, only_warn=not (facts.serving and held), values={"path": _paths(found)})


def _paths(entries: Iterable[CacheEntry]) -> str:
    return " ".join(str(entry.path) for entry in entries)
