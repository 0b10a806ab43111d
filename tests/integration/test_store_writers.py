"""Several processes that write to one store at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bringup.store import Store

ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import sys, time
from pathlib import Path
from bringup.store import Store
store, key = Store(Path(sys.argv[1])), sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
for round in range(20):
    found = store.add(f"{key}{round:02}", package="alpha", version="1.0", wheels=[Path(sys.argv[2])], inputs={},
                      seconds=1, date="2026-01-01")
    assert found.entry and all(path.exists() for path in found.wheels), found
"""


def test_many_writers_leave_whole_entries_and_all_find_them(tmp_path: Path):
    store = Store(tmp_path / "store")
    out = tmp_path / "alpha-1.0-py3-none-any.whl"
    out.write_bytes(b"x" * 10_000)
    argv = [sys.executable, "-c", WRITER, str(store.root), str(out), "ab" + "0" * 28]
    writers = [
        subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for one in writers:
        assert one.stdout is not None
        one.stdout.readline()
    for one in writers:
        assert one.stdin is not None
        one.stdin.write(b"go\n")
        one.stdin.flush()
    assert [one.communicate(timeout=30)[1].decode() for one in writers] == [""] * 3
    assert len(store.entries()) == 20
    assert not [path for path in (store.root / "ab").iterdir() if path.name.startswith(".")]
