#!/bin/sh
# Run every graph level on a node with the GPU, without a network:
#     sh tests/gpu/run_levels.sh PYTHON OUT [options of the sglang level]
# PYTHON is that of the environment being verified. OUT gets one JSON document a level, and the engine logs.
# Ends with 0 if every level is OK, 9 if one fails or could not run.
set -u
[ $# -ge 2 ] || { echo "usage: sh $0 PYTHON OUT [options of the sglang level]" >&2; exit 2; }
python=$1 out=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
levels=${BRINGUP_LEVELS:-$here/../../bringup/verify/levels}
mkdir -p "$out" || exit 14
PATH=$(cd "$(dirname "$python")" && pwd):$PATH
export PATH HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
for level in torch flashinfer; do
    echo "== $level"
    "$python" "$levels/${level}_level.py" --json "$out/$level.json"
done
echo "== sglang"
"$python" "$levels/sglang_level.py" --json "$out/sglang.json" --work "$out/sglang" "$@"
"$python" - "$out" <<'PY'
import json, pathlib, sys

bad = 0
for name in ("torch", "flashinfer", "sglang"):
    path = pathlib.Path(sys.argv[1], name + ".json")
    checks = json.loads(path.read_text())["checks"] if path.exists() else []
    worst = [check for check in checks if check["status"] != "OK" and (check["required"] or check["status"] == "FAIL")]
    state = "OK" if checks and not worst else "no result" if not checks else worst[0]["status"]
    bad += state != "OK"
    print(f"{name:12}{state:10}{len(checks)} checks")
sys.exit(9 if bad else 0)
PY
