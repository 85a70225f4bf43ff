#!/usr/bin/env bash
# Runs every tier of tests: test.sh [rules|extension|service|e2e]…; all of them by default.
. "$(dirname "$0")/env.sh"
need_postgres
[ $# -gt 0 ] || set -- rules extension service e2e

# What a test server of another user must be able to read; short, because sockets lie in it.
stage=$(mktemp -d /var/tmp/ga.XXXXXX)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"

test_rules() { cargo test -p goahead-rules "$@"; }

test_extension() {
    local runas=()
    if [ "$(id -u)" = 0 ]; then
        mkdir "$stage/x"
        chown postgres: "$stage/x"
        runas=(--runas postgres --pgdata "$stage/x")
    fi
    cargo pgrx test "pg$PG_MAJOR" -p goahead --no-default-features "${runas[@]}"
}

test_service() { cargo test -p goahead-service; }

# Against the release binary, and a copy of PostgreSQL that carries the release build of the extension, so that neither
# what is installed on this machine nor another test run matters.
test_e2e() {
    tools/build.sh
    tools/private-postgres.sh "$stage"
    GOAHEAD_PG_BIN=$stage$PG_BIN GOAHEAD_BIN=$PWD/target/release/goahead cargo test -p goahead-tests
}

for tier in "$@"; do
    say "Tests: $tier"
    started=$SECONDS
    "test_$tier"
    took+=" $tier $((SECONDS - started)) s"
done
say "All passed:$took"
