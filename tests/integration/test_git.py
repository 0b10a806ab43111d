"""Fetching from real git servers on loopback."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gitserver import GitServer, free_port, git_daemon, git_http, run_git

from bringup.errors import FetchError, StorageError
from bringup.model.source import GitSource
from bringup.system.environ import base_environment
from bringup.system.git import (
    GitAccess,
    Selection,
    checkout,
    checkout_source,
    fetch_commit,
    fetch_source,
    fetch_tree,
    has_commit,
    mirror_path,
    probe,
    probe_sources,
    resolve_tag,
)

ALL = Selection()
GONE = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(params=["git", "http"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GitServer]:
    with (git_daemon if request.param == "git" else git_http)(tmp_path / "server") as running:
        yield running


@pytest.fixture
def http(tmp_path: Path) -> Iterator[GitServer]:
    with git_http(tmp_path / "server") as running:
        yield running


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def access(tmp_path: Path, said: list[str]) -> GitAccess:
    return make_access(tmp_path, message=said.append)


def make_access(tmp_path: Path, **changes: object) -> GitAccess:
    values = {"mirrors": tmp_path / "cache", "env": base_environment(), "backoff": 0.01, "timeout": 60.0}
    return GitAccess(**(values | changes))


def nested(server: GitServer) -> dict[str, str]:
    """top -> third_party/mid (relative address) -> deep/low (absolute address); and third_party/other."""
    repos = server.repositories
    low = repos.add("low", files={"low.h": "low 1\n"})
    other = repos.add("other", files={"other.h": "other 1\n"})
    mid = repos.add("mid", files={"mid.h": "mid 1\n"}, submodules={"deep/low": (server.url("low"), low)})
    top = repos.add(
        "top",
        files={"setup.py": "top 1\n", "run.sh": "#!/bin/sh\n"},
        submodules={"third_party/mid": ("../mid.git", mid), "third_party/other": ("../other.git", other)},
        tag="v1.0",
    )
    # What the branches point at now is not what the tree records.
    for name in ("low", "mid", "other"):
        repos.add(name, files={f"{name}.h": f"{name} 2\n"}, message="Second")
    return {"low": low, "mid": mid, "other": other, "top": top}


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_tree_with_nested_submodules_at_the_recorded_commits(server: GitServer, access: GitAccess, tmp_path: Path):
    commits = nested(server)
    tree = fetch_tree(server.url("top"), commit=commits["top"], tag="v1.0", selection=ALL, access=access)
    checkout(tree, tmp_path / "out", access=access)
    assert files_of(tmp_path / "out") == [
        ".gitmodules", "run.sh", "setup.py", "third_party/mid/.gitmodules", "third_party/mid/deep/low/low.h",
        "third_party/mid/mid.h", "third_party/other/other.h",
    ]  # fmt: skip
    assert (tmp_path / "out/third_party/mid/deep/low/low.h").read_text() == "low 1\n"
    assert (tmp_path / "out/third_party/mid/mid.h").read_text() == "mid 1\n"
    assert [(path, at.commit) for path, at in tree.submodules] == [
        ("third_party/mid", commits["mid"]),
        ("third_party/mid/deep/low", commits["low"]),
        ("third_party/other", commits["other"]),
    ]
    assert not list(tmp_path.glob(".out.git-*"))


def test_only_the_one_commit_is_fetched(server: GitServer, access: GitAccess):
    repos = server.repositories
    first = repos.add("long", files={"a": "1\n"})
    for number in range(2, 5):
        middle = repos.add("long", files={"a": f"{number}\n"}, message=str(number))
    repos.add("long", files={"a": "9\n"}, message="last")
    at = fetch_commit(server.url("long"), commit=middle, access=access)
    count = run_git("rev-list", "--count", "--all", cwd=at.mirror)
    assert (count, at.downloaded) == ("1", True)
    with pytest.raises(AssertionError):
        run_git("cat-file", "-e", first, cwd=at.mirror)


def test_second_fetch_and_checkout_need_no_network(server: GitServer, access: GitAccess, tmp_path: Path):
    commits = nested(server)
    fetch_tree(server.url("top"), commit=commits["top"], selection=ALL, access=access)
    offline = make_access(tmp_path, offline=True)
    server.repositories.root.rename(tmp_path / "moved-away")
    again = fetch_tree(server.url("top"), commit=commits["top"], selection=ALL, access=access)
    assert not again.root.downloaded
    assert fetch_tree(server.url("top"), commit=commits["top"], selection=ALL, access=offline) == again
    checkout(again, tmp_path / "out", access=offline)
    assert (tmp_path / "out/setup.py").exists()


def test_offline_names_everything_that_is_missing(http: GitServer, access: GitAccess, tmp_path: Path):
    commits = nested(http)
    offline = make_access(tmp_path, offline=True)
    with pytest.raises(FetchError, match=rf"offline(.|\n)*top\.git {commits['top']}"):
        fetch_commit(http.url("top"), commit=commits["top"], access=offline)
    fetch_commit(http.url("top"), commit=commits["top"], access=access)
    with pytest.raises(FetchError) as caught:
        fetch_tree(http.url("top"), commit=commits["top"], selection=ALL, access=offline)
    assert f"{http.url('mid')} {commits['mid']} (submodule third_party/mid)" in caught.value.message
    assert f"{http.url('other')} {commits['other']}" in caught.value.message


def test_selection_takes_and_leaves_out(http: GitServer, access: GitAccess):
    commits = nested(http)

    def paths(**selection: object) -> list[str]:
        tree = fetch_tree(http.url("top"), commit=commits["top"], selection=Selection(**selection), access=access)
        return [path for path, _ in tree.submodules]

    assert paths(take=()) == []
    assert paths(take=("third_party/other",)) == ["third_party/other"]
    assert paths(take=("*/mid",)) == ["third_party/mid", "third_party/mid/deep/low"]
    assert paths(without=("third_party/mid/deep/*",)) == ["third_party/mid", "third_party/other"]
    assert paths(recursive=False) == ["third_party/mid", "third_party/other"]
    with pytest.raises(FetchError, match=r"'third_party/nid' matches no submodule; there are: third_party/mid,"):
        paths(take=("third_party/nid",))


def test_digest_covers_submodules(http: GitServer, access: GitAccess):
    commits = nested(http)
    whole = fetch_tree(http.url("top"), commit=commits["top"], selection=ALL, access=access)
    part = fetch_tree(http.url("top"), commit=commits["top"], selection=Selection(take=()), access=access)
    assert whole.digest != part.digest
    same = http.repositories.add("copy", files={"a": "1\n"})
    other = http.repositories.add("copy", files={"a": "1\n"}, message="same files")
    digests = {
        fetch_tree(http.url("copy"), commit=commit, selection=ALL, access=access).digest for commit in (same, other)
    }
    assert same != other
    assert len(digests) == 1


def test_server_that_refuses_commits_by_id(tmp_path: Path, access: GitAccess, said: list[str]):
    with git_http(tmp_path / "server", old_protocol=True) as server:
        commits = nested(server)
        server.repositories.add("top", files={"new": "x"}, message="Second")
        tree = fetch_tree(server.url("top"), commit=commits["top"], tag="v1.0", selection=ALL, access=access)
        assert tree.root.commit == commits["top"]
        assert any("by commit: Server does not allow request for unadvertised object" in line for line in said)
        assert run_git("rev-list", "--count", commits["top"], cwd=tree.root.mirror) == "1"
        assert tree.submodules[0][1].commit == commits["mid"]  # found among all branches
        with pytest.raises(FetchError, match=f"has no commit {GONE}"):
            fetch_commit(server.url("low"), commit=GONE, access=access)


def test_commit_that_does_not_exist(server: GitServer, access: GitAccess):
    server.repositories.add("low", files={"a": "1\n"})
    with pytest.raises(FetchError, match=f"low.git has no commit {GONE}"):
        fetch_commit(server.url("low"), commit=GONE, access=access)


@pytest.mark.parametrize("commit", ["main", "0123abc", "HEAD", "A" * 40])
def test_only_full_commit_ids(commit: str, access: GitAccess):
    with pytest.raises(FetchError, match="not a full commit id"):
        fetch_commit("https://example.invalid/x", commit=commit, access=access)
    with pytest.raises(FetchError, match="default branch is never used"):
        fetch_commit("https://example.invalid/x", commit=None, access=access)


def test_unrecorded_commit_is_recorded_and_a_moved_tag_is_an_error(
    server: GitServer, access: GitAccess, tmp_path: Path
):
    old = server.repositories.add("low", files={"a": "1\n"}, tag="v1")
    url = server.url("low")
    assert resolve_tag(url, "v1", access=access) == old
    assert resolve_tag(url, "v2", access=access) is None
    source = GitSource(url=url, commit="unrecorded", tag="v1")
    assert fetch_source(source, access=access) == mirror_path(access, url)
    new = server.repositories.add("low", files={"a": "2\n"}, tag="v1", message="Second")
    with pytest.raises(FetchError, match=rf"tag v1 has moved from {old} to {new}"):
        fetch_source(source, access=access)
    # Offline nobody can tell; what was recorded counts.
    offline = make_access(tmp_path, offline=True)
    assert fetch_commit(url, commit=None, tag="v1", access=offline).commit == old
    with pytest.raises(FetchError, match=rf"tag v1 has moved from {old} to {new}"):
        fetch_commit(url, commit=old, tag="v1", access=make_access(tmp_path, mirrors=tmp_path / "other"))
    with pytest.raises(FetchError, match="has no tag v3"):
        fetch_commit(url, commit=None, tag="v3", access=access)


def test_passing_failures_are_tried_again(http: GitServer, access: GitAccess, said: list[str]):
    commit = http.repositories.add("low", files={"a": "1\n"})
    http.failures = 2
    assert fetch_commit(http.url("low"), commit=commit, access=access).commit == commit
    assert [line for line in said if "503" in line and "trying again in 0.0" in line].__len__() == 2


def test_lasting_failures_are_not_tried_again(http: GitServer, access: GitAccess, said: list[str]):
    with pytest.raises(FetchError, match=r"nothing\.git"):
        fetch_commit(http.url("nothing"), commit=GONE, access=access)
    assert said == []


def test_password_reaches_the_server_and_no_message_or_log(http: GitServer, tmp_path: Path):
    commit = http.repositories.add("low", files={"a": "1\n"})
    http.token = "robot:s3cr3t/x"
    log = tmp_path / "git.log"
    access = make_access(tmp_path, log=log)
    url = http.url("low").replace("http://", "http://robot:s3cr3t%2Fx@")
    at = fetch_commit(url, commit=commit, access=access)
    wrong = http.url("low").replace("http://", "http://robot:wr0ng@")
    with pytest.raises(FetchError) as caught:
        fetch_commit(wrong, commit=GONE, access=access)
    texts = [caught.value.message, caught.value.hint, log.read_text(), at.url, str(at.mirror)]
    texts += [path.read_text() for path in (at.mirror / "config", at.mirror / "FETCH_HEAD") if path.exists()]
    assert not [text for text in texts if "s3cr3t" in text or "wr0ng" in text or "robot" in text]
    assert "low.git" in log.read_text()


def test_addresses_are_rewritten_for_submodules_too(server: GitServer, tmp_path: Path):
    commits = nested(server)
    access = make_access(tmp_path, rewrites=(("https://git.example.invalid/org/", f"{server.base}/"),))
    url = "https://git.example.invalid/org/top.git"
    tree = fetch_tree(url, commit=commits["top"], selection=Selection(without=("*/low",)), access=access)
    assert tree.root.url == url
    assert tree.submodules[0][1].url == "https://git.example.invalid/org/mid.git"


def test_mirror_may_be_a_folder_but_a_repository_may_not_point_into_the_machine(
    http: GitServer, tmp_path: Path, access: GitAccess
):
    commits = nested(http)
    folder = make_access(tmp_path, rewrites=((f"{http.base}/", f"{http.repositories.root}/"),))
    fetch_tree(http.url("top"), commit=commits["top"], selection=ALL, access=folder)
    assert http.requests == []
    secret = http.repositories.path("low")
    evil = http.repositories.add("evil", files={"a": "1"}, submodules={"sub": (str(secret), commits["low"])})
    with pytest.raises(FetchError, match="submodule sub points into this machine"):
        fetch_tree(http.url("evil"), commit=evil, selection=ALL, access=access)
    option = http.repositories.add("opt", files={"a": "1"}, submodules={"sub": ("--upload-pack=x", commits["low"])})
    with pytest.raises(FetchError, match="points into this machine"):
        fetch_tree(http.url("opt"), commit=option, selection=ALL, access=access)


def test_submodule_without_address(http: GitServer, access: GitAccess):
    commits = nested(http)
    bare = http.repositories.path("odd")
    commit = http.repositories.add("odd", files={"a": "1"}, submodules={"lost": ("../low.git", commits["low"])})
    blob = run_git("hash-object", "-w", "--stdin", cwd=bare, data=b"")
    tree = run_git("mktree", cwd=bare, data=f"100644 blob {blob}\ta\n160000 commit {commits['low']}\tlost\n".encode())
    commit = run_git("commit-tree", "-m", "odd", tree, cwd=bare)
    run_git("update-ref", "refs/heads/main", commit, cwd=bare)
    with pytest.raises(FetchError, match=r"submodule lost has no address in \.gitmodules"):
        fetch_tree(http.url("odd"), commit=commit, selection=ALL, access=access)
    left_out = Selection(without=("lost",))
    assert fetch_tree(http.url("odd"), commit=commit, selection=left_out, access=access).submodules == ()


def test_settings_of_the_user_do_not_matter(http: GitServer, tmp_path: Path):
    commit = http.repositories.add("low", files={"a.txt": "one\ntwo\n"})
    home = tmp_path / "home"
    (home / ".config/git").mkdir(parents=True)
    (home / ".gitconfig").write_text(
        '[core]\n\tautocrlf = true\n[url "https://example.invalid/"]\n\tinsteadOf = http://\n'
    )
    (home / ".config/git/attributes").write_text("*.txt eol=crlf\n")
    env = base_environment() | {"HOME": str(home), "GIT_DIR": "/nonexistent", "GIT_INDEX_FILE": "/nonexistent"}
    access = make_access(tmp_path, env=env)
    tree = fetch_tree(http.url("low"), commit=commit, selection=ALL, access=access)
    checkout(tree, tmp_path / "out", access=access)
    assert (tmp_path / "out/a.txt").read_bytes() == b"one\ntwo\n"


def test_checkout_replaces_what_is_there(http: GitServer, access: GitAccess, tmp_path: Path):
    commits = nested(http)
    source = GitSource(url=http.url("top"), commit=commits["top"], tag="v1.0", submodules=("*",))
    out = tmp_path / "out"
    (out / "old").mkdir(parents=True)
    (tmp_path / ".out.git-killed").mkdir()
    checkout_source(source, out, access=access)
    (out / "setup.py").write_text("changed")
    (out / "stray").write_text("stray")
    checkout_source(source, out, access=access)
    assert (out / "setup.py").read_text() == "top 1\n"
    assert not (out / "stray").exists()
    assert not list(tmp_path.glob(".out.git-*"))


def test_damaged_mirror_is_removed_and_fetched_anew(http: GitServer, access: GitAccess, tmp_path: Path):
    commit = http.repositories.add("low", files={"a": "1\n" * 1000, "b": "2\n"})
    tree = fetch_tree(http.url("low"), commit=commit, selection=ALL, access=access)
    blob = run_git("rev-parse", f"{commit}:a", cwd=tree.root.mirror)
    for pack in tree.root.mirror.glob("objects/pack/*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:-60] + bytes(60))
    loose = tree.root.mirror / "objects" / blob[:2] / blob[2:]
    if loose.exists():
        loose.chmod(0o644)
        loose.write_bytes(b"rubbish")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/kept").write_text("still here")
    with pytest.raises(FetchError, match="was damaged and has been removed"):
        checkout(tree, tmp_path / "out", access=access)
    assert (tmp_path / "out/kept").exists()
    checkout_source(GitSource(url=http.url("low"), commit=commit), tmp_path / "out", access=access)
    assert (tmp_path / "out/a").read_text() == "1\n" * 1000


def test_leftovers_of_a_killed_fetch_are_neither_trusted_nor_in_the_way(http: GitServer, access: GitAccess):
    commit = http.repositories.add("low", files={"a": "1\n"})
    at = fetch_commit(http.url("low"), commit=commit, access=access)
    # The objects are there, the record is not: as after a kill between the two.
    run_git("update-ref", "-d", f"refs/bringup/commits/{commit}", cwd=at.mirror)
    assert not has_commit(access, http.url("low"), commit=commit)
    for name in ("shallow.lock", "HEAD.lock", "objects/pack/tmp_pack_abc"):
        (at.mirror / name).write_text("")
    second = http.repositories.add("low", files={"a": "2\n"}, message="Second")
    assert fetch_commit(http.url("low"), commit=second, access=access).downloaded
    assert fetch_commit(http.url("low"), commit=commit, access=access).downloaded
    assert not (at.mirror / "shallow.lock").exists()


FETCHER = """
import sys
from pathlib import Path
from bringup.system.environ import base_environment
from bringup.system.git import GitAccess, fetch_commit
access = GitAccess(mirrors=Path(sys.argv[1]), env=base_environment())
print(fetch_commit(sys.argv[2], commit=sys.argv[3], access=access).commit)
"""


def test_killed_in_the_middle_of_a_fetch(http: GitServer, access: GitAccess, tmp_path: Path):
    noise = os.urandom(6_000_000).hex()
    commit = http.repositories.add("big", files={"noise": noise})
    url = http.url("big")
    argv = [sys.executable, "-c", FETCHER, str(access.mirrors), url, commit]
    child = subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not http.requests and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    tree = fetch_tree(url, commit=commit, selection=ALL, access=access)
    checkout(tree, tmp_path / "out", access=access)
    assert (tmp_path / "out/noise").read_text() == noise


def _fetch_in_child(mirrors: Path, url: str, commit: str) -> None:
    fetch_commit(url, commit=commit, access=GitAccess(mirrors=mirrors, env=base_environment()))


def test_two_runs_share_one_mirror(http: GitServer, access: GitAccess):
    commits = [http.repositories.add("low", files={"a": f"{number}\n"}, message=str(number)) for number in range(4)]
    spawn = multiprocessing.get_context("spawn")
    arguments = [(access.mirrors, http.url("low"), commit) for commit in commits]
    children = [spawn.Process(target=_fetch_in_child, args=args) for args in arguments]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0, 0]
    assert all(has_commit(access, http.url("low"), commit=commit) for commit in commits)


def test_unreachable_host_is_named_within_seconds(access: GitAccess):
    port = free_port()
    started = time.monotonic()
    with pytest.raises(FetchError) as caught:
        probe(f"http://someone:secret@127.0.0.1:{port}/org/x.git", access=access)
    assert time.monotonic() - started < 5
    assert caught.value.message.startswith(f"127.0.0.1:{port} is out of reach: ")
    assert "secret" not in caught.value.message
    assert "--stack kernels" in caught.value.hint
    assert "--mirror" in caught.value.hint


def test_server_that_does_not_answer(access: GitAccess, tmp_path: Path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/x.git"
        started = time.monotonic()
        with pytest.raises(FetchError, match=r"is out of reach: no answer within 0\.5 s"):
            probe(url, access=access, timeout=0.5)
        assert time.monotonic() - started < 4


def test_only_what_is_missing_is_probed(http: GitServer, access: GitAccess):
    commit = http.repositories.add("low", files={"a": "1\n"})
    here = GitSource(url=http.url("low"), commit=commit)
    dead = [GitSource(url=f"http://127.0.0.1:{free_port()}/{name}", commit=commit) for name in ("one", "two")]
    fetch_source(here, access=access)
    http.requests.clear()
    probe_sources([here], access=access)
    assert http.requests == []
    with pytest.raises(FetchError) as caught:
        probe_sources([here, *dead], access=access)
    assert caught.value.message.count("is out of reach") == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_cache_that_cannot_be_written(http: GitServer, tmp_path: Path):
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="cannot use the source cache"):
        fetch_commit(http.url("low"), commit=GONE, access=make_access(tmp_path))


def test_cache_that_is_a_file(tmp_path: Path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(StorageError, match="cannot use the source cache"):
        fetch_commit("https://example.invalid/x", commit=GONE, access=make_access(tmp_path))
