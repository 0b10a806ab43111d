"""Checks of the stack itself: whether what it takes as published goes with what it builds."""

from __future__ import annotations

from bringup.doctor.checks_environment import KERNELS
from bringup.doctor.facts import Facts
from bringup.doctor.model import Verdict, bad, good
from bringup.doctor.registry import check
from bringup.planning.abi import find_abi_clash


@check("stack.abi")
def stack_abi(facts: Facts) -> Verdict:
    """Compare the C++ ABI of PyTorch's variant with that of the published extensions; a build refuses them too."""
    clash = find_abi_clash(facts.question.packages)
    if clash is None:
        return good(f"all extensions of stack {facts.question.stack.name} have PyTorch's, or are built against it")
    values = {"package": clash.package, "variant": " or ".join(clash.variants)}
    # The known issue is that of SGLang's kernels; another extension fails alike, with another message.
    return bad(clash.message, issue=None if clash.package in KERNELS else "", values=values)
