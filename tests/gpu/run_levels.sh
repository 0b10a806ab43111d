#!/bin/sh
# Everything that verification has to show on a node, without a network, with one command:
#     sh tests/gpu/run_levels.sh ROOT OUT [--part verify|faults|tp|starts|harvest] [--files FOLDER] [--other ROOT]
# ROOT is an installed bundle, OUT gets small files. Parts, all of them without --part:
#   verify   every level as installed, on a fresh home folder; once more, with warm caches, if that fails
#   faults   tests/gpu/faults.py; --files names the folder of the faulty libraries
#   tp       level sglang over two GPUs, where there are two
#   starts   benchmarks/h200_start.py: seconds to a ready engine, cold, prebuilt and warm
#   harvest  what Triton compiles when it finds nothing, packed as a wheel; with --other installed in that one, whose
#            own entries are put aside, and verified there on a fresh home folder
# A part that is done (OUT/PART.done) is left out when the command is repeated. OUT/progress.log has a line a step.
# Ends with 0 if everything was as expected, 9 if not, 2 on wrong use.
# shellcheck disable=SC2329 # the parts are called by name
set -u
usage() {
    echo "usage: sh $0 ROOT OUT [--part verify|faults|tp|starts|harvest] [--files FOLDER] [--other ROOT]" >&2
    exit 2
}
[ $# -ge 2 ] || usage
root=$1 out=$2 parts="verify faults tp starts harvest" files="" other=""
shift 2
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
    --part) case $2 in verify | faults | tp | starts | harvest) parts=$2 ;; *) usage ;; esac ;;
    --files) files=$2 ;;
    --other) other=$2 ;;
    *) usage ;;
    esac
    shift 2
done
here=$(cd "$(dirname "$0")" && pwd)
[ -x "$root/bin/bringup" ] || { echo "$root/bin/bringup is not there: install the bundle first" >&2; exit 2; }
mkdir -p "$out/logs" || exit 14
root=$(cd "$root" && pwd) out=$(cd "$out" && pwd)
for one in "$root"/build/*/env; do target=$(dirname "$one"); done
python=$root/engine/bin/python
worst=0
say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" | tee -a "$out/progress.log"; }

# step NAME WORDS...: runs `bringup verify WORDS`, keeps its console, its verify.json and the levels' logs.
step() {
    name=$1
    shift
    start=$(date +%s)
    HOME=$home TMPDIR=$home/tmp "$root/bin/bringup" verify "$@" >"$out/$name.log" 2>&1
    code=$?
    cp "$target/verify.json" "$out/$name.json" 2>/dev/null
    for log in "$target"/logs/verify.*.log; do
        [ -e "$log" ] && tail -c 20000 "$log" >"$out/logs/$name.$(basename "$log")"
    done
    say "$name: exit $code after $(($(date +%s) - start)) s"
    return "$code"
}
fresh_home() {
    home=$target/home-of-$1
    rm -rf "$home"
    mkdir -p "$home/tmp"
}

part_verify() {
    fresh_home verify
    step verify || step verify-again
}
part_faults() {
    [ -n "$files" ] || { say "faults: left out, --files FOLDER is missing"; return 1; }
    "$python" "$here/faults.py" --root "$root" --files "$files" --out "$out/faults" 2>&1 | tee -a "$out/progress.log" |
        tail -n 1 >"$out/faults.last"
    grep -q '^\([0-9]*\) of \1 faults' "$out/faults.last"
}
part_tp() {
    count=$(nvidia-smi --query-gpu=uuid --format=csv,noheader 2>/dev/null | wc -l)
    [ "$count" -ge 2 ] || { say "tp: left out, $count GPU here"; return 0; }
    fresh_home tp
    step tp2 --level sglang --tp 2 || step tp2-again --level sglang --tp 2
}
part_starts() {
    home=$target/home-of-starts
    mkdir -p "$home"
    HOME=$home "$target/env/bin/python" "$here/../../benchmarks/h200_start.py" --out "$out/h200-start.json" \
        --work "$home/work" >"$out/starts.log" 2>&1
    code=$?
    mkdir -p "$out/logs/starts"
    cp "$home"/work/*.log "$out/logs/starts/"
    return "$code"
}
part_harvest() {
    fresh_home harvest
    step harvest --level sglang --harvest --set-env TRITON_CACHE_MANAGER=triton.runtime.cache:FileCacheManager
    cp "$target"/wheels/bringup_harvest-*.whl "$out/" || return 1
    [ -n "$other" ] || { say "harvest: not tried elsewhere, --other ROOT is missing"; return 0; }
    index=$(echo "$other"/build/*/env/lib/python3.*/site-packages/sglang_jit_cache/triton/index.json)
    mv "$index" "$index.aside"
    fresh_home other
    "$other/bin/bringup" install --harvest "$out"/bringup_harvest-*.whl >"$out/harvest-other.log" 2>&1 &&
        HOME=$home TMPDIR=$home/tmp "$other/bin/bringup" verify --level sglang >>"$out/harvest-other.log" 2>&1
    code=$?
    say "harvest in the other installation: exit $code"
    cp "$other"/build/*/verify.json "$out/harvest-other.json"
    mv "$index.aside" "$index"
    return "$code"
}

for part in $parts; do
    if [ -e "$out/$part.done" ]; then
        say "$part: done before"
        continue
    fi
    start=$(date +%s)
    say "$part: begins"
    if "part_$part"; then : >"$out/$part.done"; else worst=9; fi
    say "$part: $(($(date +%s) - start)) s"
done
rm -rf "$target"/home-of-*
if [ $worst -eq 0 ]; then say "everything as expected"; else say "not everything as expected"; fi
exit $worst
