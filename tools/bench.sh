#!/usr/bin/env bash
# Measures the release build and writes tests/bench/RESULTS.md: bench.sh [--quick]
. "$(dirname "$0")/env.sh"
need_postgres

stage=$(mktemp -d /var/tmp/ga.XXXXXX)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
tools/private-postgres.sh "$stage"

say "Measuring; this takes about ten minutes"
# The databases lie where TMPDIR says: a real disk, since durable writes are measured.
TMPDIR=$stage GOAHEAD_PG_BIN=$stage$PG_BIN GOAHEAD_BIN=$PWD/target/release/goahead \
    cargo run --release -q -p goahead-tests --bin bench -- "$@" tests/bench/RESULTS.md
