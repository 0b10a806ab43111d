"""The kernel that masks a sharded vocabulary does what SGLang's function does, and is compiled ahead for every call.

BRINGUP_TEST_ENVIRONMENT names an environment of the stack `kernels` (build/TARGET/env); without it this is skipped. No
GPU is needed: Triton interprets the kernel for the first test, and is told which GPU there is for the second.
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = Path(os.environ.get("BRINGUP_TEST_ENVIRONMENT", "/nonexistent"))

pytestmark = pytest.mark.skipif(
    not (ENVIRONMENT / "bin/python").exists(), reason="BRINGUP_TEST_ENVIRONMENT names no environment with SGLang"
)

EQUAL = """
import ast, importlib.util, itertools, pathlib, torch
layers = pathlib.Path(importlib.util.find_spec("sglang").origin).parent / "srt/layers"
spec = importlib.util.spec_from_file_location("vocab_mask_kernel", layers / "vocab_mask_kernel.py")
ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
source = ast.parse((layers / "vocab_parallel_embedding.py").read_text())
own = next(node for node in source.body if getattr(node, "name", "") == "get_masked_input_and_mask")
own.decorator_list.clear()
own.returns = None
names = {"torch": torch}
exec(compile(ast.Module([own], []), "own", "exec"), names)
theirs = names[own.name]

shards = [(0, 16000, 0, 32000, 32000), (16000, 32000, 0, 32000, 32000),  # Llama over two GPUs
          (0, 505, 7, 1024, 1032), (505, 1010, 7, 1032, 1040)]  # padded, and with tokens that were added
torch.manual_seed(0)
count = 0
for size, kind, shard in itertools.product((0, 1, 2, 1023, 1024, 1025, 3000), (torch.int64, torch.int32), shards):
    ids = torch.randint(0, shard[4] + 10, (size,), dtype=kind)
    for some in (ids, ids[1:], ids[::2], ids.reshape(1, -1)):
        for got, wanted in zip(ours.masked_input_and_mask(some, *shard), theirs(some, *shard)):
            assert got.dtype == wanted.dtype and torch.equal(got, wanted), (size, kind, shard)
            count += 1
print(count)
"""

FOUND = """
import importlib.util, sys
sys.path.insert(0, {recipes!r})
import sglang_kernels_triton as ahead
import torch, pathlib
layers = pathlib.Path(importlib.util.find_spec("sglang").origin).parent / "srt/layers"
spec = importlib.util.spec_from_file_location("sglang.srt.layers.vocab_mask_kernel", layers / "vocab_mask_kernel.py")
ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
ahead.pretend(90)
paths = set()
for size, start in ((1, 0), (16, 0), (17, 1), (4096, 1)):
    ids, mask = torch.zeros(size + 1, dtype=torch.int64)[start:], torch.zeros(size + 1, dtype=torch.int8)[start:]
    for numbers in ((0, 16000, 0, 32000, 32000), (1, 16, 0, 128256, 128257)):
        made = ours.vocab_mask_kernel.warmup(ids, ids, mask, size, *numbers, BLOCK=1024, grid=(1,))
        paths |= set(made.metadata_group.values())
print(*sorted(paths), sep="\\n")
"""


def python(code: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "CC": "/bin/false", **variables}
    argv = [str(ENVIRONMENT / "bin/python"), "-W", "ignore", "-c", code]
    return subprocess.run(argv, env=env, cwd=home, capture_output=True, text=True, check=False)


def test_it_gives_what_the_compiled_function_gives(tmp_path):
    done = python(EQUAL, tmp_path / "home", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 7 * 2 * 4 * 4 * 2


def test_one_kernel_that_was_built_ahead_serves_every_shard_and_batch(tmp_path):
    done = python(FOUND.format(recipes=str(ROOT / "recipes")), tmp_path / "home")
    assert done.returncode == 0, done.stderr
    paths = done.stdout.split()
    assert {Path(path).suffix for path in paths} == {".cubin", ".json"}
    assert len({Path(path).parent for path in paths}) == 1
    assert all("sglang_jit_cache/triton/files" in path for path in paths)
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
