"""The FlashInfer hook without FlashInfer: options, progress, memory, ninja files."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_hooks import RECIPES, load_hook

from bringup.errors import BuildError, ConfigError

hook = load_hook("flashinfer")
generate = load_hook("flashinfer_generate")
ninja = load_hook("flashinfer_ninja")
torch_modules = load_hook("flashinfer_torch_modules")


def test_no_options_are_the_llama_set():
    options = hook.read_options({})
    assert options.head_dims == ((128, 128),)
    assert options.dtypes == ("bf16",)
    assert "prefill-fa3" in options.families
    assert "mla" not in options.families


def test_defaults_are_those_of_the_recipe():
    table = tomllib.loads((RECIPES / "flashinfer.toml").read_text())["options"]
    assert hook.read_options(table) == hook.read_options({})


def test_head_dims_are_numbers_or_pairs_and_repeats_count_once():
    assert hook.read_options({"head_dims": [64, [192, 128], 64]}).head_dims == ((64, 64), (192, 128))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"head_dim": [128]}, "[options.flashinfer] head_dim: no such option, did you mean 'head_dims'?"),
        ({"families": ["prefill-f3"]}, "families = 'prefill-f3': unknown, did you mean 'prefill-fa3'?"),
        ({"dtypes": ["bfloat16"]}, "dtypes = 'bfloat16': unknown, did you mean 'bf16'?; known are bf16, f16"),
        ({"kv_dtypes": ["e4m4"]}, "kv_dtypes = 'e4m4': unknown, did you mean 'e4m3'?"),
        ({"head_dims": [100]}, "head_dims = 100: expected a multiple of 16"),
        ({"head_dims": [True]}, "head_dims = True"),
        ({"head_dims": []}, "head_dims = []: the attention families need one"),
        ({"head_dims": 128}, "head_dims = 128: expected a list"),
        ({"families": []}, "families = []: nothing would be compiled"),
        ({"full": "yes"}, "full = 'yes': expected true or false"),
        ({"sliding_window": [1]}, "sliding_window = 1: expected true or false"),
    ],
)
def test_wrong_options_name_key_value_and_nearest(table, expected):
    with pytest.raises(ConfigError) as info:
        hook.read_options(table)
    assert expected in info.value.message


def test_all_wrong_options_are_reported_at_once():
    with pytest.raises(ConfigError) as info:
        hook.read_options({"head_dim": [1], "dtypes": ["x"], "full": 3})
    assert len(info.value.message.splitlines()) == 3


def test_small_families_need_no_head_dims():
    assert hook.read_options({"families": ["page", "norm"], "head_dims": []}).families == ("page", "norm")


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
values = st.one_of(scalars, st.lists(st.one_of(scalars, st.lists(scalars, max_size=3)), max_size=4))
keys = st.one_of(st.text(max_size=8), st.sampled_from(sorted(hook.Options.__dataclass_fields__)))


@given(st.dictionaries(keys, values, max_size=5))
def test_any_table_gives_options_or_a_config_error(table):
    try:
        options = hook.read_options(table)
    except ConfigError as exc:
        problems = exc.message.splitlines()
    else:
        problems = []
        assert set(options.families) <= set(hook.FAMILIES)
        assert all(dim % 16 == 0 for pair in options.head_dims for dim in pair)
    assert all(problem.startswith("[options.flashinfer] ") for problem in problems)


def watch(**changes: Any) -> Any:
    costs = {"a": 60.0, "b": 60.0, "c": 10.0}
    return hook.Watch(costs=costs, objects={"/w/b.o": "b"}, **{"jobs": 2, **changes})


def test_progress_names_running_units_and_counts_finished_ones():
    seen = watch()
    assert seen.line("@start a", 0.0)
    assert seen.line("@start b", 1.0)
    assert seen.progress(1.0).now == "b, a"
    assert seen.line("@done 1/4 a", 60.0)
    assert not seen.line("@done 2/4 page: link", 61.0)
    assert not seen.line("nvcc warning : something", 61.0)
    progress = seen.progress(61.0)
    assert (progress.done, progress.total, progress.now) == (1, 3, "b")


def test_estimate_starts_from_the_cost_table_and_follows_the_machine():
    seen = watch()
    assert seen.progress(0.0).eta_seconds == pytest.approx(130 / 2)
    seen.line("@start a", 0.0)
    seen.line("@done 1/4 a", 300.0)  # five times slower than the table says
    assert seen.progress(300.0).eta_seconds > 100


def test_estimate_knows_that_heavy_units_wait_for_each_other():
    assert watch(heavy=frozenset("ab")).progress(0.0).eta_seconds == pytest.approx(120)


@given(st.lists(st.tuples(st.sampled_from(["start", "done"]), st.sampled_from("abcd"), st.floats(0, 900))))
def test_estimate_is_never_negative(events):
    seen = watch()
    now = 0.0
    for verb, unit, step in events:
        now += step
        seen.line(f"@{verb} {'1/4 ' if verb == 'done' else ''}{unit}", now)
        progress = seen.progress(now)
        assert progress.eta_seconds >= 0
        assert progress.done <= progress.total


def test_a_failed_unit_is_named_with_its_first_error():
    seen = watch()
    for line in (
        "@start b",
        "@done 1/4 b",
        "FAILED: [code=1] /w/b.o ",
        "nvcc -c b.cu -Werror",
        "In file included from x.cuh:3,",
        "norm.cuh:25:10: fatal error: cublasLt.h: No such file or directory",
    ):
        seen.line(line, 0.0)
    error = hook._named(BuildError("ninja failed", log="/l"), seen, 4)
    assert "kernel 'b' does not compile: norm.cuh:25:10: fatal error: cublasLt.h" in error.message
    assert error.log == "/l"


def test_a_killed_compiler_says_memory_and_the_jobs_to_use():
    seen = watch()
    for line in ("FAILED: [code=137] /w/b.o ", "nvcc -c b.cu", "Killed"):
        seen.line(line, 0.0)
    assert "--jobs 2" in hook._named(BuildError("ninja failed"), seen, 4).hint


def test_an_error_without_a_failed_unit_stays_as_it_is():
    error = BuildError("ninja: cannot start")
    assert hook._named(error, watch(), 4) is error


def test_cost_table_ends_with_a_row_for_everything_and_matches_in_order():
    costs = tomllib.loads((RECIPES / "flashinfer.units.toml").read_text())["unit"]
    assert costs[-1]["source"] == "*"
    heavy = ninja.unit_cost(costs, "batch_prefill_x_sm90/batch_prefill_paged_sm90_kernel_mask_1.cu")
    assert heavy[0] > 40
    assert heavy[1] > 3000
    assert ninja.unit_cost(costs, "csrc/page.cu")[1] < 1000
    with pytest.raises(ValueError, match="no row"):
        ninja.unit_cost(costs[:1], "csrc/page.cu")


@given(
    st.lists(st.integers(50, 8000), min_size=1, max_size=12),
    st.integers(1, 64),
    st.integers(500, 200_000),
)
def test_no_mix_of_running_units_exceeds_the_memory(sizes, jobs, budget):
    limit, heavy_depth, light_depth = ninja.pool_depths(sizes, jobs=jobs, budget_mib=budget)
    heavy = sorted((size for size in sizes if size > limit), reverse=True)
    light = sorted((size for size in sizes if size <= limit), reverse=True)
    worst = 0
    for number in range(min(jobs, heavy_depth) + 1):
        others = min(light_depth, jobs - number) if light else 0
        worst = max(worst, number * (heavy[0] if heavy else 0) + others * (light[0] if light else 0))
    assert worst <= max(budget, *sizes)
    assert heavy_depth >= 1
    assert light_depth >= 1


@pytest.mark.parametrize(
    ("jobs", "gib", "expected"),  # with 125 GiB no unit is heavy: sixteen of the largest fit
    [(2, 20, (1, 2)), (2, 6, (1, 2)), (16, 32, (6, 11)), (16, 125, (1, 16)), (4, 3, (1, 1))],
)
def test_heavy_units_at_once(jobs, gib, expected):
    sizes = [3550] * 10 + [1000] * 27
    _, heavy, light = ninja.pool_depths(sizes, jobs=jobs, budget_mib=gib * 1024)
    assert (heavy, light) == expected


@pytest.mark.parametrize(
    ("family", "name", "label"),
    [
        (
            "prefill-fa3",
            (
                "batch_prefill_with_kv_cache_dtype_q_bf16_dtype_kv_bf16_dtype_o_bf16_dtype_idx_i32_head_dim_qk_128_"
                "head_dim_vo_128_posenc_0_use_swa_False_use_logits_cap_False_f16qk_False_sm90"
            ),
            "prefill-fa3 bf16 hd128",
        ),
        (
            "decode",
            (
                "batch_decode_with_kv_cache_dtype_q_f16_dtype_kv_e4m3_dtype_o_f16_dtype_idx_i32_head_dim_qk_192_"
                "head_dim_vo_128_posenc_0_use_swa_True_use_logits_cap_True"
            ),
            "decode f16/e4m3 hd192x128 swa cap",
        ),
        (
            "mla",
            (
                "batch_mla_attention_dtype_q_bf16_dtype_kv_bf16_dtype_o_bf16_dtype_idx_i32_head_dim_ckv_512_"
                "head_dim_kpe_64_profiler_False_sm90"
            ),
            "mla-fa3 bf16",
        ),
        ("page", "page", "page"),
    ],
)
def test_modules_have_names_a_person_knows(family, name, label):
    assert ninja.module_label(family, name) == label


NINJA = """\
ninja_required_version = 1.3
cuda_cflags = -isystem /envs/fi-1/lib/tvm_ffi/include
rule cuda_compile
  command = $nvcc $cuda_cflags -c $in -o $out
  depfile = $out.d

rule link
  command = $cxx $in $ldflags -o $out

build {dir}/csrc_small.cuda.o: cuda_compile {src}/csrc/small.cu
build {dir}/x_sm90_k_kernel_mask_1.cuda.o: cuda_compile {src}/x_sm90/k_kernel_mask_1.cu

build {dir}/demo.so: link {dir}/csrc_small.cuda.o {dir}/x_sm90_k_kernel_mask_1.cuda.o
default {dir}/demo.so
"""
COSTS = [
    {"source": "*_sm90/*_kernel_mask_*.cu", "cpu_seconds": 60, "memory_mib": 3500},
    {"source": "*", "cpu_seconds": 5, "memory_mib": 300},
]


def demo(folder: Path, moved: dict[str, str] | None = None) -> Any:
    path = folder / "modules" / "demo" / "build.ninja"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(NINJA.format(dir=path.parent, src="/src"))
    return ninja.Module("demo", "demo", path, COSTS, moved=moved or {})


def test_heavy_units_come_first_in_a_pool_of_their_own(tmp_path):
    text = demo(tmp_path).ninja_text("abc123", heavy_mib=1000)
    heavy, light = text.index("mask_1.cu\n"), text.index("small.cu\n")
    assert heavy < light
    assert text[heavy:].splitlines()[1:3] == ["  unit = demo: k kernel mask 1", "  pool = heavy"]
    assert text[light:].splitlines()[1:3] == ["  unit = demo: small", "  pool = light"]
    assert "BRINGUP_START='@start $unit'" in text
    assert "-o $out && echo abc123 >$out.key" in text


def test_the_key_does_not_depend_on_where_the_build_environment_is(tmp_path):
    moved = {"/envs/fi-1": "/work/env"}
    module = demo(tmp_path, moved)
    assert "/envs/fi-1" not in module.ninja_text("k", 0)
    path = module.folder / "build.ninja"
    path.write_text(path.read_text().replace("fi-1", "fi-2"))
    other = ninja.Module("demo", "demo", path, COSTS, moved={"/envs/fi-2": "/work/env"})
    assert module.key(tmp_path) == other.key(tmp_path)


def test_the_key_follows_the_generated_sources(tmp_path):
    source = tmp_path / "generated" / "x_sm90" / "k_kernel_mask_1.cu"
    source.parent.mkdir(parents=True)
    source.write_text("one")
    module = demo(tmp_path)
    module.units[0]["source"] = str(source)
    before = module.key(tmp_path)
    (source.parent / "config.inc").write_text("head dim")
    middle = module.key(tmp_path)
    source.write_text("two")
    assert len({before, middle, module.key(tmp_path)}) == 3


def test_the_tree_digest_goes_by_content_and_not_by_time(tmp_path):
    header = tmp_path / "include" / "a.cuh"
    header.parent.mkdir()
    header.write_text("one")
    first = generate.tree_digest(tmp_path, "nvcc 13.0")
    header.touch()
    assert generate.tree_digest(tmp_path, "nvcc 13.0") == first
    assert generate.tree_digest(tmp_path, "nvcc 12.8") != first
    header.write_text("two")
    assert generate.tree_digest(tmp_path, "nvcc 13.0") != first


def test_unchanged_files_are_not_written_again(tmp_path):
    path = tmp_path / "build.ninja"
    ninja.write_if_changed(path, "same")
    path.chmod(0o444)
    before = path.stat().st_mtime_ns
    ninja.write_if_changed(path, "same")
    assert path.stat().st_mtime_ns == before


def test_a_wheel_is_made_by_the_backend_of_the_tree(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "own_backend"\nbackend-path = ["."]\n'
    )
    (tmp_path / "own_backend.py").write_text(
        "from pathlib import Path\n"
        "def build_wheel(out, settings=None, metadata=None):\n"
        "    Path(out, 'a-1-py3-none-any.whl').write_bytes(b'w')\n"
        "    return 'a-1-py3-none-any.whl'\n"
    )
    before = list(sys.path)
    try:
        assert generate.make_wheel(tmp_path, tmp_path) == "a-1-py3-none-any.whl"
    finally:
        sys.path[:] = before
        sys.modules.pop("own_backend", None)
    assert (tmp_path / "a-1-py3-none-any.whl").read_bytes() == b"w"


TORCH_NINJA = """ninja_required_version = 1.3
cxx = c++
nvcc = /cuda/bin/nvcc

cflags = -DTORCH_EXTENSION_NAME=page -D_GLIBCXX_USE_CXX11_ABI=0 -O3
cuda_cflags = -ccbin gcc -I/b/env/include -D_GLIBCXX_USE_CXX11_ABI=0 -gencode=arch=compute_90a,code=sm_90a
ldflags = -shared -L/b/env/torch/lib -lc10

rule cuda_compile
  depfile = $out.d
  deps = gcc
  command = $nvcc --generate-dependencies-with-compile --dependency-output $out.d $cuda_cflags -c $in -o $out

rule link
  command = $cxx $in $ldflags -o $out

build page.cuda.o: cuda_compile /s/csrc/page.cu
build page_ops.cuda.o: cuda_compile /s/csrc/flashinfer_page_ops.cu

build page.so: link page.cuda.o page_ops.cuda.o

default page.so
"""


def test_a_ninja_file_of_torch_becomes_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLASHINFER_EXTRA_CUDAFLAGS", "-objtemp")
    monkeypatch.setenv("FLASHINFER_EXTRA_LDFLAGS", "-Wl,-s")
    folder = tmp_path / "modules/page"
    folder.mkdir(parents=True)
    (folder / "build.ninja").write_text(TORCH_NINJA)
    spec = torch_modules.Spec(folder)
    spec.write_ninja()
    text = spec.ninja_path.read_text()
    assert "code=sm_90a -objtemp\n" in text
    assert "-lc10 -Wl,-s\n" in text
    assert "default" not in text
    costs = [{"source": "*", "cpu_seconds": 1, "memory_mib": 1}]
    module = ninja.Module("page", spec.name, spec.ninja_path, costs, moved={"/b/env": "/w/env"})
    assert [unit["object"] for unit in module.units] == [f"{folder}/page_ops.cuda.o", f"{folder}/page.cuda.o"]
    assert module.library == folder / "page.so"
    written = module.ninja_text("k", 10)
    assert f"build {folder}/page.so: link {folder}/page.cuda.o {folder}/page_ops.cuda.o" in written
    other = ninja.Module("page", spec.name, spec.ninja_path, costs, moved={})
    assert module.key(tmp_path) != other.key(tmp_path)


def test_the_cxx_abi_is_part_of_a_modules_key(tmp_path: Path):
    keys = set()
    for value in ("0", "1"):
        folder = tmp_path / value / "page"
        folder.mkdir(parents=True)
        (folder / "build.ninja").write_text(TORCH_NINJA.replace("ABI=0", f"ABI={value}"))
        spec = torch_modules.Spec(folder)
        spec.write_ninja()
        moved = {str(tmp_path / value): "/m"}
        keys.add(
            ninja.Module(
                "page", "page", spec.ninja_path, [{"source": "*", "cpu_seconds": 1, "memory_mib": 1}], moved=moved
            ).key(tmp_path)
        )
    assert len(keys) == 2
