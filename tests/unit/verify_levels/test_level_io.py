import json
import sys
from pathlib import Path

import level_io

LEVELS = Path(level_io.__file__).parent


def document(path):
    return json.loads(path.read_text())


def run(tmp_path, body, limit_s=60.0):
    out = tmp_path / "out" / "level.json"
    assert level_io.run_level("torch", body, out=out, limit_s=limit_s) == 0
    return document(out)


def test_checks_are_written_in_order_with_their_level(tmp_path):
    def body(result):
        result.add("one", True, "fine", evidence={"path": Path("/x"), "nan": float("nan"), "pair": (1, 2)})
        result.skip("two", "no GPU", required=True)
        result.warnings.append("slow")

    told = run(tmp_path, body)
    assert [(check["id"], check["status"], check["required"]) for check in told["checks"]] == [
        ("torch.one", "OK", True), ("torch.two", "SKIPPED", True),
    ]  # fmt: skip
    assert told["checks"][0]["evidence"] == {"path": "/x", "nan": None, "pair": [1, 2]}
    assert told["warnings"] == ["slow"]
    assert told["evidence"]["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["level.json"]


def test_an_exception_becomes_a_check_with_its_cause(tmp_path):
    def body(result):
        result.add("one", True, "fine")
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    told = run(tmp_path, body)
    assert [check["status"] for check in told["checks"]] == ["OK", "FAIL"]
    assert told["checks"][1]["why"].startswith("A binary holds no machine code for this GPU")
    assert told["checks"][1]["evidence"]["signature"] == "no-kernel-image"


def test_a_child_sees_the_given_variables_and_its_output_is_kept(tmp_path):
    status, _, log = level_io.run_child(
        ["sh", "-c", "echo $FLAVOUR; echo oops >&2; exit 3"], log=tmp_path / "log", env={"FLAVOUR": "sour"}, limit_s=30
    )
    assert (status, log) == (3, "sour\noops\n")
