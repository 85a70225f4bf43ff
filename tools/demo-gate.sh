#!/usr/bin/env bash
# Shows a failover of three private database nodes with repmgr, gates and HAProxy: demo-gate.sh [--stay]. Nothing is left
# behind. With --stay it leaves the nodes to you, before the failover, until Ctrl-C.
. "$(dirname "$0")/env.sh"
need_postgres
tools/setup-gate.sh

cargo build -q --release -p goahead-tests --bin demo-gate
stage=$(mktemp -d /var/tmp/ga.XXXXXX)
trap 'rm -rf "$stage"' EXIT
# Ctrl-C reaches the demo as well, which stops what it has started; this script waits for that.
trap : INT TERM
chmod 755 "$stage"
tools/private-postgres.sh "$stage"

status=0
GOAHEAD_PG_BIN=$stage$PG_BIN GOAHEAD_BIN=$PWD/target/release/goahead target/release/demo-gate "$@" || status=$?
exit "$status"
