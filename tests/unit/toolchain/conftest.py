"""A running server, and mirrors of packages."""

import lzma
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import Server, deb_bytes, sha256

from bringup.system import download


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.01)  # it is near
    one = Server()
    thread = threading.Thread(target=one.http.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    yield one
    one.http.shutdown()
    one.http.server_close()
    thread.join()


@pytest.fixture
def mirror_folder(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, tuple[str, int, str]]]]:
    """Return a maker of mirrors: packages by name -> folder, and hash, size and pool path of each package."""

    def make(
        packages: dict[str, dict[str, bytes | str]], *, suite: str = "trixie", version: str = "1.0-1"
    ) -> tuple[Path, dict[str, tuple[str, int, str]]]:
        root = tmp_path / "mirror"
        known, paragraphs = {}, []
        for name, files in packages.items():
            data = deb_bytes(files)
            path = f"pool/main/{name[0]}/{name}/{name}_{version}_amd64.deb"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
            known[name] = (sha256(data), len(data), path)
            paragraphs.append(
                f"Package: {name}\nVersion: {version}\nDescription: text\n more: text\nFilename: {path}\n"
                f"Size: {len(data)}\nSHA256: {sha256(data)}\n"
            )
        index = root / f"dists/{suite}/main/binary-amd64/Packages.xz"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_bytes(lzma.compress("\n".join(paragraphs).encode()))
        return root, known

    return make
