"""The reference pages and schemas are those of the code, say something of every key, and fit the data files."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from bringup import errors
from bringup.config.reference import reference_pages
from bringup.config.schema import FILES, docstring, models, schemas
from bringup.diagnose import model as diagnose
from bringup.diagnose.model import Diagnosis
from bringup.doctor import model as doctor
from bringup.doctor.model import DoctorReport
from bringup.generated import generated_files, write_generated
from bringup.model.base import Table
from bringup.model.verify import Check, Level, VerifyReport
from bringup.tasks import TASKS as TASKS_BY_NAME

ROOT = Path(__file__).resolve().parents[2]
TASKS = sorted(TASKS_BY_NAME)


def every_model() -> list[type[msgspec.Struct]]:
    return list(dict.fromkeys(model for file in FILES.values() for model in models(file.model)))


def test_nothing_has_drifted() -> None:
    stale = [str(path.relative_to(ROOT)) for path in write_generated(ROOT, check=True)]
    assert stale == [], "make them anew with: invoke schema"


def test_no_page_is_left_over() -> None:
    made = {path for path in generated_files(ROOT) if path.parent != ROOT}
    there = {*(ROOT / "docs/schemas").glob("*"), *(ROOT / "docs/reference").glob("*.md")}
    by_hand = {path for path in there - made if "by `invoke schema`" not in path.read_text()}
    assert there - made == by_hand


@pytest.mark.parametrize("model", every_model(), ids=lambda model: model.__name__)
def test_every_key_is_explained(model: type[msgspec.Struct]) -> None:
    summary, attributes = docstring(model)
    assert summary
    fields = [field.name for field in msgspec.structs.fields(model)]
    assert [name for name in fields if not attributes.get(name)] == []
    assert [name for name in attributes if name not in fields] == [], "explained, and not there"


def test_every_kind_of_data_file_validates() -> None:
    """Each file that an editor is told a schema for has the keys that its schema asks for, and no others."""
    known = schemas()
    config = tomllib.loads((ROOT / ".taplo.toml").read_text())
    seen = 0
    for rule in config["rule"]:
        schema = json.loads(known[Path(rule["schema"]["path"]).name])
        table = schema["$defs"][schema["$ref"].rpartition("/")[2]]
        for pattern in rule["include"]:
            excluded = {path for glob in rule.get("exclude", ()) for path in ROOT.glob(glob)}
            for path in set(ROOT.glob(pattern)) - excluded:
                keys = set(tomllib.loads(path.read_text()))
                assert keys <= set(table["properties"]), path
                assert set(table.get("required", ())) <= keys, path
                seen += 1
    assert seen > 40


def test_schemas_describe_their_keys() -> None:
    schema = json.loads(schemas()["gpu.schema.json"])
    gpu = schema["$defs"]["Gpu"]
    assert gpu["properties"]["memory_gib"]["description"] == "memory of the smallest card of this name."
    assert gpu["additionalProperties"] is False
    assert "schema" in gpu["required"]


def test_a_page_shows_types_defaults_and_places() -> None:
    page = reference_pages()["recipe.md"]
    assert "In `[versions.sources.<name>]`, `[versions.sources.<name>.parts.source]`" in page
    assert '| `component` | string | `"main"` |' in page
    assert "| `versions` | list of [Version](#version) | required |" in page


def test_a_new_key_changes_page_and_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kettle(Table, frozen=True, kw_only=True):
        """A kettle.

        Attributes:
            litres: what it holds; `<name>` stays code, <this> is escaped.
            kind: steel | copper.
        """

        litres: float
        kind: Literal["steel", "copper"] = "steel"

    file = FILES["gpu"]
    monkeypatch.setitem(
        FILES, "gpu", type(file)(model=Kettle, title="Kettle", place="kettles/<name>.toml", text="It boils.")
    )
    page = reference_pages()["gpu.md"]
    assert "| `litres` | number | required | what it holds; `<name>` stays code, \\<this> is escaped. |" in page
    assert '| `kind` | `"steel"` or `"copper"` | `"steel"` | steel \\| copper. |' in page
    assert json.loads(schemas()["gpu.schema.json"])["$defs"]["Kettle"]["required"] == ["litres"]


def test_stale_and_missing_files_are_found_and_written(tmp_path: Path) -> None:
    for folder in ("recipes", "toolchains", "patches", "knowledge"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    every = set(generated_files(tmp_path))
    assert set(write_generated(tmp_path, check=True)) == every
    assert not (tmp_path / "docs").exists()
    assert set(write_generated(tmp_path, check=False)) == every
    page = tmp_path / "docs/reference/cli.md"
    page.write_text(page.read_text() + "more\n")
    assert write_generated(tmp_path, check=True) == [page]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_and_flag_is_on_the_page(name: str) -> None:
    page = (ROOT / "docs/reference/cli.md").read_text()
    section = re.search(rf"^### {name}$(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE)
    assert section
    shared = "".join(re.findall(r"^## (?:Target|Run) flags$.*?(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    flags = TASKS_BY_NAME[name].flags
    assert [flag for flag in flags if f"`--{flag}" not in section[1] and f"`--{flag}" not in shared] == []
    assert all(text for _, text in flags.values())
    assert " ".join(inspect.getdoc(TASKS_BY_NAME[name].body).split()) in section[1]


def test_every_exit_code_is_on_the_page() -> None:
    page = (ROOT / "docs/reference/exit-codes.md").read_text()
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.BringupError)]
    assert len(kinds) > 10
    assert [kind for kind in kinds if f"| {kind.exit_code} |" not in page] == []


@pytest.mark.parametrize(
    ("heading", "kinds"),
    [
        ("verify", [VerifyReport, Level, Check]),
        ("diagnose", [Diagnosis, diagnose.Finding]),
        ("doctor", [DoctorReport, doctor.Finding]),
    ],
)
def test_every_key_of_a_json_document_is_on_its_page(heading: str, kinds: list[type[msgspec.Struct]]) -> None:
    page = (ROOT / "docs/reference/json.md").read_text()
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([\w.\[\]]+)`", section[1]))))
    keys = {field.name for kind in kinds for field in msgspec.structs.fields(kind)} - {"schema", "level"}
    assert keys - told == set()
