#!/bin/sh
# Runs commands as somebody who has just arrived: a fresh clone of HEAD, an empty home directory, a clean environment
# in which only PATH, proxies, certificates and package indexes are kept.
#
#   scripts/newcomer.sh                                   ./invokew list and ./invokew test
#   scripts/newcomer.sh './invokew plan --gpu h200'       any commands, one an argument; the first failure ends it
#   KEEP=1 scripts/newcomer.sh ...                        leave the clone, and print where it is
#
# Only what is committed counts.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
place=$(mktemp -d "${TMPDIR:-/tmp}/newcomer.XXXXXX")

clean_up() {
    if [ -n "${KEEP:-}" ]; then
        printf 'newcomer: left in %s\n' "$place" >&2
    else
        rm -rf "$place"
    fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

[ $# -gt 0 ] || set -- './invokew list' './invokew test'
mkdir "$place/home"
git clone --quiet --no-hardlinks "$root" "$place/bringup"
cd "$place/bringup"

kept() { # prints the assignments that a clean environment keeps, one a line
    env | grep -E '^(PATH|TMPDIR|TERM|CI|[A-Za-z]+_(proxy|PROXY)|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO|PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|CERT)|UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|NATIVE_TLS|SYSTEM_CERTS))='
}

for command; do
    printf 'newcomer: $ %s\n' "$command" >&2
    (
        set -- sh -c "$command"
        while IFS= read -r assignment; do
            set -- "$assignment" "$@"
        done <<EOF
$(kept)
EOF
        exec env -i HOME="$place/home" LANG=C.UTF-8 "$@"
    ) </dev/null
done
