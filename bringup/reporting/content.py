"""What an issue needs to say, collected as parts: each is a piece of markdown, not yet redacted."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bringup import __version__
from bringup.diagnose.model import Diagnosis
from bringup.diagnose.text import printable
from bringup.doctor.facts import Facts
from bringup.doctor.model import DoctorReport, Status
from bringup.formats.distribution_name import plain
from bringup.reporting.template import templates
from bringup.system.fs import sha256_of
from bringup.system.host import os_release

# Packages that matter to whoever reads the issue; the others would drown them.
NAMED = re.compile(
    r"torch.*|triton.*|flashinfer.*|sgl.*|nvidia-.*|cuda-.*|apache-tvm-ffi|transformers|kernels|numpy|xgrammar|deep-gemm"
    r"|flash-attn.*|tilelang|quack-kernels|setuptools|ninja|cmake"
)
_GIT = re.compile(r"^git_version\s*=\s*['\"]([0-9a-f]+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """What a report is made of.

    Attributes:
        facts: about machine and environment.
        report: what doctor says of them.
        diagnosis: of the failed log; None without one.
        command: what fails; "" if it is not known.
        wheels: folders with wheels of ours.
        patches: patch files that were applied.
    """

    facts: Facts
    report: DoctorReport
    diagnosis: Diagnosis | None = None
    command: str = ""
    wheels: Sequence[Path] = field(default_factory=tuple)
    patches: Sequence[Path] = field(default_factory=tuple)


def title(material: Material) -> str:
    """Return a title: the root line's own words, or what the issue is about."""
    gpu = material.facts.question.gpu.title
    if material.diagnosis is None or not material.diagnosis.findings:
        return f"Problem on {gpu} with CUDA {material.facts.cuda_wanted}"
    best = material.diagnosis.findings[0]
    line = re.sub(r"\S*/([^/\s]+)", r"\1", printable(best.line, 140))
    return f"{best.title if best.id else line} ({gpu}, CUDA {material.facts.cuda_wanted})"


def parts(material: Material) -> dict[str, str]:
    """Return every part by name; empty where there is nothing to say."""
    return {
        "diagnosis": _diagnosis(material.diagnosis),
        "excerpt": _excerpt(material.diagnosis),
        "reproduce": _reproduce(material),
        "system": _system(material.facts),
        "torch": _torch(material.facts),
        "packages": _packages(material),
        "patches": _patches(material.patches),
        "variables": _variables(material.facts.variables),
        "doctor": _doctor(material.report),
    }


def fenced(text: str, language: str = "text") -> str:
    """Return text in a code block whose fence is longer than any inside it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Return a markdown table of two columns."""
    body = "\n".join(f"| {name} | {printable(value).replace('|', chr(92) + '|')} |" for name, value in rows if value)
    return f"| | |\n|---|---|\n{body}"


def _diagnosis(diagnosis: Diagnosis | None) -> str:
    if diagnosis is None:
        return "<!-- say in a sentence what happens, and what should happen instead -->"
    if not diagnosis.findings:
        return f"No failure was found in the {diagnosis.lines} lines of the log."
    best = diagnosis.findings[0]
    known = f"known issue `{best.id}`" if best.id else "not a known issue"
    rows = [f"**{printable(best.title)}** ({best.category}; {known}, confidence {best.confidence:.2f})", ""]
    rows += [f"First real error, line {best.line_no} of {diagnosis.lines}:", "", fenced(printable(best.line, 1000)), ""]
    rows.append(printable(best.cause, 2000))
    return "\n".join(rows)


def _excerpt(diagnosis: Diagnosis | None) -> str:
    if diagnosis is None or not diagnosis.findings:
        return ""
    best = diagnosis.findings[0]
    lines = [f"{no:>6} {printable(text, 300)}" for no, text in enumerate(best.context, best.context_from)]
    while lines and not lines[-1].strip().partition(" ")[2]:
        lines.pop()
    after = f"\n({best.follows} lines follow)" if best.follows else ""
    return "Log around it:\n\n" + fenced("\n".join(lines) + after)


def _reproduce(material: Material) -> str:
    question = material.facts.question
    own = f"invoke build --gpu {question.gpu.name} --stack {question.stack.name} --cuda {question.release.version}"
    if not material.command:
        return f"<!-- the smallest script that fails -->\n\n{fenced(own, 'sh')}"
    return fenced(f"{material.command}\n\n# the environment it ran in:\n{own}", "sh")


def _system(facts: Facts) -> str:
    names = os_release()
    devices = [f"{one.name}, capability {one.capability}, {one.memory_mib} MiB" for one in facts.devices]
    toolkits = [
        f"{one.nvcc or 'no nvcc'} at {one.root} ({', '.join(one.origins)})" for one in facts.toolkits if one.exists
    ]
    compilers = dict.fromkeys(f"{one.path} {one.version}" for one in facts.compilers)
    tools = [f"{name} {one.version}" for name, one in facts.tools.items() if one.version]
    rows = [
        ("GPU", "; ".join(devices) or "none visible"),
        ("Driver", facts.driver.kernel or "none"),
        (
            "Target",
            f"{facts.question.gpu.title}, CUDA {facts.question.release.version}, stack {facts.question.stack.name}",
        ),
        ("CUDA toolkits (nvcc)", "; ".join(toolkits) or "none installed"),
        ("ptxas", "; ".join(f"{one.version} ({one.origin})" for one in facts.ptxas)),
        ("Host compilers", "; ".join(compilers)),
        ("System", f"{names.get('PRETTY_NAME', '')}, Linux {platform.release()}, {facts.host.arch}"),
        ("glibc", f"{facts.host.glibc[0]}.{facts.host.glibc[1]}"),
        ("Processors, memory", f"{facts.host.cores}, {facts.host.memory_bytes / (1 << 30):.0f} GiB"),
        ("Python", facts.site.python if facts.site else facts.target_python),
        ("Tools", ", ".join(tools)),
        ("bringup", __version__),
    ]
    return table(rows)


def _torch(facts: Facts) -> str:
    site = facts.site
    if site is None or not site.torch:
        return ""
    try:
        found = _GIT.search((site.packages / "torch/version.py").read_text("utf-8", "replace"))
    except OSError:
        found = None
    rows = [("torch", site.torch), ("torch.version.cuda", site.torch_cuda or "None")]
    return table([*rows, ("torch.version.git_version", found[1] if found else "")])


def _packages(material: Material) -> str:
    site = material.facts.site
    if site is None:
        packages = material.facts.question.packages.values()
        rows = [f"{one.distribution} {one.version} ({one.source_name})" for one in packages]
        return "Packages of the stack:\n\n" + fenced("\n".join(rows))
    hashes = wheel_hashes(material.wheels)
    rows = [
        f"{name}=={version}" + (f"  sha256:{hashes[name]}" if name in hashes else "")
        for name, version in sorted(site.versions.items())
        if NAMED.fullmatch(name)
    ]
    note = "Packages (with the hash of the wheel where it was built here):"
    return f"<details><summary>{note}</summary>\n\n{fenced(chr(10).join(rows))}\n\n</details>"


def wheel_hashes(folders: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of the newest wheel of each distribution in some folders."""
    found: dict[str, Path] = {}
    for folder in folders:
        for wheel in folder.glob("*.whl"):
            name = plain(wheel.name.partition("-")[0])
            if name not in found or wheel.stat().st_mtime > found[name].stat().st_mtime:
                found[name] = wheel
    return {name: sha256_of(wheel) for name, wheel in found.items()}


def _patches(paths: Sequence[Path]) -> str:
    if not paths:
        return ""
    rows = []
    for path in paths:
        head = path.read_text("utf-8", "replace")[:4000]
        subject = re.search(r"^Subject: (?:\[PATCH[^]]*\] )?(.+)$", head, re.MULTILINE)
        status = re.search(r"^Upstream-Status: (.+)$", head, re.MULTILINE)
        name = f"{path.parent.parent.name} {path.parent.name}: {subject[1] if subject else path.name}"
        rows.append(
            f"- {printable(name)} ({printable(status[1]) if status else 'no status'}, sha256 {sha256_of(path)[:16]})"
        )
    return "Patches applied:\n\n" + "\n".join(rows)


def _variables(variables: Mapping[str, str]) -> str:
    shown = [re.compile(pattern) for pattern in templates().variables.shown]
    rows = [f"{name}={value}" for name, value in sorted(variables.items()) if any(one.fullmatch(name) for one in shown)]
    return "Environment variables:\n\n" + fenced("\n".join(printable(row, 1000) for row in rows)) if rows else ""


def _doctor(report: DoctorReport) -> str:
    rows = [
        f"- **{check.status}** {check.id}: {printable(check.seen, 500)}"
        for status in (Status.FAIL, Status.WARN)
        for check in report.checks
        if check.status is status
    ]
    return "Checks that did not pass (`invoke doctor`):\n\n" + ("\n".join(rows) if rows else "none")
