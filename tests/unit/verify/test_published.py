"""A published package that was replaced after kernels were made for it."""

from pathlib import Path

import pytest

from bringup.formats.wheel import make_wheel, unpack_wheel
from bringup.model.verify import Status
from bringup.verify.published import check_published, note_published


def install(site: Path, version: str, text: str = "git = 'a'\n") -> None:
    tree = site.parent / f"tree-{version}-{len(text)}"
    (tree / "torch/lib").mkdir(parents=True)
    (tree / "torch/version.py").write_text(text)
    (tree / "torch/lib/libtorch.so").write_bytes(b"x" * 300_000)
    wheel = make_wheel(tree, site.parent / "dist", name="torch", version=version, tag="py3-none-any")
    unpack_wheel(wheel, site)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site-packages"
    install(site, "2.11.0")
    return site


def test_what_was_installed_is_ok_and_its_lock_is_evidence(site):
    noted = note_published(site, ["torch", "not-there"])
    assert list(noted) == ["torch"]
    check = check_published(site, "torch", "2.11.0", noted["torch"], ["sha256:ab"])
    assert check.status is Status.OK
    assert check.evidence["lock"] == ["sha256:ab"]
    assert check_published(site, "torch", "2.11.0", {}).status is Status.OK


def test_another_version(site):
    (site / "torch-2.11.0.dist-info").rename(site / "torch-2.10.0.dist-info")
    check = check_published(site, "torch", "2.11.0", {})
    assert check.status is Status.FAIL
    assert "torch 2.10.0 is installed where the lock has 2.11.0: it was replaced" in check.why


def test_another_build_of_the_same_version(site):
    noted = note_published(site, ["torch"])["torch"]
    install(site, "2.11.0", "git = 'another'\n")
    check = check_published(site, "torch", "2.11.0", noted)
    assert check.status is Status.FAIL
    assert "another build than the one that the kernels were made for" in check.why


def test_files_changed_in_place(site):
    (site / "torch/version.py").write_text("git = 'b'\n")
    assert "torch/version.py has sha256" in check_published(site, "torch", "2.11.0", {}).why
    (site / "torch/version.py").unlink()
    assert "torch/version.py is missing" in check_published(site, "torch", "2.11.0", {}).why


def test_a_large_file_is_compared_by_its_size(site):
    (site / "torch/lib/libtorch.so").write_bytes(b"y" * 300_001)
    assert "torch/lib/libtorch.so has 300001 bytes" in check_published(site, "torch", "2.11.0", {}).why


def test_not_installed(site):
    assert "flash is not installed" in check_published(site, "flash", "1.0", {}).why
