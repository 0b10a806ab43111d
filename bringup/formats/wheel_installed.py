"""What is installed in a site-packages folder, compared with the wheel that it came from."""

from __future__ import annotations

from pathlib import Path

from bringup.errors import InstallError
from bringup.formats.archive import Problem
from bringup.formats.record import RecordEntry, file_mismatch, parse_record
from bringup.formats.wheel_name import WheelName, same_name, same_version


def dist_info_installed(site_packages: Path, distribution: str) -> Path | None:
    """Return the `.dist-info` folder of an installed distribution, None if it is not there."""
    for folder in sorted(site_packages.glob("*.dist-info")):
        if same_name(folder.name.removesuffix(".dist-info").rpartition("-")[0], distribution):
            return folder
    return None


def version_of_dist_info(folder: Path) -> str:
    """Return the version that the name of a `.dist-info` folder ends with."""
    return folder.name.removesuffix(".dist-info").rpartition("-")[2]


def record_of_installed(site_packages: Path, distribution: str) -> dict[str, RecordEntry]:
    """Return RECORD of an installed distribution, by path relative to site-packages.

    Raises:
        InstallError: not installed, or its RECORD is missing or malformed.
    """
    folder = dist_info_installed(site_packages, distribution)
    if folder is None:
        msg = f"{distribution} is not installed in {site_packages}"
        raise InstallError(msg)
    try:
        text = (folder / "RECORD").read_text("utf-8")
        return {entry.path: entry for entry in parse_record(text)}
    except (OSError, ValueError) as exc:
        msg = f"{folder / 'RECORD'} cannot be used: {exc}"
        raise InstallError(msg, hint="install again") from exc


def check_installed(site_packages: Path, wheel: Path) -> list[Problem]:
    """Return in what way the environment differs from a wheel: files missing, changed, or another version installed.

    The hashes are those in the wheel's RECORD, not those in the environment's. Scripts are not compared, because
    installers rewrite their first line, nor headers, whose place installers choose.

    Raises:
        ArchiveError: the wheel cannot be read.
    """
    name = WheelName.parse(wheel.name)
    folder = dist_info_installed(site_packages, name.distribution)
    if folder is None:
        return [Problem(path=name.distribution, why=f"is not installed in {site_packages}")]
    version = version_of_dist_info(folder)
    if not same_version(version, name.version):
        why = f"version {version} is installed where {name.version} was built"
        return [Problem(path=name.distribution, why=why)]
    problems = []
    for path, entry in installed_files(site_packages, wheel).items():
        why = file_mismatch(entry, path)
        if why:
            problems.append(Problem(path=entry.path, why=why.replace("RECORD says", "our wheel has")))
    return problems


def installed_files(site_packages: Path, wheel: Path) -> dict[Path, RecordEntry]:
    """Return where the files of a wheel lie in an environment, with what its RECORD says of them.

    Raises:
        ArchiveError: the wheel cannot be read.
    """
    # Not needed to find a distribution, and slow to import.
    from bringup.formats.wheel_read import dist_info_of, open_wheel, wheel_record  # noqa: PLC0415

    with open_wheel(wheel) as archive:
        info = dist_info_of([entry.filename for entry in archive.infolist()], wheel.name)
        record = wheel_record(archive, info)
        members = {entry.filename for entry in archive.infolist()}
    return {
        path: entry
        for entry in record.values()
        if entry.path in members
        and not entry.path.startswith(f"{info}/RECORD")
        and (path := _installed_path(site_packages, entry.path, info)) is not None
    }


def _installed_path(site_packages: Path, name: str, info: str) -> Path | None:
    """Return where an installer puts a member of a wheel; None where that is not known or not comparable."""
    data = f"{info.removesuffix('.dist-info')}.data/"
    if not name.startswith(data):
        return site_packages / name
    scheme, _, rest = name.removeprefix(data).partition("/")
    if scheme in ("purelib", "platlib"):
        return site_packages / rest
    # lib/pythonX.Y/site-packages is three below the prefix that `data` goes to.
    return site_packages.parents[2] / rest if scheme == "data" and len(site_packages.parents) > 2 else None
