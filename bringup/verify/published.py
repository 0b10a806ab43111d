"""Published packages that a target takes from the lock: are they still those that were installed with it?

Kernels are made against one build of PyTorch. Another one may be put over it later, of another version or of the
same one, and everything still imports. What was installed is noted when the environment is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bringup.errors import InstallError
from bringup.formats.record import RecordEntry, file_mismatch
from bringup.formats.wheel_installed import dist_info_installed, record_of_installed, version_of_dist_info
from bringup.formats.wheel_name import same_version
from bringup.model.verify import Check, Status
from bringup.system.fs import sha256_of

NOTE = "installed.json"
# Larger files are compared by size alone: hashing gigabytes of libraries would take longer than all other checks.
HASHED_UP_TO = 128 * 1024


def note_published(site: Path, distributions: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return version and hash of RECORD of each distribution that is installed, to keep beside the environment."""
    noted = {}
    for name in sorted(distributions):
        info = dist_info_installed(site, name)
        if info is not None and (info / "RECORD").is_file():
            noted[name] = {"version": version_of_dist_info(info), "record": sha256_of(info / "RECORD")}
    return noted


def check_published(
    site: Path, distribution: str, pinned: str, noted: Mapping[str, Any], hashes: Sequence[str] = ()
) -> Check:
    """Check that a distribution is the pinned version and the build that was installed with the environment.

    Args:
        site: site-packages.
        distribution: its name.
        pinned: the version of the plan.
        noted: what `note_published` said when the environment was made; empty for environments older than that.
        hashes: the lock's hashes of its files, as evidence.
    """
    evidence: dict[str, Any] = {"pinned": pinned, "noted": dict(noted), "lock": list(hashes)}
    problem, seen = _problem(site, distribution, pinned, noted)
    evidence |= seen
    why = problem or f"{distribution} {seen.get('version', '')} is the one that was installed with the environment"
    return Check(
        id=f"static.published.{distribution}",
        status=Status.FAIL if problem else Status.OK,
        why=why,
        evidence=evidence,
    )


def _problem(site: Path, distribution: str, pinned: str, noted: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    info = dist_info_installed(site, distribution)
    try:
        record = record_of_installed(site, distribution)
    except InstallError as exc:
        return exc.message, {}
    version = version_of_dist_info(info) if info else ""
    seen: dict[str, Any] = {"version": version, "files": len(record)}
    again = "; install the environment again, or build the kernels against what is there now"
    if not same_version(version.partition("+")[0], pinned.partition("+")[0]):
        return (
            f"{distribution} {version} is installed where the lock has {pinned}: it was replaced after the kernels "
            f"were made{again}"
        ), seen
    seen["record"] = sha256_of(info / "RECORD") if info else ""
    if noted and noted.get("record") != seen["record"]:
        return f"{distribution} {version} is another build than the one that the kernels were made for{again}", seen
    changed = [text for entry in record.values() if (text := _difference(site, entry))]
    if changed:
        from bringup.verify.native_code import shorten  # noqa: PLC0415 - reads machine code, which `note` does not

        return f"files of {distribution} {version} were changed or replaced: {shorten(changed)}{again}", seen
    return "", seen


def _difference(site: Path, entry: RecordEntry) -> str:
    path = site / entry.path
    if not entry.algorithm or path.suffix == ".pyc":
        return ""
    try:
        size = path.stat().st_size
    except OSError:
        return f"{entry.path} is missing"
    if entry.size is not None and entry.size != size:
        return f"{entry.path} has {size} bytes where RECORD says {entry.size}"
    if size > HASHED_UP_TO:
        return ""
    why = file_mismatch(entry, path)
    return f"{entry.path} {why}" if why else ""
