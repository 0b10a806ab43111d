"""A bundle without PyTorch: what is left to the node, and what the node's has to be for that."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bringup.config.lockfile import Lock
from bringup.context import Context
from bringup.environment import site_packages
from bringup.errors import InstallError, UsageError
from bringup.model.node_torch import TorchWanted
from bringup.system import process
from bringup.toolchain.node_torch import parse_facts

PROBE = Path(__file__).with_name("carried") / "find_torch.py"


def left_out(lock: Lock) -> tuple[str, ...]:
    """Return what is left to the node: torch, and of what it needs NVIDIA's libraries.

    Triton travels: the kernels that are built ahead are found by a hash of its files. So does everything of NVIDIA's
    that torch does not bring along, as nvidia-ml-py.
    """
    return tuple(pin.name for pin in lock.closure(["torch"]) if pin.name == "torch" or pin.name.startswith("nvidia-"))


def check_torch_can_stay(ctx: Context, *, sources: bool) -> None:
    """Fail if a target's PyTorch cannot be the node's.

    Raises:
        UsageError: it is built here, there is none, or the bundle is to build on the node.
    """
    package = ctx.plan.packages.get("pytorch")
    stack = ctx.plan.stack.name
    if sources:
        msg = "--without-torch and --sources exclude each other: what builds on the node needs the lock's own PyTorch"
        raise UsageError(msg, hint="leave one of them out")
    if package is None or package.built or ctx.lock is None or package.distribution not in ctx.lock.pins:
        why = "builds PyTorch itself, so no node has it" if package and package.built else "has no published PyTorch"
        msg = f"--without-torch: the stack {stack} {why}"
        raise UsageError(msg, hint="leave --without-torch out, or take a stack with published PyTorch: kernels")


def torch_wanted(ctx: Context) -> TorchWanted:
    """Return what the node's PyTorch has to be: what the one is that the kernels were made with and tested against.

    Raises:
        InstallError: the target's environment does not tell.
    """
    assert ctx.lock is not None
    place = ctx.layout.environment(ctx.plan.environment)
    site_packages(place)
    done = process.run([place / "bin/python", "-I", PROBE], env=ctx.env, error=InstallError, what="look at PyTorch")
    facts = parse_facts(done.output)
    if facts.problem:
        msg = f"the PyTorch of {place} cannot be told: {facts.problem}"
        raise InstallError(msg, hint="make the environment again: invoke install with the same flags")
    return TorchWanted(tag=facts.tag, torch=facts.torch, cuda=facts.cuda, left_out=left_out(ctx.lock))


def shell_values(wanted: TorchWanted | None) -> dict[str, str]:
    """Return what install.sh has to know, by the names of its variables; empty values where PyTorch travels."""
    tag = wanted.tag if wanted else ""
    version = f"{tag[2]}.{tag[3:]}" if wanted else ""
    return {
        "TORCH_TAG": tag,
        "TORCH_VERSION": wanted.torch if wanted else "",
        "TORCH_CUDA": wanted.cuda if wanted else "",
        "TORCH_PYTHONS": f"python{version} python3 python" if wanted else "",
    }


def names(wanted: TorchWanted | None) -> frozenset[str]:
    """Return the distributions that do not travel."""
    left: Iterable[str] = wanted.left_out if wanted else ()
    return frozenset(left)
