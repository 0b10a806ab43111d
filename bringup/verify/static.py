"""The static level: what can be known of wheels and an environment by reading files. No GPU, nothing is run."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import BringupError
from bringup.formats.archive import Problem, copy_stream
from bringup.formats.fatbin import describe, device_code
from bringup.formats.wheel import WheelName, check_installed, check_wheel, open_wheel
from bringup.model.verify import Check, Status
from bringup.system.fs import sha256_of
from bringup.verify.installed import is_library, package_libraries, read_libraries, system_dirs
from bringup.verify.linkage import check_abi, check_libraries, torch_exports
from bringup.verify.native_code import NativeCode, Opener, check_native_code, native_archs, shorten

__all__ = ["NativeCode", "OurWheel", "check_static", "check_wheel_static", "native_archs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OurWheel:
    """A wheel that is to be checked.

    Attributes:
        path: the wheel file.
        distribution: name used in the ids of checks, "flashinfer-jit-cache".
        native_code: what was promised for its files.
    """

    path: Path
    distribution: str
    native_code: tuple[NativeCode, ...] = ()


def check_static(
    site_packages: Path,
    wheels: Sequence[OurWheel],
    *,
    library_dirs: Sequence[Path] | None = None,
    glibc_max: str = "",
) -> tuple[Check, ...]:
    """Check wheels and what was installed of them.

    For each wheel: `static.wheel.<dist>` (name, tags, METADATA, RECORD), `static.record.<dist>` (installed files equal
    the wheel's), `static.libraries.<dist>` (needed libraries and glibc), `static.abi.<dist>` (PyTorch's symbols) and,
    where something was promised, `static.native-code.<dist>`.

    Args:
        site_packages: of the environment that the wheels are installed in.
        wheels: the wheels.
        library_dirs: folders that the system's loader searches; those of this machine if None.
        glibc_max: fail if a newer glibc is needed, "2.36"; "" to only say which.
    """
    system = system_dirs() if library_dirs is None else tuple(library_dirs)
    packages = package_libraries(site_packages)
    exports = torch_exports(site_packages)
    checks: list[Check] = []
    for wheel in wheels:
        name = wheel.distribution
        checks.append(_wheel_check(wheel.path, name))
        checks.append(_record_check(site_packages, wheel))
        files = _installed_files(site_packages, wheel.path)
        elves, damaged = read_libraries(site_packages / file for file in files if is_library(file))
        checks.append(
            check_libraries(
                name,
                elves,
                site_packages=site_packages,
                packages=packages,
                system=system,
                glibc_max=glibc_max,
                damaged=damaged,
            )
        )
        checks.append(check_abi(name, elves, exports, site_packages=site_packages))
        if wheel.native_code:
            checks.append(check_native_code(name, wheel.native_code, files, _in_folder(site_packages)))
    return tuple(checks)


def check_wheel_static(
    wheel: Path, native_code: Sequence[NativeCode] = (), *, scratch: Path | None = None
) -> tuple[Check, ...]:
    """Check one wheel file by itself: name, tags, METADATA, RECORD and promised GPU code.

    Without a promise the check of GPU code is SKIPPED and says what is in the wheel.

    Args:
        wheel: the wheel file.
        native_code: what was promised for its files.
        scratch: folder for one unpacked library at a time; the system's temporary folder if None.

    Raises:
        ArchiveError: the file's name is not that of a wheel.
    """
    name = WheelName.parse(wheel.name).distribution
    first = _wheel_check(wheel, name)
    try:
        with open_wheel(wheel) as archive:
            files = [info.filename for info in archive.infolist() if not info.is_dir()]
            opener = _Unpacker(archive, scratch)
            if native_code:
                return (first, check_native_code(name, native_code, files, opener.open))
            return (first, _unpromised(name, [file for file in files if is_library(file)], opener))
    except BringupError as exc:
        why = f"GPU code could not be read: {exc.message}"
        return (first, Check(id=f"static.native-code.{name}", status=Status.FAIL, why=why))


def _wheel_check(path: Path, name: str) -> Check:
    try:
        problems = [*check_wheel(path), *_tag_problems(path)]
    except BringupError as exc:
        problems = [Problem(path=path.name, why=exc.message)]
    return Check(
        id=f"static.wheel.{name}",
        status=Status.FAIL if problems else Status.OK,
        why=shorten([str(one) for one in problems]) or f"{path.name}: name, tags, METADATA and RECORD agree",
        evidence={
            "wheel": path.name,
            "sha256": sha256_of(path) if path.is_file() else "",
            "problems": [str(one) for one in problems],
        },
    )


def _tag_problems(path: Path) -> Iterator[Problem]:
    if WheelName.parse(path.name).platforms == ("any",):
        with open_wheel(path) as archive:
            for info in archive.infolist():
                if is_library(info.filename):
                    yield Problem(path=info.filename, why="is a library in a wheel whose tag says any platform")


def _record_check(site_packages: Path, wheel: OurWheel) -> Check:
    try:
        problems = [str(one) for one in check_installed(site_packages, wheel.path)]
    except BringupError as exc:
        problems = [exc.message]
    return Check(
        id=f"static.record.{wheel.distribution}",
        status=Status.FAIL if problems else Status.OK,
        why=f"not what we built: {shorten(problems)}" if problems else "installed files are those of our wheel",
        evidence={"problems": problems[:50]},
    )


def _installed_files(site_packages: Path, wheel: Path) -> list[str]:
    """Return the names of the wheel's files that are in site-packages; the record check names those that are not."""
    try:
        with open_wheel(wheel) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except BringupError:
        return []  # the wheel check has said so
    return [name for name in names if (site_packages / name).is_file()]


def _in_folder(folder: Path) -> Opener:
    """Return what opens files that are on disk already."""
    return lambda name: nullcontext(folder / name)


@dataclass(frozen=True, slots=True)
class _Unpacker:
    """Opens members of a wheel, one at a time, as a file that is removed afterwards."""

    archive: zipfile.ZipFile
    scratch: Path | None

    @contextmanager
    def open(self, name: str) -> Iterator[Path]:
        """Unpack one member."""
        with tempfile.TemporaryDirectory(prefix="bringup-", dir=self.scratch) as folder:
            path = Path(folder, name.rpartition("/")[2])
            with self.archive.open(name) as source:
                copy_stream(source, path, mode=0o644)
            yield path


def _unpromised(name: str, libraries: Sequence[str], opener: _Unpacker) -> Check:
    held: dict[str, str] = {}
    for library in libraries:
        with opener.open(library) as path:
            held[library] = describe(device_code(path))
    inside = shorten([f"{library} holds {text}" for library, text in held.items()]) or "it has no library"
    return Check(
        id=f"static.native-code.{name}",
        status=Status.SKIPPED,
        why=f"no machine code is promised for this wheel; {inside}",
        evidence={"files": held},
    )
