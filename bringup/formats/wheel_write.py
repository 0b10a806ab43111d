"""Wheels are written here, same bytes for same input: sorted, fixed times, two permission modes, RECORD last."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidName, canonicalize_name

from bringup.errors import ConfigError, StorageError
from bringup.formats.archive import CHUNK, ArchiveError
from bringup.formats.record import RecordEntry, encode_digest, format_record
from bringup.formats.wheel_name import escape_name, expand_tag, with_local
from bringup.formats.wheel_read import UNLISTED, dist_info_of, header

# 1980-01-01, the earliest time that a zip can hold.
EPOCH = 315532800


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """A file of the wheel to be: its content is on disk (`path`) or in memory (`data`)."""

    name: str
    path: Path | None = None
    data: bytes = b""


def pack_wheel(tree: Path, out_dir: Path, *, local: str = "", epoch: int = EPOCH, level: int = 6) -> Path:
    """Pack an unpacked wheel; the tree itself is not changed.

    Files are 0755 or 0644 by their executable bit; `__pycache__` folders and signatures of the old RECORD are left out.

    Args:
        tree: folder with the files and one `.dist-info` folder.
        out_dir: where the wheel goes, replaced in one step.
        local: label to add to the version: in METADATA, in the folder names and in the file name.
        epoch: seconds since 1970 that every member is dated to.
        level: deflate level, 1 (fast) to 9.

    Returns:
        Path of the wheel.

    Raises:
        ArchiveError: the tree is not that of a wheel, or has links that lead out of it.
        ConfigError: `local` does not make a valid version.
        StorageError: disk full or no permission.
    """
    files = dict(_files_of(tree))
    old_info = dist_info_of(list(files), str(tree))
    stem, _, folder_version = old_info.removesuffix(".dist-info").rpartition("-")
    metadata = _text(files, f"{old_info}/METADATA", tree)
    tags = sorted({one for tag in header(_text(files, f"{old_info}/WHEEL", tree), "Tag") for one in expand_tag(tag)})
    build = "".join(header(_text(files, f"{old_info}/WHEEL", tree), "Build")[:1])
    if not stem or not tags:
        msg = f"{tree}: {old_info} does not say name and tags of the wheel"
        raise ArchiveError(msg)
    version = with_local("".join(header(metadata, "Version")[:1]), local) if local else folder_version
    info = f"{stem}-{version}.dist-info"
    members = []
    for name, path in files.items():
        top, slash, rest = name.partition("/")
        if top == old_info and rest in UNLISTED:
            continue
        new = info if top == old_info else f"{stem}-{version}.data" if top == f"{stem}-{folder_version}.data" else top
        if local and name == f"{old_info}/METADATA":
            members.append(_Member(name=f"{info}/METADATA", data=_with_version(metadata, version).encode()))
        else:
            members.append(_Member(name=f"{new}{slash}{rest}", path=path))
    words = [stem, version, *([build] if build else []), _compressed_tag(tags)]
    return _write(out_dir / f"{'-'.join(words)}.whl", members, info, epoch=epoch, level=level)


def make_wheel(
    tree: Path,
    out_dir: Path,
    *,
    name: str,
    version: str,
    tag: str,
    requires: Sequence[str] = (),
    summary: str = "",
    requires_python: str = "",
    epoch: int = EPOCH,
    level: int = 6,
) -> Path:
    """Make a wheel of a plain folder, whose content is what goes to site-packages.

    Args:
        tree: folder with packages and modules, without a `.dist-info` folder.
        out_dir: where the wheel goes, replaced in one step.
        name: distribution, "flashinfer-jit-cache".
        version: "0.6.8.post1+cu130".
        tag: "cp39-abi3-linux_x86_64" or a compressed set such as "py2.py3-none-any".
        requires: requirements (PEP 508).
        summary: one line.
        requires_python: ">=3.10"; "" for none.
        epoch: seconds since 1970 that every member is dated to.
        level: deflate level, 1 (fast) to 9.

    Raises:
        ArchiveError: the tree has a `.dist-info` folder or links that lead out of it.
        ConfigError: name, version, tag or a requirement is not valid.
        StorageError: disk full or no permission.
    """
    try:
        canonicalize_name(name, validate=True)
        needed = [str(Requirement(one)) for one in requires]
        tags = sorted(expand_tag(tag))
    except (InvalidName, InvalidRequirement, ValueError) as exc:
        msg = f"cannot make a wheel of {name} {version} {tag}: {exc}"
        raise ConfigError(msg) from exc
    version = with_local(version, "")
    members = [_Member(name=path_name, path=path) for path_name, path in _files_of(tree)]
    if any(member.name.split("/")[0].endswith(".dist-info") for member in members):
        msg = f"{tree}: has a .dist-info folder already; pack_wheel is for unpacked wheels"
        raise ArchiveError(msg)
    info = f"{escape_name(name)}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Summary: {' '.join(summary.split())}"] if summary.strip() else []
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {one}" for one in needed]
    pure = "true" if all(one.endswith("-none-any") for one in tags) else "false"
    wheel = ["Wheel-Version: 1.0", "Generator: bringup", f"Root-Is-Purelib: {pure}", *(f"Tag: {one}" for one in tags)]
    members.append(_Member(name=f"{info}/METADATA", data="\n".join([*lines, ""]).encode()))
    members.append(_Member(name=f"{info}/WHEEL", data="\n".join([*wheel, ""]).encode()))
    return _write(
        out_dir / f"{escape_name(name)}-{version}-{_compressed_tag(tags)}.whl", members, info, epoch=epoch, level=level
    )


def _write(target: Path, members: list[_Member], info: str, *, epoch: int, level: int) -> Path:
    """Write all members, those of `.dist-info` last and RECORD at the very end; then put the wheel in place."""
    members.sort(key=lambda member: (member.name.startswith(f"{info}/"), member.name))
    when = time.gmtime(max(epoch, EPOCH))[:6]
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
            record = [_add(archive, member, when) for member in members]
            own = f"{info}/RECORD"
            text = format_record([*record, RecordEntry(path=own)])
            _add(archive, _Member(name=own, data=text.encode()), when)
        part.chmod(0o644)
        part.replace(target)
    except OSError as exc:
        msg = f"cannot write {target}: {exc.strerror or exc}"
        raise StorageError(msg) from exc
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return target


def _add(archive: zipfile.ZipFile, member: _Member, when: tuple[int, ...]) -> RecordEntry:
    zinfo = zipfile.ZipInfo(member.name, date_time=(when[0], when[1], when[2], when[3], when[4], when[5]))
    zinfo.compress_type = zipfile.ZIP_DEFLATED
    zinfo.create_system = 3  # Unix, so that permissions count
    status = member.path.stat() if member.path is not None else None
    mode = 0o755 if status is not None and status.st_mode & 0o111 else 0o644
    zinfo.external_attr = (stat.S_IFREG | mode) << 16
    zinfo.file_size = len(member.data) if status is None else status.st_size  # decides whether zip64 is needed
    digest = hashlib.sha256()
    size = 0
    with archive.open(zinfo, "w") as sink:
        for block in _blocks(member):
            digest.update(block)
            sink.write(block)
            size += len(block)
    return RecordEntry(path=member.name, algorithm="sha256", digest=encode_digest(digest.digest()), size=size)


def _blocks(member: _Member) -> Iterator[bytes]:
    if member.path is None:
        yield member.data
        return
    source: IO[bytes]
    with member.path.open("rb") as source:
        while block := source.read(CHUNK):
            yield block


def _files_of(tree: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files below `tree` by their names with slashes; a link to a file inside counts as that file."""
    root = Path(os.path.realpath(tree))
    if not root.is_dir():
        msg = f"{tree}: no such folder to make a wheel of"
        raise ArchiveError(msg)
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in [*files, *folders]:
            path = Path(folder, name)
            if path.is_symlink():
                real = Path(os.path.realpath(path))
                if not real.is_relative_to(root) or not real.is_file():
                    msg = f"{tree}: {path.relative_to(root)} is a link that a wheel cannot hold"
                    raise ArchiveError(msg, hint="a wheel has no links; put the file itself there")
            elif name in folders:
                continue
            elif not path.is_file():
                msg = f"{tree}: {path.relative_to(root)} is neither file nor folder"
                raise ArchiveError(msg)
            yield path.relative_to(root).as_posix(), path


def _text(files: dict[str, Path], name: str, tree: Path) -> str:
    path = files.get(name)
    if path is None:
        msg = f"{tree}: {name} is missing"
        raise ArchiveError(msg)
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as exc:
        msg = f"{path}: not UTF-8"
        raise ArchiveError(msg) from exc


def _with_version(metadata: str, version: str) -> str:
    lines = metadata.split("\n")
    for number, line in enumerate(lines):
        if not line.strip():
            break
        if line.lower().startswith("version:"):
            lines[number] = f"Version: {version}"
            return "\n".join(lines)
    msg = "METADATA has no Version"
    raise ArchiveError(msg)


def _compressed_tag(tags: list[str]) -> str:
    """Return the shortest compressed set for single tags, as `py2.py3-none-any`."""
    words = [tag.split("-") for tag in tags]
    tag = "-".join(".".join(sorted({word[part] for word in words})) for part in range(3))
    if set(expand_tag(tag)) != set(tags):
        msg = f"tags {' '.join(tags)} do not fit into one file name"
        raise ArchiveError(msg)
    return tag
