#!/bin/sh
# Installs this bundle into a folder, without a network and without root. Needs sh, tar and coreutils.
#   sh install.sh DESTINATION
# Exit codes: 2 wrong use, 3 this machine does not fit, 4 a part is missing or damaged, 8 not installed, 14 no space.
set -eu
# @VALUES@

say() { printf '%s\n' "$*"; }
die() {
    code=$1
    shift
    printf 'install.sh: %s\n' "$*" >&2
    exit "$code"
}
# older A B: is version A lower than version B?
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

[ $# -eq 1 ] || die 2 "wants one argument, the folder to install into: sh install.sh ~/$TARGET"
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
case $1 in
/*) dest=$1 ;;
*) dest=$PWD/$1 ;;
esac

# --- does this machine fit? -----------------------------------------------------------------------------------------
machine=$(uname -m)
[ "$machine" = "$MACHINE" ] || die 3 "this bundle is for $MACHINE and this machine is $machine"
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)
[ -n "$glibc" ] || die 3 "this machine has no GNU C library; the bundle needs glibc $GLIBC or newer"
if older "$glibc" "$GLIBC"; then die 3 "the C library here is glibc $glibc; the bundle needs $GLIBC or newer"; fi
driver=
if [ -r /proc/driver/nvidia/version ]; then
    for word in $(head -n 1 /proc/driver/nvidia/version); do
        case $word in [0-9]*.[0-9]*) driver=${driver:-$word} ;; esac
    done
fi
if [ -z "$driver" ] && command -v nvidia-smi >/dev/null 2>&1; then
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || :)
fi
if [ -n "$driver" ] && older "$driver" "$DRIVER"; then
    die 3 "the NVIDIA driver here is $driver; CUDA $CUDA needs $DRIVER or newer"
fi
[ -n "$driver" ] || say "note: no NVIDIA driver is visible here; the bundle installs all the same"

# --- is the bundle whole? -------------------------------------------------------------------------------------------
[ -r "$here/parts.sha256" ] || die 4 "$here/parts.sha256 is missing"
count=0
bad=
while read -r sum name; do
    count=$((count + 1))
    if [ ! -r "$here/$name" ]; then
        bad="$bad $name(missing)"
    elif ! printf '%s  %s\n' "$sum" "$here/$name" | sha256sum -c --status -; then
        bad="$bad $name(damaged)"
    fi
done <"$here/parts.sha256"
[ -z "$bad" ] || die 4 "of $count parts these have to be carried again:$bad"
say "$TARGET, stack $STACK: $count parts are whole"

# --- is there room for it? ------------------------------------------------------------------------------------------
if [ -e "$dest" ] && [ ! -e "$dest/.incomplete" ]; then
    [ -d "$dest" ] || die 2 "$dest is a file"
    [ -z "$(ls -A "$dest")" ] || die 2 "$dest is not empty"
fi
parent=$(dirname -- "$dest")
mkdir -p "$parent" || die 14 "cannot make $parent"
free=$(df -Pk "$parent" | tail -n 1 | tr -s ' ' | cut -d' ' -f4)
[ "$free" -ge "$NEED_KIB" ] || die 14 "$parent has $((free / 1024)) MiB free and the installation takes $((NEED_KIB / 1024))"

# --- install; what is not finished has .incomplete in it and no bin/ -------------------------------------------------
undo() {
    trap - EXIT INT TERM HUP
    rm -rf "$dest"
}
rm -rf "$dest"
mkdir "$dest" || die 14 "cannot make $dest"
trap undo EXIT
trap 'undo; exit 130' INT TERM HUP
: >"$dest/.incomplete"
(
    while read -r sum name; do cat "$here/$name" || exit 1; done <"$here/parts.sha256"
) | tar -x -f - -C "$dest" --no-same-owner || die 14 "the parts could not be unpacked into $dest"
python=
for candidate in "$dest"/build/toolchains/python-*/usr/bin/python3.[0-9]*; do
    case $candidate in *-config) ;; *) python=$candidate ;; esac
done
"$python" -I "$dest/setup_node.py" "$dest" || die 8 "the environment could not be made; nothing is installed"
rm -f "$dest/.incomplete"
trap - EXIT INT TERM HUP
say "installed: $dest"
say "next: $dest/bin/bringup $NEXT"
