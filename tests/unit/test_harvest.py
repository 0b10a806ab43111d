"""The wheel of a harvest: what is packed, what is only listed, and what it fits."""

import json
import zipfile

import msgspec
import pytest

from bringup.errors import BringupError, VerifyError
from bringup.formats.wheel import check_wheel, make_wheel
from bringup.harvest import MODULE, Manifest, misfit, read_manifest
from bringup.harvest_pack import collect, pack

FACTS = {"machine": "x86_64", "gpu": "sm_90a", "python": "3.11", "torch": "2.11.0", "lock": "0123456789abcdef"}


def put(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def harvested(tmp_path):
    """What jit_caches.harvest leaves of two engines."""
    items = [
        {"cache": "triton", "name": "kernel_a", "files": ["KA/kernel_a.cubin"]},
        {"cache": "tvm-ffi", "name": "kvcache", "files": ["kvcache_12/kvcache.so"]},
        {"cache": "driver", "name": "x", "files": ["x"]},
    ]
    put(
        tmp_path / "harvest/graph",
        {
            "triton/KA/kernel_a.cubin": b"cubin",
            "triton/KA/kernel_a.json": b"{}",
            "triton/KA/__grp__kernel_a.json": b'{"child_paths": {"kernel_a.json": "/old/place"}}',
            "tvm-ffi/kvcache_12/kvcache.so": b"so",
            "manifest.json": json.dumps({"items": items}).encode(),
        },
    )
    more = {"items": [{"cache": "triton", "name": "launcher", "files": ["L/launcher.so"]}]}
    put(tmp_path / "harvest/eager", {"triton/L/launcher.so": b"elf", "manifest.json": json.dumps(more).encode()})
    return tmp_path / "harvest"


def packed(harvested, tmp_path, **changes):
    put(tmp_path, {"manager.py": b"# manager\n"})
    options = {"into": tmp_path / "wheels", "installed": tmp_path / "site" / MODULE, "facts": FACTS}
    return pack(harvested, manager=tmp_path / "manager.py", **(options | changes))


def test_triton_is_packed_and_the_rest_is_listed_with_a_reason(harvested, tmp_path):
    made = packed(harvested, tmp_path)
    by_name = {item.name: item for item in made.items}
    assert set(by_name) == {"kernel_a", "launcher", "kvcache"}
    assert by_name["kernel_a"].packed
    assert by_name["kernel_a"].size == 7
    assert not by_name["kvcache"].packed
    assert "build it ahead" in by_name["kvcache"].why
    assert check_wheel(made.wheel) == []
    with zipfile.ZipFile(made.wheel) as box:
        names = box.namelist()
        index = json.loads(box.read(f"{MODULE}/triton/index.json"))["entries"]
        assert box.read(f"{MODULE}.pth").startswith(b"import os;")
        assert box.read(f"{MODULE}/manager.py") == b"# manager\n"
    assert set(index) == {"KA", "L"}
    assert set(index["KA"]["files"]) == {"kernel_a.cubin", "kernel_a.json"}
    assert not [name for name in names if "__grp__" in name]
    assert made.wheel.name.endswith("-cp311-cp311-linux_x86_64.whl")
    assert "sm90a" in made.wheel.name


def test_the_manifest_comes_back(harvested, tmp_path):
    manifest = read_manifest(packed(harvested, tmp_path).wheel)
    assert manifest.fits == FACTS
    assert len(manifest.items) == 3


def test_an_installed_harvest_is_kept_and_another_targets_is_not(harvested, tmp_path):
    first = packed(harvested, tmp_path).wheel
    with zipfile.ZipFile(first) as box:
        box.extractall(tmp_path / "site")
    again = tmp_path / "again"
    items = {"items": [{"cache": "triton", "name": "kernel_b", "files": ["KB/kernel_b.cubin"]}]}
    put(again / "graph", {"triton/KB/kernel_b.cubin": b"b", "manifest.json": json.dumps(items).encode()})
    both = packed(again, tmp_path)
    assert {item.name for item in both.items} == {"kernel_a", "kernel_b", "launcher"}
    assert list((tmp_path / "wheels").iterdir()) == [both.wheel]
    assert not first.exists()
    other = packed(again, tmp_path, facts=FACTS | {"torch": "2.12.0"})
    assert {item.name for item in other.items} == {"kernel_b"}


def test_nothing_compiled_is_no_wheel(tmp_path):
    put(tmp_path / "h/graph", {"manifest.json": b'{"items": []}'})
    assert packed(tmp_path / "h", tmp_path).wheel is None
    assert not (tmp_path / "wheels").exists()


def test_what_two_engines_compiled_counts_once(harvested):
    put(
        harvested / "tp1",
        {"triton/L/launcher.so": b"elf", "manifest.json": (harvested / "eager/manifest.json").read_bytes()},
    )
    items, entries = collect(harvested)
    assert [item.name for item in items].count("launcher") == 1
    assert set(entries) == {"KA", "L"}


def test_a_misfit_names_what_differs():
    manifest = Manifest(fits=FACTS, linkage="ELF", date="2026-11-21", items=())
    assert misfit(manifest, FACTS) == ""
    told = misfit(manifest, {**FACTS, "torch": "2.12.0", "triton": "3.7.0"})
    assert told == "torch 2.11.0 where 2.12.0 is here, triton none where 3.7.0 is here"


@pytest.mark.parametrize("content", [None, b"", b"{}", msgspec.json.encode({"schema": 1, "fits": []})])
def test_another_wheel_is_no_harvest(tmp_path, content):
    put(
        tmp_path / "tree",
        {f"{MODULE}/__init__.py": b""} | ({f"{MODULE}/manifest.json": content} if content is not None else {}),
    )
    wheel = make_wheel(tmp_path / "tree", tmp_path, name="bringup-harvest", version="1", tag="py3-none-any")
    with pytest.raises(VerifyError, match="not a harvest"):
        read_manifest(wheel)


def test_a_file_that_is_no_wheel_is_told(tmp_path):
    (tmp_path / "x-1-py3-none-any.whl").write_bytes(b"no zip")
    with pytest.raises(BringupError):
        read_manifest(tmp_path / "x-1-py3-none-any.whl")
