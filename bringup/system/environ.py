"""The one place that reads the process environment.

Everything else takes a mapping as a parameter. Commands get an environment built from an allow-list, so that what a
user's shell, an image or conda left behind cannot change a build.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

# Needed to reach networks and mirrors, to find certificates, and for temporary files. Nothing that a compiler, a
# build backend or Python itself would take as an option (CFLAGS, PYTHONPATH, LD_LIBRARY_PATH, CUDA_HOME ...).
PASSED = (
    "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TMPDIR", "TZ",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT",
    "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_CACHE_DIR", "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS", "UV_CONFIG_FILE", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NETRC",
)  # fmt: skip


def process_environment() -> dict[str, str]:
    """Return a copy of the environment this program was started with."""
    return dict(os.environ)


def base_environment(source: Mapping[str, str] | None = None, *, path: tuple[Path | str, ...] = ()) -> dict[str, str]:
    """Return the environment every command starts from: the allow-list, a fixed PATH, a UTF-8 locale.

    Args:
        source: mapping to pick from; this process's environment if None.
        path: folders that go in front of the system's own.
    """
    known = process_environment() if source is None else source
    env = {name: known[name] for name in PASSED if name in known}
    env.setdefault("LANG", "C.UTF-8")
    env["LC_ALL"] = "C.UTF-8"
    env["PATH"] = ":".join([*(str(folder) for folder in path), "/usr/local/bin", "/usr/bin", "/bin"])
    env["PYTHONNOUSERSITE"] = "1"
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    return env


def command_name() -> str:
    """Return how the user starts the program, for messages that tell the next command; the launchers say it."""
    return shlex.quote(os.environ.get("BRINGUP_COMMAND", "") or "invoke")
