#!/bin/sh
# Installs this bundle into a folder, without a network and without root. Needs sh, tar and coreutils.
#   sh install.sh [--python PROGRAM] DESTINATION
# --python (or the variable PYTHON) names the node's Python whose PyTorch is used, for a bundle that carries none;
# without it python3.11, python3 and python of the PATH are asked.
# Exit codes: 2 wrong use, 3 this machine does not fit, 4 a part is missing or damaged, 8 not installed,
# 13 another installation is at work there, 14 no space or no permission, 130 interrupted.
# Everything is a function and the last line calls the first, so that half of this file does nothing.
# shellcheck disable=SC2153 # capital names are written in below when a bundle is made
set -eu
# @VALUES@
# Folder that stands for / where the driver is looked for; for tests.
root=${BRINGUP_ROOT-}

main() {
    read_arguments "$@"
    check_machine
    check_driver
    dest_python='' dest_facts=''
    [ -z "$TORCH_TAG" ] || find_torch
    check_destination
    check_room
    check_parts
    install_parts
    say "installed: $dest"
    program=$dest/bin/bringup
    case $program in *[!A-Za-z0-9/._+@%-]*) program="'$program'" ;; esac
    say "next: $program $NEXT"
}

say() { printf '%s\n' "$*"; }
die() {
    code=$1
    shift
    printf 'install.sh: %s\n' "$@" >&2
    exit "$code"
}
# older A B: is version A lower than version B?
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

read_arguments() {
    usage="sh install.sh ${TORCH_TAG:+[--python PROGRAM] }DESTINATION, for example: sh install.sh ~/$TARGET"
    dest='' chosen=''
    while [ $# -gt 0 ]; do
        case $1 in
        -h | --help)
            say "$usage"
            exit 0
            ;;
        --python)
            [ $# -ge 2 ] || die 2 "--python wants a program; $usage"
            chosen=$2
            shift
            ;;
        --python=*) chosen=${1#--python=} ;;
        --)
            shift
            break
            ;;
        -*) die 2 "$1 is not known; $usage" ;;
        *) break ;;
        esac
        shift
    done
    if [ $# -ne 1 ] || [ -z "$1" ]; then die 2 "wants one folder to install into: $usage"; fi
    [ -z "$chosen" ] || [ -n "$TORCH_TAG" ] || die 2 "--python is not needed: this bundle carries Python and PyTorch"
    here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
    case $1 in
    /*) dest=$1 ;;
    *) dest=$(pwd -P)/$1 ;;
    esac
}

# --- does this machine fit? -----------------------------------------------------------------------------------------
check_machine() {
    system=$(uname -s)
    [ "$system" = Linux ] || die 3 "this bundle is for Linux and this machine runs $system"
    machine=$(uname -m)
    [ "$machine" = "$MACHINE" ] || die 3 "this bundle is for $MACHINE and this machine is $machine"
    glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)
    [ -n "$glibc" ] || glibc=$(ldd --version 2>/dev/null | head -n 1 | tr ' ' '\n' | tail -n 1)
    case $glibc in
    [0-9]*.[0-9]*) ;;
    *) die 3 "this machine has no GNU C library; the bundle needs glibc $GLIBC or newer" ;;
    esac
    if older "$glibc" "$GLIBC"; then die 3 "the C library here is glibc $glibc; the bundle needs glibc $GLIBC or newer"; fi
}

# The kernel module tells its version; nvidia-smi does where /proc is not that of the node. Neither is needed to install.
check_driver() {
    [ "$DRIVER" != 0 ] || return 0 # built without CUDA
    driver='' gpus=''
    if [ -r "$root/proc/driver/nvidia/version" ]; then
        for word in $(head -n 1 "$root/proc/driver/nvidia/version"); do
            case $word in [0-9]*.[0-9]*) driver=${driver:-$word} ;; esac
        done
    fi
    if command -v nvidia-smi >/dev/null 2>&1; then
        gpus=$(nvidia-smi --query-gpu=driver_version,compute_cap,name --format=csv,noheader 2>/dev/null) || gpus=''
    fi
    if [ -z "$driver" ]; then
        driver=${gpus%%,*}
        case $driver in [0-9]*.[0-9]*) ;; *) driver='' ;; esac # not a version: a complaint of nvidia-smi
    fi
    if [ -n "$driver" ] && older "$driver" "$DRIVER"; then
        die 3 "the NVIDIA driver here is $driver; CUDA $CUDA needs driver $DRIVER or newer" \
            "next: update the driver, or bundle a stack for an older CUDA; nothing was installed"
    fi
    if [ -z "$driver" ]; then
        say "note: no NVIDIA driver is visible here; the bundle installs all the same, and runs where there is one"
    elif [ -z "$gpus" ]; then
        say "note: driver $driver, and nvidia-smi shows no GPU; the bundle installs all the same"
    else
        case $gpus in
        *", $CAPABILITY, "*) ;;
        *)
            first=$(printf '%s\n' "$gpus" | head -n 1)
            say "note: the bundle is for $GPU, capability $CAPABILITY, and here is ${first##*, }; it installs, and will not run here"
            ;;
        esac
    fi
}

# --- is the node's PyTorch the one that the kernels were made with? ---------------------------------------------------
probe() {
    "$1" - 2>/dev/null <<'PROBE'
# @PROBE@
PROBE
}
find_torch() {
    chosen=${chosen:-${PYTHON-}}
    seen='' known=''
    if [ -n "$chosen" ]; then
        command -v -- "$chosen" >/dev/null 2>&1 || die 2 "--python or PYTHON: $chosen is no program"
        ask_python "$chosen"
    else
        for candidate in $TORCH_PYTHONS; do
            [ -n "$dest_python" ] || ! command -v "$candidate" >/dev/null 2>&1 || ask_python "$candidate"
        done
    fi
    [ -z "$dest_python" ] || return 0
    [ -n "$seen" ] || seen="
  seen:   no Python on PATH ($TORCH_PYTHONS)"
    die 3 "this bundle comes without PyTorch, and the node's own is not the lock's:
  wanted: Python $TORCH_TAG, torch $TORCH_VERSION, CUDA $TORCH_CUDA$seen" \
        "next: name the right Python with --python, or make the bundle again without --without-torch; nothing was installed"
}
ask_python() {
    program=$(command -v -- "$1")
    facts=$(probe "$program") || facts=''
    tag='' torch='' cuda='' problem='' python='' site=''
    while IFS='=' read -r name value; do
        case $name in
        tag) tag=$value ;;
        torch) torch=$value ;;
        cuda) cuda=$value ;;
        python) python=$value ;;
        site) site=$value ;;
        problem) problem=$value ;;
        esac
    done <<FACTS
$facts
FACTS
    if [ -z "$tag" ]; then
        line="$program does not run as Python 3.6 or newer"
    else
        line="Python $tag, torch ${torch:-none}, CUDA ${cuda:-none}${problem:+; $problem}  ($program${site:+, $site})"
    fi
    key="$tag/$torch/$cuda/$site/$problem;" # python3 and python3.11 are often one
    case $known in *"$key"*) ;; *) seen="$seen
  seen:   $line" ;; esac
    known=$known$key
    if [ "$tag/$torch/$cuda/$problem" = "$TORCH_TAG/$TORCH_VERSION/$TORCH_CUDA/" ]; then
        dest_python=$python dest_facts=$facts
        say "the node's own PyTorch fits: $line"
    fi
}

# --- is there a place and room for it? ------------------------------------------------------------------------------
check_destination() {
    # The shell, Python and compilers that will run there read lists separated by these.
    case $dest in
    *:* | *,* | *[\"\'\\]* | *'
'*) die 2 "$dest: a path with a colon, a comma, a quotation mark, a backslash or a line break does not work" ;;
    esac
    case $dest in
    *' '*) say "note: torch.compile cannot link C++ code in a path with a space, which it does not quote" ;;
    esac
    if [ -d "$dest" ]; then
        dest=$(CDPATH='' cd -- "$dest" && pwd -P) || die 14 "$dest cannot be entered"
        left=$(cat "$dest/.incomplete" 2>/dev/null) || left=''
        case $left in
        "bringup bundle "*)
            owner=${left#bringup bundle }
            if [ "${owner#* }" = "$(uname -n)" ] && [ "${owner%% *}" != "$$" ] && kill -0 "${owner%% *}" 2>/dev/null; then
                die 13 "process ${owner%% *} is installing into $dest; if it is no install.sh, remove the folder"
            fi
            ;;
        *)
            if [ -x "$dest/bin/bringup" ]; then
                die 2 "$dest is not empty: a bundle is installed there; name another folder, or remove it first"
            fi
            [ -z "$(ls -A "$dest")" ] || die 2 "$dest is not empty; name another folder"
            ;;
        esac
    elif [ -e "$dest" ] || [ -L "$dest" ]; then
        die 2 "$dest is there and is no folder"
    fi
}
check_room() {
    parent=$dest
    while [ ! -d "$parent" ]; do parent=$(dirname -- "$parent"); done
    [ -w "$parent" ] || die 14 "no permission to write in $parent"
    free=$(df -k --output=avail -- "$parent" | tail -n 1 | tr -d ' ')
    [ "$free" -ge "$NEED_KIB" ] ||
        die 14 "$parent has $((free / 1024)) MiB free and the installation takes about $((NEED_KIB / 1024)) MiB"
}

# --- is the bundle whole? -------------------------------------------------------------------------------------------
check_parts() {
    [ -r "$here/parts.sha256" ] || die 4 "$here/parts.sha256 is missing: carry it again"
    printf '%s  %s\n' "$SUMS" "$here/parts.sha256" | same ||
        die 4 "$here/parts.sha256 is damaged, or of another bundle than this install.sh: carry both again"
    count=0 bad=
    while read -r sum name; do
        count=$((count + 1))
        if [ ! -e "$here/$name" ]; then
            bad="$bad $name(missing)"
        elif [ ! -r "$here/$name" ]; then
            bad="$bad $name(unreadable)"
        elif ! printf '%s  %s\n' "$sum" "$here/$name" | same; then
            bad="$bad $name(damaged)"
        fi
    done <"$here/parts.sha256"
    [ -z "$bad" ] || die 4 "of $count parts these have to be carried again:$bad"
    say "$TARGET, stack $STACK: $count parts are whole"
}
same() { sha256sum -c --status - 2>/dev/null; }

# --- install; what is not finished has .incomplete in it and no bin/ -------------------------------------------------
install_parts() {
    made=
    if [ ! -d "$dest" ]; then
        mkdir -p -- "$dest" || die 14 "$dest cannot be made"
        made=yes
    fi
    dest=$(CDPATH='' cd -- "$dest" && pwd -P)
    trap undo EXIT
    trap 'say "interrupted; what was begun is removed" >&2; exit 130' INT TERM HUP
    empty
    printf 'bringup bundle %s %s\n' "$$" "$(uname -n)" >"$dest/.incomplete" || die 14 "no permission to write in $dest"
    # Of what tar says the first line is enough: on a full disk it repeats itself for every file.
    complaint=$({
        while read -r _ name; do cat "$here/$name" || exit 1; done <"$here/parts.sha256" |
            tar -x -f - -C "$dest" --no-same-owner
    } 2>&1) || die 14 "$(printf '%s\n' "$complaint" | head -n 1)" \
        "the parts could not be unpacked into $dest; nothing is installed"
    if [ -n "$dest_python" ]; then printf '%s\n' "$dest_facts" >"$dest/build/node-torch.txt"; fi
    python=
    for candidate in "$dest"/build/toolchains/python-*/usr/bin/python3.[0-9]*; do
        case $candidate in *-config) ;; *) python=$candidate ;; esac
    done
    status=0
    "$python" -I "$dest/setup_node.py" "$dest" || status=$?
    case $status in
    0) ;;
    14) die 14 "no space or no permission in $dest; nothing is installed" ;;
    *) die 8 "the environment could not be made; nothing is installed" ;;
    esac
    rm -f -- "$dest/.incomplete"
    trap - EXIT INT TERM HUP
}
# The mark goes last: what remains of an emptying that was killed is still known as ours.
empty() {
    for entry in "$dest"/* "$dest"/.[!.]* "$dest"/..?*; do
        case $entry in */.incomplete) ;; *) rm -rf -- "$entry" ;; esac
    done
}
undo() {
    trap - EXIT
    trap '' INT TERM HUP
    empty
    rm -f -- "$dest/.incomplete"
    [ -z "$made" ] || rmdir -- "$dest" || :
}

main "$@"
