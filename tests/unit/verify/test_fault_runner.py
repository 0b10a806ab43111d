"""What the fault cases on a node rest on: changes that are undone, and a judgement that can fail."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from bringup.verify.levels import classify

GPU = Path(__file__).resolve().parents[2] / "gpu"
sys.path.append(str(GPU))

import fault_world  # noqa: E402
import faults  # noqa: E402

FAULTS = tomllib.loads((GPU / "faults.toml").read_text())["fault"]
FAULT = {
    "levels": ["flashinfer"], "expect": "FAIL", "named": [{"id": r"flashinfer\.op\..*", "why": "no machine code"}],
}  # fmt: skip


def level(status, *checks):
    rows = [{"id": name, "status": state, "why": why} for name, state, why in checks]
    return {"level": "flashinfer", "status": status, "checks": rows}


NAMED = level("FAIL", ("flashinfer.op.norm", "FAIL", "A binary holds no machine code for this GPU"))


def test_a_fault_that_is_named_is_as_expected():
    assert faults.judge(FAULT, 9, [NAMED], "table") == []


@pytest.mark.parametrize(
    ("code", "levels", "console", "told"),
    [
        (0, [NAMED], "", "exit code 0"),
        (9, [], "", "did not run"),
        (9, [level("OK")], "", "is OK and not FAIL"),
        (9, [level("FAIL", ("flashinfer.op.norm", "FAIL", "relative error"))], "", "no FAIL of"),
        (9, [level("FAIL", ("flashinfer.kernel.x", "FAIL", "no machine code"))], "", "no FAIL of"),
        (9, [NAMED], "Traceback (most recent call last):", "stack trace"),
        (9, [{**NAMED, "checks": [*NAMED["checks"], {"id": "a", "status": "FAIL", "why": "Not a known failure: x"}]}],
         "", "without a cause: a"),
    ],
)  # fmt: skip
def test_everything_else_is_not(code, levels, console, told):
    assert told in "; ".join(faults.judge(FAULT, code, levels, console))


def test_every_case_is_whole():
    assert len({fault["id"] for fault in FAULTS}) == len(FAULTS)
    for fault in FAULTS:
        assert fault["expect"] in ("OK", "FAIL", "SKIPPED")
        assert fault["expect"] == "OK" or fault["named"]
        assert (
            set(fault.get("failing", []))
            <= set(fault["levels"])
            <= {"static", "import", "torch", "flashinfer", "sglang"}
        )
        for named in fault.get("named", []):
            re.compile(named["id"]), re.compile(named["why"])


def test_changes_are_undone_and_hard_links_are_left_alone(tmp_path):
    site, cache = tmp_path / "site", tmp_path / "cache.py"
    (site / "pkg.dist-info").mkdir(parents=True)
    (site / "pkg.dist-info/METADATA").write_text("Version: 1\n")
    cache.write_text("floor = '1'\n")
    (site / "a.py").hardlink_to(cache)
    (tmp_path / "files").mkdir()
    (tmp_path / "files/bad").write_bytes(b"bad")
    (site / "lib.so").write_bytes(b"good")
    (site / "gone").mkdir()
    fault = {
        "move": [{"path": "pkg.dist-info", "to": "pkg2.dist-info"}], "remove": [{"path": "gone"}],
        "file": [{"path": "lib.so", "from": "bad"}],
        "edit": [{"path": "a.py", "find": "1", "replace": "2"},
                 {"path": "pkg2.dist-info/METADATA", "find": "1", "replace": "2"}],
    }  # fmt: skip
    fault_world.Changes(site, tmp_path / "aside").apply(fault, tmp_path / "files")
    assert (site / "a.py").read_text() == "floor = '2'\n"
    assert (site / "lib.so").read_bytes() == b"bad"
    assert sorted(path.name for path in site.iterdir()) == ["a.py", "lib.so", "pkg2.dist-info"]
    assert cache.read_text() == "floor = '1'\n"
    assert fault_world.Changes(site, tmp_path / "aside").undo() == 5  # as after a run that was killed
    assert (site / "a.py").samefile(cache)
    assert (site / "lib.so").read_bytes() == b"good"
    assert sorted(path.name for path in site.iterdir()) == ["a.py", "gone", "lib.so", "pkg.dist-info"]
    assert (site / "pkg.dist-info/METADATA").read_text() == "Version: 1\n"
    assert not (tmp_path / "aside").exists()


def test_a_change_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "a.py").write_text("x")
    changes = fault_world.Changes(tmp_path, tmp_path / "aside")
    with pytest.raises(ValueError, match="nothing matches floor"):
        changes.edit("a.py", "floor", "")
    with pytest.raises(FileNotFoundError, match="is not there"):
        changes.remove("b.py")


def test_a_toolkit_without_one_header(tmp_path):
    real = tmp_path / "cuda"
    (real / "targets/x/include").mkdir(parents=True)
    (real / "bin").mkdir()
    (real / "include").symlink_to("targets/x/include")
    for name in ("bin/nvcc", "targets/x/include/cuda_fp8.h", "targets/x/include/cuda_bf16.h"):
        (real / name).write_text(name)
    made = fault_world.toolkit_without(real, "cuda_fp8.h", tmp_path / "made")
    assert not (made / "bin/nvcc").is_symlink()
    assert [path.name for path in (made / "include").iterdir()] == ["cuda_bf16.h"]
    assert (made / "include").resolve() == made / "targets/x/include"


def test_logs_lose_names_of_the_machine():
    text = "/root/h200/x on node-17 at 10.1.2.3:80 GPU-01234567-89ab-cdef-0123-456789abcdef 127.0.0.1 0.6.8.post1"
    clean = fault_world.scrub(text, {"/root/h200": "/home/user/h200", "node-17": "node"})
    assert clean == "/home/user/h200/x on node at 0.0.0.0:80 GPU-uuid 127.0.0.1 0.6.8.post1"


LOGS = GPU / "fault_logs"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["id"])
def test_what_a_node_said_names_the_cause(fault):
    """The logs are those of an H200 node; a changed wording of a level or of failures.toml has to keep them true."""
    console, *parts = re.split(r"(?m)^== ", (LOGS / f"{fault['id']}.log").read_text())
    assert "Traceback" not in console
    assert ("error: verification fails at" in console) == (fault["expect"] == "FAIL")
    for named in fault.get("named", ()):
        assert re.search(named["why"], console) or named.get("status") == "WARN", named
    for evidence in (part for part in parts if part.startswith("evidence of ")):
        found = classify.classify(evidence)
        assert found.id, found.sentence
        assert found.sentence in console
