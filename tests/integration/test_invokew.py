"""The launcher `invokew` on machines that lack one thing or another.

Each test gives a copy of the launcher, with the committed locks and a package that prints how it was called, a PATH
that holds exactly the programs the test is about. Environments are really made, from the package index.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.network

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PYTHON = Path(os.path.realpath(sys.executable))
UV = Path(sysconfig.get_path("scripts"), "uv")
# What every Linux distribution has in its smallest image.
COREUTILS = ("sh cmp readlink mkdir rmdir rm mv cp grep head tail cut flock cat").split()  # noqa: SIM905, a list reads worse

ECHO = """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "prefix": sys.prefix, "home": os.environ.get("HOME"),
                  "package": __file__}))
"""


@dataclass(kw_only=True)
class Machine:
    """A checkout, a PATH, a home directory."""

    checkout: Path
    programs: Path
    env: dict[str, str] = field(default_factory=dict)

    def give(self, name: str, target: Path) -> None:
        (self.programs / name).symlink_to(target)

    def give_script(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def start(self, *argv: str, cwd: Path | None = None, program: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(program or self.checkout / "invokew"), *argv],
            cwd=cwd or self.checkout,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *argv: str, cwd: Path | None = None, program: Path | None = None) -> tuple[int, str, str]:
        with self.start(*argv, cwd=cwd, program=program) as process:
            out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def call(self, *argv: str, cwd: Path | None = None, program: Path | None = None) -> dict[str, Any]:
        status, out, err = self.run(*argv, cwd=cwd, program=program)
        assert status == 0, err
        answer = json.loads(out)
        assert answer["prefix"] == str(self.checkout / ".venv")
        assert answer["package"] == str(self.checkout / "bringup" / "cli.py")
        return dict(answer)


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """Return a machine with neither Python nor uv, and a checkout in a path with a space."""
    checkout = tmp_path / "a checkout"
    (checkout / "bringup").mkdir(parents=True)
    for name in ("invokew", *LOCKS):
        shutil.copy(ROOT / name, checkout)
    (checkout / "bringup" / "__init__.py").touch()
    (checkout / "bringup" / "cli.py").write_text(ECHO)
    programs = tmp_path / "bin"
    programs.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    inherited = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    cache = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))}
    machine = Machine(
        checkout=checkout,
        programs=programs,
        env={**inherited, **proxies, **cache, "PATH": str(programs), "HOME": str(home), "LANG": "C.UTF-8"},
    )
    for name in COREUTILS:
        found = shutil.which(name)
        assert found, name
        machine.give(name, Path(found))
    return machine


@pytest.fixture
def machine(bare: Machine) -> Machine:
    """Return a machine with this test's Python and uv."""
    bare.give("python3", PYTHON)
    bare.give("uv", UV)
    return bare


def crippled_python(folder: Path, *, without: set[str], pip: bool) -> Path:
    """Make a Python that lacks some modules, as distributions take them out; return its program."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = folder / "lib" / version
    library.mkdir(parents=True)
    for entry in Path(sysconfig.get_path("stdlib")).iterdir():
        if entry.name not in {"site-packages", "dist-packages", "__pycache__", *without}:
            (library / entry.name).symlink_to(entry)
    packages = library / "site-packages"
    packages.mkdir()
    (library / "dist-packages").symlink_to("site-packages")  # where Debian's Python looks
    if pip:
        subprocess.run([UV, "pip", "install", "-q", "--target", packages, "pip"], check=True)
    (folder / "bin").mkdir()
    program = folder / "bin" / version
    shutil.copy(PYTHON, program)
    return program


def made_at(machine: Machine) -> int:
    return (machine.checkout / ".venv" / ".invokew" / "root").stat().st_ctime_ns


def test_arguments_arrive_and_stdout_is_the_programs_alone(machine: Machine) -> None:
    assert machine.call("build", "--only", "a b", "")["argv"] == ["build", "--only", "a b", ""]
    assert machine.run("list")[2] == ""


def test_callers_directory_is_kept_and_links_are_followed(machine: Machine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (elsewhere / "json.py").write_text("raise SystemExit('the caller\\'s files are not modules of ours')")
    (tmp_path / "one").symlink_to("a checkout/invokew")
    (elsewhere / "two").symlink_to("../one")
    assert machine.call(cwd=elsewhere, program=elsewhere / "two")["cwd"] == str(elsewhere)
    assert machine.call(cwd=elsewhere, program=Path("../a checkout/invokew"))["cwd"] == str(elsewhere)


@pytest.mark.parametrize("home", [None, ""])
def test_home_is_not_needed(machine: Machine, home: str | None) -> None:
    machine.env.pop("HOME")
    machine.env.pop("UV_CACHE_DIR")
    if home is not None:
        machine.env["HOME"] = home
    before = {path.name for path in machine.checkout.iterdir()}
    assert machine.call()["home"] == home
    assert {path.name for path in machine.checkout.iterdir()} == before | {".venv"}


def test_python_settings_of_the_shell_do_not_reach_us(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('PYTHONPATH was used')")
    machine.env |= {
        "PYTHONPATH": str(tmp_path),
        "PIP_USER": "1",
        "PIP_TARGET": str(tmp_path / "t"),
        "UV_PYTHON": "3.99",
    }
    machine.call()
    assert not (tmp_path / "t").exists()


def test_second_start_makes_nothing_and_is_quick(machine: Machine) -> None:
    machine.call()
    first = made_at(machine)
    direct = [str(machine.checkout / ".venv" / "bin" / "python"), "-I", "-m", "bringup.cli"]
    launcher = [str(machine.checkout / "invokew")]
    overhead = min(timed(launcher, machine) for _ in range(15)) - min(timed(direct, machine) for _ in range(15))
    assert made_at(machine) == first
    assert overhead < 0.050


def timed(argv: list[str], machine: Machine) -> float:
    started = time.perf_counter()
    subprocess.run(argv, env=machine.env, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def test_changed_lock_remakes(machine: Machine) -> None:
    machine.call()
    first = made_at(machine)
    with (machine.checkout / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    machine.call()
    second = made_at(machine)
    assert second > first
    machine.call()
    assert made_at(machine) == second


def test_moved_checkout_remakes(machine: Machine, tmp_path: Path) -> None:
    machine.call()
    machine.checkout = machine.checkout.rename(tmp_path / "moved")
    machine.call()


def test_vanished_python_remakes(machine: Machine) -> None:
    machine.call()
    python = machine.checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python")
    machine.call()


def test_killed_while_making_remakes(machine: Machine) -> None:
    log = machine.checkout / ".venv" / ".invokew" / "log"
    with machine.start() as process:
        while not log.exists():
            assert process.poll() is None
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (machine.checkout / ".venv" / ".invokew" / "requirements.lock").exists()
    machine.call()


@pytest.mark.parametrize("flock", [True, False])
def test_started_at_once_make_one(machine: Machine, flock: bool) -> None:
    if not flock:
        (machine.programs / "flock").unlink()
    processes = [machine.start(str(number)) for number in range(4)]
    results = [(*process.communicate(timeout=300), process.returncode) for process in processes]
    for number, (out, err, status) in enumerate(results):
        assert status == 0, err
        assert json.loads(out)["argv"] == [str(number)]
    assert sum("making" in err for _, err, _ in results) == 1


def test_environment_made_by_hand_is_kept(machine: Machine) -> None:
    subprocess.run([UV, "venv", "-q", machine.checkout / ".venv"], check=True)
    (machine.checkout / ".venv" / "mine").touch()
    machine.call()
    kept = list(machine.checkout.glob(".venv.old-*/mine"))
    assert len(kept) == 1


def test_a_folder_that_is_no_environment_is_refused(machine: Machine, tmp_path: Path) -> None:
    machine.env["BRINGUP_VENV"] = str(tmp_path / "home")
    (tmp_path / "home" / "thesis.tex").touch()
    status, _, err = machine.run()
    assert status == 6
    assert "BRINGUP_VENV" in err
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_environment_elsewhere(machine: Machine, tmp_path: Path) -> None:
    machine.env["BRINGUP_VENV"] = str(tmp_path / "env")
    (machine.checkout / "requirements.lock").chmod(0o444)
    status, out, err = machine.run()
    assert status == 0, err
    assert json.loads(out)["prefix"] == str(tmp_path / "env")
    assert not (machine.checkout / ".venv").exists()


def test_developers_tools_come_only_with_the_tasks_that_need_them(machine: Machine) -> None:
    tools = machine.checkout / ".venv" / "bin" / "pytest"
    machine.call("list", "test")
    assert not tools.exists()
    machine.call("--debug", "test")
    assert tools.exists()
    assert machine.run("test")[2] == ""


def test_broken_shims_are_passed_over(bare: Machine, tmp_path: Path) -> None:
    for name in ("python3", "python3.12"):
        bare.give_script(name, f"#!/bin/sh\necho 'pyenv: {name}: command not found' >&2\nexit 127\n")
    bare.give_script("uv", "#!/bin/sh\nexit 127\n")
    good = tmp_path / "more"
    good.mkdir()
    (good / "python3").symlink_to(PYTHON)
    bare.env["PATH"] += f":{good}"
    bare.call()


def test_only_uv(bare: Machine, tmp_path: Path) -> None:
    managed = tmp_path / "pythons"
    version = ".".join(map(str, sys.version_info[:3]))
    python = managed / f"cpython-{version}-linux-x86_64-gnu"
    python.mkdir(parents=True)
    for name in ("bin", "lib"):
        (python / name).symlink_to(Path(sys.base_prefix, name))
    bare.give("uv", UV)
    bare.env["UV_PYTHON_INSTALL_DIR"] = str(managed)
    bare.call()


def test_only_uv_that_may_not_download(bare: Machine) -> None:
    bare.give("uv", UV)
    bare.give_script("apt-get", "#!/bin/sh\n")
    bare.env["UV_PYTHON_DOWNLOADS"] = "never"
    status, _, err = bare.run()
    assert (status, err.count("\n")) == (6, 2)
    assert "no Python 3.11 or newer, and uv could not get one: error: No interpreter found" in err
    assert err.endswith("; install one: apt-get install python3-venv\n")


@pytest.mark.parametrize(
    ("without", "pip"),
    [({"ensurepip"}, True), ({"ensurepip", "venv"}, True), (set(), False)],
    ids=["no-ensurepip", "only-pip", "only-ensurepip"],
)
def test_crippled_pythons(bare: Machine, tmp_path: Path, without: set[str], pip: bool) -> None:
    bare.give_script(
        "python3", f"#!/bin/sh\nexec '{crippled_python(tmp_path / 'py', without=without, pip=pip)}' \"$@\"\n"
    )
    bare.call("list")
    bare.call("test")


def test_externally_managed_python_is_not_touched(bare: Machine, tmp_path: Path) -> None:
    program = crippled_python(tmp_path / "py", without={"ensurepip"}, pip=True)
    library = program.parents[1] / "lib" / program.name
    (library / "EXTERNALLY-MANAGED").write_text("[externally-managed]\nError=no\n")
    before = sorted(library.rglob("*.dist-info"))
    bare.give("python3", program)
    bare.call()
    assert sorted(library.rglob("*.dist-info")) == before


def test_nothing_to_install_with_names_the_package(bare: Machine, tmp_path: Path) -> None:
    bare.give("python3", crippled_python(tmp_path / "py", without={"ensurepip"}, pip=False))
    bare.give_script("apt-get", "#!/bin/sh\n")
    status, out, err = bare.run("list")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (status, out, err.count("\n")) == (6, "", 1)
    assert err.endswith(
        f"has neither pip nor ensurepip, and there is no uv; install one: apt-get install python{version}-venv\n"
    )


def test_old_python_is_named(bare: Machine) -> None:
    bare.give_script("python3", '#!/bin/sh\n[ "$1" = -I ] && exit 1\necho 3.9\n')
    status, _, err = bare.run()
    assert (status, err.count("\n")) == (6, 1)
    assert f"no Python 3.11 or newer ({bare.programs}/python3 is 3.9) and no uv" in err


def test_chosen_python_is_used_or_refused(machine: Machine, tmp_path: Path) -> None:
    program = crippled_python(tmp_path / "py", without=set(), pip=False)
    machine.env["BRINGUP_PYTHON"] = str(program)
    machine.call()
    assert os.path.realpath(machine.checkout / ".venv" / "bin" / "python") == str(program)
    machine.env["BRINGUP_PYTHON"] = "/bin/false"
    (machine.checkout / "requirements.lock").write_text("")
    status, _, err = machine.run()
    assert (status, err) == (6, "invokew: BRINGUP_PYTHON=/bin/false is not a working Python 3.11 or newer\n")


def test_failing_index_is_told_in_one_line(machine: Machine) -> None:
    lock = machine.checkout / "requirements.lock"
    lock.write_text(re.sub("sha256:.{8}", "sha256:00000000", lock.read_text()))
    status, out, err = machine.run()
    assert (status, out, err.count("\n")) == (6, "", 2), err
    assert "could not install requirements.lock: " in err
    assert "cause: Hash mismatch for `" in err
    assert ".invokew/log" in err


def test_environment_that_cannot_be_removed_is_one_line(machine: Machine, tmp_path: Path) -> None:
    """Another user's, whose Python is out of reach: rm names each of its files."""
    made = machine.checkout / ".venv/.invokew"
    made.mkdir(parents=True)
    (made / "root").write_text("elsewhere\n")
    (machine.programs / "rm").unlink()
    machine.give_script(
        "rm", "#!/bin/sh\nfor name in a b; do echo \"rm: cannot remove '$name': no\" >&2; done\nexit 1\n"
    )
    status, out, err = machine.run()
    assert (status, out) == (6, "")
    assert err.splitlines()[-1] == "invokew: rm: cannot remove 'a': no; BRINGUP_VENV names another place"
    assert "'b'" not in err
