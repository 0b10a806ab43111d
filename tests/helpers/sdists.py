"""Pure packages that carry their own build backend, so that building one needs no index and takes a moment."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from helpers.data_root import Recipe, sha256

# `during_build.py` of the tree is what the "compiler" does; its variable VALUE ends up in the module.
BACKEND = """
import base64, hashlib, importlib, os, sys, zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name, version = "{name}", "{version}"
    sys.path.insert(0, os.getcwd())
    value = importlib.import_module("during_build").VALUE
    info = f"{{name}}-{{version}}.dist-info"
    files = {{
        f"{{name}}.py": f"VALUE = {{value!r}}\\n",
        f"{{info}}/METADATA": f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: {{version}}\\n",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{{path}},sha256={{digest}},{{len(text.encode())}}")
    files[f"{{info}}/RECORD"] = "\\n".join([*rows, f"{{info}}/RECORD,,"]) + "\\n"
    wheel = f"{{name}}-{{version}}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, wheel), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel
"""


def sdist_bytes(name: str, version: str = "1.0", *, during_build: str = "VALUE = 1\n", **more: str) -> bytes:
    """Return a source archive whose build runs `during_build`; `more` are further files by name without suffix."""
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "tiny_backend"\nbackend-path = ["."]\n',
        "tiny_backend.py": BACKEND.format(name=name, version=version),
        "during_build.py": during_build,
        **{f"{key}.txt": text for key, text in more.items()},
    }
    return tar_bytes(f"{name}-{version}", files)


def wheel_bytes(name: str, version: str = "1.0") -> bytes:
    """Return a wheel with one empty module."""
    buffer = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.py"), "")
        archive.writestr(
            zipfile.ZipInfo(f"{info}/METADATA"), f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            zipfile.ZipInfo(f"{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            zipfile.ZipInfo(f"{info}/RECORD"), f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return buffer.getvalue()


def tar_bytes(top: str, files: Mapping[str, str]) -> bytes:
    """Return a tar.gz archive of text files below one folder; the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, text in files.items():
            info = tarfile.TarInfo(f"{top}/{path}")
            info.size, info.mode = len(text.encode()), 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def local_recipe(folder: Path, name: str, *, during_build: str = "VALUE = 1\n", **values: object) -> Recipe:
    """Write the archive of a package to `folder` and return the recipe that builds it."""
    folder.mkdir(parents=True, exist_ok=True)
    data = sdist_bytes(name, during_build=during_build)
    path = folder / f"{name}-1.0.tar"
    path.write_bytes(data)
    return Recipe(name=name, url=path.as_uri(), sha256=sha256(data), size=len(data), **values)  # type: ignore[arg-type]
