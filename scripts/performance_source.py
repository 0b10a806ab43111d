"""The section of docs/performance.md on PyTorch built from source."""

from __future__ import annotations

from typing import Any

# Upstream's CI, sccache's statistics of one build for three GPU architectures, and the size of its wheel for all:
# https://github.com/pytorch/pytorch, jobs of 2.6. By hand: the same sources without flash attention and cuDNN, on
# another H200 node with 64 cores.
UPSTREAM_CPU_S, UPSTREAM_WHEEL_MB = 70_671, 900
BY_HAND_CPU_S, BY_HAND_MINUTES, BY_HAND_BUSY, BY_HAND_UNITS, BY_HAND_WHEEL_MB = 23_648, 9, 85, 2_113, 154


def table(found: dict[str, Any]) -> list[str]:
    """Return the figures of the build, what was checked of it, and the worst units."""
    wheel = next(size for name, size in found["wheels"].items() if name.startswith("torch-"))
    stages, again = found["stage_s"], found["against_recorded"]
    lines = [
        "| | this build | by hand, fewer features | upstream's CI, three GPU architectures |",
        "|---|---|---|---|",
        f"| CPU seconds of compilers | {found['compile_cpu_s']:,.0f} | {BY_HAND_CPU_S:,} | {UPSTREAM_CPU_S:,} |",
        f"| compile units | {found['units']:,} | {BY_HAND_UNITS:,} | |",
        f"| seconds from the first to the last compile | {found['compile_wall_s']:.0f} | {BY_HAND_MINUTES * 60} | |",
        f"| share of {found['cores']} cores busy | {found['busy_share']:.1%} | {BY_HAND_BUSY} % | |",
        f"| links, CPU seconds | {found['link_cpu_s']:.0f} | | |",
        f"| wheel, MB | {wheel / 1e6:.0f} | {BY_HAND_WHEEL_MB} | {UPSTREAM_WHEEL_MB}, all architectures |",
        "",
        f"The whole stack with torchvision, FlashInfer and SGLang, installed and verified: {stages['build']} s.",
        f"{again['units']} of the units were also timed in the run by hand; here they took",
        f"{again['median_ratio']:.2f} times the CPU seconds (median): the same number of cores, not the same speed.",
        "",
        f"Attempts: {found['attempts']}; units compiled again: {found['compiled_again']}.",
        "",
    ]
    lines += [line for note in found["notes"] for line in (note, "")]
    lines += ["| other package | units | CPU seconds | seconds |", "|---|---|---|---|"]
    for name, one in found["others"].items():
        lines.append(f"| {name} | {one['units']} | {one['compile_cpu_s']:.0f} | {one['compile_wall_s']:.0f} |")
    return [*lines, "", *_worst(found), "", *_checked(found), ""]


def _worst(found: dict[str, Any]) -> list[str]:
    lines = ["| longest units | CPU seconds | largest units | MiB |", "|---|---|---|---|"]
    for slow, large in zip(found["longest_units"], found["largest_units"], strict=True):
        lines.append(f"| {slow['unit']} | {slow['cpu_s']:.0f} | {large['unit']} | {large['peak_mib']:,} |")
    return lines


def _checked(found: dict[str, Any]) -> list[str]:
    operators, facts, reduce = found["operators"], found["facts"], found["all_reduce"]
    attention = [case["ok"] for case in facts["attention"]]
    levels = ", ".join(f"{name} {status}" for name, status in found["verification"].items())
    lines = [
        f"- verification levels: {levels}",
        f"- `torch.cuda.get_arch_list()`: {', '.join(facts['arch_list'])}; new C++ ABI: {facts['cxx11_abi']}",
        f"- attention by flash, memory-efficient and cuDNN kernels: {sum(attention)} of {len(attention)} cases right",
        f"- NCCL all-reduce on {reduce['gpus']} GPUs: {reduce['status']}",
        (
            f"- upstream's operator samples against the CPU: {operators['compared']:,} cases compared, "
            f"{operators['with_backward']:,} with gradients, {operators['counts'].get('FAIL', 0)} differ:"
        ),
    ]
    return lines + [f"    - {case['op']} {case['dtype']}: {case['why']}" for case in operators["cases"]]
