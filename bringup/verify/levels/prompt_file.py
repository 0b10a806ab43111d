"""Prompts from a file of JSON lines, `{"ids": [1, 5, 9]}` or `{"text": "..."}`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


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
        except ValueError as error:
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


def load(path: Path, model: Path) -> list[list[int]]:
    """Return the token ids of every prompt in `path`; texts go through the tokenizer of `model`."""
    rows = parse(path.read_text(encoding="utf-8"), str(path))
    if all("ids" in row for row in rows):
        return [list(row["ids"]) for row in rows]
    from transformers import AutoTokenizer  # type: ignore[import-not-found]  # noqa: PLC0415 - slow, and only for texts

    tokenizer = AutoTokenizer.from_pretrained(str(model))
    return [list(row["ids"]) if "ids" in row else list(tokenizer(row["text"])["input_ids"]) for row in rows]
