"""Reference pages that show what the data files hold: GPUs, CUDA releases, stacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.version import Version

from bringup.config.catalogue import Catalogue, load_catalogue
from bringup.model.gpu import Gpu
from bringup.model.stack import Stack
from bringup.model.toolchain import CudaRelease

PROVIDERS = ("system", "wheels", "debs")

GPUS = """\
# GPUs

Made from `toolchains/gpus` and `toolchains/cuda` by `invoke schema`; edit there. Every file names its sources.
[Add a GPU](../how-to/new-gpu.md) tells what each entry means, and `invoke list gpus` shows the same.

*Code* is what our own kernels are compiled to: a suffix `a` runs on that capability only, `f` on its family, and none
on the same major version. *CUDA* lists the releases below that can make it. Where several GPUs share a capability, what
is built for one runs on the others; the default stack and the names differ. `cpu` builds without CUDA.

{gpus}

A GPU whose machines are `aarch64` can be planned only on such a machine. The locks that come with bringup are for
`x86_64`, so those need a [lock](../how-to/lock.md) of their own first; nothing was built for them so far.

## CUDA releases

*Driver* is the lowest that runs the release's machine code. *Providers* are the ways to come by the toolkit:
[toolchains](../how-to/toolchains.md).

{cuda}
"""

STACKS = """\
# Stacks

Made from `recipes/stacks` by `invoke schema`; edit there. A stack says which versions go together;
`--stack NAME` chooses one, and each GPU has a default.

{stacks}
"""


def data_pages(root: Path) -> dict[str, str]:
    """Return the pages by file name.

    Args:
        root: folder of recipes/ and toolchains/.

    Raises:
        ConfigError: data files are wrong.
    """
    catalogue = load_catalogue(root, locks=False)
    return {"gpus.md": _gpus_page(catalogue), "stacks.md": _stacks_page(catalogue)}


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _gpus_page(catalogue: Catalogue) -> str:
    releases = sorted(catalogue.cuda.values(), key=lambda release: Version(release.version))
    gpus = sorted(catalogue.gpus.values(), key=lambda gpu: (Version(gpu.capability.rstrip("af")), gpu.name))
    heads = ("`--gpu`", "", "capability", "code", "CUDA", "driver branch", "GiB", "machines", "default stack")
    rows = [_gpu_row(gpu, releases) for gpu in gpus]
    return GPUS.format(gpus=_table(heads, rows), cuda=_cuda_table(releases))


def _gpu_row(gpu: Gpu, releases: Sequence[CudaRelease]) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in (gpu.name, *gpu.aliases))
    if not gpu.accelerator:
        return (names, gpu.title, "", "", "", "", "", ", ".join(gpu.machines), f"`{gpu.stack}`")
    able = [release.version for release in releases if _can_target(release, gpu)]
    cuda = f"{able[0]} to {able[-1]}" if len(able) > 1 else "".join(able)
    if gpu.cuda.before:
        cuda += f" (before {gpu.cuda.before})"
    code = f"`{gpu.machine_code.exact}`"
    machines = ", ".join(gpu.machines)
    memory = str(gpu.memory_gib)
    return (names, gpu.title, gpu.capability, code, cuda, gpu.driver_min, memory, machines, f"`{gpu.stack}`")


def _can_target(release: CudaRelease, gpu: Gpu) -> bool:
    version = Version(release.version)
    return version >= Version(gpu.cuda.min) and not (gpu.cuda.before and version >= Version(gpu.cuda.before))


def _cuda_table(releases: Sequence[CudaRelease]) -> str:
    rows = []
    for one in releases:
        ways = ", ".join(f"`{name}`" for name in PROVIDERS if getattr(one.providers, name) is not None)
        gcc = f"{one.host.gcc_min} to {one.host.gcc_max}"
        rows.append((f"`{one.version}`", one.release, one.nvcc, one.driver_compat, gcc, ways))
    return _table(("`--cuda`", "release", "nvcc", "driver", "gcc", "providers"), rows)


def _stacks_page(catalogue: Catalogue) -> str:
    parts = [_stack_section(catalogue, stack) for stack in catalogue.stacks.values()]
    return STACKS.format(stacks="\n\n".join(parts))


def _stack_section(catalogue: Catalogue, stack: Stack) -> str:
    default = [gpu.name for gpu in catalogue.gpus.values() if gpu.stack == stack.name]
    cuda = ", ".join(stack.cuda) + (" (the first is the default)" if len(stack.cuda) > 1 else "")
    gib = f"{stack.download_mib / 1024:.1f} GiB to fetch and {stack.disk_mib / 1024:.1f} GiB of disk"
    toolkit = [f"- CUDA toolkit from {', '.join(f'`{name}`' for name in stack.toolkits)}, in this order"]
    facts = [
        f"- dated {stack.date}, for Python {stack.python}, with{f' CUDA {cuda}' if stack.accelerator else 'out CUDA'}",
        *(toolkit if stack.accelerator else ["- for computers without a GPU, and for no others"]),
        f"- about {gib}, besides toolchain and build folders",
    ]
    if stack.model:
        facts.append(f"- kernels compiled ahead for {stack.model}")
    if default:
        names = ", ".join(f"`{name}`" for name in default)
        facts.append(f"- the default of {names if len(default) < 4 else f'{len(default)} GPUs'}")
    rows = [
        (f"`{name}`", choice.version, choice.source, _patches(catalogue, name, choice.version, choice.source))
        for name, choice in stack.packages.items()
    ]
    table = _table(("recipe", "version", "source", "patches"), rows)
    reasons: dict[str, list[str]] = {}
    for name, text in stack.requirements.why.items():
        reasons.setdefault(text, []).append(f"`{name}`")
    why = [f"| {', '.join(names)} | {text} |" for text, names in reasons.items()]
    chosen = "\n".join(["", "Overridden or left out, and why:", "", "| distributions | why |", "|---|---|", *why])
    return "\n".join([f"## {stack.name}", "", stack.title + ".", "", *facts, "", table, *([chosen] if why else [])])


def _patches(catalogue: Catalogue, name: str, version: str, source: str) -> str:
    found = next(one for one in catalogue.recipes[name].versions if one.version == version)
    count = len(found.patches) + len(found.patches_for.get(source, ()))
    return str(count) if count else ""
