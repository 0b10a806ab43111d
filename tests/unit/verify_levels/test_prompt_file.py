import prompt_file
import pytest
from hypothesis import given
from hypothesis import strategies as st


def test_ids_and_texts():
    assert prompt_file.parse('{"ids": [1, 2]}\n\n{"text": "Hello"}\n', "p") == [{"ids": [1, 2]}, {"text": "Hello"}]


def test_ids_need_no_tokenizer(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"ids": [1, 2]}\n')
    assert prompt_file.load(tmp_path / "p.jsonl", tmp_path / "no-model") == [[1, 2]]


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
