"""Trees are whole or not there; facts are those of the files as they are."""

import json
import os
import threading
import time

import pytest

from bringup.errors import FetchError
from bringup.toolchain.assemble import MANIFEST, assemble, identity_of, merge, whole
from bringup.toolchain.facts import SCHEMA, FactCache

ID = identity_of("test")


def fill(made, home):
    (made / "bin").mkdir()
    (made / "bin/nvcc").write_text("#!/bin/sh\n")
    (made / "lib64").symlink_to("lib")
    (made / "home").write_text(str(home))


def test_tree_is_made_once_and_knows_its_final_place(tmp_path):
    home = assemble(tmp_path, "cuda", ID, fill)
    assert home.name == f"cuda-{ID[:16]}"
    assert (home / "home").read_text() == str(home)
    assert assemble(tmp_path, "cuda", ID, lambda *_: pytest.fail("made again")) == home


def test_failure_leaves_nothing_that_could_be_used(tmp_path):
    def fail(made, home):
        fill(made, home)
        msg = "no network"
        raise FetchError(msg)

    with pytest.raises(FetchError):
        assemble(tmp_path, "cuda", ID, fail)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("harm", ["lost", "shortened", "manifest", "other"])
def test_damaged_tree_is_made_again(tmp_path, harm):
    home = assemble(tmp_path, "cuda", ID, fill)
    if harm == "lost":
        (home / "bin/nvcc").unlink()
    elif harm == "shortened":
        (home / "bin/nvcc").write_text("")
    elif harm == "manifest":
        (home / MANIFEST).write_text("[]")
    else:
        text = (home / MANIFEST).read_text()
        (home / MANIFEST).write_text(text.replace(ID, identity_of("other")))
    assert not whole(home, ID)
    assemble(tmp_path, "cuda", ID, fill)
    assert whole(home, ID)
    assert (home / "bin/nvcc").read_text() == "#!/bin/sh\n"


def test_left_overs_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / f"cuda-{ID[:16]}.tmp-1").mkdir()
    (tmp_path / f"cuda-{ID[:16]}").mkdir()  # without a manifest: half made by other means
    home = assemble(tmp_path, "cuda", ID, fill)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [home]


def test_two_at_once_make_it_once(tmp_path):
    made = []

    def slowly(folder, home):
        made.append(folder)
        threading.Event().wait(0.1)
        fill(folder, home)

    threads = [threading.Thread(target=assemble, args=(tmp_path, "cuda", ID, slowly)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_merge_keeps_what_is_there(tmp_path):
    for name, text in {"a/bin/nvcc": "real", "b/bin/nvcc": "wrapper", "b/bin/ptxas": "p", "b/lib/x": "x"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    merge(tmp_path / "b", tmp_path / "a")
    assert (tmp_path / "a/bin/nvcc").read_text() == "real"
    assert (tmp_path / "a/bin/ptxas").read_text() == "p"
    assert (tmp_path / "a/lib/x").read_text() == "x"


def test_facts_are_asked_once_until_the_file_changes(tmp_path):
    file = tmp_path / "gcc"
    file.write_text("1")
    os.utime(file, ns=(1, 1))
    asked = []

    def ask():
        asked.append(1)
        return {"version": file.read_text()}, [file]

    def know():
        return FactCache(tmp_path / "cache/facts.json").know("gcc", ask)["version"]

    assert [know(), know()] == ["1", "1"]
    assert len(asked) == 1
    file.write_text("2")
    os.utime(file, ns=(1, 1))
    assert know() == "2"
    file.unlink()
    file.write_text("2")
    os.utime(file, ns=(1, 1))  # same size and time; the inode may be the same too, the answer must be
    assert know() == "2"


def test_an_edit_within_one_tick_of_the_clock_is_seen(tmp_path):
    """Same size, same time, same inode: what was read of a file that had just been written is asked again."""
    file = tmp_path / "gcc"
    file.write_text("1")
    now = time.time_ns()
    os.utime(file, ns=(now, now))
    facts = FactCache(tmp_path / "facts.json")

    def ask():
        return {"version": file.read_text()}, [file]

    assert facts.know("gcc", ask)["version"] == "1"
    entry = facts._read()["gcc"]
    file.write_text("2")
    os.utime(file, ns=(now, now))
    entry["files"][str(file)][3] = file.stat().st_ctime_ns  # as if the change time had not moved either
    (tmp_path / "facts.json").write_text(json.dumps({"schema": SCHEMA, "entries": {"gcc": entry}}))
    assert FactCache(facts.path).know("gcc", ask)["version"] == "2"


def test_facts_about_a_file_from_the_future_are_asked_each_time(tmp_path):
    """A clock that was set back: the file may be edited again at a time that it already had."""
    file = tmp_path / "gcc"
    file.write_text("1")
    later = time.time_ns() + 3_600_000_000_000
    os.utime(file, ns=(later, later))
    facts = FactCache(tmp_path / "facts.json")
    facts.know("gcc", lambda: ({"version": "1"}, [file]))
    assert FactCache(facts.path).get("gcc") is None


def test_facts_given_out_can_be_changed_without_harm(tmp_path):
    facts = FactCache(tmp_path / "facts.json")
    facts.know("x", lambda: ({"a": "1"}, [])).pop("a")
    assert facts.know("x", lambda: pytest.fail("asked again")) == {"a": "1"}


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 9, "entries": {}}', '{"schema": 1, "entries": {"x": 3}}', "{"])
def test_unreadable_facts_only_cost_time(tmp_path, text):
    (tmp_path / "facts.json").write_text(text)
    assert FactCache(tmp_path / "facts.json").know("x", lambda: ({"a": "1"}, [])) == {"a": "1"}


def test_facts_never_replace_what_is_not_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    FactCache(tmp_path / "folder").path.mkdir()
    for name in ("folder", "pipe"):
        facts = FactCache(tmp_path / name)
        # A pipe would block a reader for ever: only what is a file is read.
        assert facts.know("x", lambda: ({"a": "1"}, [])) == {"a": "1"}
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "folder").is_dir()


def test_hash_of_a_file_follows_it(tmp_path):
    facts = FactCache(tmp_path / "facts.json")
    (tmp_path / "a").write_text("x")
    before = facts.sha256(tmp_path / "a")
    (tmp_path / "a").write_text("yy")
    assert facts.sha256(tmp_path / "a") != before
