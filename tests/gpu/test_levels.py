"""The levels themselves, on a GPU: `pytest -m gpu tests/gpu` with the Python of the environment being verified.

Without a GPU the parts that need only torch run on the CPU, so that a mistake shows before a node is booked.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LEVELS = Path(__file__).resolve().parents[2] / "bringup" / "verify" / "levels"
sys.path.insert(0, str(LEVELS))

torch = pytest.importorskip("torch", reason="runs in the environment being verified")

import fp32_reference  # noqa: E402
import llama_step  # noqa: E402
import small_llama  # noqa: E402
import token_rule  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # other packages warn, here it is theirs

TINY = llama_step.Shape(
    layers=2, hidden=256, heads=4, kv_heads=2, head_dim=64, intermediate=512, vocab=4096, positions=256
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return folder, small_llama.write(folder, shape=TINY, tokens=24)


def greedy_with_transformers(folder, prompts, count, dtype):
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - slow to import

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype, attn_implementation="eager").eval()
    with torch.no_grad():
        return [fp32_reference.decode(model, ids, count, tested_dtype="bfloat16") for ids in prompts]


def test_every_margin_of_the_checkpoint_is_far_above_the_noise(checkpoint):
    folder, made = checkpoint
    assert made["short_margins"] == 0
    rows = greedy_with_transformers(folder, made["prompts"], 24, torch.float32)
    for row in rows:
        assert all(margin > 1.5 * bound for margin, bound in zip(row["margins"], row["bounds"], strict=True))
    assert len({token for row in rows for token in row["tokens"]}) >= 200


def test_our_step_and_transformers_agree(checkpoint):
    folder, made = checkpoint
    from safetensors.torch import load_file  # noqa: PLC0415 - of the environment being verified

    weights = {name: value.float() for name, value in load_file(str(folder / "model.safetensors")).items()}
    model = llama_step.load(TINY, weights, device="cpu", dtype=torch.float32)
    prompt = made["prompts"][2]
    cache = llama_step.DenseCache(TINY, batch=1, length=64, device="cpu", dtype=torch.float32)
    with torch.no_grad():
        for place, token in enumerate(prompt):
            logits = llama_step.step(model, torch.tensor([token]), torch.tensor([place]), cache.attend)
    (row,) = greedy_with_transformers(folder, [prompt], 1, torch.float32)
    assert int(logits.argmax()) == row["tokens"][0]
    assert float(logits.log_softmax(-1).max()) == pytest.approx(row["logprobs"][0], abs=1e-3)


def test_bfloat16_is_right_by_the_rule_and_damage_is_not(checkpoint):
    folder, made = checkpoint
    exact = greedy_with_transformers(folder, made["prompts"], 24, torch.float32)
    told = {"margins": [row["margins"] for row in exact], "bounds": [row["bounds"] for row in exact]}
    expected = [row["tokens"] for row in exact]
    rounded = greedy_with_transformers(folder, made["prompts"], 24, torch.bfloat16)
    assert token_rule.judge(expected, [row["tokens"] for row in rounded], **told).passed
    config = json.loads((folder / "config.json").read_text())
    for key, wrong in (("rope_theta", 20000.0), ("num_hidden_layers", 1)):
        (folder / "config.json").write_text(json.dumps(config | {key: wrong}))
        damaged = greedy_with_transformers(folder, made["prompts"], 24, torch.float32)
        assert not token_rule.judge(expected, [row["tokens"] for row in damaged], **told).passed, key
    (folder / "config.json").write_text(json.dumps(config))


@needs_gpu
@pytest.mark.parametrize("level", ["torch", "flashinfer"])
def test_level_is_ok(level, tmp_path):
    out = tmp_path / "level.json"
    subprocess.run([sys.executable, LEVELS / f"{level}_level.py", "--json", out], check=True, timeout=600)
    checks = json.loads(out.read_text())["checks"]
    assert [check["why"] for check in checks if check["status"] == "FAIL"] == []
    assert [check["why"] for check in checks if check["status"] == "SKIPPED" and check["required"]] == []
