"""Checks of an environment's extensions: what `verify` looks at, asked of what anybody installed."""

from __future__ import annotations

import re
from dataclasses import replace

from bringup.doctor.facts import Facts
from bringup.doctor.model import Verdict, bad, good, skip
from bringup.doctor.registry import check, listed
from bringup.model.verify import Status


def _of(facts: Facts, kind: str, *, values: dict[str, str], libraries: bool = False) -> Verdict:
    if facts.site is None:
        return skip("examined with --env PATH")
    found = [one for one in facts.binaries if one.id.startswith(f"static.{kind}.")]
    if not found:
        return skip("no extension that is known to hold GPU code is installed")
    failed = [f"{one.id.rpartition('.')[2]}: {one.why}" for one in found if one.status is Status.FAIL]
    doubtful = [one.why for one in found if one.status is Status.SKIPPED]
    if failed:
        issue = _missing_library(failed) if libraries else _generation(failed, kind)
        return bad(listed(failed, 2), issue=issue, values=values)
    return (
        bad(listed(doubtful, 2), only_warn=True, values=values)
        if doubtful
        else good(listed([one.why for one in found]))
    )


def _missing_library(problems: list[str]) -> str | None:
    known = {
        "libnvrtc.so": "libnvrtc-so-12-missing",
        "libnuma": "libnuma-missing",
        "libcudart": "libnvrtc-so-12-missing",
    }
    return next((issue for name, issue in known.items() if name in problems[0]), None)


def _generation(problems: list[str], kind: str) -> str | None:
    return "sgl-kernel-gb10-no-sm121" if kind == "native-code" and "sm_120a" in problems[0] else None


@check("environment.libraries")
def libraries(facts: Facts) -> Verdict:
    """Name libraries that extensions need and that are nowhere."""
    return _of(facts, "libraries", values={"major": facts.cuda_wanted.partition(".")[0]}, libraries=True)


@check("environment.abi")
def abi(facts: Facts) -> Verdict:
    """Name symbols that extensions want and this torch does not have."""
    verdict = _of(facts, "abi", values={"torch": facts.site.torch if facts.site else ""})
    side = _string_side(verdict.seen)
    return replace(verdict, seen=f"{verdict.seen} ({side})") if side else verdict


def _string_side(text: str) -> str:
    """Return which of g++'s two kinds of std::string the missing symbols are of, if they tell."""
    if re.search(r"\b_Z\w*__cxx11", text):
        return "the new C++ ABI, _GLIBCXX_USE_CXX11_ABI=1, which this torch was not built with"
    if re.search(r"\b_Z\w*(?:[RP]K?|E)Ss", text):
        return "the old C++ ABI, _GLIBCXX_USE_CXX11_ABI=0, which this torch was not built with"
    return ""


@check("environment.native-code")
def native_code(facts: Facts) -> Verdict:
    """Compare machine code in kernels with the GPU."""
    return _of(facts, "native-code", values={"machine_code": facts.question.gpu.machine_code.exact})
