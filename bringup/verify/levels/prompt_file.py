"""What a user gives to level sglang: a llama checkpoint, and prompts as JSON lines of `ids` or `text`.

Everything that can be known without loading the model is checked here, before minutes go into starting engines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
"""Files of which a checkpoint needs one before transformers can load its tokenizer."""

LLAMA = "LlamaForCausalLM"


def parse(text: str, source: str) -> list[dict[str, Any]]:
    """Return one object with `ids` or `text` a line; empty lines are left out.

    Raises:
        ValueError: naming `source` and the line that is neither.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            msg = f"{source}:{number}: not JSON: {error}"
            raise ValueError(msg) from error
        if not _is_prompt(row):
            msg = f'{source}:{number}: wants {{"ids": [numbers]}} or {{"text": "..."}}, one or more of them'
            raise ValueError(msg)
        rows.append(row)
    if not rows:
        msg = f"{source}: holds no prompt"
        raise ValueError(msg)
    return rows


def _is_prompt(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    ids, text = row.get("ids"), row.get("text")
    if isinstance(ids, list):
        return bool(ids) and all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in ids)
    return isinstance(text, str) and bool(text)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the prompts of a file.

    Raises:
        ValueError: it cannot be read, or a line is no prompt.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read: {error}"
        raise ValueError(msg) from error


def read_config(model: Path) -> dict[str, Any]:
    """Return config.json of a llama checkpoint.

    Raises:
        ValueError: the folder is no checkpoint, has no weights, or the model is no llama.
    """
    path = model / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path}: no config.json of a checkpoint: {error}"
        raise ValueError(msg) from error
    kinds = config.get("architectures") if isinstance(config, dict) else None
    if not isinstance(kinds, list) or LLAMA not in kinds:
        told = ", ".join(map(str, kinds)) if isinstance(kinds, list) else "nothing"
        msg = f"{path}: architectures says {told}; the reference of this level is for {LLAMA}"
        raise ValueError(msg)
    if not any(model.glob("*.safetensors")) and not any(model.glob("pytorch_model*.bin")):
        msg = f"{model}: holds no weights (*.safetensors)"
        raise ValueError(msg)
    return dict(config)


def check(model: Path, prompts: Path, count: int) -> None:
    """Check a checkpoint and its prompts as far as it goes without a tokenizer.

    Args:
        model: folder of the checkpoint.
        prompts: file of prompts.
        count: tokens that will be decoded for each.

    Raises:
        ValueError: naming the file and what is wrong in it.
    """
    config, rows = read_config(model), read(prompts)
    if any("ids" not in row for row in rows) and not any((model / name).is_file() for name in TOKENIZERS):
        msg = f"{prompts}: has prompts of `text`, and {model} has no tokenizer ({', '.join(TOKENIZERS)}); give `ids`"
        raise ValueError(msg)
    check_ids([row.get("ids", []) for row in rows], config, count, source=str(prompts))


def check_ids(prompts: Sequence[Sequence[int]], config: dict[str, Any], count: int, *, source: str) -> None:
    """Check that ids are of the vocabulary and that prompts leave room for what is decoded.

    Raises:
        ValueError: naming the prompt by its number in the file, from 1.
    """
    vocabulary, room = config.get("vocab_size"), config.get("max_position_embeddings")
    for number, ids in enumerate(prompts, start=1):
        if isinstance(vocabulary, int) and ids and max(ids) >= vocabulary:
            msg = f"{source}: prompt {number} has the id {max(ids)}; the model's vocabulary ends at {vocabulary - 1}"
            raise ValueError(msg)
        if isinstance(room, int) and len(ids) + count > room:
            msg = (
                f"{source}: prompt {number} has {len(ids)} tokens; with {count} to decode it is longer than the "
                f"model's context of {room}"
            )
            raise ValueError(msg)


def load(path: Path, model: Path, count: int) -> list[list[int]]:
    """Return the token ids of every prompt in `path`; texts go through the tokenizer of `model`.

    Raises:
        ValueError: a prompt is longer than the model's context, or has an id outside of its vocabulary.
    """
    check(model, path, count)
    rows = read(path)
    if all("ids" in row for row in rows):
        return [list(row["ids"]) for row in rows]
    from transformers import AutoTokenizer  # type: ignore[import-not-found]  # noqa: PLC0415 - slow, and only for texts

    tokenizer = AutoTokenizer.from_pretrained(str(model))
    found = [list(row["ids"]) if "ids" in row else list(tokenizer(row["text"])["input_ids"]) for row in rows]
    check_ids(found, read_config(model), count, source=str(path))
    return found
