# Sourced by every script here: where the tools are and which PostgreSQL is built against.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export PGRX_HOME=$PWD/target/pgrx
PATH=$PWD/target/tools/bin:$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin
# cargo-pgrx passes a linker option that keeps the SQL schema in the library; RUSTFLAGS would override it.
unset RUSTFLAGS

export PGRX_VERSION; PGRX_VERSION=$(sed -n 's/^pgrx = "=\(.*\)"/\1/p' Cargo.toml)

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The pg_config to build against: PG_CONFIG if set, else the newest Debian one with server headers, else the one on PATH.
find_pg_config() {
    local candidate
    for candidate in ${PG_CONFIG:-} $(ls -d /usr/lib/postgresql/*/bin/pg_config 2>/dev/null | sort -rV) pg_config; do
        if [ -e "$("$candidate" --includedir-server 2>/dev/null)/postgres.h" ]; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Sets PG_CONFIG, PG_MAJOR and PG_BIN, or stops and says how to get there.
need_postgres() {
    PG_CONFIG=$(find_pg_config) || die "no PostgreSQL with server headers found; run: make setup"
    PG_MAJOR=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
    PG_BIN=$("$PG_CONFIG" --bindir)
    export PG_CONFIG PG_MAJOR PG_BIN
}

# Runs a command as root: directly, or by sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
