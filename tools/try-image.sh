#!/usr/bin/env bash
# Tries the image web-rendezvous without a Docker engine: makes a clean Debian root by debootstrap, does in it what the
# image's stage in docker/Dockerfile does, and runs its entry point there as process 1 of a network of its own, under
# the client lines of docker/compose.web-rendezvous.yml. Takes minutes; wants root, debootstrap, curl and a network.
#
#   tools/try-image.sh            with what `make build` made
#   tools/try-image.sh STAGED     with what `make install DESTDIR=STAGED PREFIX=/usr` made
. "$(dirname "$0")/env.sh"

stage=web-rendezvous
compose=docker/compose.web-rendezvous.yml

# What an instruction of the stage says: `instruction ENTRYPOINT`; continued lines are joined.
instruction() {
    awk -v wanted="$1" -v stage="$stage" '
        { line = line $0; if (sub(/\\$/, "", line)) next }
        line ~ /^FROM / { inside = line ~ (" AS " stage "$") }
        inside && index(line, wanted " ") == 1 { print substr(line, length(wanted) + 2) }
        { line = "" }' docker/Dockerfile
}

# Everything below runs in a mount namespace of its own: its mounts are nobody else's, and end with it.
make_root() {
    local root=$1 staged=$2 major=$3 suite mirror
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # The mirror that this machine uses.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" "Label: Debian" | sort -u | head -1)
    say "Making a clean root of Debian $suite in $root"
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "${mirror:-http://deb.debian.org/debian}" >"$root.log" 2>&1 ||
        { tail -20 "$root.log" >&2; die "debootstrap failed"; }
    # How this machine reaches its mirror, be it by a proxy or an authority of its own.
    cp -a /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    mount -t proc proc "$root/proc"
    say "Preparing it as the image's stage does"
    cp docker/runtime.sh "$root/runtime.sh"
    chroot "$root" /usr/bin/env -i PATH="$PATH" HOME=/root /runtime.sh "$major" >"$root.log" 2>&1 ||
        { tail -20 "$root.log" >&2; die "docker/runtime.sh failed"; }
    rm "$root/runtime.sh"
    umount "$root/proc"
    cp -a "$staged/usr/." "$root/usr/"
    # The names of the compose file, as its network has them.
    local names; names=$(sed -n 's/^  \([a-z_]*\):$/\1/p' "$compose" | tr '\n' ' ')
    echo "127.0.0.1 localhost $names" >"$root/etc/hosts"
}

# Waits for a command to succeed, at most a minute.
eventually() {
    local deadline=$((SECONDS + 60))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || die "not within a minute: $*"
        sleep 0.1
    done
}

# A server of the compose file that only has to listen: chrooted, by the Perl that every Debian has.
listen() {
    chroot "$root" perl -MIO::Socket::INET -e '
        my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => shift, Listen => 8, ReuseAddr => 1) or die $!;
        while (my $c = $s->accept) { close $c }' "$1" &
}

# A program of the root's PostgreSQL as user postgres: `postgres_program NAME ARGUMENT…`.
postgres_program() {
    chroot "$root" setpriv --reuid=postgres --regid=postgres --init-groups \
        env -i PGPASSWORD=pgpass "/usr/lib/postgresql/$major/bin/$1" "${@:2}"
}

ask_postgres() { postgres_program psql -h 127.0.0.1 -U postgres -qtAc "$1"; }

# The compose file's postgres, with the user and password of web-rendezvous' default; its database comes later.
start_postgres() {
    install -d -m 700 "$root/tmp/pg"
    chroot "$root" chown postgres: /tmp/pg
    echo pgpass >"$root/tmp/password"
    postgres_program initdb -D /tmp/pg/data -U postgres -A scram-sha-256 --pwfile=/tmp/password >/dev/null
    postgres_program postgres -D /tmp/pg/data -k /tmp/pg -h 127.0.0.1 >"$root.postgres" 2>&1 &
    eventually ask_postgres 'SELECT 1'
}

# Asks with the answer that is wanted: `expect CODE ANSWER COMMAND…`, where CODE is the command's exit code.
expect() {
    local code=0 wanted=$1 body=$2 answer; shift 2
    answer=$("$@") || code=$?
    [ "$code" = "$wanted" ] && [ "$answer" = "$body" ] ||
        die "$* ended with $code and answered: $answer (wanted $wanted and $body)"
    echo "ok: $*"
}

try_it() {
    root=$1 major=$2
    local user entry environment home
    ip link set lo up
    mount --bind "$root/etc/hosts" /etc/hosts
    mount -t tmpfs -o size=64m tmpfs "$root/dev/shm"
    user=$(instruction USER)
    environment=$(instruction ENV)
    # ["/a", "b"] has one word per string.
    entry=$(instruction ENTRYPOINT | tr -d '[]",')
    home=$(awk -F: -v id="$user" '$3 == id { print $6 }' "$root/etc/passwd")
    [ -n "$user" ] && [ "$user" != 0 ] && [ -n "$entry" ] && [ -n "$home" ] || die "cannot read the stage $stage"

    say "Running $entry as user $user"
    # shellcheck disable=SC2086
    unshare --pid --fork --kill-child --mount sh -c 'mount -t proc proc "$0/proc" && exec chroot "$@"' "$root" \
        --userspec="$user:$user" "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME="$home" $environment $entry >"$root.service" 2>&1 &
    local service=$!
    trap 'code=$?; [ $code = 0 ] || cat "$root.service" >&2; kill $(jobs -p) 2>/dev/null; exit $code' EXIT
    # The original's documentation waits for nothing else either.
    eventually curl --silent --fail http://webrendezvous:8080/

    local ok='{"ok":true}' late='{"ok":false,"error":"Timeout"}'
    expect 0 '{"ok":true,"waiting_and_failed":[],"marked":[]}' curl --silent http://webrendezvous:8080/
    expect 0 "$late" curl --silent "http://webrendezvous:8080/abc?timeout=0.2"
    expect 22 "" curl --silent --fail "http://webrendezvous:8080/abc?timeout=0.2"

    say "The client lines of $compose"
    local lines clients=() line
    mapfile -t lines < <(grep -o 'curl -X [A-Za-z]* --silent --show-error "http[^"]*"' "$compose")
    [ ${#lines[@]} = 2 ] || die "$compose has ${#lines[@]} client lines, not 2"
    for line in "${lines[@]}"; do
        sh -c "$line" >"$root.client.${#clients[@]}" 2>&1 &
        clients+=($!)
    done
    # Both wait, until there is what they wait for.
    sleep 1
    for line in "${clients[@]}"; do kill -0 "$line" || die "a client did not wait: $(cat "$root".client.*)"; done
    listen 11211
    start_postgres
    ask_postgres 'CREATE DATABASE my_db'
    for line in "${!clients[@]}"; do
        wait "${clients[$line]}" || die "failed: ${lines[$line]}"
        expect 0 "$ok" cat "$root.client.$line"
    done

    say "Keys"
    curl -X GET --silent --show-error --max-time 60 http://webrendezvous:8080/abc >"$root.client" &
    local waiting=$!
    sleep 0.5
    expect 0 "$ok" curl -X PUT --silent http://webrendezvous:8080/abc
    wait $waiting
    expect 0 "$ok" cat "$root.client"
    expect 0 "{\"ok\":false,\"error\":\"Keys starting with '_' are reserved\"}" curl -X POST --silent http://webrendezvous:8080/_abc

    say "Stopping it as docker stop does"
    # unshare passes no signal on: the process to stop is its child, which is process 1 in there.
    local first; first=$(cat "/proc/$service/task/$service/children")
    [ "$(awk '/^Uid:/ { print $2 }' "/proc/${first// /}/status")" = "$user" ] || die "it does not run as user $user"
    kill -TERM $first
    local begun=$SECONDS code=0
    wait $service || code=$?
    [ $code = 0 ] && [ $((SECONDS - begun)) -lt 10 ] || die "it ended with $code after $((SECONDS - begun)) s"
    say "The image's entry point does what web-rendezvous does"
}

case ${1:-} in
--make-root) shift; make_root "$@"; exit ;;
--try-it) shift; try_it "$@"; exit ;;
esac

[ "$(id -u)" = 0 ] || die "a clean root can only be made by root; where there is a Docker engine, run: make image"
for tool in debootstrap unshare findmnt curl ip; do
    command -v $tool >/dev/null || die "$tool is missing; install it: apt-get install debootstrap util-linux curl iproute2"
done
need_postgres
self=$PWD/tools/try-image.sh
work=$(mktemp -d /var/tmp/goahead-image.XXXXXX)
chmod 755 "$work"
cleanup() {
    # The mounts belong to a namespace that has ended; should one be here all the same, nothing is removed through it.
    if findmnt -rno TARGET | grep -q "^$work"; then
        echo "error: something is still mounted below $work; unmount it and remove that directory" >&2
    else
        rm -rf --one-file-system "$work"
    fi
}
trap cleanup EXIT
staged=${1:-}
if [ -z "$staged" ]; then
    staged=$work/staged
    make --no-print-directory install DESTDIR="$staged" PREFIX=/usr
fi
[ -x "$staged/usr/bin/$stage" ] || die "there is no $staged/usr/bin/$stage; run: make install DESTDIR=$staged PREFIX=/usr"
mkdir "$work/root"
unshare --mount --propagation private "$self" --make-root "$work/root" "$staged" "$PG_MAJOR"
unshare --mount --propagation private --net --pid --fork --kill-child --mount-proc \
    "$self" --try-it "$work/root" "$PG_MAJOR"
