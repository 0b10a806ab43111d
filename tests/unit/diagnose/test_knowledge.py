"""The knowledge loads, is complete, holds against its excerpts, and refuses what is wrong."""

import io
import json
import re
from pathlib import Path

import msgspec
import pytest
from helpers.own_data import own_knowledge

from bringup.diagnose import diagnose_paths, diagnose_stream, exit_code, render
from bringup.diagnose.check import check_knowledge, excerpts_of
from bringup.diagnose.knowledge import knowledge_folder, load_knowledge
from bringup.diagnose.reference import reference_page
from bringup.diagnose.scaffold import new_issue, signature_from
from bringup.errors import ConfigError, UsageError

GOOD = """
[[issue]]
id = "the-frobnicator-is-missing"
title = "No frobnicator"
category = "compile"
component = "cuda"
affected = ["flashinfer-python>=0.2"]
cause = "It is not there ({what})."
fix = ["invoke build --gpu {gpu}"]
sources = ["https://example.org/1"]

[[issue.signature]]
has = ["frobnicator"]
pattern = "error: no frobnicator (?P<what>\\\\w+)"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.toml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "excerpts").mkdir()
    (tmp_path / "excerpts" / "the-frobnicator-is-missing.log").write_text("x: error: no frobnicator here\n", "utf-8")
    return tmp_path


def test_the_projects_own_knowledge_holds():
    assert check_knowledge() == []


def test_every_id_has_excerpts_and_a_check():
    known = own_knowledge()
    assert len(known.issues) >= 90
    for name, item in known.issues.items():
        assert excerpts_of(knowledge_folder(), name), name
        assert item.issue.check, name


def test_an_answer_fills_in_facts_and_groups(folder: Path):
    log = folder / "excerpts" / "the-frobnicator-is-missing.log"
    answers = diagnose_paths([str(log)], facts={"gpu": "b200"}, knowledge=folder)
    best = answers[0].findings[0]
    assert (best.cause, best.fix) == ("It is not there (here).", ("invoke build --gpu b200",))
    assert best.url.endswith("#the-frobnicator-is-missing")
    assert exit_code(answers) == 10
    text = render(answers[0])
    assert ">      1 | x: error: no frobnicator here" in text
    assert "the-frobnicator-is-missing" in text


WRONG = {
    ("fix = [", "fixes = ["): "unknown key 'fixes' (did you mean 'fix'?)",
    ('has = ["frobnicator"]', 'hass = ["frobnicator"]'): "unknown key 'hass' (did you mean 'has'?)",
    ('category = "compile"', 'category = "compiling"'): "the-frobnicator-is-missing: Invalid enum value 'compiling'",
    ("(?P<what>", "((?P<what>"): "is no regular expression",
    ('has = ["frobnicator"]', 'has = ["fro"]'): "has needs literals of four letters or more",
    ("--gpu {gpu}", "--gpu {gpux}"): "{gpux} is neither a fact nor a group",
    ("error: no frobnicator (?P<what>\\\\w+)", "(?:x(?P<what>y))*"): "fits an empty line",
    ("no frobnicator (?P<what>\\\\w+)", "(?P<what>(a+b)+)"): "repeats a repetition",
    ("flashinfer-python>=0.2", "flashinfer >> 2"): "is no requirement",
    ('id = "the-frobnicator-is-missing"', 'id = "The_Frob"'): "an id is lower case words",
    ('component = "cuda"', 'component = "cuda"\nover = ["other-one"]'): "over names 'other-one', which is not an id",
    ("[[issue]]", "[[issue"): "good.toml",
}


@pytest.mark.parametrize(("before", "after"), WRONG)
def test_wrong_toml_is_refused_with_a_reason(before: str, after: str, folder: Path):
    assert before in GOOD
    (folder / "good.toml").write_text(GOOD.replace(before, after), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_knowledge(folder)
    assert WRONG[before, after] in caught.value.message


def test_every_problem_is_reported_at_once(folder: Path):
    text = GOOD.replace("{gpu}", "{gpux}").replace("flashinfer-python>=0.2", "a >> b")
    (folder / "good.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_knowledge(folder)
    assert len(caught.value.message.splitlines()) == 2


def test_same_id_twice(folder: Path):
    (folder / "more.toml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConfigError, match="another issue with this id"):
        load_knowledge(folder)


def test_empty_folder(tmp_path: Path):
    with pytest.raises(ConfigError, match=re.escape("no *.toml")):
        load_knowledge(tmp_path)


def test_check_finds_missing_stray_and_wrong_excerpts(folder: Path):
    log = folder / "excerpts" / "the-frobnicator-is-missing.log"
    log.write_text("all is well\n", encoding="utf-8")
    (folder / "excerpts" / "stray.log").write_text("x\n", encoding="utf-8")
    problems = check_knowledge(folder)
    assert "stray.log: there is no issue of this name" in problems
    assert any("fits none of its excerpts" in text for text in problems)
    assert any("the diagnosis of the-frobnicator-is-missing.log is clean" in text for text in problems)
    log.unlink()
    assert any("no excerpt" in text for text in check_knowledge(folder))


def test_a_new_entry_from_a_log_recognises_that_log(folder: Path, tmp_path: Path):
    log = tmp_path / "failed.log"
    log.write_text("cc -c a.c\n/w/a.c:12:3: error: the widget 'w17' is upside down\nninja: build stopped.\n", "utf-8")
    path = new_issue(str(log), issue="widget-upside-down", folder=folder)
    path.write_text(path.read_text("utf-8").replace("sources = []", 'sources = ["https://example.org/2"]'), "utf-8")
    assert check_knowledge(folder) == []
    other = tmp_path / "other.log"
    other.write_text("/home/me/b.cc:9:30: error: the widget `w2' is upside down\n", encoding="utf-8")
    assert diagnose_paths([str(other)], knowledge=folder)[0].findings[0].id == "widget-upside-down"
    with pytest.raises(UsageError, match="known issue widget-upside-down"):
        new_issue(str(log), folder=folder)


def test_nothing_to_add_from_a_clean_log(folder: Path, tmp_path: Path):
    log = tmp_path / "clean.log"
    log.write_text("ok\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no failure found"):
        new_issue(str(log), folder=folder)


def test_signatures_leave_paths_numbers_and_quotes_open():
    line = "/w/a.c:12:3: error: version '1.2.3' of \"libx\" [abc]"
    assert re.search(signature_from(line), "/other/b.c:7:99: error: version `4.5' of 'libx' [abc]")
    assert not re.search(signature_from(line), "/other/b.c:7:99: error: version `4.5' of 'liby' [abc]")


def test_reference_has_an_anchor_for_each_issue_and_no_open_placeholder():
    page = reference_page(own_knowledge())
    for name in own_knowledge().issues:
        assert f'<a id="{name}"></a>' in page
    assert not re.search(r"\{\w+\}", page)


def test_ids_of_the_advice_stay_out_of_the_json():
    text = "a.c:1:1: error: expected ';' before '}' token\n"
    answer = diagnose_stream(io.BytesIO(text.encode()), knowledge=own_knowledge(), log="x.log")
    shape = json.loads(msgspec.json.encode(answer))
    assert shape["schema"] == 1
    assert shape["status"] == "unknown"
    assert shape["log"] == "x.log"
    assert {"id", "category", "line", "line_no", "cause", "fix", "confidence", "url"} <= shape["findings"][0].keys()
    assert shape["findings"][0]["id"] is None
