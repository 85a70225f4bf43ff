#!/usr/bin/env bash
# Runs a service of the release build with an example, in the foreground; its state outlives it. Used by `make run`.
. "$(dirname "$0")/env.sh"
need_postgres
# Whoever answers there would be taken for the service that is started here.
if curl -s -o /dev/null --max-time 5 http://127.0.0.1:8444/ready; then
    die "something answers at 127.0.0.1:8444 already: if it is make run in another terminal, end that first (Ctrl-C)"
fi
tools/install-extension.sh "$PG_CONFIG"

# As root the database runs as user postgres, who must be able to walk to its data.
data=$PWD/target/run/data
if [ "$(id -u)" = 0 ] && ! runuser -u postgres -- test -x "$PWD"; then
    data=/var/lib/goahead-dev/data
fi
mkdir -p "${data%/*}"

say "Starting the service; its state is kept in $data"
target/release/goahead serve --data-dir "$data" "$@" &
service=$!
told=
trap 'told=yes; kill -TERM $service 2>/dev/null' INT TERM EXIT
until curl -fs -o /dev/null http://127.0.0.1:8444/ready; do
    kill -0 $service 2>/dev/null || { [ "$told" ] || die "the service ended; its last words are above"; exit 130; }
    sleep 0.1
done

# The second file's clusters are those of the recorded session that the tests replay.
target/release/goahead clusters import --data-dir "$data" docs/examples/clusters.yml tests/conformance/clusters.yml
cat <<EOF

goahead is running. Ctrl-C stops it.
  status page   http://127.0.0.1:8443/
  rendezvous    http://127.0.0.1:8080/
  metrics       http://127.0.0.1:8444/metrics
  ask           curl -d '{"fqdn":"web-1.example.org","uptime":"36h"}' http://127.0.0.1:8443/v1/request/restart/os

EOF
# A signal ends the first wait early; the second one is for the service to finish.
code=0
wait $service || code=$?
trap '' INT TERM
trap - EXIT
[ "$told" ] || die "the service ended by itself (exit code $code); its last words are above; make run starts it again with the same state"
wait $service 2>/dev/null || true
say "Stopped; make run starts it again with the same state"
