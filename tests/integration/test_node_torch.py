"""A bundle without PyTorch on a node: install.sh asks real Pythons, whose torch is a few files in real environments."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import msgspec
import pytest
from helpers.node_bundle import FROZEN, Bundle, program, write_torch

from bringup.model.node_torch import TorchWanted
from bringup.toolchain.node_torch import check_facts, parse_facts

TAG = f"cp{sysconfig.get_config_var('py_version_nodot')}"
WANTED = TorchWanted(tag=TAG, torch="2.11.0+cu130", cuda="13.0", left_out=("torch", "nvidia-cublas"))
WORDS = f"wanted: Python {TAG}, torch 2.11.0+cu130, CUDA 13.0"


def make_bundle(folder: Path, **changes: str) -> Bundle:
    wanted = msgspec.structs.replace(WANTED, **changes)
    return Bundle(folder, frozen=msgspec.structs.replace(FROZEN, node_torch=wanted))


def make_python(folder: Path) -> tuple[Path, Path]:
    """Make an environment without pip; returns its program and site-packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    (site,) = folder.glob("lib/python3.*/site-packages")
    return folder / "bin/python3", site


def the_tag() -> str:
    return f"{TAG}-{TAG}-linux_x86_64"


@pytest.fixture
def node(tmp_path: Path) -> tuple[Path, Path]:
    return make_python(tmp_path / "node python")


def test_a_torch_that_fits_is_told_to_the_installation(tmp_path: Path, node: tuple[Path, Path]) -> None:
    python, site = node
    write_torch(site, tag=the_tag(), libraries=["nvidia-cublas"])
    bundle = make_bundle(tmp_path)
    text = bundle.install(0, "--python", python, bundle.dest)
    assert f"the node's own PyTorch fits: Python {TAG}, torch 2.11.0+cu130, CUDA 13.0" in text
    facts = parse_facts((bundle.dest / "build/node-torch.txt").read_text())
    check_facts(facts, WANTED)
    assert facts.site == str(site)
    assert facts.git == "70d99e998b4955e0049d13a98d77ae1b14db1f45"
    assert str(site) in facts.path.split(":")
    assert not list(site.rglob("__pycache__"))  # nothing was imported


def test_it_is_found_by_variable_and_on_path(tmp_path: Path, node: tuple[Path, Path]) -> None:
    python, site = node
    write_torch(site, tag=the_tag())
    bundle = make_bundle(tmp_path)
    bundle.install(0, PYTHON=str(python))
    shutil.rmtree(bundle.dest)
    # the first on PATH has none, and the next name is asked
    bare, _ = make_python(tmp_path / "bare")
    path = program(tmp_path / "tools", "python3", f'exec "{bare}" "$@"\n')
    program(tmp_path / "tools", "python", f'exec "{python}" "$@"\n')
    assert f"{tmp_path}/tools/python, {site}" in bundle.install(0, path=path)


@pytest.mark.parametrize(
    ("version", "cuda", "seen"),
    [
        ("2.11.1+cu130", "13.0", "torch 2.11.1+cu130, CUDA 13.0"),
        ("2.11.0+cpu", None, "torch 2.11.0+cpu, CUDA none"),
        ("2.11.0+cu129", "12.9", "torch 2.11.0+cu129, CUDA 12.9"),
        ("2.11.0+cu130", "12.9", "torch 2.11.0+cu130, CUDA 12.9"),
        ("2.11.0a0+5cb2.nv26.01", "13.0", "torch 2.11.0a0+5cb2.nv26.01, CUDA 13.0"),
    ],
)
def test_another_torch_is_refused(
    tmp_path: Path, node: tuple[Path, Path], version: str, cuda: str | None, seen: str
) -> None:
    python, site = node
    write_torch(site, version, cuda, tag=the_tag())
    bundle = make_bundle(tmp_path)
    text = bundle.install(3, "--python", python, bundle.dest)
    assert WORDS in text
    assert f"seen:   Python {TAG}, {seen}" in text
    assert "make the bundle again without --without-torch" in text
    assert not bundle.dest.parent.exists()


def test_another_python_is_refused(tmp_path: Path, node: tuple[Path, Path]) -> None:
    python, site = node
    write_torch(site, tag=the_tag())
    bundle = make_bundle(tmp_path, tag="cp39")
    text = bundle.install(3, "--python", python, bundle.dest)
    assert "wanted: Python cp39, torch 2.11.0+cu130, CUDA 13.0" in text
    assert f"seen:   Python {TAG}, torch 2.11.0+cu130, CUDA 13.0" in text


def test_a_node_without_torch_or_python(tmp_path: Path, node: tuple[Path, Path]) -> None:
    bundle = make_bundle(tmp_path)
    text = bundle.install(3, "--python", node[0], bundle.dest)
    assert f"seen:   Python {TAG}, torch none, CUDA none; it has no torch" in text
    names = ("uname", "getconf", "cut", "sort", "head", "dirname")
    for name in names:
        program(tmp_path / "coreutils", name, f'exec /usr/bin/{name} "$@"\n')
    assert "no Python on PATH (python" in bundle.install(3, path=str(tmp_path / "coreutils"))
    broken = program(tmp_path / "broken", "python3", "exit 1\n")
    assert "does not run as Python" in bundle.install(3, path=broken)
    assert "is no program" in bundle.install(2, "--python", tmp_path / "nowhere", bundle.dest)
    assert not bundle.dest.parent.exists()


def test_every_python_that_was_asked_is_named_once(tmp_path: Path, node: tuple[Path, Path]) -> None:
    python, site = node
    write_torch(site, "2.10.0+cu130", tag=the_tag())
    bare, _ = make_python(tmp_path / "bare")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    program(tmp_path / "tools", f"python{version}", f'exec "{python}" "$@"\n')
    program(tmp_path / "tools", "python", f'exec "{bare}" "$@"\n')
    path = program(tmp_path / "tools", "python3", f'exec "{python}" "$@"\n')
    text = make_bundle(tmp_path).install(3, path=path)
    assert text.count("  seen:   ") == 2
    assert "torch 2.10.0+cu130" in text
    assert "it has no torch" in text


def test_installations_that_cannot_be_used_are_refused(tmp_path: Path, node: tuple[Path, Path]) -> None:
    python, site = node
    bundle = make_bundle(tmp_path)

    def says() -> str:
        text = bundle.install(3, "--python", python, bundle.dest)
        shutil.rmtree(site / "torch")
        for info in site.glob("torch-*"):
            shutil.rmtree(info)
        return text

    write_torch(site, tag="cp36-cp36m-linux_x86_64")
    assert "is built for cp36-cp36m-linux_x86_64" in says()
    info = write_torch(site, tag=the_tag())
    (info / "RECORD").write_text("__editable__.torch.pth,,\n")
    assert "does not list torch/version.py" in says()
    info = write_torch(site, tag=the_tag())
    (info / "RECORD").unlink()
    assert "cannot be read" in says()
    info = write_torch(site, tag=the_tag())
    info.rename(site / "torch-2.10.0.dist-info")
    assert "contradict each other" in says()
    info = write_torch(site, tag=the_tag())
    shutil.rmtree(info)
    assert "has no torch-*.dist-info" in says()


def test_files_where_it_is_started_are_not_imported(tmp_path: Path, node: tuple[Path, Path]) -> None:
    python, site = node
    write_torch(site, tag=the_tag())
    trap = tmp_path / "trap"
    write_torch(trap, "1.0")
    for name in ("os", "re", "pathlib"):
        (trap / f"{name}.py").write_text("raise SystemExit('imported from the current folder')\n")
    bundle = make_bundle(tmp_path)
    bundle.install(0, "--python", python, bundle.dest, cwd=trap)


def test_a_bundle_with_pytorch_takes_no_python(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path)
    assert "carries Python and PyTorch" in bundle.install(2, "--python", sys.executable, bundle.dest)
    bundle.install(0, PYTHON="/nowhere")  # a variable that other programs have too
