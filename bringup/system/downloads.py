"""The download cache: files by their hash, fetched once, by one process at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bringup.errors import FetchError
from bringup.system.fs import file_sha256, mark_used, storage_errors

if TYPE_CHECKING:
    from bringup.system.download import OnBytes, Wanted

PARALLEL = 6
UNFINISHED = (".part", ".lock", ".held")


class DownloadCache:
    """Files below one folder, as `<root>/<first two digits>/<sha256>/<filename>`.

    Many processes may share it: a file appears under its name only complete and checked, and a lock for each hash
    makes a second process wait for the first instead of fetching the same.
    """

    def __init__(self, root: Path) -> None:
        """`root` is made when the first file arrives."""
        self.root = root

    def folder(self, sha256: str) -> Path:
        """Return the folder that holds the file of this hash."""
        return self.root / sha256[:2] / sha256

    def path_for(self, sha256: str, filename: str) -> Path:
        """Return where the file is or would be."""
        return self.folder(sha256) / Path(filename).name

    def get(self, sha256: str, *, check: bool = False) -> Path | None:
        """Return the file of this hash, or None.

        Args:
            sha256: hash of the file.
            check: read the file again; a damaged one is removed and None returned.
        """
        try:
            found = [path for path in self.folder(sha256).iterdir() if not path.name.endswith(UNFINISHED)]
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not found:
            return None
        if check and file_sha256(found[0]) != sha256:
            with storage_errors(found[0], every=True):
                found[0].unlink(missing_ok=True)
            return None
        mark_used(self.folder(sha256) / ".lock")
        return found[0]

    def obtain(
        self,
        wanted: Wanted,
        *,
        offline: bool = False,
        on_bytes: OnBytes | None = None,
        stop: threading.Event | None = None,
    ) -> Path:
        """Return the file, fetched if it is not there. Raises as `download` does."""
        known = self.get(wanted.sha256)
        if known is not None:
            return known
        if offline:
            raise missing_offline(wanted.filename, wanted.sha256, self.root)
        dest = self.path_for(wanted.sha256, wanted.filename)
        from bringup.system.download import download  # noqa: PLC0415 - HTTP and TLS take long to import

        with self._lock(wanted.sha256):
            known = self.get(wanted.sha256)
            if known is not None:
                return known
            return download(
                wanted.url,
                dest,
                sha256=wanted.sha256,
                size=wanted.size,
                on_bytes=on_bytes,
                stop=stop,
                proxy=wanted.proxy,
            )

    def adopt(self, path: Path, sha256: str) -> Path:
        """Take a local file in (a bundle, a mirror folder); its hash is checked. Returns the cached file.

        Raises:
            FetchError: the file has another hash.
        """
        from bringup.system.download import Wanted  # noqa: PLC0415

        return self.obtain(Wanted(url=path.resolve().as_uri(), sha256=sha256, filename=path.name))

    @contextlib.contextmanager
    def _lock(self, sha256: str) -> Iterator[None]:
        from bringup.system.locks import file_lock  # noqa: PLC0415 - not needed to look

        folder = self.folder(sha256)
        with storage_errors(folder, every=True):
            folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / ".lock"):
            yield


def obtain_all(
    cache: DownloadCache,
    hashes: Sequence[tuple[str, str]],
    locate: Callable[[set[str]], Sequence[Wanted]],
    *,
    offline: bool = False,
    on_bytes: OnBytes | None = None,
) -> dict[str, Path]:
    """Return the files of many hashes; only those that are missing or damaged are located and fetched, some at a time.

    Args:
        cache: where they are kept.
        hashes: (sha256, name for messages) of each file.
        locate: finds the addresses of the hashes that are missing.
        offline: raise instead of fetching.
        on_bytes: as for `download`; called from several threads.

    Raises:
        FetchError: a file is missing offline, cannot be located, or did not arrive.
        StorageError: disk full or no permission.
    """
    files = {sha256: path for sha256, _ in hashes if (path := cache.get(sha256, check=True)) is not None}
    missing = {sha256: name for sha256, name in hashes if sha256 not in files}
    if not missing:
        return files
    if offline:
        sha256, name = next(iter(missing.items()))
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise missing_offline(name + more, sha256, cache.root)
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - nothing is fetched by most runs

    from bringup.system.spent import spent_on  # noqa: PLC0415

    stop = threading.Event()
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        jobs = {
            wanted.sha256: pool.submit(cache.obtain, wanted, on_bytes=on_bytes, stop=stop)
            for wanted in sorted(locate(set(missing)), key=lambda wanted: -wanted.size)
        }
        with spent_on("download"):
            files |= {sha256: job.result() for sha256, job in jobs.items()}
    finally:
        stop.set()  # the first failure, or Ctrl-C, ends the other transfers; what has arrived is resumed next time
        pool.shutdown(cancel_futures=True)
    for sha256, name in missing.items():
        if sha256 not in files:
            msg = f"no address is known for {name} (sha256 {sha256})"
            raise FetchError(msg)
    return files


def missing_offline(name: str, sha256: str, root: Path) -> FetchError:
    """Return the error for a file that is wanted without a network."""
    msg = f"{name} (sha256 {sha256}) is not in the download cache {root}, and --offline forbids fetching it"
    return FetchError(
        msg, hint="run `invoke fetch` once on a machine with a network, or point the cache at a filled one"
    )
