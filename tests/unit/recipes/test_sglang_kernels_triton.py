"""Triton kernels compiled ahead: the list, the keys, the tree, and the manager that finds entries from anywhere."""

import hashlib
import importlib.util
import json
import shutil
import sys
import types
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[3] / "recipes"


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ahead = load(RECIPES / "sglang_kernels_triton.py", "sglang_kernels_triton")
prebuild = load(RECIPES / "sglang_kernels_prebuild.py", "sglang_kernels_prebuild_of_triton")


def test_every_row_of_the_list_is_a_kernel_of_its_own():
    kernels = ahead.read_kernels(RECIPES / "sglang_kernels_prebuild.toml")
    named = [(function, arguments) for _, function, arguments in kernels]
    assert ("compute_position_kernel", ("*int64", "*int32", "*int32", "*int32", True)) in named
    indices = [arguments for function, arguments in named if function == "create_flashinfer_kv_indices_triton"]
    assert {arguments[-1] for arguments in indices} >= {8196, 131076}
    assert len(set(named)) == len(named)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no triton kernel"),
        ('[[triton.kernel]]\nfunction = "f"\n', "kernel f has no arguments, module"),
        ('[[triton.kernel]]\nfunction="f"\nmodule="m"\narguments=[["row"]]\n', "f takes a row"),
    ],
)
def test_a_wrong_list_is_named(tmp_path, text, told):
    (tmp_path / "k.toml").write_text(text)
    with pytest.raises(ValueError, match=f"k.toml.*{told}"):
        ahead.read_kernels(tmp_path / "k.toml")


def test_a_module_has_a_key_with_the_command_file_and_one_without():
    keys = ahead.module_keys("int x;")
    assert len(set(keys)) == 2
    assert all(len(key) == 52 and key == key.upper() for key in keys)


def test_metadata_names_no_place():
    text = json.dumps({"hash": "1", "extern_libs": [["libdevice", "/a/b/triton/backends/nvidia/lib/libdevice.10.bc"]]})
    read = json.loads(ahead.without_paths(text.encode()))
    assert read == {"hash": "1", "extern_libs": [["libdevice", "triton/backends/nvidia/lib/libdevice.10.bc"]]}


ENTRIES = [
    {
        "kind": "kernel",
        "name": "k",
        "keys": ["KK"],
        "arguments": ["row"],
        "files": {"k.json": b"{}", "k.cubin": b"\x7f"},
    },
    {"kind": "module", "name": "launcher", "keys": ["L1", "L2"], "files": {"launcher.so": b"so"}},
]


def test_the_tree_lists_each_file_once_and_every_key(tmp_path):
    assert ahead.write_tree(tmp_path / "out", ENTRIES) == 5
    index = json.loads((tmp_path / "out/index.json").read_text())["entries"]
    assert set(index) == {"KK", "L1", "L2"}
    assert index["L1"]["files"] == index["L2"]["files"]
    listed = index["KK"]["files"]["k.cubin"]
    assert (tmp_path / "out" / listed["path"]).read_bytes() == b"\x7f"
    assert listed["sha256"] == hashlib.sha256(b"\x7f").hexdigest()


class PlainManager:
    """Triton's FileCacheManager in so far as it reads: files below a folder of the key."""

    root = Path()

    def __init__(self, key, override=False, dump=False):
        self.folder = self.root / ("dump" if dump else "override" if override else key)

    def get_file(self, filename):
        path = self.folder / filename
        return str(path) if path.exists() else None

    def get_group(self, filename):
        path = self.folder / f"__grp__{filename}"
        return json.loads(path.read_text())["child_paths"] if path.exists() else None


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package of an installed wheel, and what loads its manager afresh."""
    ahead.write_tree(tmp_path / "tree", ENTRIES)
    site = tmp_path / "site"
    for name, content in prebuild.triton_files(tmp_path / "tree").items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
    parent, runtime, cache = (types.ModuleType(f"triton{end}") for end in ("", ".runtime", ".runtime.cache"))
    cache.FileCacheManager = PlainManager
    for module in (parent, runtime, cache):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(PlainManager, "root", tmp_path / "home")
    return site, lambda: load(site / "sglang_jit_cache/manager.py", "packaged_manager").PackagedCacheManager


def test_entries_are_found_where_the_package_lies_now(installed, tmp_path):
    site, _ = installed
    moved = tmp_path / "elsewhere"
    shutil.move(site, moved)
    kind = load(moved / "sglang_jit_cache/manager.py", "moved_manager").PackagedCacheManager
    group = kind("KK").get_group("k.json")
    assert set(group) == {"k.json", "k.cubin"}
    assert all(path.startswith(str(moved)) and Path(path).is_file() for path in group.values())
    assert Path(kind("L2").get_file("launcher.so")).read_bytes() == b"so"
    assert kind("L1").get_file("other.so") is None
    assert kind("OTHER").get_group("k.json") is None


def test_the_users_own_cache_answers_first(installed, tmp_path):
    _, manager = installed
    own = tmp_path / "home/L1/launcher.so"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"own")
    assert manager()("L1").get_file("launcher.so") == str(own)


def test_a_group_whose_files_are_gone_is_no_answer(installed, tmp_path):
    _, manager = installed
    group = tmp_path / "home/KK/__grp__k.json"
    group.parent.mkdir(parents=True)
    group.write_text('{"child_paths": {}}')
    assert set(manager()("KK").get_group("k.json")) == {"k.json", "k.cubin"}


@pytest.mark.parametrize("what", ["files/KK/k.cubin", "files/KK/k.json"])
def test_a_changed_file_makes_its_entry_unused(installed, what):
    site, manager = installed
    (site / "sglang_jit_cache/triton" / what).write_bytes(b"changed")
    assert manager()("KK").get_group("k.json") is None
    assert manager()("L1").get_file("launcher.so") is not None


@pytest.mark.parametrize(
    "content", ["", "[]", '{"entries": []}', '{"entries": {"KK": 1}}', '{"entries": {"KK": {"files": {"k.json": 1}}}}']
)
def test_an_index_that_cannot_be_read_never_raises(installed, content):
    site, manager = installed
    (site / "sglang_jit_cache/triton/index.json").write_text(content)
    assert manager()("KK").get_group("k.json") is None
    assert manager()("KK").get_file("k.json") is None


def test_overriding_and_dumping_are_tritons_own(installed):
    _, manager = installed
    assert manager()("L1", override=True).get_file("launcher.so") is None
    assert manager()("L1", dump=True).get_file("launcher.so") is None


def test_the_start_line_leaves_what_the_user_has_set(installed):
    site, _ = installed
    line = (site / "sglang_jit_cache.pth").read_text()
    assert line.startswith("import os;")
    assert line.count("\n") == 1
    assert "setdefault" in line
    assert "sglang_jit_cache.manager:PackagedCacheManager" in line
