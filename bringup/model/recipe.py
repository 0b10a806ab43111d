"""A recipe: how one package is had and built, as recipes/<name>.toml says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from bringup.model.base import Name, Table
from bringup.model.source import Source

Backend = Literal["pep517", "setup.py", "repack", "hook"]
"""How a tree becomes a wheel; the values are explained at `Build.backend`."""


class NativeCode(Table, frozen=True, kw_only=True):
    """What machine code some files of the wheel must hold.

    Attributes:
        glob: path pattern inside the wheel.
        version: range of package versions whose wheels hold such files, "<0.3.10"; all if "".
        capability: range of compute capabilities that the promise is made for, ">=9.0,<10"; all if "".
        code: "exact" = the target's own machine code; "any" = anything that runs natively on it.
        exempt: the files are known not to hold it, and `why` says why that is right.
        why: reason of an exemption.
    """

    glob: str
    version: str = ""
    capability: str = ""
    code: Literal["exact", "any"] = "exact"
    exempt: bool = False
    why: str = ""


class Overlay(Table, frozen=True, kw_only=True):
    """Changes that apply under conditions; all conditions given must hold.

    Attributes:
        version: range of package versions, ">=0.5.11".
        cuda: range of CUDA versions, ">=12.8".
        capability: range of compute capabilities, ">=9.0,<10".
        gpus: GPU names.
        sources: names of sources.
        variants: names of variants.
        env: variables added to the build's environment; "" removes one.
        requires: build requirements added.
        neutral: build requirements added to those whose version cannot change the result.
        config_settings: PEP 517 settings added.
        toolkit_groups: parts of the CUDA toolkit added.
        tools: other programs that must be there, added.
        built_against: packages of `needs` whose binary interface enters the build, added.
        backend: backend that replaces the recipe's.
        disk_mib: disk that the build takes, instead of the recipe's figure.
        seconds: CPU seconds that the build takes, instead of the recipe's figure.
        note: shown in the plan when the overlay applies.
        warn: the note is a warning.
    """

    version: str = ""
    cuda: str = ""
    capability: str = ""
    gpus: tuple[Name, ...] = ()
    sources: tuple[Name, ...] = ()
    variants: tuple[Name, ...] = ()
    env: dict[str, str] = {}
    requires: tuple[str, ...] = ()
    neutral: tuple[str, ...] = ()
    config_settings: dict[str, str] = {}
    toolkit_groups: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    built_against: tuple[Name, ...] = ()
    backend: Backend | None = None
    disk_mib: int = 0
    seconds: int = 0
    note: str = ""
    warn: bool = False


class Build(Table, frozen=True, kw_only=True):
    """How the package becomes a wheel.

    Attributes:
        backend: "pep517" = its own build backend, without isolation; "setup.py" = `setup.py bdist_wheel`;
            "repack" = an unpacked wheel is packed again after patching; "hook" = recipes/<package>.py builds it.
        requires: names of distributions in the build environment, with what they depend on; versions are the lock's.
        neutral: those of `requires` that are needed to run the build but leave no trace in its result; another version
            of them, or of what only they depend on, rebuilds nothing.
        env: variables of the build; placeholders are listed in docs/how-to/new-recipe.md.
        config_settings: PEP 517 settings.
        toolkit_groups: parts of the CUDA toolkit needed beyond compiler and runtime: "curand", "cublas" ...
        cuda: whether a CUDA toolkit is needed at all.
        tools: other programs that must be there, with the version needed, "cargo>=1.85".
        memory_per_job_gib: memory that one compiler of this package may take.
        max_jobs: pass MAX_JOBS where ninja does not take part in a shared job budget: it then starts two more than
            there are cores. Where it does, MAX_JOBS would keep it out.
        fresh: globs of CMakeCache.txt files in the tree that are compared with the target before each build.
        configure: arguments for Python that only configure the tree, `setup.py build --cmake-only`; the units in
            recipes/units/<package>.toml are then started first. Nothing is configured apart if empty.
        generate: ninja targets that only generate sources, made right after configuring: most units wait for them, and
            few processors are busy meanwhile.
        seconds: CPU seconds that a build took when it was measured, for estimates; 0 if unknown.
        disk_mib: disk that source and build take.
        local: label that our wheels carry, "{local}" is the target's own ("cu130").
    """

    backend: Backend
    requires: tuple[str, ...] = ()
    neutral: tuple[str, ...] = ()
    env: dict[str, str] = {}
    config_settings: dict[str, str] = {}
    toolkit_groups: tuple[str, ...] = ()
    cuda: bool = True
    tools: tuple[str, ...] = ()
    memory_per_job_gib: float = 1.0
    max_jobs: bool = False
    fresh: tuple[str, ...] = ()
    configure: tuple[str, ...] = ()
    generate: tuple[str, ...] = ()
    seconds: int = 0
    disk_mib: int = 0
    local: str = ""


class Version(Table, frozen=True, kw_only=True):
    """One version of the package.

    Attributes:
        version: as the distribution spells it.
        sources: named ways to have it: "git", "sdist", "wheel", "registry" ...
        extras: sources that the build would fetch by itself and is handed instead; named for placeholders.
        patches: files in patches/<recipe>/<version>/, in the order they are applied.
        patches_for: patches only for some named sources, added after `patches`.
        python: range of Python versions it supports, ">=3.10".
        cuda: range of CUDA versions it can be built with.
        cuda_why: what is in the way of others, for the message that refuses them.
        distribution: name of the distribution, where it changed between versions.
        cxx11_abi: for published binaries, the C++ ABI of the libraries they were linked against; null where they have
            no C++ interface, or are built here.
    """

    version: str
    sources: dict[Name, Source]
    extras: dict[Name, Source] = {}
    patches: tuple[str, ...] = ()
    patches_for: dict[Name, tuple[str, ...]] = {}
    python: str = ""
    cuda: str = ""
    cuda_why: str = ""
    distribution: str = ""
    cxx11_abi: bool | None = None


class Variant(Table, frozen=True, kw_only=True):
    """A named set of features. Several are joined by "+" where one is asked for: "attention+cudnn".

    Attributes:
        summary: what it is for.
        includes: other variants that it has the features of.
        env: variables added to the build's environment.
        requires: build requirements added.
        fallback: variant taken instead, and said so in the plan, where tools that this one needs are missing;
            "" makes a missing tool an error.
        cxx11_abi: std::string of the C++ libraries is that of gcc 5 and newer (_GLIBCXX_USE_CXX11_ABI=1).
    """

    summary: str
    includes: tuple[Name, ...] = ()
    env: dict[str, str] = {}
    requires: tuple[str, ...] = ()
    fallback: str = ""
    cxx11_abi: bool = True


class Interface(Table, frozen=True, kw_only=True):
    """What packages that are built against this one see of its wheel; a change outside of it rebuilds none of them.

    Attributes:
        files: globs of files that count by content: headers, CMake files, Python that builds extensions.
        without: globs of files that do not count although `files` names them.
        libraries: globs of shared libraries, which count by name and by the symbols that they offer.
    """

    files: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


class Recipe(Table, frozen=True, kw_only=True):
    """One package.

    Attributes:
        schema: version of this file's shape.
        name: recipe name.
        distribution: name of its distribution, "flashinfer-python".
        module: what Python imports, "flashinfer".
        summary: one line.
        homepage: project page.
        license: SPDX expression.
        needs: recipes that are built and installed before it.
        built_against: those of `needs` whose binary interface enters the build; a change there rebuilds this.
        interface: what is seen of it by packages built against it; null = everything, so that any change counts.
        versions: known versions, newest first.
        build: how it is built.
        when: changes under conditions.
        variants: named sets of features; the first is the default.
        options: defaults of what a stack may set in [options.<name>], given to the hook.
        native_code: machine code its files must hold, for wheels that we build.
        prebuilt_native_code: the same for published wheels.
        extra_distributions: further distributions that the hook's wheels have ("flashinfer-jit-cache").
        import_env: variables of the import check, and nothing else ("libcuda-stub" adds the generated driver stub).
        run_env: variables that programs want in the target's environment; `env`, `shell` and `verify` set them.
        import_stub: import check needs the generated libcuda stub where no driver is.
    """

    schema: Literal[1]
    name: Name
    distribution: str
    module: str
    summary: str
    homepage: str
    license: str
    needs: tuple[Name, ...] = ()
    built_against: tuple[Name, ...] = ()
    interface: Interface | None = None
    versions: Annotated[tuple[Version, ...], msgspec.Meta(min_length=1)]
    build: Build
    when: tuple[Overlay, ...] = ()
    variants: dict[Name, Variant] = {}
    options: dict[str, Any] = {}
    native_code: tuple[NativeCode, ...] = ()
    prebuilt_native_code: tuple[NativeCode, ...] = ()
    extra_distributions: tuple[str, ...] = ()
    import_env: dict[str, str] = {}
    run_env: dict[str, str] = {}
    import_stub: bool = False
