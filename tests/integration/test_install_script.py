"""install.sh of a bundle, run by a real sh on real parts; the Python inside is a stand-in that is told what to do."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from helpers.node_bundle import FROZEN, Bundle, program

MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Wed Jun  7 22:44:36 UTC 2026\nGCC version:  gcc 12\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder@x)  Sun Jun 1\n"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


def test_installs_and_says_what_comes_next(bundle: Bundle) -> None:
    assert len(bundle.parts) > 3
    text = bundle.install(0)
    assert f"{bundle.dest}/bin/bringup verify" in text
    assert (bundle.dest / "bin/bringup").read_text() == "installed\n"
    assert (bundle.dest / "payload").stat().st_size == 20_000
    assert not (bundle.dest / ".incomplete").exists()


def test_one_part_and_many_give_the_same(tmp_path: Path) -> None:
    for size in (100_000_000, 513):
        bundle = Bundle(tmp_path / str(size), size=size)
        assert len(bundle.parts) == (1 if size > 513 else pytest.approx(60, abs=30))
        assert f"{len(bundle.parts)} parts are whole" in bundle.install(0)
        assert (bundle.dest / "payload").read_bytes() == (tmp_path / str(size) / "tree/payload").read_bytes()


def test_parts_may_arrive_in_any_order_and_with_others_beside_them(bundle: Bundle, tmp_path: Path) -> None:
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    for path in sorted(bundle.folder.iterdir(), reverse=True):
        shutil.copyfile(path, arrived / path.name)
    (arrived / "part-9999").write_bytes(b"of a bundle that came before")
    bundle.script = arrived / "install.sh"
    bundle.install(0)
    assert (bundle.dest / "payload").read_bytes() == (tmp_path / "tree/payload").read_bytes()


def test_missing_and_damaged_parts_are_named(bundle: Bundle) -> None:
    (bundle.folder / bundle.parts[1]).unlink()
    (bundle.folder / bundle.parts[2]).write_bytes(b"damaged")
    text = bundle.install(4)
    assert f"{bundle.parts[1]}(missing)" in text
    assert f"{bundle.parts[2]}(damaged)" in text
    assert bundle.parts[0] not in text
    assert not bundle.dest.exists()


def test_a_list_of_parts_that_is_cut_short_is_noticed(bundle: Bundle) -> None:
    sums = bundle.folder / "parts.sha256"
    sums.write_text("".join(sums.read_text().splitlines(keepends=True)[:-1]))
    assert "parts.sha256 is damaged" in bundle.install(4)
    sums.unlink()
    assert "parts.sha256 is missing" in bundle.install(4)
    assert not bundle.dest.exists()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8, 0.95, 0.999])
def test_a_script_that_is_cut_short_does_nothing(bundle: Bundle, share: float) -> None:
    text = bundle.script.read_bytes()
    bundle.script.write_bytes(text[: int(len(text) * share)])
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run(bundle.command(), env=env, capture_output=True, text=True, check=False, timeout=60)
    assert "installed" not in done.stdout
    assert not bundle.dest.exists()


@pytest.mark.parametrize("wrong", [[], ["a", "b"], [""], ["--frobnicate", "a"], ["--python"], ["--python", "p", "a"]])
def test_wrong_use(bundle: Bundle, wrong: list[str], tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin"}
    argv = ["/bin/sh", str(bundle.script), *wrong]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("install.sh: ")


def test_help_is_no_error(bundle: Bundle) -> None:
    assert "DESTINATION" in bundle.install(0, "--help")


# --- where it is started from and where it goes ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["h200", "my node/h 200", "-dash", "it+s~@1"])
def test_relative_destinations_from_another_folder(tmp_path: Path, name: str) -> None:
    bundle = Bundle(tmp_path / "carried over")
    place = tmp_path / "a place"
    place.mkdir()
    text = bundle.install(0, f"./{name}", cwd=place)
    assert (place / name / "bin/bringup").exists()
    assert f"{place}/" in text


def test_a_relative_path_to_the_script(bundle: Bundle, tmp_path: Path) -> None:
    bundle.script = Path("h200.bundle/install.sh")
    bundle.install(0, "node/h200", cwd=tmp_path)
    assert (bundle.dest / "bin/bringup").exists()


def test_through_a_link_the_real_place_is_named(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    text = bundle.install(0, tmp_path / "link/h200")
    assert f"installed: {tmp_path}/disk/h200\n" in text


def test_a_link_to_an_empty_folder_stays(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to("disk")
    bundle.install(0, tmp_path / "home")
    assert (tmp_path / "home").is_symlink()
    assert (tmp_path / "disk/bin/bringup").exists()


@pytest.mark.parametrize("name", ["a:b", "a,b", "a'b", 'a"b', "a\\b", "a\nb"])
def test_paths_that_cannot_work_are_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    assert "does not work" in bundle.install(2, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_destination_that_is_not_empty_stays_as_it_is(bundle: Bundle) -> None:
    bundle.dest.mkdir(parents=True)
    (bundle.dest / "mine").touch()
    assert "not empty" in bundle.install(2)
    (bundle.dest / ".incomplete").touch()  # of somebody else's: ours says so
    assert "not empty" in bundle.install(2)
    assert sorted(path.name for path in bundle.dest.iterdir()) == [".incomplete", "mine"]


def test_a_second_installation_is_refused_and_leaves_the_first(bundle: Bundle) -> None:
    bundle.install(0)
    assert "a bundle is installed there" in bundle.install(2)
    assert (bundle.dest / "bin/bringup").exists()


def test_a_destination_that_is_a_file(bundle: Bundle) -> None:
    bundle.dest.parent.mkdir()
    bundle.dest.write_text("mine")
    assert "is no folder" in bundle.install(2)
    assert bundle.dest.read_text() == "mine"


# --- the machine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"machine": "riscv64"}, "this bundle is for riscv64"), ({"glibc": "9.9"}, "needs glibc 9.9 or newer")],
)
def test_a_machine_that_does_not_fit(tmp_path: Path, changes: dict, says: str) -> None:
    bundle = Bundle(tmp_path, frozen=msgspec.structs.replace(FROZEN, **changes))
    assert says in bundle.install(3)
    assert not bundle.dest.parent.exists()


def test_a_machine_without_glibc(bundle: Bundle, tmp_path: Path) -> None:
    path = program(tmp_path / "musl", "getconf", "exit 1\n")
    program(tmp_path / "musl", "ldd", "echo 'musl libc (x86_64)' >&2; exit 1\n")
    assert "no GNU C library" in bundle.install(3, path=path)
    assert not bundle.dest.parent.exists()


@pytest.mark.parametrize("line", [MODULE, OPEN])
@pytest.mark.parametrize(("driver", "code"), [("570.86.10", 3), ("580.65.06", 0), ("580.9", 3), ("1000.1", 0)])
def test_the_driver_is_named_before_anything_is_unpacked(bundle: Bundle, line: str, driver: str, code: int) -> None:
    bundle.driver(line.format(driver))
    text = bundle.install(code)
    assert ("CUDA 13.0 needs driver 580.65.06 or newer" in text) == (code == 3)
    assert (f"driver here is {driver}" in text) == (code == 3)
    assert bundle.dest.parent.exists() == (code == 0)


@pytest.mark.parametrize(
    ("says", "status", "code"),
    [
        ("535.104.05, 9.0, NVIDIA H200", 0, 3),
        ("580.65.06, 9.0, NVIDIA H200", 0, 0),
        ("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.", 9, 0),
        ("No devices were found", 6, 0),
        ("No devices were found", 0, 0),
    ],
)
def test_without_proc_nvidia_smi_is_asked(bundle: Bundle, tmp_path: Path, says: str, status: int, code: int) -> None:
    path = program(tmp_path / "tools", "nvidia-smi", f"echo '{says}'; exit {status}\n")
    text = bundle.install(code, path=path)
    assert ("535.104.05" in text) == (code == 3)
    assert ("no NVIDIA driver is visible here" in text) == (says[0] == "N")


def test_the_kernel_module_counts_and_not_nvidia_smi(bundle: Bundle, tmp_path: Path) -> None:
    bundle.driver(MODULE.format("535.104.05"))
    path = program(tmp_path / "tools", "nvidia-smi", "echo 580.65.06, 9.0, NVIDIA H200\n")
    assert "driver here is 535.104.05" in bundle.install(3, path=path)


def test_notes_about_gpus(bundle: Bundle, tmp_path: Path) -> None:
    assert "no NVIDIA driver is visible" in bundle.install(0)
    shutil.rmtree(bundle.dest)
    bundle.driver(MODULE.format("580.65.06"))
    assert "shows no GPU" in bundle.install(0)
    shutil.rmtree(bundle.dest)
    path = program(tmp_path / "tools", "nvidia-smi", "echo '580.65.06, 8.0, NVIDIA A100-SXM4-80GB'\n" * 2)
    assert "here is NVIDIA A100-SXM4-80GB; it installs, and will not run here" in bundle.install(0, path=path)
    shutil.rmtree(bundle.dest)
    path = program(tmp_path / "tools", "nvidia-smi", "echo '580.65.06, 9.0, NVIDIA H200'\n" * 2)
    assert "note:" not in bundle.install(0, path=path)


def test_a_bundle_without_cuda_asks_nothing_about_gpus(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, frozen=msgspec.structs.replace(FROZEN, gpu="cpu", driver="0", capability="0.0"))
    bundle.driver(MODULE.format("390.10"))
    text = bundle.install(0)
    assert "driver" not in text
    assert "note:" not in text


# --- room, failures, interruptions ------------------------------------------------------------------------------------


def test_no_space(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, need=1 << 60)
    assert "MiB free" in bundle.install(14)
    assert not bundle.dest.parent.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o555)
    assert "no permission" in bundle.install(14, tmp_path / "theirs/h200")


@pytest.mark.parametrize(("extra", "code", "says"), [("fail", 8, "nothing is installed"), ("full", 14, "no space")])
def test_a_failed_setup_leaves_nothing(tmp_path: Path, extra: str, code: int, says: str) -> None:
    bundle = Bundle(tmp_path, extra=extra)
    assert says in bundle.install(code)
    assert not bundle.dest.exists()


def test_a_failed_setup_leaves_a_folder_that_was_there(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, extra="fail")
    bundle.dest.mkdir(parents=True)
    bundle.install(8)
    assert not list(bundle.dest.iterdir())


def test_a_stream_that_tar_cannot_read_leaves_nothing(bundle: Bundle) -> None:
    for name in bundle.parts:
        (bundle.folder / name).write_bytes(b"no archive")
    sums = bundle.folder / "parts.sha256"
    digest = hashlib.sha256(b"no archive").hexdigest()
    sums.write_text("".join(f"{digest}  {name}\n" for name in bundle.parts))
    old = next(line for line in bundle.script.read_text().splitlines() if line.startswith("SUMS="))
    new = f"SUMS={hashlib.sha256(sums.read_bytes()).hexdigest()}"
    bundle.script.write_text(bundle.script.read_text().replace(old, new))
    assert "could not be unpacked" in bundle.install(14)
    assert not bundle.dest.exists()


def test_a_disk_that_fills_up_while_unpacking_leaves_nothing(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path)
    # A limit on the size of files stands for the full disk: tar gets its error from the kernel all the same.
    limited = ["/bin/sh", "-c", 'trap "" XFSZ; ulimit -f 20; exec "$@"', "sh", *bundle.command()]
    env = {"PATH": "/usr/bin:/bin", "BRINGUP_ROOT": str(bundle.root)}
    done = subprocess.run(limited, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 14, done.stdout + done.stderr
    first, last = done.stderr.splitlines()
    assert first.startswith("install.sh: tar: payload")
    assert last == f"install.sh: the parts could not be unpacked into {bundle.dest}; nothing is installed"
    assert not bundle.dest.exists()


def started(bundle: Bundle) -> subprocess.Popen[bytes]:
    """Start an installation and wait until it is in the middle of the setup."""
    process = subprocess.Popen(
        bundle.command(), env={"PATH": "/usr/bin:/bin", "BRINGUP_ROOT": str(bundle.root)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    limit = time.monotonic() + 20
    while not (bundle.dest / "slow").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    time.sleep(0.3)
    return process


def test_ctrl_c_removes_what_was_begun(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, extra="slow")
    process = started(bundle)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=20)
    assert process.returncode in (130, -signal.SIGINT)
    assert not bundle.dest.exists()


def test_a_killed_installation_looks_like_none_and_the_next_starts_over(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, extra="slow")
    process = started(bundle)
    assert "is installing into" in bundle.install(13)  # one at a time
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=20)
    assert (bundle.dest / ".incomplete").exists()
    assert not (bundle.dest / "bin").exists()
    again = Bundle(tmp_path / "again")
    again.dest = bundle.dest
    again.install(0)
    assert not (bundle.dest / "slow").exists()
    assert (bundle.dest / "bin/bringup").exists()
    assert not (bundle.dest / ".incomplete").exists()
