import json

import prompt_file
import pytest
from hypothesis import given
from hypothesis import strategies as st


def test_ids_and_texts():
    assert prompt_file.parse('{"ids": [1, 2]}\n\n{"text": "Hello"}\n', "p") == [{"ids": [1, 2]}, {"text": "Hello"}]


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    write_config(folder, architectures=["LlamaForCausalLM"], vocab_size=100, max_position_embeddings=80)
    (folder / "model.safetensors").touch()
    return folder


def write_config(folder, **values):
    (folder / "config.json").write_text(json.dumps(values))


def prompts(model, *lines):
    path = model.parent / "p.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_ids_need_no_tokenizer(model):
    assert prompt_file.load(prompts(model, '{"ids": [1, 2]}'), model, 64) == [[1, 2]]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (['{"text": "Hello"}'], "has prompts of `text`, and .* has no tokenizer"),
        (['{"ids": [1]}', '{"ids": [1, 100]}'], "prompt 2 has the id 100; the model's vocabulary ends at 99"),
        ([json.dumps({"ids": [1] * 17})], "prompt 1 has 17 tokens; with 64 to decode .* context of 80"),
        (['{"ids": [1]}', "{"], "p.jsonl:2: not JSON"),
    ],
)
def test_prompts_that_do_not_fit_the_model(model, lines, told):
    with pytest.raises(ValueError, match=told):
        prompt_file.check(model, prompts(model, *lines), 64)


def test_a_prompt_may_fill_the_context(model):
    prompt_file.check(model, prompts(model, json.dumps({"ids": [1] * 16})), 64)


def test_folders_that_are_no_llama(model, tmp_path):
    file = prompts(model, '{"ids": [1]}')
    (model / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no weights"):
        prompt_file.check(model, file, 64)
    write_config(model, architectures=["GPT2LMHeadModel"])
    with pytest.raises(ValueError, match=r"architectures says GPT2LMHeadModel; .* LlamaForCausalLM"):
        prompt_file.check(model, file, 64)
    with pytest.raises(ValueError, match=r"no config\.json of a checkpoint"):
        prompt_file.check(tmp_path / "none", file, 64)
    with pytest.raises(ValueError, match="cannot be read"):
        prompt_file.read(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "p: holds no prompt"),
        ("{", "p:1: not JSON"),
        ('{"ids": [1]}\n{"ids": []}', "p:2: wants"),
        ('{"ids": [1, -2]}', "p:1: wants"),
        ('{"ids": [true]}', "p:1: wants"),
        ('{"text": ""}', "p:1: wants"),
        ('{"words": "x"}', "p:1: wants"),
        ("[1, 2]", "p:1: wants"),
    ],
)
def test_a_wrong_line_is_named(text, told):
    with pytest.raises(ValueError, match="^" + told):
        prompt_file.parse(text, "p")


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        rows = prompt_file.parse(text, "p")
    except ValueError as error:
        told = str(error)
    else:
        told = "p:" if rows else "nothing"
    assert told.startswith("p:")
