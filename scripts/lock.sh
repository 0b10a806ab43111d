#!/bin/sh
# Writes requirements.lock and requirements-dev.lock from pyproject.toml: every version with its hashes, valid for
# Python 3.11 and newer, without index addresses so that any mirror serves. Add `--upgrade` to move to newer versions.
set -eu
cd "$(dirname "$0")/.."
uv=.venv/bin/uv
[ -x "$uv" ] || uv=uv

lock() { # OUTPUT ARGUMENT...
    output=$1
    shift
    "$uv" pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --custom-compile-command scripts/lock.sh --output-file "$output" "$@"
}

lock requirements.lock "$@"
# The second lock holds the first one's versions, so that adding the developers' tools never moves what bringup runs on.
lock requirements-dev.lock --extra dev --constraint requirements.lock "$@"
