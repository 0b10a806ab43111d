"""Note every start of nvcc: a CUDA_HOME that is the real one in all but its nvcc, which writes down what it is asked.

That the caches of run-time compilers stay as they were says that nothing was kept; this says that nothing was tried.
"""

from __future__ import annotations

import shlex
from collections.abc import MutableMapping
from pathlib import Path

SCRIPT = """#!/bin/sh
case "$*" in *--version | -V) ;; *) printf '%s\\n' "$*" >>{notes} ;; esac
exec {real} "$@"
"""

OTHER_WAYS = ("FLASHINFER_NVCC", "PYTORCH_NVCC", "CUDACXX", "CUDA_PATH", "CUDA_ROOT")
"""Variables that would lead around the watched one."""


class NvccWatch:
    """The watch over one process and its children.

    Args:
        folder: empty folder for the stand-in; it has to stay as long as the watch.
        env: the environment to change, `os.environ`.
    """

    def __init__(self, folder: Path, env: MutableMapping[str, str]) -> None:
        self._notes = folder / "notes"
        home, real = folder / "cuda", Path(env.get("CUDA_HOME", "/nonexistent"))
        (home / "bin").mkdir(parents=True)
        for source, target in ((real, home), (real / "bin", home / "bin")):
            for entry in sorted(source.iterdir()) if source.is_dir() else ():
                if entry.name not in ("bin", "nvcc"):
                    (target / entry.name).symlink_to(entry)
        script = home / "bin/nvcc"
        told = real / "bin/nvcc"
        script.write_text(SCRIPT.format(notes=shlex.quote(str(self._notes)), real=shlex.quote(str(told))))
        script.chmod(0o755)
        env["CUDA_HOME"] = str(home)
        env["PATH"] = f"{home / 'bin'}:{env.get('PATH', '')}"
        for name in OTHER_WAYS:
            env.pop(name, None)

    def starts(self) -> list[str]:
        """The arguments of each start since the watch began; asking for the version does not count."""
        return self._notes.read_text().splitlines() if self._notes.exists() else []
