#!/bin/sh
# Everything that is checked by reading: ruff, mypy --strict, shellcheck, the documentation. All of it runs; the exit
# status is 1 if any found something. Uses the tools of .venv, which `./invokew lint` puts there.
set -u
cd "$(dirname -- "$0")/.." || exit 2
bin=${BRINGUP_VENV:-.venv}/bin
failed=''

check() { # TITLE COMMAND...
    title=$1
    shift
    printf '== %s\n' "$title"
    "$@" || failed="$failed, $title"
}

shell_scripts() { # prints the tracked files that a POSIX shell or bash runs
    git ls-files -z | xargs -0 awk 'FNR == 1 && /^#!.*[\/ ](ba|da)?sh( |$)/ { print FILENAME } { nextfile }'
}

check ruff "$bin/ruff" check --output-format concise
check 'ruff format' "$bin/ruff" format --check --output-format concise
check mypy "$bin/mypy"
# shellcheck disable=SC2046 # no tracked script has a space in its name
check shellcheck "$bin/shellcheck" $(shell_scripts)
check documentation "$bin/python" scripts/check_docs.py

[ -z "$failed" ] || printf 'lint: failed: %s\n' "${failed#, }" >&2
[ -z "$failed" ]
