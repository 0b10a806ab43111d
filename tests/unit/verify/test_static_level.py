"""Wheels and environments are real files here; only the libraries in them are written byte by byte."""

from pathlib import Path

import pytest
from elf_files import A, fatbin, make_elf

from bringup.errors import ConfigError
from bringup.formats.elf import read_elf
from bringup.formats.wheel import make_wheel, unpack_wheel
from bringup.model.verify import Status
from bringup.verify.installed import package_libraries, resolve, system_dirs
from bringup.verify.native_code import matches
from bringup.verify.static import NativeCode, OurWheel, check_static, check_wheel_static, native_archs

KERNEL = NativeCode(glob="kern/**/*.so", archs=("sm_90a",))
TAG = "cp39-abi3-linux_x86_64"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A kernel package that is in order: right code, libraries that exist, symbols that torch has."""
    root = tmp_path / "tree"
    make_elf(
        root / "kern/ops/a.so",
        needed=["libc10.so", "libcudart.so.13", "libown.so", "libc.so.6", "libcuda.so.1"],
        runpath="$ORIGIN/../own",
        undefined=["_ZN3c105ErrorE", "_ZNK2at6Tensor3dimEv", "memcpy@GLIBC_2.14"],
        weak=["_ZN3c104goneEv"],
        needs={"libc.so.6": ["GLIBC_2.2.5", "GLIBC_2.14"]},
        sections={".nv_fatbin": fatbin((2, 90, A), (1, 80, 0))},
    )
    make_elf(root / "kern/own/libown.so")
    (root / "kern/__init__.py").write_text("")
    return root


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "env/lib/python3.11/site-packages"
    make_elf(site / "torch/lib/libc10.so", defined=["_ZN3c105ErrorE", "_ZNK2at6Tensor3dimEv", "not_of_interest"])
    make_elf(site / "nvidia/cu13/lib/libcudart.so.13")
    return site


@pytest.fixture
def system(tmp_path: Path) -> Path:
    make_elf(tmp_path / "lib/libc.so.6")
    return tmp_path / "lib"


RULES = (NativeCode(glob="kern/ops/*.so", archs=("sm_90a",)),)


def verify(tree, site, system, *, install=True, rules=RULES, tag=TAG, **options):
    wheel = make_wheel(tree, tree.parent / "dist", name="kern", version="1.0+cu130", tag=tag)
    if install:
        unpack_wheel(wheel, site)
    ours = OurWheel(path=wheel, distribution="kern", native_code=tuple(rules))
    return {check.id: check for check in check_static(site, [ours], library_dirs=[system], **options)}


def test_a_good_wheel(tree, site, system):
    checks = verify(tree, site, system)
    assert {check.id: (check.status, check.why) for check in checks.values() if check.status is not Status.OK} == {}
    assert list(checks) == [
        "static.wheel.kern",
        "static.record.kern",
        "static.libraries.kern",
        "static.abi.kern",
        "static.native-code.kern",
    ]
    libraries = checks["static.libraries.kern"]
    assert libraries.evidence["needed"] == {
        "libc.so.6": "system",
        "libc10.so": "package",
        "libcuda.so.1": "driver",
        "libcudart.so.13": "package",
        "libown.so": "runpath",
    }
    assert libraries.evidence["glibc"] == "2.14"
    assert "libcuda.so.1 comes with the driver" in libraries.why
    assert checks["static.abi.kern"].evidence["wanted"] == 2
    assert checks["static.native-code.kern"].evidence["files"]["kern/ops/a.so"] == {
        "cubin": {"sm_90a": 1},
        "ptx": {"compute_80": 1},
    }


def test_wrong_architecture_names_file_and_content(tree, site, system):
    make_elf(tree / "kern/ops/old.so", sections={".nv_fatbin": fatbin((2, 80, 0), (1, 80, 0))})
    make_elf(tree / "kern/ops/ptx.so", sections={".nv_fatbin": fatbin((1, 90, A))})
    make_elf(tree / "kern/ops/none.so")
    check = verify(tree, site, system)["static.native-code.kern"]
    assert check.status is Status.FAIL
    assert "kern/ops/old.so holds machine code for sm_80; PTX for compute_80, not" in check.why
    assert "kern/ops/ptx.so holds only PTX for compute_90a, not" in check.why
    assert "kern/ops/none.so holds no GPU code, not" in check.why
    assert "sm_90a" in check.why
    assert "a.so holds" not in check.why


def test_plain_code_is_not_architecture_specific_code(tree, site, system):
    make_elf(tree / "kern/ops/a.so", sections={".nv_fatbin": fatbin((2, 90, 0))})
    exact = [NativeCode(glob="kern/ops/*.so", archs=native_archs("sm_90a"))]
    either = [NativeCode(glob="kern/ops/*.so", archs=native_archs("sm_90a", "any"))]
    assert verify(tree, site, system, rules=exact)["static.native-code.kern"].status is Status.FAIL
    assert verify(tree, site, system, rules=either)["static.native-code.kern"].status is Status.OK


def test_globs_and_exemptions(tree, site, system):
    make_elf(tree / "kern/other/b.so", sections={".nv_fatbin": fatbin((2, 100, A))})
    rules = [
        NativeCode(glob="kern/[!o]**/*.so", archs=("sm_90a",)),
        NativeCode(glob="kern/o*/*.so", archs=("sm_90a",)),
        NativeCode(glob="kern/other/*", exempt=True, why="loaded on other GPUs only"),
        NativeCode(glob="kern/own/*", exempt=True, why="no kernels"),
    ]
    check = verify(tree, site, system, rules=rules)["static.native-code.kern"]
    assert check.why == "no file matches kern/[!o]**/*.so, for which sm_90a was promised"
    check = verify(tree, site, system, rules=rules[1:])["static.native-code.kern"]
    assert check.status is Status.OK
    assert "2 exempt: loaded on other GPUs only; no kernels" in check.why
    assert check.evidence["exempt"] == {
        "kern/other/b.so": "loaded on other GPUs only",
        "kern/own/libown.so": "no kernels",
    }


def test_replaced_and_missing_files(tree, site, system):
    verify(tree, site, system)
    (site / "kern/ops/a.so").write_bytes((site / "kern/ops/a.so").read_bytes() + b"\0")
    check = verify(tree, site, system, install=False)["static.record.kern"]
    assert check.status is Status.FAIL
    assert check.why.startswith("not what we built: kern/ops/a.so: has")
    (site / "kern/ops/a.so").unlink()
    checks = verify(tree, site, system, install=False)
    assert "kern/ops/a.so: is missing" in checks["static.record.kern"].why
    assert "no file matches" in checks["static.native-code.kern"].why


def test_library_that_is_nowhere(tree, site, system):
    make_elf(tree / "kern/ops/b.so", needed=["libcublas.so.12", "libc.so.6"])
    check = verify(tree, site, system)["static.libraries.kern"]
    assert check.status is Status.FAIL
    assert check.why == "kern/ops/b.so needs libcublas.so.12, which is nowhere"


def test_library_that_is_damaged(tree, site, system):
    (tree / "kern/ops/b.so").write_bytes((tree / "kern/ops/a.so").read_bytes()[:300])
    checks = verify(tree, site, system)
    assert "kern/ops/b.so: damaged" in checks["static.libraries.kern"].why
    assert "kern/ops/b.so: damaged" in checks["static.native-code.kern"].why


def test_newer_glibc_than_allowed(tree, site, system):
    assert verify(tree, site, system, glibc_max="2.14")["static.libraries.kern"].status is Status.OK
    check = verify(tree, site, system, glibc_max="2.9")["static.libraries.kern"]
    assert check.status is Status.FAIL
    assert check.why == "kern/ops/a.so needs glibc 2.14, and 2.9 is the newest allowed"


def test_symbols_of_another_torch(tree, site, system):
    make_elf(site / "torch/lib/libc10.so", defined=["_ZN3c105ErrorE"])
    check = verify(tree, site, system)["static.abi.kern"]
    assert check.status is Status.FAIL
    assert "1 of 2 symbols" in check.why
    assert "kern/ops/a.so wants _ZNK2at6Tensor3dimEv" in check.why
    (site / "torch/lib/libc10.so").unlink()
    checks = verify(tree, site, system)
    assert "there is no torch/lib" in checks["static.abi.kern"].why
    assert "needs libc10.so, which is nowhere" in checks["static.libraries.kern"].why


def test_package_that_does_not_use_torch(tree, site, system):
    make_elf(tree / "kern/ops/a.so", sections={".nv_fatbin": fatbin((2, 90, A))})
    check = verify(tree, site, system)["static.abi.kern"]
    assert (check.status, check.why) == (Status.OK, "uses no symbol of PyTorch")


def test_libraries_under_a_tag_for_any_platform(tree, site, system):
    check = verify(tree, site, system, tag="py3-none-any")["static.wheel.kern"]
    assert check.status is Status.FAIL
    assert "kern/ops/a.so: is a library in a wheel whose tag says any platform" in check.why


def test_a_file_that_is_no_wheel(site, system, tmp_path):
    wheel = tmp_path / f"kern-1.0-{TAG}.whl"
    wheel.write_bytes(b"PK")
    checks = check_static(
        site, [OurWheel(path=wheel, distribution="kern", native_code=(KERNEL,))], library_dirs=[system]
    )
    failed = {check.id: check.why for check in checks if check.status is Status.FAIL}
    assert set(failed) == {"static.wheel.kern", "static.record.kern", "static.native-code.kern"}
    assert "not a zip" in failed["static.wheel.kern"]
    assert {check.status for check in check_wheel_static(wheel, [KERNEL])} == {Status.FAIL}


def test_one_wheel_by_itself(tree, tmp_path):
    wheel = make_wheel(tree, tmp_path / "dist", name="kern", version="1.0", tag=TAG)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    good = check_wheel_static(wheel, [NativeCode(glob="kern/ops/*.so", archs=("sm_90a",))], scratch=scratch)
    assert [check.status for check in good] == [Status.OK, Status.OK]
    bad = check_wheel_static(wheel, [NativeCode(glob="kern/ops/*.so", archs=("sm_100a",))], scratch=scratch)
    assert "kern/ops/a.so holds machine code for sm_90a; PTX for compute_80" in bad[1].why
    nothing = check_wheel_static(wheel, scratch=scratch)[1]
    assert nothing.status is Status.SKIPPED
    assert "kern/ops/a.so holds machine code for sm_90a" in nothing.why
    assert not any(scratch.iterdir())


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a/*.so", "a/b.so", True),
        ("a/*.so", "a/b/c.so", False),
        ("a/**/*.so", "a/c.so", True),
        ("a/**/*.so", "a/b/d/c.so", True),
        ("a/**", "a/b/c", True),
        ("a/x?.[so]", "a/x1.s", True),
        ("a/[!x].so", "a/x.so", False),
        ("a.so", "abso", False),
        ("common_ops*.so", "common_ops.abi3.so", True),
    ],
)
def test_globs(pattern, path, expected):
    assert matches(pattern, path) is expected


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("sm_90a", ("sm_90a", "sm_90")),
        ("sm_89", ("sm_89", "sm_88", "sm_87", "sm_86", "sm_85", "sm_84", "sm_83", "sm_82", "sm_81", "sm_80")),
        ("sm_100a", ("sm_100a", "sm_100f", "sm_100")),
        ("sm_121a", ("sm_121a", "sm_121f", "sm_120f", "sm_121", "sm_120")),
    ],
)
def test_what_runs_on_a_target(arch, expected):
    assert native_archs(arch) == (arch,)
    assert native_archs(arch, "any") == expected


def test_linker_configuration(tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/a.conf").write_text("/opt/a/lib  # ours\n")
    (tmp_path / "ld.so.conf").write_text("include conf.d/*.conf\ninclude ld.so.conf\n/opt/b/lib\n")
    assert [str(folder) for folder in system_dirs(tmp_path / "ld.so.conf")][:3] == [
        "/opt/a/lib",
        "/opt/b/lib",
        "/lib64",
    ]
    assert system_dirs(tmp_path / "none")


def test_rpath_counts_only_without_runpath(tmp_path):
    make_elf(tmp_path / "r/lib1.so")
    both = make_elf(tmp_path / "a.so", rpath="$ORIGIN/r", runpath="$ORIGIN/none")
    old = make_elf(tmp_path / "b.so", rpath="/none:${ORIGIN}/r")

    assert resolve("lib1.so", read_elf(both), packages={}, system=[]).how == ""
    assert resolve("lib1.so", read_elf(old), packages={}, system=[]).path == tmp_path / "r/lib1.so"


def test_of_two_libraries_with_one_name_the_nearer_one(tmp_path):
    make_elf(tmp_path / "a/b/c/libx.so.1")
    make_elf(tmp_path / "z/libx.so.1")
    assert package_libraries(tmp_path) == {"libx.so.1": tmp_path / "z/libx.so.1"}


def test_a_glob_that_is_none_is_named():
    with pytest.raises(ConfigError, match=r"\[z-a\]"):
        matches("a/[z-a].so", "a/b.so")


OLD = "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs"
NEW = "_ZN3c106detail14torchCheckFailEPKcS2_jRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"


@pytest.mark.parametrize(
    ("wants", "has", "words"),
    [
        (OLD, NEW, "linked against a PyTorch with the old C++ ABI (_GLIBCXX_USE_CXX11_ABI=0)"),
        (NEW, OLD, "linked against a PyTorch with the new C++ ABI (_GLIBCXX_USE_CXX11_ABI=1)"),
        ("_ZN3c107anotherEv", NEW, "it was built for another PyTorch"),
    ],
)
def test_the_other_cxx_abi_is_named(wants, has, words, tree, site, system):
    make_elf(site / "torch/lib/libc10.so", defined=["_ZN3c105ErrorE", "_ZNK2at6Tensor3dimEv", has])
    make_elf(tree / "kern/ops/b.so", undefined=[wants])
    check = verify(tree, site, system)["static.abi.kern"]
    assert check.status is Status.FAIL
    assert words in check.why
