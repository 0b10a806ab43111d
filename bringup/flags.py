"""Flags that several tasks share, what a task is, and what flags and settings together ask for.

Writing the ten flags of a target into every task would repeat them and let them drift apart, so they stand here once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bringup.config.frozen import read_frozen
from bringup.config.paths import data_root, in_checkout
from bringup.config.settings import UserSettings, load_settings
from bringup.errors import UsageError
from bringup.model.plan import Request
from bringup.output import guarded
from bringup.system.environ import process_environment
from bringup.system.layout import Settings, default_cache

MOST_NICE = 19  # of Linux
REQUIRED = object()  # the default of a flag that has to be given

# name: (default, help)
TARGET: dict[str, tuple[Any, str]] = {
    "gpu": (REQUIRED, "GPU to build for, a name of `invoke list gpus`, or auto"),
    "stack": ("", "stack to build, a name of `invoke list stacks`; the GPU's default without it"),
    "cuda": ("", "CUDA release, 13.0; the stack's default without it"),
    "toolkit": ("", "where the CUDA toolkit comes from: system, wheels or debs"),
    "host-compiler": ("", "where gcc comes from: system, or debs (unpacked, no root)"),
    "python": ("", "Python of the target environment; only the stack's own is possible"),
    "variant": ([], "PACKAGE=NAME, a variant of a recipe, or several joined by +; may be repeated"),
    "full": (False, "compile the whole kernel set and not only what the stack's model needs"),
    "data": ("", "folder with recipes/, toolchains/ and patches/ to use instead of bringup's own"),
    "build-dir": ("", "where everything is made; build/ in the checkout without it"),
}
RUN: dict[str, tuple[Any, str]] = {
    "only": ([], "package to build, with what it needs; may be repeated"),
    "jobs": (0, "compilers at the same time; as many as cores and memory allow without it"),
    "memory": (0.0, "GiB of memory to use; 80 percent of what this machine gives without it"),
    "nice": (0, "niceness of compilers, 1 to 19: others on this machine come first"),
    "time-limit": (0.0, "seconds after which the run stops cleanly; the same command goes on where it stopped"),
    "offline": (False, "use no network: everything has to be in the cache"),
    "mirror": ([], "PREFIX=REPLACEMENT for addresses of git repositories; may be repeated"),
    "debian-mirror": ("", "address of a Debian mirror; the machine's own without it"),
    "remote-store": ("", "address (http, https, s3) or folder of a store of wheels that machines share; off uses none"),
    "remote-store-write": (False, "send what is built to the remote store"),
    "compiler-cache": ("", "keep compiler results: on, off or auto"),
    "debug": (False, "show tracebacks"),
}
Flags = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task of the program.

    Attributes:
        name: what users type.
        body: carries it out, given the values of the flags by name with underscores; its docstring is the task's help.
        flags: default and help by name; a flag without a default has to be given.
    """

    name: str
    body: Callable[[Flags], int | None]
    flags: dict[str, tuple[Any, str]]

    @classmethod
    def of(cls, body: Callable[[Flags], int | None], *groups: dict[str, tuple[Any, str]]) -> Self:
        """Return the task of a function, named like it, with the flags of all groups."""
        flags = {key: value for group in groups for key, value in group.items()}
        return cls(name=body.__name__.strip("_").replace("_", "-"), body=body, flags=flags)

    @property
    def required(self) -> list[str]:
        """Names of the flags that have to be given."""
        return [key for key, (default, _) in self.flags.items() if default is REQUIRED]

    def perform(self, values: Flags) -> int:
        """Carry the task out and return the exit code.

        Args:
            values: of flags, by name with underscores; the others keep their defaults.
        """
        merged = {key.replace("-", "_"): default for key, (default, _) in self.flags.items()} | values

        def checked() -> int | None:
            lacking = [key for key in self.required if merged[key.replace("-", "_")] in (None, "", REQUIRED)]
            if lacking and not installed_bundle():
                msg = f"{self.name} needs {', '.join(f'--{key}' for key in lacking)}"
                raise UsageError(msg, hint=self.flags[lacking[0]][1])
            return self.body(merged)

        return guarded(checked, debug=bool(merged.get("debug")))


def installed_bundle() -> Path | None:
    """Return the folder of the installed bundle that this program belongs to, if it does."""
    root = process_environment().get("BRINGUP_BUNDLE", "")
    return Path(root) if root else None


def bundle_flags() -> Flags:
    """Return the flags that mean the target of the installed bundle.

    Raises:
        UsageError: this program does not belong to one.
    """
    root = installed_bundle()
    if root is None:
        msg = "this is not the program of an installed bundle"
        raise UsageError(msg)
    known = read_frozen(root)
    return {
        "gpu": known.gpu,
        "stack": known.stack,
        "cuda": known.cuda,
        "toolkit": known.toolkit,
        "host_compiler": "debs",
        "variant": [f"{name}={value}" for name, value in known.variants.items()],
        "full": known.full,
        "offline": True,
        **({"only": list(known.only)} if known.only else {}),
    }


def request_from(flags: Flags) -> Request:
    """Return what the flags and the user's settings ask for.

    Raises:
        UsageError: a flag's value cannot be read.
    """
    user = load_settings(process_environment())
    if installed_bundle():
        fixed = bundle_flags()
        for name in ("gpu", "stack", "cuda"):
            asked = flags.get(name)
            if asked and asked not in (REQUIRED, "auto", fixed[name]):
                msg = f"--{name} {asked}: this bundle is for {fixed[name]} alone"
                raise UsageError(msg, hint=f"leave --{name} out, or carry a bundle for {asked}")
        flags = flags | fixed
    numbers = {name: flags.get(name.replace("-", "_"), 0) for name in ("jobs", "memory", "nice", "time-limit")}
    for name, value in numbers.items():
        if value < 0 or not math.isfinite(value):
            msg = f"--{name} {value:g}: cannot be {'negative' if value < 0 else 'had'}"
            raise UsageError(msg)
    if numbers["nice"] > MOST_NICE:
        msg = f"--nice {numbers['nice']}: wants a number from 1 to {MOST_NICE}"
        raise UsageError(msg)
    host = flags.get("host_compiler", "")
    if host not in ("", "system", "debs"):
        msg = f"--host-compiler {host}: known are system and debs"
        raise UsageError(msg)
    return Request(
        gpu=flags["gpu"],
        stack=flags.get("stack", ""),
        cuda=flags.get("cuda", ""),
        toolkit=flags.get("toolkit", ""),
        host_compiler=host,
        python=flags.get("python", ""),
        only=tuple(flags.get("only") or ()),
        jobs=flags.get("jobs") or user.jobs,
        memory_gib=flags.get("memory") or user.memory_gib,
        nice=flags.get("nice") or user.nice,
        offline=flags.get("offline", False),
        mirrors=(*_pairs("mirror", "PREFIX=REPLACEMENT", flags.get("mirror") or ()), *user.mirrors.items()),
        debian_mirror=flags.get("debian_mirror") or user.debian_mirror,
        full=flags.get("full", False),
        variants=dict(_pairs("variant", "PACKAGE=NAME", flags.get("variant") or ())),
        time_limit=flags.get("time_limit", 0),
        remote_store=_remote(flags.get("remote_store") or user.remote_store),
        remote_write=flags.get("remote_store_write") or user.remote_store_write,
        remote_timeout=user.remote_store_timeout,
        compiler_cache=_one_of("compiler-cache", flags.get("compiler_cache") or user.compiler_cache),
        compiler_cache_share=user.compiler_cache_share,
    )


def _remote(address: str) -> str:
    """Return the address of the remote store, "" for none.

    Raises:
        UsageError: it is neither an http address, nor that of a bucket, nor an absolute folder.
    """
    if address in ("", "off"):
        return ""
    scheme, mark, rest = address.partition("://")
    if scheme == "s3" and mark:
        from bringup.formats.s3_address import parse_s3  # noqa: PLC0415 - seldom needed

        try:
            parse_s3(address)
        except ValueError as exc:
            msg = f"remote store s3://{rest.rpartition('@')[2].partition('?')[0]}: {exc}"
            raise UsageError(msg, hint="s3://BUCKET/PREFIX?endpoint=URL&region=NAME&profile=NAME") from exc
        return address
    if not (scheme in ("http", "https", "file") if mark else address.startswith(("/", "~"))):
        msg = f"remote store {address}: wants http://..., https://..., s3://... or the absolute path of a folder"
        raise UsageError(msg)
    return address


def _one_of(flag: str, value: str, known: tuple[str, ...] = ("auto", "on", "off")) -> str:
    if value not in known:
        msg = f"--{flag} {value}: known are {', '.join(known)}"
        raise UsageError(msg)
    return value


def _pairs(flag: str, form: str, values: list[str] | tuple[()]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for value in values:
        left, equals, right = value.partition("=")
        if not (left and equals and right):
            msg = f"--{flag} {value}: wants the form {form}"
            raise UsageError(msg)
        pairs.append((left, right))
    return tuple(pairs)


def settings_from(flags: Flags) -> Settings:
    """Return where data, build directory and cache are."""
    env = process_environment()
    bundle = installed_bundle()
    if bundle:
        return Settings(data=data_root(), build=bundle / "build", cache=bundle / "cache", bundle=bundle)
    user: UserSettings = load_settings(env)
    here = data_root() if in_checkout() else Path.cwd()
    chosen = flags.get("build_dir") or user.build_dir
    build = Path(chosen).expanduser() if chosen else here / "build"
    named = user.cache and not env.get("BRINGUP_CACHE")  # what is set for one command wins
    cache = Path(user.cache).expanduser().absolute() if named else default_cache(env)
    data = Path(flags["data"]).expanduser().absolute() if flags.get("data") else data_root()
    if not (data / "recipes").is_dir() or not (data / "toolchains").is_dir():
        msg = f"--data {data}: no folder with recipes/ and toolchains/"
        raise UsageError(msg)
    return Settings(data=data, build=build.absolute(), cache=cache)
