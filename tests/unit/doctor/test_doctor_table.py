"""The table, its data, and the corners of what is gathered."""

import os
import re
import time
from dataclasses import replace

import msgspec
import pytest
from healthy_root import CATALOGUE, SITE, copy_machine
from helpers.own_data import own_knowledge
from hypothesis import given
from hypothesis import strategies as st

from bringup.config.settings import load_settings
from bringup.doctor import apply, examine, plan_fixes, render, run_doctor
from bringup.doctor.checks_variables import architectures
from bringup.doctor.gather_host import gather_host
from bringup.doctor.gather_site import locate
from bringup.doctor.registry import FUNCTIONS
from bringup.doctor.rules import check_texts, rules
from bringup.errors import StorageError, UsageError
from bringup.toolchain.python import apt_command


@pytest.fixture
def machine(template):
    return copy_machine(template)


def test_every_check_has_a_text_and_a_function():
    assert set(check_texts()) == set(FUNCTIONS)


def test_every_text_says_what_to_do():
    assert [text.id for text in check_texts().values() if not text.fix or not text.why or not text.what] == []


def test_every_known_issue_exists():
    known = set(own_knowledge().issues)
    named = {text.issue for text in check_texts().values()} | {one.issue for one in rules().combinations}
    named |= {one.issue for one in rules().runtime_files}
    assert named - {""} - known == set()


def test_every_combination_has_its_source():
    assert [one.id for one in rules().combinations if not one.source.startswith("https://")] == []
    assert len({one.id for one in rules().combinations}) == len(rules().combinations)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("9.0a", [90]),
        ("8.0 8.6 9.0+PTX", [80, 86, 90]),
        ("90a;80-real;100f", [90, 80, 100]),
        ("Hopper", [90]),
        ("12.0a,12.1a", [120, 121]),
        ("native", []),
        ("", []),
    ],
)
def test_arch_lists_are_read(text, numbers):
    assert architectures(text) == numbers


@given(st.text(max_size=60))
def test_any_arch_list_can_be_read(text):
    assert all(isinstance(number, int) for number in architectures(text))


# --- what may be in a user's way -----------------------------------------------------------------------------------


def test_an_environment_is_found_by_folder_by_python_and_by_site_packages(machine):
    wanted = (machine.path("env"), machine.path(SITE))
    assert locate(machine.path("env")) == wanted
    assert locate(machine.path("env/bin/python")) == wanted
    assert locate(machine.path(SITE)) == wanted
    with pytest.raises(UsageError, match="no Python environment"):
        locate(machine.path("home"))


def test_damaged_files_do_not_stop_it(machine):
    machine.site = True
    machine.path(
        SITE,
    ).joinpath("torch-2.11.0.dist-info/RECORD").unlink()
    machine.path(f"{SITE}/torch-2.11.0.dist-info/RECORD").write_bytes(b"\xff\xfe,,\n\x00")
    machine.write("home/.cache/tvm-ffi/x/x.so", "\x7fELF and nothing more")
    machine.write("proc/self/mounts", "nonsense\n\n")
    machine.write(f"{SITE}/sglang/srt/entrypoints/engine.py", "assert_pkg_version(")
    machine.write("env/pyvenv.cfg", "=\nhome\n")
    report = machine.report()
    assert {check.id: check.status for check in report.checks}["environment.floors"] == "SKIP"


def test_a_machine_without_anything_is_examined(machine):
    for name in ("usr", "home", "env", "proc", "etc"):
        machine.remove(name)
    machine.env = {}
    found = machine.troubles()
    assert {"compiler.c", "compiler.usable"} <= set(found)
    assert "toolkit.usable" not in found  # the kernels stack assembles its own


def test_a_stack_without_an_own_toolkit_fails(machine):
    machine.stack, machine.gpu = "sglang-0.5.2", "h200"
    machine.remove("usr/local")
    machine.env["CUDA_HOME"] = None
    assert machine.question().providers == ("system",)
    found = machine.troubles()["toolkit.usable"]
    assert found.status == "FAIL"
    assert "no usable CUDA 12.6 toolkit is installed" in found.seen
    assert "install CUDA 12.6 and set CUDA_HOME to its folder" in found.fix


def finding(machine, identity):
    return {check.id: check for check in machine.report().checks}[identity]


def test_the_toolkit_that_a_build_takes_is_named(machine):
    found = finding(machine, "toolkit.usable")
    assert found.status == "PASS"
    assert found.seen == f"nvcc 13.0.88 at {machine.path('usr/local/cuda')}"
    machine.remove("usr/local/cuda-13.0")
    machine.env["CUDA_HOME"] = None
    found = finding(machine, "toolkit.usable")
    assert found.status == "PASS"
    assert found.seen == "none installed that fits; a build assembles CUDA 13.0 from PyPI's wheels"


def test_the_python_of_target_environments_is_named(machine):
    assert finding(machine, "python.target").seen == f"Python 3.11.9 at {machine.path('usr/bin/python3.11')}"
    machine.remove("usr/include/python3.11/Python.h")
    found = finding(machine, "python.target")
    assert found.status == "WARN"
    assert found.seen == "no Python 3.11 with headers is here; a build has to fetch one"


APT = "apt-get install python{0} python{0}-dev python{0}-venv"


@pytest.mark.parametrize(
    ("name", "version", "first"),
    [
        ("debian", "12", APT.format("3.11")),
        ("debian", "13", "uv python install 3.11"),
        ("ubuntu", "24.04", "uv python install 3.11"),
        ("fedora", "42", "uv python install 3.11"),
        ("", "", "uv python install 3.11"),
    ],
)
def test_apt_is_named_only_where_it_has_the_python(machine, name, version, first):
    machine.write("etc/os-release", f'ID={name}\nVERSION_ID="{version}"\n')
    machine.remove("usr/bin/python3.11")
    machine.host = replace(machine.host, distribution=gather_host(machine.places()).distribution)
    fixes = machine.troubles()["python.target"].fix
    assert fixes[0] == first
    assert any("uv python install 3.11" in fix for fix in fixes)
    assert any("--debian-mirror" in fix for fix in fixes)
    assert all(not fix.startswith("apt-get") for fix in fixes[1:])


def test_headers_of_an_environments_python_come_from_where_it_came_from(machine):
    machine.site = True
    machine.remove("usr/include/python3.11/Python.h")
    for release, by_apt in (("debian-12", True), ("debian-13", False)):
        machine.host = replace(machine.host, distribution=release)
        assert any(fix.startswith("apt-get") for fix in machine.troubles()["environment.python"].fix) == by_apt
    machine.write("env/pyvenv.cfg", f"home = {machine.root}/usr/bin\nversion_info = 3.13.5\n")
    (machine.path("env/lib/python3.11")).rename(machine.path("env/lib/python3.13"))
    assert machine.troubles()["environment.python"].fix[0] == APT.format("3.13")


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_apt_names_what_the_data_says(version):
    release = CATALOGUE.pythons["3.11"]
    for where, versions in release.packaged.items():
        assert apt_command(release, version, where) == (APT.format(version) if version in versions else "")


def test_a_variant_of_the_wrong_abi_is_named_with_the_right_one(machine):
    machine.stack, machine.variants = "registry", {"pytorch": "serving"}
    found = machine.troubles()["stack.abi"]
    assert found.status == "FAIL"
    assert found.fix[0] == "invoke build --gpu h200 --stack registry --variant pytorch=serving+old-abi"
    assert found.issue == "sgl-kernel-common-ops-undefined-symbol"
    machine.variants = {"pytorch": "serving+old-abi"}
    found = finding(machine, "stack.abi")
    assert found.status == "PASS"
    machine.stack, machine.variants = "kernels", {}
    assert finding(machine, "stack.abi").status == "PASS"


def test_a_computer_without_a_gpu_is_asked_nothing_about_one(machine):
    machine.gpu, machine.stack = "cpu", "registry-cpu"
    report = machine.report()
    assert report.target == "cpu-cp311"
    about = [one for one in report.checks if one.id.startswith(("driver.", "toolkit.")) or one.id == "gpu.present"]
    assert len(about) > 10
    assert {one.status for one in about} == {"SKIP"}


def test_fixes_are_for_the_stack_that_was_asked_about(machine):
    machine.disk_bytes = 2 << 30
    machine.stack = "sglang-0.5.12"
    assert machine.troubles()["host.disk"].fix[0].startswith("invoke build --gpu h200 --build-dir")
    machine.stack = "kernels"
    found = machine.troubles()["host.disk"]
    assert found.fix[0].startswith("invoke build --gpu h200 --stack kernels --build-dir")
    assert re.search(r"has 2\.0 GiB free, \d+ are needed", found.seen)


def test_what_was_passed_over_for_one_reason_takes_one_line(machine):
    machine.site = False
    rows = [line.split() for line in render(machine.report()).splitlines()]
    asked = [row for row in rows if row[:2] == ["SKIP", "environment.*"]]
    assert len(asked) == 1
    assert not [row for row in rows if len(row) > 1 and row[1].startswith("environment.") and row not in asked]


def test_the_text_cannot_steer_a_terminal(machine):
    machine.env["TORCH_CUDA_ARCH_LIST"] = "\x1b]0;owned\x07 5.2"
    text = render(machine.report())
    assert "\x1b" not in text
    assert "variables.arch" in text


# --- fixes --------------------------------------------------------------------------------------------------------


def mend(machine):
    facts = machine.facts()
    return apply(plan_fixes(facts, machine.report()), stamp="T")


def test_a_healthy_machine_needs_no_fix(machine):
    assert mend(machine) == ()
    asked = run_doctor(machine.question(), machine.places(), fix=True)
    assert asked.text.endswith("\nnothing here can be mended without root")


def test_stale_caches_are_put_aside_and_can_be_put_back(machine):
    machine.write("home/.cache/flashinfer/0.2.5/90/cached_ops/norm/norm.so", "old")
    machine.elf("home/.cache/tvm-ffi/rope_77/rope.so", needed=["libcudart.so.12"])
    machine.write("home/.triton/cache/BBBB/__triton_launcher.cpython-312-x86_64-linux-gnu.so")
    lock = machine.write("home/.cache/flashinfer/0.6.8.post1/90a/cached_ops/tmp/x.lock")
    os.utime(lock, (time.time() - 86400,) * 2)
    done = mend(machine)
    assert len(done) == 4
    assert machine.troubles() == {}
    assert machine.path("home/.cache/flashinfer/0.6.8.post1/90a/cached_ops/norm/norm.so").exists()
    for one in done:
        assert os.system(one.undo) == 0
    assert machine.path("home/.cache/flashinfer/0.2.5/90/cached_ops/norm/norm.so").read_text() == "old"
    assert set(machine.troubles()) == {"cache.flashinfer", "cache.tvm-ffi", "cache.triton", "cache.locks"}


def test_missing_links_of_an_own_toolkit_are_made(machine):
    machine.remove("usr/local/cuda-13.0/lib64/libcudart.so")
    assert "toolkit.parts" in machine.troubles()
    done = mend(machine)
    assert [one.did.split()[0] for one in done] == ["ln"]
    assert machine.troubles() == {}
    assert os.system(done[0].undo) == 0
    assert "toolkit.parts" in machine.troubles()


def test_a_settings_file_is_never_overwritten(machine):
    machine.disk_bytes = 1 << 30
    path = machine.write("home/.config/bringup/config.toml", 'cache = "/x"\n')
    assert mend(machine) == ()
    assert path.read_text() == 'cache = "/x"\n'


def test_settings_move_what_has_no_room(machine):
    machine.disk_bytes = 0
    facts = machine.facts()
    small = msgspec.structs.replace(facts.question.stack, disk_mib=1, download_mib=1)
    question = replace(facts.question, stack=small)
    # The home is on another file system than build folder and cache.
    facts = replace(facts, question=question, disks=tuple(replace(one, device=-1) for one in facts.disks))
    done = apply(plan_fixes(facts, examine(facts)), stamp="T")
    path = machine.path("home/.config/bringup/config.toml")
    assert load_settings({"HOME": machine.env["HOME"]}).build_dir == f"{machine.env['HOME']}/bringup/build"
    assert done[0].undo == f"rm {path}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_cannot_be_renamed_is_told(machine):
    machine.write("home/.cache/flashinfer/0.2.5/x/y", "")
    machine.path("home/.cache/flashinfer").chmod(0o555)
    try:
        with pytest.raises(StorageError):
            mend(machine)
    finally:
        machine.path("home/.cache/flashinfer").chmod(0o755)
