#!/usr/bin/env bash
# Measures the release build and writes tests/bench/RESULTS.md: bench.sh [--quick] [--section restarts|locks|rendezvous].
# One section leaves the others of the page as they are. Or one kind of restarts' work, which is only shown:
# bench.sh --only inquiry|firstcontact|repeat|restart
. "$(dirname "$0")/env.sh"
. tools/apt.sh
need_postgres

stage=''
trap '[ -z "$stage" ] || rm -rf "$stage"' EXIT

# etcd and Redis, which locks and rendezvous are measured beside: installed, but not started, since each run starts its own.
need_peers() {
    if command -v etcd >/dev/null && command -v redis-server >/dev/null; then return; fi
    command -v apt-get >/dev/null ||
        die "etcd and redis-server are missing; install them, or measure the restarts alone: tools/bench.sh --section restarts"
    install_idle etcd-server redis-server
}

case " $* " in
*" --only "*) ;;
*" --section restarts "*) set -- "$@" tests/bench/RESULTS.md ;;
*) need_peers; set -- "$@" tests/bench/RESULTS.md ;;
esac
case " $* " in
*" --only "* | *" --quick "* | *" --section "*) say "Measuring" ;;
*) say "Measuring; this takes about a quarter of an hour" ;;
esac

stage=$(mktemp -d /var/tmp/ga.XXXXXX)
chmod 755 "$stage"
tools/private-postgres.sh "$stage"

# The databases lie where TMPDIR says: a real disk, since durable writes are measured.
TMPDIR=$stage GOAHEAD_PG_BIN=$stage$PG_BIN GOAHEAD_BIN=$PWD/target/release/goahead \
    cargo run --release -q -p goahead-tests --bin bench -- "$@"
