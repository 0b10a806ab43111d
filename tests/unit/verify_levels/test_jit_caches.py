import hashlib
import json

import jit_caches
import pytest


def put(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def home(tmp_path):
    return jit_caches.roots({"HOME": str(tmp_path / "home"), "USER": "ann", "TMPDIR": str(tmp_path / "tmp")})


def grown(folders, *files):
    before = jit_caches.snapshot(folders)
    for cache, file in files:
        put(folders[cache] / file)
    return jit_caches.compiled(before, jit_caches.snapshot(folders))


def test_folders_follow_each_package_variable(tmp_path):
    env = {
        "HOME": "/h", "USER": "ann", "TMPDIR": "/t", "FLASHINFER_WORKSPACE_BASE": "/a", "TVM_FFI_CACHE_DIR": "/b",
        "TRITON_CACHE_DIR": "/c", "TORCHINDUCTOR_CACHE_DIR": "/d", "SGLANG_CACHE_DIR": "/e",
    }  # fmt: skip
    found = {name: str(path) for name, path in jit_caches.roots(env).items()}
    assert found["flashinfer"] == "/a/.cache/flashinfer"
    assert (found["tvm-ffi"], found["triton"], found["inductor"]) == ("/b", "/c", "/d")
    assert found["sglang"] == "/e/torch_compile_cache"
    plain = {name: str(path) for name, path in jit_caches.roots({"HOME": "/h", "USER": "a/n", "TMPDIR": "/t"}).items()}
    assert plain["triton"] == "/h/.triton/cache"
    assert plain["tvm-ffi"] == "/h/.cache/tvm-ffi"
    assert plain["inductor"] == "/t/torchinductor_a_n"
    assert plain["driver"] == "/h/.nv/ComputeCache"


def test_nothing_compiled(home):
    put(home["triton"] / "K/kernel.cubin")
    assert grown(home) == []
    assert jit_caches.describe([]) == ""


def test_what_was_compiled_is_named(home):
    items = grown(
        home,
        ("flashinfer", "0.6.8/90a/cached_ops/norm/norm.so"),
        ("flashinfer", "0.6.8/90a/cached_ops/norm/norm.cuda.o"),
        ("tvm-ffi", "sgl_kernel_jit_kvcache_512_true_0123456789abcdef/sgl_kernel_jit_kvcache_512_true.so"),
        ("triton", "ABCDEF/_copy_kernel.cubin"),
        ("triton", "ABCDEF/_copy_kernel.json"),
        ("driver", "a/b/xyz"),
    )
    assert [(item.cache, item.name) for item in items] == [
        ("driver", "a/b/xyz"), ("flashinfer", "norm"), ("triton", "_copy_kernel"),
        ("tvm-ffi", "sgl_kernel_jit_kvcache_512_true"),
    ]  # fmt: skip
    told = jit_caches.describe(items)
    assert "flashinfer: norm" in told
    assert "no machine code for this GPU: 1 times" in told


def test_writing_is_not_compiling(home):
    files = [
        ("sglang", "abc/rank_0_0/backbone/computation_graph_1763712345.5.py"),
        ("tvm-ffi", "x_0123456789abcdef/build.ninja"),
        ("tvm-ffi", "x_0123456789abcdef/lock"),
        ("triton", "K/tmp.pid_1_2/k.cubin"),
        ("driver", "index"),
    ]
    assert grown(home, *files) == []


def test_a_file_compiled_again_counts(home):
    old = put(home["tvm-ffi"] / "m_0123456789abcdef/m.so")
    before = jit_caches.snapshot(home)
    old.write_text("longer")
    (item,) = jit_caches.compiled(before, jit_caches.snapshot(home))
    assert item.name == "m"


def test_snapshot_survives_json(home, tmp_path):
    put(home["triton"] / "K/k.cubin")
    state = jit_caches.snapshot(home)
    file = tmp_path / "state.json"
    file.write_text(json.dumps(state))
    assert jit_caches.load_state(file) == state


def triton_entry(folder, key="KEY"):
    put(folder / key / "k.cubin", "machine code")
    put(folder / key / "k.json", "{}")
    paths = {"k.cubin": str(folder / key / "k.cubin"), "k.json": str(folder / key / "k.json")}
    put(folder / key / "__grp__k.json", json.dumps({"child_paths": paths}))


def test_harvest_and_place_under_another_home(home, tmp_path):
    before = jit_caches.snapshot(home)
    triton_entry(home["triton"])
    put(home["tvm-ffi"] / "m_0123456789abcdef/m.so", "library")
    items = jit_caches.compiled(before, jit_caches.snapshot(home))
    manifest = jit_caches.harvest(home, items, tmp_path / "harvest")
    assert manifest["files"]["triton/KEY/k.cubin"] == hashlib.sha256(b"machine code").hexdigest()
    other = jit_caches.roots({"HOME": str(tmp_path / "other"), "USER": "bob", "TMPDIR": str(tmp_path / "t2")})
    laid = jit_caches.place(tmp_path / "harvest", other)
    assert "tvm-ffi/m_0123456789abcdef/m.so" in laid
    group = json.loads((other["triton"] / "KEY/__grp__k.json").read_text())
    assert group["child_paths"] == {name: str(other["triton"] / "KEY" / name) for name in ("k.cubin", "k.json")}
    assert jit_caches.place(tmp_path / "harvest", other) == []
    assert jit_caches.relocate_triton(other["triton"]) == 0


@pytest.mark.parametrize(("damage", "told"), [("other", "changed or damaged"), (None, "is not there")])
def test_a_damaged_harvest_lays_nothing_down(home, tmp_path, damage, told):
    items = grown(home, ("triton", "K/k.cubin"), ("triton", "L/l.cubin"))
    jit_caches.harvest(home, items, tmp_path / "harvest")
    victim = tmp_path / "harvest/triton/L/l.cubin"
    victim.write_text(damage) if damage else victim.unlink()
    other = jit_caches.roots({"HOME": str(tmp_path / "other"), "USER": "bob", "TMPDIR": str(tmp_path / "t2")})
    with pytest.raises(ValueError, match=f"l.cubin .*{told}"):
        jit_caches.place(tmp_path / "harvest", other)
    assert not other["triton"].exists()


def test_a_manifest_cannot_write_elsewhere(home, tmp_path):
    put(tmp_path / "evil", "x")
    put(
        tmp_path / "harvest/manifest.json",
        json.dumps({"files": {"triton/../../evil": hashlib.sha256(b"x").hexdigest()}}),
    )
    with pytest.raises(ValueError, match="is not there"):
        jit_caches.place(tmp_path / "harvest", home)


def test_command_line(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("TRITON_CACHE_DIR", "TRITON_HOME", "TVM_FFI_CACHE_DIR", "FLASHINFER_WORKSPACE_BASE"):
        monkeypatch.delenv(variable, raising=False)
    jit_caches.main(["snapshot", str(tmp_path / "s.json")])
    put(home["triton"] / "K/k.cubin")
    jit_caches.main(["harvest", "--since", str(tmp_path / "s.json"), str(tmp_path / "out")])
    assert "triton: k" in capsys.readouterr().out
    assert (tmp_path / "out/triton/K/k.cubin").exists()
