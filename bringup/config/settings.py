"""What a user sets once: ~/.config/bringup/config.toml (XDG base directories; `BRINGUP_CONFIG` names another file)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from bringup.model.base import Table


class UserSettings(Table, frozen=True, kw_only=True):
    """Settings of a user or a site; flags win over them.

    Attributes:
        cache: folder of downloads, git mirrors and the wheel store.
        build_dir: where everything is made.
        jobs: compilers at the same time.
        memory_gib: memory to use.
        nice: niceness of compilers.
        debian_mirror: address of a Debian mirror.
        mirrors: for git, address prefixes and what to put in their place.
        remote_store: store of wheels that machines share: an address (http, https, or
            s3://BUCKET/PREFIX?endpoint=URL&region=NAME&profile=NAME) or a folder. Keys of S3 do not stand here but in
            AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws/credentials.
        remote_store_write: send what is built here to it; otherwise it is only read.
        remote_store_timeout: seconds to wait for its first answer.
        compiler_cache: "on" keeps compiler results, "off" does not; "auto" is off (docs/how-to/caches.md says why).
        compiler_cache_share: where machines share compiler results: a folder, or redis://[:password@]host[:port].
    """

    cache: str = ""
    build_dir: str = ""
    jobs: Annotated[int, msgspec.Meta(ge=0)] = 0
    memory_gib: Annotated[float, msgspec.Meta(ge=0)] = 0
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0
    debian_mirror: str = ""
    mirrors: dict[str, str] = {}
    remote_store: str = ""
    remote_store_write: bool = False
    remote_store_timeout: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    compiler_cache: Literal["auto", "on", "off"] = "auto"
    compiler_cache_share: str = ""


def settings_file(env: Mapping[str, str]) -> Path | None:
    """Return the user's settings file, whether it exists or not; None without a home."""
    if env.get("BRINGUP_CONFIG"):
        return Path(env["BRINGUP_CONFIG"]).expanduser()
    if env.get("XDG_CONFIG_HOME", "").startswith("/"):
        return Path(env["XDG_CONFIG_HOME"]) / "bringup/config.toml"
    return Path(env["HOME"]) / ".config/bringup/config.toml" if env.get("HOME") else None


def load_settings(env: Mapping[str, str]) -> UserSettings:
    """Read the settings; the defaults without a file.

    Raises:
        ConfigError: the file is wrong.
    """
    path = settings_file(env)
    if path is None or not path.is_file():
        return UserSettings()
    from bringup.config.load import load_toml, raise_if_any  # noqa: PLC0415 - most users have no such file

    value, problems = load_toml(path, UserSettings)
    raise_if_any(problems)
    return value or UserSettings()
