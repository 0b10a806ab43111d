"""The program's words: tasks, flags, plain words, help texts and exit codes, in this process."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from helpers.data_root import Recipe, write_data

from bringup import flags, words
from bringup.cli import main
from bringup.collection import ns
from bringup.errors import BringupError, BuildError, Interrupted, UsageError
from bringup.output import guarded
from bringup.system.layout import Settings
from bringup.tasks import TASK_GROUPS, TASKS
from bringup.verification import facts_of_target, sglang_arguments
from bringup.words import fold_positionals


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return what runs the program with words and returns exit status, stdout and stderr."""
    monkeypatch.setenv("BRINGUP_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("BRINGUP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BRINGUP_BUNDLE", raising=False)
    monkeypatch.delenv("BRINGUP_COMMAND", raising=False)
    monkeypatch.chdir(tmp_path)

    def words(*argv: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(["invoke", *argv])
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 0
        out = capsys.readouterr()
        return code, out.out, out.err

    return words


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", Recipe(name="alpha"), gpus=("h200", "l40s"))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("biuld",), "there is no task 'biuld'; did you mean build?"),
        (("zzzz",), "there is no task 'zzzz'"),
        (("build", "--gpu", "h200", "--of"), "build has no flag '--of'"),
        (("build", "--gpu", "h200", "--ofline"), "build has no flag '--ofline'; did you mean --offline?"),
        (("plan", "--stck=x"), "plan has no flag '--stck'; did you mean --stack?"),
        (("build",), "build needs --gpu"),
        (("build", "--gpu"), "--gpu needs a value"),
        (("build", "--gpu", "h200", "--jobs", "all"), "--jobs wants a number, not 'all'"),
        (("build", "--gpu", "h200", "--memory=big"), "--memory wants a number, not 'big'"),
        (("verify",), "verify needs --gpu"),
        (("lock",), "lock needs --stack"),
        (("diagnose",), "diagnose needs a log"),
        (("list", "gpu"), "unknown kind 'gpu'; did you mean gpus?"),
        (("clean",), "clean needs --target or --all"),
        (("gc", "--max-size", "huge"), "--max-size huge: wants a number"),
        (("build", "--gpu", "h200", "--host-compiler", "icc"), "--host-compiler icc: known are system and debs"),
        (("build", "--gpu", "h200", "--mirror", "x"), "--mirror x: wants the form PREFIX=REPLACEMENT"),
        (("build", "--gpu", "h200", "--variant", "x"), "--variant x: wants the form PACKAGE=NAME"),
        (("build", "--gpu", "h200", "--memory", "nan"), "--memory nan: cannot be had"),
        (("build", "--gpu", "h200", "--time-limit", "inf"), "--time-limit inf: cannot be had"),
        (("build", "--gpu", "h200", "--nice", "20"), "--nice 20: wants a number from 1 to 19"),
        (("plan", "h200"), "did you mean --gpu h200?"),
        (("bundle", "--gpu", "h200", "--only", "x"), "--only goes with --sources"),
        (("build", "--gpu", "h200", "--jobs", "-2"), "--jobs -2: cannot be negative"),
    ],
)
def test_wrong_use_is_2_and_says_what_is_right(run, argv: tuple[str, ...], said: str):
    code, out, err = run(*argv)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize("argv", [(), ("--help",), ("--list",), ("-l",), ("help",)])
def test_help_shows_every_task(run, argv: tuple[str, ...]):
    code, out, _ = run(*argv)
    assert code == 0
    for task in ("build", "plan", "fetch", "patch", "install", "verify", "diagnose", "list", "lock", "bundle", "clean"):
        assert re.search(rf"^\s+{task}\s+\S", out, re.MULTILINE), f"{task} has no line with a text"


@pytest.mark.parametrize("argv", [("build", "--help"), ("build", "-h"), ("help", "build"), ("--help", "build")])
def test_help_of_a_task_shows_its_flags_and_its_text(run, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]):
    monkeypatch.setenv("BRINGUP_COMMAND", "./invokew")
    code, out, _ = run(*argv)
    assert code == 0
    assert out.startswith("Usage: ./invokew build --gpu NAME [flags]\n")
    assert "the main job" in out
    assert "`./invokew list gpus`" in out
    assert max(map(len, out.splitlines())) <= 100
    for flag in ("--gpu", "--stack", "--offline", "--dry-run", "--jobs", "--debug"):
        assert flag in out


def test_help_of_a_task_that_takes_words_shows_them(run):
    assert run("diagnose", "--help")[1].startswith("Usage: invoke diagnose [LOG]")


def test_every_task_stands_in_one_group_of_the_help():
    assert sorted(task for _, names in TASK_GROUPS for task in names) == sorted(TASKS)


def test_every_flag_of_every_task_is_explained():
    assert set(TASKS) == set(ns.tasks)
    for name, task in TASKS.items():
        assert task.body.__doc__, name
        for flag, (_, text) in task.flags.items():
            assert text, f"--{flag} of {name} has no help"


def test_no_flag_has_a_short_form_that_may_shift():
    names = [argument.names for task in ns.tasks.values() for argument in task.get_arguments()]
    assert {one for one in names if len(one) > 1} == {("output", "o")}


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0
    assert re.search(r"\d+\.\d+", out)


# --- plain words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("diagnose a.log", "diagnose --log=a.log"),
        ("diagnose a.log b.log --json", "diagnose --log=a.log --log=b.log --json"),
        ("diagnose -", "diagnose --log=-"),
        ("diagnose --gpu h200 a.log", "diagnose --gpu h200 --log=a.log"),
        ("diagnose --gpu=h200 a.log", "diagnose --gpu=h200 --log=a.log"),
        ("diagnose --log a.log", "diagnose --log a.log"),
        ("list gpus", "list --what=gpus"),
        ("list gpus --json", "list --what=gpus --json"),
        ("list --data d stacks", "list --data d --what=stacks"),
        ("list", "list"),
        ("build --gpu h200", "build --gpu h200"),
        ("--list", "--help"),
        ("-l", "--help"),
    ],
)
def test_plain_words_become_flags(words: str, expected: str):
    assert fold_positionals(["invoke", *words.split()]) == ["invoke", *expected.split()]


def test_flags_that_take_a_value_are_known_where_words_are_plain():
    """A value after such a flag must not be taken for a plain word."""
    for task in words.FREE_WORDS:
        for argument in ns.tasks[task].get_arguments():
            if argument.takes_value:
                assert f"--{argument.name.replace('_', '-')}" in words.TAKE_VALUE, f"--{argument.name} of {task}"


# --- tasks that only look -------------------------------------------------------------------------------------------


def test_list_as_tables_and_json(run, data: Path):
    code, out, _ = run("list", "gpus", "--data", str(data))
    assert code == 0
    assert re.search(r"^  h200 +9\.0 +sm_90a +CUDA ", out, re.MULTILINE)
    code, out, err = run("list", "--json", "--data", str(data))
    document = json.loads(out)
    assert (code, err, document["schema"]) == (0, "", 1)
    assert {row["name"] for row in document["gpus"]} == {"h200", "l40s"}
    assert document["stacks"][0]["name"] == "tiny"
    assert document["recipes"][0]["versions"] == ["1.0"]


def test_a_computer_without_a_gpu_is_listed_without_cuda(run):
    assert re.search(r"^  cpu +no CUDA +registry-cpu ", run("list", "gpus")[1], re.MULTILINE)
    assert re.search(r"^  registry-cpu +no CUDA ", run("list", "stacks")[1], re.MULTILINE)


def test_settings_of_the_user_and_flags_over_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "config.toml"
    path.write_text(
        f'jobs = 3\nmemory_gib = 2.5\nbuild_dir = "{tmp_path}/b"\ncache = "{tmp_path}/c"\ndebian_mirror = "http://m"\n'
        '[mirrors]\n"https://a/" = "https://b/"\n'
    )
    monkeypatch.setenv("BRINGUP_CONFIG", str(path))
    monkeypatch.delenv("BRINGUP_CACHE", raising=False)
    request = flags.request_from({"gpu": "h200"})
    assert (request.jobs, request.memory_gib, request.debian_mirror) == (3, 2.5, "http://m")
    assert request.mirrors == (("https://a/", "https://b/"),)
    asked = {"gpu": "h200", "jobs": 7, "mirror": ["https://x/=https://y/?a=b"], "variant": ["p=v"], "only": ["p"]}
    request = flags.request_from(asked)
    assert (request.jobs, request.only, dict(request.variants)) == (7, ("p",), {"p": "v"})
    assert request.mirrors == (("https://x/", "https://y/?a=b"), ("https://a/", "https://b/"))
    settings = flags.settings_from({})
    assert (settings.build, settings.cache) == (tmp_path / "b", tmp_path / "c")
    assert flags.settings_from({"build_dir": "rel"}).build == Path.cwd() / "rel"
    monkeypatch.setenv("BRINGUP_CACHE", str(tmp_path / "once"))
    assert flags.settings_from({}).cache == tmp_path / "once"
    monkeypatch.delenv("BRINGUP_CACHE")
    path.write_text('cache = "rel"\n')
    assert flags.settings_from({}).cache == Path.cwd() / "rel"


# --- errors ---------------------------------------------------------------------------------------------------------


def code_of(action, *, debug: bool = False) -> int:
    return guarded(action, debug=debug)


def fail(error: BaseException):
    def action() -> None:
        raise error

    return action


def test_error_becomes_text_and_code(capsys: pytest.CaptureFixture[str]):
    assert code_of(fail(BuildError("no luck", hint="try again", log="/x.log"))) == 7
    assert capsys.readouterr().err == "error: no luck\n  next: try again\n  log:  /x.log\n"


@pytest.mark.parametrize(("error", "code"), [(Interrupted("x"), 130), (KeyboardInterrupt(), 130), (ValueError("x"), 1)])
def test_codes(error: BaseException, code: int):
    assert code_of(fail(error)) == code


def test_each_error_has_a_code_of_its_own():
    kinds = BringupError.__subclasses__()
    assert len({kind.exit_code for kind in kinds}) == len(kinds)
    assert sorted(kind.exit_code for kind in kinds) == [2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 130]


def test_bug_says_so_and_shows_its_traceback_only_with_debug(capsys: pytest.CaptureFixture[str]):
    assert code_of(fail(ZeroDivisionError("x"))) == 1
    err = capsys.readouterr().err
    assert "a bug in bringup: ZeroDivisionError: x" in err
    assert "--debug" in err
    assert "Traceback" not in err
    with pytest.raises(ZeroDivisionError):
        guarded(fail(ZeroDivisionError("x")), debug=True)


def test_debug_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]):
    assert code_of(fail(BuildError("no luck")), debug=True) == 7
    assert "Traceback" in capsys.readouterr().err


def test_full_disk_anywhere_is_14(capsys: pytest.CaptureFixture[str]):
    assert code_of(fail(OSError(28, "No space left on device"))) == 14
    assert "no space left on the device" in capsys.readouterr().err


def test_success_and_own_codes():
    assert code_of(lambda: None) == 0
    assert code_of(lambda: 0) == 0
    assert code_of(lambda: 11) == 11


def test_reader_that_went_away_is_no_error(monkeypatch: pytest.MonkeyPatch):
    import sys  # noqa: PLC0415

    monkeypatch.setattr(sys, "stdout", sys.stdout)
    assert code_of(fail(BrokenPipeError())) == 0
    assert sys.stdout.name == os.devnull
    sys.stdout.close()


def test_help_begins_with_what_it_is_for_and_ends_with_options(run):
    _, out, _ = run("--help")
    assert out.startswith("Builds PyTorch")
    places = [out.index(text) for text in ("build --gpu h200", "\nBuild:", "\nFind out:", "--help and -V")]
    assert places == sorted(places)
    assert "Core options" not in out


@pytest.mark.parametrize(
    ("target", "known"),
    [
        ("h200-cu130-cp311", {"gpu": "h200", "cuda": "13.0"}),
        ("jetson-orin-cu126-cp311-aarch64", {"gpu": "jetson-orin", "cuda": "12.6"}),
        ("cpu-cp311", {"gpu": "cpu"}),
    ],
)
def test_what_is_known_of_a_target_that_was_built(tmp_path: Path, target: str, known: dict[str, str]):
    (tmp_path / target).mkdir()
    plan = {"target": target, "stack": "tiny", "versions": {"alpha": "1.0"}}
    (tmp_path / target / "plan.json").write_text(json.dumps(plan))
    settings = Settings(data=tmp_path, build=tmp_path, cache=tmp_path / "cache")
    assert facts_of_target({}, settings) == {"target": target, "stack": "tiny", "alpha": "1.0", **known}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("tp", -1, "--tp -1: wants a number of GPUs"),
        ("mem_fraction_static", 1.5, "--mem-fraction-static 1.5: wants a share"),
        ("mem_fraction_static", float("nan"), "--mem-fraction-static nan: wants a share"),
        ("cuda_graph_max_bs", -8, "--cuda-graph-max-bs -8: wants a batch size"),
    ],
)
def test_options_of_the_sglang_level_that_cannot_be(name: str, value: float, said: str):
    with pytest.raises(UsageError, match=said):
        sglang_arguments({name: value})
    assert sglang_arguments({"tp": 2, "mem_fraction_static": 0.5}) == ["--tp", "2", "--mem-fraction-static", "0.5"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--jobs=-1",), "--jobs -1: wants a number above 0"),
        (("--memory", "nan"), "--memory nan: wants a number above 0"),
        (("--nice", "30"), "--nice 30: wants a number from -20 to 19"),
        (("--nice", "much"), "--nice much: wants a number from -20 to 19"),
        ((), "no build runs in"),
    ],
)
def test_limits_that_cannot_be(run, tmp_path: Path, flags: tuple[str, ...], said: str):
    code, _, err = run("jobs", *flags, "--build-dir", str(tmp_path))
    assert code == 2
    assert said in err
