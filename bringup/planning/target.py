"""From a request and the data to a target: GPU, stack, CUDA release and where its toolkit comes from. Pure."""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from bringup.config.catalogue import Catalogue
from bringup.config.near import nearest
from bringup.errors import TargetError, UsageError
from bringup.model.gpu import Gpu
from bringup.model.plan import Request, Target
from bringup.model.recipe import Version as RecipeVersion
from bringup.model.stack import Stack
from bringup.model.toolchain import CudaRelease


def resolve_target(request: Request, catalogue: Catalogue, *, gpu: Gpu, machine: str) -> tuple[Target, Stack]:
    """Choose stack, CUDA release, toolkit providers and Python.

    Args:
        request: what was asked.
        catalogue: all data.
        gpu: the GPU, already found by name or by asking the driver.
        machine: CPU architecture of this computer.

    Raises:
        UsageError: a name is unknown.
        TargetError: the combination cannot be built.
    """
    stack = catalogue.stack(request.stack or gpu.stack)
    if machine not in gpu.machines:
        msg = f"{gpu.title} comes with {' or '.join(gpu.machines)} processors and this machine is {machine}"
        raise TargetError(msg, hint="builds for another processor architecture run on such a machine")
    if gpu.accelerator != stack.accelerator:
        what = f"{'for GPUs' if stack.accelerator else 'built without CUDA'}, and {gpu.name} is {gpu.title}"
        able = [one.name for one in _stacks_for(gpu, catalogue)]
        raise TargetError(f"stack {stack.name} is {what}", hint=f"stacks for it: {', '.join(able) or 'none'}")
    release = catalogue.cuda[_choose_cuda(request, catalogue, stack, gpu)]
    python = catalogue.pythons[stack.python]
    if request.python and ".".join(request.python.split(".")[:2]) != stack.python:
        msg = f"Python {request.python}: the stack {stack.name} is for Python {stack.python}: {python.why}"
        raise TargetError(msg, hint=f"leave --python out; bringup finds or unpacks Python {stack.python} itself")
    providers = _choose_providers(request, stack, release)
    return Target(gpu=gpu, cuda=release, providers=providers, python=python, machine=machine), stack


def _choose_cuda(request: Request, catalogue: Catalogue, stack: Stack, gpu: Gpu) -> str:
    wanted = ".".join(request.cuda.split(".")[:2])
    if wanted and wanted not in catalogue.cuda:
        near = nearest(wanted, list(catalogue.cuda))
        msg = f"unknown CUDA release {request.cuda!r}; known: {', '.join(catalogue.cuda)}"
        raise UsageError(msg, hint=f"--cuda {near}" if near else "invoke list toolchains shows them all")
    name = wanted or stack.cuda[0]
    problem = _cuda_problem(catalogue.cuda[name], gpu)
    if problem:
        able = [release.version for release in catalogue.cuda.values() if not _cuda_problem(release, gpu)]
        others = [one.name for one in _stacks_for(gpu, catalogue) if set(one.cuda) & set(able)]
        hint = f"CUDA that can: {', '.join(able) or 'none that bringup knows'}"
        raise TargetError(problem, hint=hint + (f"; stacks for it: {', '.join(others)}" if others else ""))
    if wanted and wanted not in stack.cuda:
        msg = f"stack {stack.name} is for CUDA {' or '.join(stack.cuda)}, not {wanted}"
        refused = [refused_cuda(name, version_of(name, catalogue, stack), wanted) for name in stack.packages]
        msg = "\n  ".join([msg, *filter(None, refused)])
        able = [other.name for other in _stacks_for(gpu, catalogue) if wanted in other.cuda]
        raise TargetError(msg, hint=f"stacks for CUDA {wanted}: {', '.join(able) or 'none'}")
    return name


def _stacks_for(gpu: Gpu, catalogue: Catalogue) -> list[Stack]:
    return [one for one in catalogue.stacks.values() if one.accelerator == gpu.accelerator]


def _cuda_problem(release: CudaRelease, gpu: Gpu) -> str:
    if not gpu.accelerator:
        return ""
    code = gpu.machine_code.exact.removeprefix("sm_")
    digits = code.rstrip("af")
    wanted = f"{digits[:-1]}.{digits[-1]}{code[len(digits) :]}"
    if wanted not in release.capabilities:
        return (
            f"nvcc {release.nvcc} of CUDA {release.version} cannot make {gpu.machine_code.exact} code for {gpu.title}"
        )
    if Version(release.version) < Version(gpu.cuda.min):
        return f"{gpu.title} needs CUDA {gpu.cuda.min} or newer, not {release.version}"
    if gpu.cuda.before and Version(release.version) >= Version(gpu.cuda.before):
        return f"{gpu.title} needs CUDA before {gpu.cuda.before}, not {release.version}"
    return ""


def _choose_providers(request: Request, stack: Stack, release: CudaRelease) -> tuple[str, ...]:
    known = ("system", "wheels", "debs")
    if request.toolkit and request.toolkit not in known:
        near = nearest(request.toolkit, known)
        hint = f"--toolkit {near}" if near else ""
        raise UsageError(f"unknown toolkit provider {request.toolkit!r}; known: {', '.join(known)}", hint=hint)
    able = tuple(name for name in (request.toolkit and (request.toolkit,)) or stack.toolkits if
                 getattr(release.providers, name) is not None)  # fmt: skip
    if not able:
        asked = request.toolkit or ", ".join(stack.toolkits)
        why = "; ".join(f"{name}: {text}" for name, text in release.providers.absent.items())
        have = [name for name in known if getattr(release.providers, name) is not None]
        msg = f"CUDA {release.version} cannot be had from provider {asked}" + (f" ({why})" if why else "")
        raise TargetError(msg, hint=f"--toolkit {' or '.join(have)}")
    return able


def version_of(name: str, catalogue: Catalogue, stack: Stack) -> RecipeVersion:
    """Return the version of a package's recipe that the stack takes."""
    wanted = stack.packages[name].version
    return next(one for one in catalogue.recipes[name].versions if one.version == wanted)


def refused_cuda(name: str, version: RecipeVersion, cuda: str) -> str:
    """Return why a version cannot be built with a CUDA release; "" if it can."""
    if not version.cuda or SpecifierSet(version.cuda).contains(cuda):
        return ""
    why = f": {version.cuda_why}" if version.cuda_why else ""
    return f"{name} {version.version} can be built with CUDA {version.cuda}, not {cuda}{why}"
