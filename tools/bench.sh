#!/usr/bin/env bash
# Measures the release build and writes tests/bench/RESULTS.md: bench.sh [--quick], or one kind of work:
# bench.sh --only inquiry|firstcontact|repeat|restart
. "$(dirname "$0")/env.sh"
need_postgres

stage=$(mktemp -d /var/tmp/ga.XXXXXX)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
tools/private-postgres.sh "$stage"

case ${1:-} in
--only) ;;
*) say "Measuring; this takes about ten minutes"; set -- "$@" tests/bench/RESULTS.md ;;
esac
# The databases lie where TMPDIR says: a real disk, since durable writes are measured.
TMPDIR=$stage GOAHEAD_PG_BIN=$stage$PG_BIN GOAHEAD_BIN=$PWD/target/release/goahead \
    cargo run --release -q -p goahead-tests --bin bench -- "$@"
