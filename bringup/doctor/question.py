"""From flags to what the machine is examined for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bringup.config.catalogue import Catalogue
from bringup.doctor.facts import Question
from bringup.errors import TargetError
from bringup.model.gpu import Gpu
from bringup.model.plan import Request
from bringup.model.stack import Stack
from bringup.planning.resolve import file_hash, resolve_packages
from bringup.planning.target import resolve_target
from bringup.system.host import machine


def make_question(
    request: Request, catalogue: Catalogue, gpu: Gpu, *, environment: Path | None = None, deep: bool = False
) -> Question:
    """Return the question for the target that a request means: the first CUDA release of the stack that is possible.

    Args:
        request: what was asked; `gpu` in it is resolved already.
        catalogue: all data.
        gpu: the GPU.
        environment: an existing environment to examine.
        deep: use the network and read big files.

    Raises:
        UsageError: a name is unknown.
        TargetError: no CUDA release of the stack can be built for the GPU.
    """
    stack = catalogue.stack(request.stack or gpu.stack)
    here = machine()
    # On another architecture the check of it fails; everything else is examined as if it were the right one.
    arch = here if here in gpu.machines else gpu.machines[0]
    refused: list[TargetError] = []
    for cuda in (request.cuda,) if request.cuda else stack.cuda:
        asked = replace(request, cuda=cuda, gpu=gpu.name, stack=stack.name)
        try:
            return _question(asked, catalogue, gpu, stack, arch, environment=environment, deep=deep)
        except TargetError as exc:
            refused.append(exc)
    raise refused[0]


def _question(
    request: Request,
    catalogue: Catalogue,
    gpu: Gpu,
    stack: Stack,
    arch: str,
    *,
    environment: Path | None,
    deep: bool,
) -> Question:
    target, _ = resolve_target(request, catalogue, gpu=gpu, machine=arch)
    folders = [catalogue.root / "patches" / name / choice.version for name, choice in stack.packages.items()]
    hashes = {path: file_hash(path) for folder in folders for path in folder.glob("*.patch")}
    return Question(
        gpu=gpu,
        release=target.cuda,
        releases=catalogue.cuda,
        stack=stack,
        packages=resolve_packages(request, catalogue, target, stack, patch_hash=hashes, abi=False),
        python=target.python,
        providers=target.providers,
        gccs=catalogue.gccs,
        host_compiler=request.host_compiler,
        environment=environment,
        deep=deep,
    )
