import hashlib
import importlib.util
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

SCRIPT = Path(__file__).resolve().parents[3] / "recipes" / "sglang_kernels_prebuild.py"
SPEC = importlib.util.spec_from_file_location("sglang_kernels_prebuild", SCRIPT)
prebuild = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(prebuild)


def test_the_list_names_what_a_first_start_was_seen_to_compile():
    jobs = set(prebuild.read_jobs(SCRIPT.with_suffix(".toml")))
    assert {
        ("activation", "_jit_activation_module", ("bfloat16",)),
        ("clamp_position", "_jit_clamp_position_module", ("int64",)),
        ("rope", "_jit_fused_rope_module", (True, 128, "bfloat16")),
        ("kvcache", "_jit_kvcache_module", (512,)),
        ("resolve_future_token_ids", "_jit_resolve_future_token_ids_module", ("int64",)),
    } <= jobs


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "names no kernel"), ('[[kernel]]\nmodule = "rope"\n', "kernel rope has no arguments, function")],
)
def test_a_wrong_list_is_named(tmp_path, text, told):
    (tmp_path / "k.toml").write_text(text)
    with pytest.raises(ValueError, match=f"k.toml.*{told}"):
        prebuild.read_jobs(tmp_path / "k.toml")


@pytest.mark.parametrize(("text", "parts"), [("9.0", (9, 0, "")), ("9.0a", (9, 0, "a")), ("10.3f", (10, 3, "f"))])
def test_architectures(text, parts):
    assert prebuild.parse_arch(text) == parts


@given(st.text())
def test_other_text_is_no_architecture(text):
    try:
        major, minor, suffix = prebuild.parse_arch(text)
    except ValueError as error:
        told = str(error)
        assert "is not an architecture" in told
    else:
        assert int(major) >= 0
        assert int(minor) >= 0
        assert set(suffix) <= set("af")


@pytest.fixture
def built(tmp_path):
    rows = []
    for name in ("b", "a"):
        (tmp_path / f"{name}.so").write_bytes(name.encode() * 9)
        rows.append({"key": f"{name}_0123", "file": str(tmp_path / f"{name}.so"), "function": "m.f", "arguments": [1]})
    return rows


def test_the_wheel_holds_its_modules_with_their_hashes(tmp_path, built):
    files = prebuild.wheel_files(built, version="1.2+cu130", arch="9.0")
    path = prebuild.write_wheel(tmp_path / "out", files, version="1.2+cu130")
    assert path.name == "sglang_jit_cache-1.2+cu130-py3-none-linux_x86_64.whl"
    with zipfile.ZipFile(path) as archive:
        index = json.loads(archive.read("sglang_jit_cache/index.json"))
        assert [row["key"] for row in index["modules"]] == ["a_0123", "b_0123"]
        assert index["modules"][0]["sha256"] == hashlib.sha256(b"a" * 9).hexdigest()
        assert archive.read("sglang_jit_cache/modules/a_0123.so") == b"a" * 9
        record = archive.read("sglang_jit_cache-1.2+cu130.dist-info/RECORD").decode().splitlines()
        assert {line.split(",")[0] for line in record} == set(archive.namelist())


def test_the_package_tells_its_folder(tmp_path, built):
    files = prebuild.wheel_files(built, version="1.2", arch="9.0")
    (tmp_path / "__init__.py").write_bytes(files["sglang_jit_cache/__init__.py"])
    spec = importlib.util.spec_from_file_location("sglang_jit_cache", tmp_path / "__init__.py")
    package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    assert package.__version__ == "1.2"
    assert package.get_jit_cache_dir() == str(tmp_path / "modules")


def test_the_same_modules_give_the_same_wheel(tmp_path, built):
    paths = [
        prebuild.write_wheel(tmp_path / name, prebuild.wheel_files(rows, version="1", arch="9.0"), version="1")
        for name, rows in (("x", built), ("y", built[::-1]))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
