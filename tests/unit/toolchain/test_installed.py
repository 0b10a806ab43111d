"""Installed toolkits, compilers and interpreters: played by scripts that answer as the real ones do."""

import json
import os
import sys
from pathlib import Path

import msgspec
import pytest

from bringup.errors import PrepareError, TargetError
from bringup.model.toolchain import CudaRelease, GccRelease, HostCompiler, PythonRelease
from bringup.system import process
from bringup.system.downloads import DownloadCache
from bringup.system.host import glibc_version, require_glibc
from bringup.system.modules import module_environment
from bringup.toolchain.cuda_system import COMPILERS, find_system
from bringup.toolchain.elf_rpath import set_rpath
from bringup.toolchain.facts import FactCache
from bringup.toolchain.host_compiler import Gcc, find_gcc
from bringup.toolchain.interpreter import PythonPlaces, python_identity
from bringup.toolchain.links import link_tools
from bringup.toolchain.python import provide_python, require_python
from bringup.toolchain.toolkit import Toolkit, gcc_identity

ROOT = Path(__file__).resolve().parents[3]


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def facts(tmp_path):
    return FactCache(tmp_path / "facts.json")


# --- CUDA ---------------------------------------------------------------------------------------------------------


def cuda(root: Path, version: str = "13.0.88", header: int = 13000, *, without: str = "") -> Path:
    for name in COMPILERS:
        script(root / name, f"echo 'Cuda compilation tools, release x, V{version}'")
    (root / "include").mkdir()
    (root / "include/cuda.h").write_text(f"#define CUDA_VERSION {header}\n")
    (root / "lib64").mkdir()
    (root / "lib64/libcudart.so").write_text("")
    if without:
        (root / without).unlink()
    return root


@pytest.fixture
def release(tmp_path):
    data = msgspec.toml.decode((ROOT / "toolchains/cuda/13.0.toml").read_bytes())
    data["providers"]["system"]["paths"] = [str(tmp_path / "usual")]
    return msgspec.convert(data, CudaRelease)


def test_cuda_home_comes_before_the_usual_place(tmp_path, release, facts):
    cuda(tmp_path / "usual")
    cuda(tmp_path / "mine")
    found = find_system(release, facts=facts, user_env={"CUDA_HOME": str(tmp_path / "mine")})
    assert (found.root, found.version, found.provider) == (tmp_path / "mine", "13.0.88", "system")
    assert found.identity == find_system(release, facts=facts, user_env={}).identity
    assert find_system(release, facts=facts, user_env={}).root == tmp_path / "usual"


def test_another_ptxas_is_another_toolkit(tmp_path, release, facts):
    root = cuda(tmp_path / "usual")
    before = find_system(release, facts=facts, user_env={}).identity
    script(root / "bin/ptxas", "echo patched")
    assert find_system(release, facts=facts, user_env={}).identity != before


@pytest.mark.parametrize(
    ("make", "why"),
    [
        ({"version": "12.9.86"}, r"nvcc is 12\.9\.86, not 13\.0"),
        ({"header": 12080}, r"include/cuda\.h is of CUDA 12\.8: a mixed installation"),
        ({"without": "nvvm/bin/cicc"}, "has no nvvm/bin/cicc"),
        ({"without": "lib64/libcudart.so"}, "only the compiler"),
    ],
)
def test_toolkit_that_does_not_fit_is_named_with_the_reason(tmp_path, release, facts, make, why):
    cuda(tmp_path / "usual", **make)
    with pytest.raises(TargetError, match=why) as caught:
        find_system(release, facts=facts, user_env={})
    assert str(tmp_path / "usual") in caught.value.message
    assert "--toolkit wheels" in caught.value.hint


def test_missing_group_is_named(tmp_path, release, facts):
    cuda(tmp_path / "usual")
    with pytest.raises(TargetError, match=r"lacks curand \(include/curand_kernel\.h\)"):
        find_system(release, groups=["curand"], facts=facts, user_env={})


def test_toolkit_of_an_environment_module(tmp_path, release, facts):
    cuda(tmp_path / "apps/cuda")
    (tmp_path / "modules/cuda").mkdir(parents=True)
    (tmp_path / "modules/cuda/13.0").write_text("#%Module\n")
    command = script(
        tmp_path / "modulecmd", f"echo \"os.environ['CUDA_HOME'] = '{tmp_path}/apps/cuda'\"; test $3 = cuda/13.0"
    )
    env = {"MODULEPATH": str(tmp_path / "modules"), "MODULES_CMD": str(command)}
    assert module_environment("cuda/13.0", env) == {"CUDA_HOME": f"{tmp_path}/apps/cuda"}
    assert module_environment("cuda/12.4", env) == {}
    assert find_system(release, facts=facts, user_env=env).root == tmp_path / "apps/cuda"


# --- host compilers -----------------------------------------------------------------------------------------------


def gcc(folder: Path, name: str, version: str) -> None:
    parts = folder.parent / f"libexec-{version}"
    for part in ("cc1", "cc1plus", "collect2"):
        script(parts / part, f": {version}")
    body = f"""case $1 in
-dumpfullversion) echo {version};;
-print-prog-name=as|-print-prog-name=ld) echo true;;
-print-prog-name=*) echo {parts}/${{1#-print-prog-name=}};;
*) echo '#define __GNUC__ {version.partition(".")[0]} ';;
esac"""
    script(folder / name, body)
    script(folder / name.replace("gcc", "g++"), body)


HOST = HostCompiler(gcc_min=11, gcc_max=13, prefer=(12, 13, 11), source="host_config.h")


def test_preferred_compiler_in_range(tmp_path, facts):
    for name, version in (("gcc-11", "11.4.0"), ("gcc-12", "12.2.0"), ("gcc", "13.3.0")):
        gcc(tmp_path / "bin", name, version)
    found = find_gcc(HOST, search=[tmp_path / "bin"], facts=facts)
    assert (found.major, found.version, found.gcc.name, found.gxx.name) == (12, "12.2.0", "gcc-12", "g++-12")


def test_plain_gcc_counts_by_its_version(tmp_path, facts):
    gcc(tmp_path / "bin", "gcc", "13.3.0")
    assert find_gcc(HOST, search=[tmp_path / "bin"], facts=facts).gcc.name == "gcc"


def test_only_a_later_compiler_names_it_and_the_package(tmp_path, facts):
    gcc(tmp_path / "bin", "gcc-14", "14.2.0")
    with pytest.raises(TargetError, match=r"CUDA 12\.4 needs .*gcc 11 to 13; here is gcc 14\.2\.0") as caught:
        find_gcc(HOST, search=[tmp_path / "bin"], facts=facts, cuda="12.4")
    assert "apt-get install g++-12" in caught.value.hint
    assert "--host-compiler debs" in caught.value.hint
    assert caught.value.exit_code == 3


def test_c_compiler_without_cxx_does_not_count(tmp_path, facts):
    gcc(tmp_path / "bin", "gcc-12", "12.2.0")
    (tmp_path / "bin/g++-12").unlink()
    with pytest.raises(TargetError, match=r"no gcc with g\+\+"):
        find_gcc(HOST, search=[tmp_path / "bin", tmp_path / "nowhere"], facts=facts)


def test_known_compiler_is_not_run_again(tmp_path, facts, monkeypatch):
    gcc(tmp_path / "bin", "gcc-12", "12.2.0")
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        os.utime(path, (1, 1))  # what was written a moment ago is asked again
    before = find_gcc(HOST, search=[tmp_path / "bin"], facts=facts)
    monkeypatch.setattr(process, "run", lambda *_words, **_more: pytest.fail("it was run again"))
    assert find_gcc(HOST, search=[tmp_path / "bin"], facts=FactCache(facts.path)) == before


def test_identity_is_that_of_the_programs_and_not_of_the_place(tmp_path, facts):
    gcc(tmp_path / "bin", "gcc-12", "12.2.0")
    one = find_gcc(HOST, search=[tmp_path / "bin"], facts=facts).identity
    script(tmp_path / "libexec-12.2.0/cc1plus", ": patched")
    assert find_gcc(HOST, search=[tmp_path / "bin"], facts=facts).identity != one


def test_tools_are_linked_and_left_alone_when_right(tmp_path):
    nvcc = script(tmp_path / "cuda/bin/nvcc", 'echo "nvcc $*"; echo "$0"')
    compiler = Gcc(major=12, version="12.2.0", gcc=Path("/usr/bin/gcc-12"), gxx=Path("/usr/bin/g++-12"), identity="x")
    kit = Toolkit(provider="system", version="13.0.88", root=tmp_path / "cuda", nvcc=nvcc, identity="y")
    bin_dir = tmp_path / "env/bin"
    link_tools(bin_dir, compiler, kit, {"ninja": Path("/usr/bin/ninja")})
    links = {name: str((bin_dir / name).readlink()) for name in ("gcc", "cc", "g++", "c++", "g++-12", "ninja")}
    assert links == {
        "gcc": "/usr/bin/gcc-12",
        "cc": "/usr/bin/gcc-12",
        "g++": "/usr/bin/g++-12",
        "c++": "/usr/bin/g++-12",
        "g++-12": "/usr/bin/g++-12",
        "ninja": "/usr/bin/ninja",
    }
    # nvcc looks for its parts beside the name it was called by: a link would not do.
    assert not (bin_dir / "nvcc").is_symlink()
    assert str(nvcc) in (bin_dir / "nvcc").read_text()
    before = {path.name: path.lstat().st_ino for path in bin_dir.iterdir()}
    link_tools(bin_dir, compiler, kit, {"ninja": Path("/usr/bin/ninja")})
    assert {path.name: path.lstat().st_ino for path in bin_dir.iterdir()} == before
    link_tools(bin_dir, compiler, kit, {"ninja": Path("/opt/ninja")})
    assert (bin_dir / "ninja").readlink() == Path("/opt/ninja")


def test_gcc_data():
    release = msgspec.toml.decode((ROOT / "toolchains/gcc/12.toml").read_bytes(), type=GccRelease)
    assert release.version == 12
    assert len(gcc_identity(release)) == 64
    assert all(pin.path.endswith("_amd64.deb") for pin in release.debs.packages)


# --- Python -------------------------------------------------------------------------------------------------------


@pytest.fixture
def python_release():
    return msgspec.toml.decode((ROOT / "toolchains/python/3.11.toml").read_bytes(), type=PythonRelease)


def places(tmp_path, facts, path: str) -> PythonPlaces:
    return PythonPlaces(
        dest_root=tmp_path / "toolchains",
        cache=DownloadCache(tmp_path / "cache"),
        facts=facts,
        user_env={"PATH": path},
        offline=True,
    )


def answering(path: Path, include: Path, **changes: str) -> Path:
    answer = {
        "version": "3.11.9",
        "implementation": "cpython",
        "executable": str(path),
        "include": str(include),
        "library": "",
        "missing": "",
    }
    return script(path, f"cat <<'END'\n{json.dumps(answer | changes)}\nEND")


def test_shim_of_another_version_is_passed_over(tmp_path, facts, python_release):
    (tmp_path / "include").mkdir()
    (tmp_path / "include/Python.h").write_text("")
    script(tmp_path / "shims/python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    answering(tmp_path / "newer/python3", tmp_path / "include", version="3.13.0")
    wanted = answering(tmp_path / "bin/python3.11", tmp_path / "include")
    path = f"{tmp_path}/shims:{tmp_path}/newer:{tmp_path}/bin"
    found = provide_python(python_release, places(tmp_path, facts, path), providers=["system"])
    assert (found.provider, found.version, found.executable) == ("system", "3.11.9", wanted)
    assert found.include == tmp_path / "include"
    assert provide_python(python_release, places(tmp_path, facts, path), providers=["system"]) == found


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": "3.13.0"}, r"is cpython 3\.13\.0"),
        ({"version": "3.110.0"}, r"is cpython 3\.110\.0"),
        ({"implementation": "pypy"}, r"is pypy 3\.11\.9"),
        ({"missing": "_ctypes"}, "was built without _ctypes"),
        ({}, r"has no Python\.h \(Debian: python3\.11-dev\)"),
    ],
)
def test_none_reachable_names_three_ways_and_why_not(tmp_path, facts, python_release, changes, why):
    (tmp_path / "include").mkdir()
    answering(tmp_path / "bin/python3", tmp_path / "include", **changes)
    with pytest.raises(TargetError, match=why) as caught:
        provide_python(python_release, places(tmp_path, facts, f"{tmp_path}/bin"), providers=["system", "debs"])
    assert "debs: " in caught.value.message
    for way in ("apt-get install python3.11", "uv python install 3.11", "--debian-mirror"):
        assert way in caught.value.hint
    assert caught.value.exit_code == 3


def test_headers_only_where_wanted(tmp_path, facts, python_release):
    answering(tmp_path / "bin/python3", tmp_path / "include")
    some = places(tmp_path, facts, f"{tmp_path}/bin")
    assert provide_python(python_release, some, providers=["system"], headers=False).include is None
    assert python_identity(python_release) != python_identity(python_release, headers=False)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="runs on the Python it looks for")
def test_real_interpreter_is_seen_behind_a_virtual_environment(tmp_path, facts, python_release):
    some = places(tmp_path, facts, str(Path(sys.executable).parent))
    found = provide_python(python_release, some, providers=["system"], headers=False)
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert not (found.executable.parent.parent / "pyvenv.cfg").exists()


@pytest.mark.parametrize("asked", ["3.12", "3.1", "3.110", "2.7"])
def test_another_version_is_refused_with_the_reason(python_release, asked):
    with pytest.raises(TargetError, match=r"wheels for CPython 3\.11"):
        require_python(python_release, asked)


def test_the_version_itself_is_taken(python_release):
    for asked in ("", "3.11", "3.11.7"):
        require_python(python_release, asked)


# --- programs that are unpacked -----------------------------------------------------------------------------------


def test_old_c_library_is_refused():
    require_glibc("2.1", "this")
    with pytest.raises(TargetError, match=rf"Debian's gcc needs glibc 9\.99 .* glibc 2\.{glibc_version()[1]}"):
        require_glibc("9.99", "Debian's gcc")


@pytest.mark.parametrize("keep", [0, 3, 20, 63, 64, 200, 1000])
def test_damaged_programs_are_refused_and_left_alone(tmp_path, keep):
    data = Path("/bin/sh").read_bytes()[:keep]
    (tmp_path / "sh").write_bytes(data)
    with pytest.raises(PrepareError, match="sh: a library path cannot be added"):
        set_rpath(tmp_path / "sh", "$ORIGIN/../lib")
    assert (tmp_path / "sh").read_bytes() == data


def test_program_without_room_is_refused(tmp_path):
    (tmp_path / "sh").write_bytes(Path("/bin/sh").read_bytes())
    with pytest.raises(PrepareError, match="free bytes"):
        set_rpath(tmp_path / "sh", "x" * 5000)
