#!/bin/sh
# Builds a carried bundle of sources on a node without a network, verifies what came of it, and leaves results:
#     sh tests/gpu/pytorch_from_source.sh BUNDLE DESTINATION OUT [flags of `bringup build`]
# for example with --jobs 64 --time-limit 1500. Called again after an interruption it goes on where it stopped: BUNDLE is
# installed once, what is compiled stays, and checks that are done are not run again. OUT/progress.tsv gets a line
# every five seconds, and so does stdout every half minute. VERIFY_ONLY=1 leaves the build out, BUILD_ONLY=1 the rest.
# ATTENTION= (empty) for a variant without attention of its own, such as serving.
# Ends with 0 if all is well, 9 if a check failed, 130 if the build's time was over, else with the build's own status.
set -u
[ $# -ge 3 ] || { echo "usage: sh $0 BUNDLE DESTINATION OUT [flags of bringup build]" >&2; exit 2; }
bundle=$1 dest=$2 out=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out" || exit 14
out=$(cd "$out" && pwd)
failed=

note() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" | tee -a "$out/run.log"; }

# seconds, load, memory used (KiB), units so far, busy and all processor time in ticks, what is going on
sample() {
    count=0
    while :; do
        used=$(awk '/^MemTotal:/ {t = $2} /^MemAvailable:/ {a = $2} END {print t - a}' /proc/meminfo)
        ticks=$(awk '/^cpu / {for (i = 2; i <= 9; i++) all += $i; print all - $5 - $6 "\t" all; exit}' /proc/stat)
        units=$(cat "$dest"/build/*/units.jsonl 2>/dev/null | wc -l)
        load=$(cut -d' ' -f1 /proc/loadavg)
        stage=$(cat "$out/stage" 2>/dev/null)
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$(date +%s)" "$load" "$used" "$units" "$ticks" "$stage" >>"$out/progress.tsv"
        count=$((count + 1))
        [ $((count % 6)) -ne 1 ] || printf '%s %s: load %s, %s MiB used, %s units\n' \
            "$(date +%H:%M:%S)" "$stage" "$load" "$((used / 1024))" "$units"
        sleep 5
    done
}

collect() { # small files only
    mkdir -p "$out/logs"
    for log in "$dest"/build/*/logs/*.log; do
        [ ! -f "$log" ] || tail -c 400000 "$log" >"$out/logs/$(basename "$log")"
    done
    for name in units.jsonl trace.json verify.json plan.json; do
        for file in "$dest"/build/*/"$name"; do [ ! -f "$file" ] || cp "$file" "$out/"; done
    done
    for folder in "$dest"/build/*/records; do [ ! -d "$folder" ] || cp -R "$folder" "$out/"; done
    find "$dest" -name '*.whl' -path '*store*' -exec ls -l {} + >"$out/wheels.txt" 2>/dev/null
    { nproc; grep -m1 'model name' /proc/cpuinfo; grep MemTotal /proc/meminfo; cat /etc/os-release; } >"$out/machine.txt"
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader >>"$out/machine.txt" 2>/dev/null
}

finish() {
    kill "$sampler" 2>/dev/null
    collect
}

# check NAME COMMAND...: once, with its output kept
check() {
    name=$1
    shift
    [ ! -f "$out/$name.done" ] || { note "$name: done before"; return 0; }
    echo "$name" >"$out/stage"
    note "$name begins"
    "$@" >"$out/$name.txt" 2>&1
    status=$?
    note "$name: exit $status; $(tail -n 1 "$out/$name.txt" | cut -c1-160)"
    case $status in
    0) : >"$out/$name.done" ;;
    *) failed="$failed $name" ;;
    esac
}

sample &
sampler=$!
trap finish EXIT
trap 'exit 130' INT TERM HUP

if [ ! -x "$dest/bin/bringup" ]; then
    echo install >"$out/stage"
    note "installing $bundle"
    sh "$bundle/install.sh" "$dest" >"$out/install.txt" 2>&1 || {
        status=$?
        tail -n 5 "$out/install.txt"
        exit "$status"
    }
fi
if [ -z "${VERIFY_ONLY:-}" ]; then
    echo build >"$out/stage"
    note "bringup build $*"
    printf '%s\n' "bringup build --gpu h200 $*" >"$out/command.txt"
    started=$(date +%s)
    "$dest/bin/bringup" build --gpu h200 "$@" >>"$out/build.txt" 2>&1
    status=$?
    printf '%s\t%s\t%s\n' "$started" "$(date +%s)" "$status" >>"$out/attempts.tsv"
    note "build: exit $status; $(tail -n 1 "$out/build.txt" | cut -c1-160)"
    # 9: what was built did not verify; the checks below tell more.
    case $status in 0 | 9) ;; *) exit "$status" ;; esac
    [ "$status" -eq 0 ] || failed="$failed build"
fi
[ -z "${BUILD_ONLY:-}" ] || exit 0

python=
for one in "$dest"/build/*/env/bin/python; do [ ! -x "$one" ] || python=$one; done
[ -n "$python" ] || { note "no environment below $dest/build: nothing to check"; exit 9; }
PATH=$(dirname "$python"):$PATH
export PATH PYTHONUNBUFFERED=1
cd "$out" || exit 14
check facts "$python" "$here/torch_facts.py" --json "$out/facts.json" --backends "${ATTENTION-flash,efficient,cudnn}"
check verify "$dest/bin/bringup" verify
check operators "$python" "$here/operators.py" --json "$out/operators.json" --seconds "${OPERATOR_SECONDS:-80}"
check collect_env "$python" "$here/collect_env.py"
gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l)
[ "$gpus" -lt 2 ] || check all_reduce env NCCL_NVLS_ENABLE=0 timeout 120 "$python" "$here/all_reduce.py" --json "$out/all_reduce.json"
[ -z "$failed" ] || { note "failed:$failed"; exit 9; }
note "all is well"
