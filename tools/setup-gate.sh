#!/usr/bin/env bash
# Installs what the gate's demo and the end-to-end tests run beside the product: repmgr, HAProxy, ip, and the programs of
# the documentation's command lines. Safe to repeat; starts nothing.
. "$(dirname "$0")/env.sh"
. tools/apt.sh
need_postgres

packages=(haproxy iproute2 curl wget)
case $PG_BIN in
/usr/lib/postgresql/*) packages+=("postgresql-$PG_MAJOR-repmgr") ;;
*) [ -x "$PG_BIN/repmgr" ] || die "$PG_BIN has no repmgr; install repmgr for this PostgreSQL, the gate's tests need it" ;;
esac
if command -v apt-get >/dev/null; then
    install_idle "${packages[@]}"
fi
for program in haproxy ip "$PG_BIN/repmgrd"; do
    command -v "$program" >/dev/null || die "$program is missing; the gate's tests and demo need it"
done
