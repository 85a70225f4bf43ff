#!/usr/bin/env bash
# Runs every tier of tests: test.sh [rules|extension|service|e2e]…; all of them by default.
. "$(dirname "$0")/env.sh"
need_postgres
[ $# -gt 0 ] || set -- rules extension service e2e

# What a test server of another user must be able to read; short, because sockets lie in it.
stage=$(mktemp -d /var/tmp/ga.XXXXXX)
trap 'restore_extension; rm -rf "$stage"' EXIT
chmod 755 "$stage"

test_rules() { cargo test -p goahead-rules -p goahead-hba-file "$@"; }

# The files of the extension where PostgreSQL looks for them.
extension_files() {
    find "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)/extension" -maxdepth 1 -name 'goahead[.-]*'
}

# cargo-pgrx installs its test build there; what was there before comes back afterwards.
save_extension() { extension_files | tar -cPf "$stage/installed.tar" -T -; }
restore_extension() {
    [ -e "$stage/installed.tar" ] || return 0
    extension_files | xargs -r rm -f
    tar -xPf "$stage/installed.tar"
}

test_extension() {
    local runas=()
    save_extension
    if [ "$(id -u)" = 0 ]; then
        mkdir "$stage/x"
        chown postgres: "$stage/x"
        runas=(--runas postgres --pgdata "$stage/x")
    fi
    # Each test is one transaction in the same database, and would wait for the advisory locks of another.
    RUST_TEST_THREADS=1 cargo pgrx test "pg$PG_MAJOR" -p goahead --no-default-features "${runas[@]}"
    restore_extension
    rm "$stage/installed.tar"
}

test_service() { cargo test -p goahead-service; }

# Against the release binary, and a copy of PostgreSQL that carries the release build of the extension, so that neither
# what is installed on this machine nor another test run matters.
test_e2e() {
    tools/setup-gate.sh
    tools/build.sh
    tools/private-postgres.sh "$stage"
    export GOAHEAD_PG_BIN=$stage$PG_BIN GOAHEAD_BIN=$PWD/target/release/goahead
    # The gate's scenarios live by rounds of 0.3 s, so they run apart from the crowds that take every processor.
    cargo test -p goahead-tests -- --skip gate::
    cargo test -p goahead-tests --test e2e -- gate::
}

for tier in "$@"; do
    say "Tests: $tier"
    started=$SECONDS
    "test_$tier"
    took+=" $tier $((SECONDS - started)) s"
done
say "All passed:$took"
