#!/usr/bin/env bash
# Installs what is missing to build goahead: PostgreSQL with headers, a C compiler, clang, cargo-pgrx. Safe to repeat.
. "$(dirname "$0")/env.sh"
. tools/apt.sh

command -v cargo >/dev/null || die "Rust is missing; install it from https://rustup.rs and run make again"

install_packages() {
    local missing
    # shellcheck disable=SC2046
    missing=$(missing_packages $(debian_packages))
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        die "these Debian packages are missing, install them as root: " $missing
    say "Installing Debian packages:" $missing
    # Without this the package would create and start a database of its own, which goahead does not use.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    # The file above is a configuration file of postgresql-common: keep ours without asking.
    apt_install_refreshed $missing
}

debian_packages() {
    local major found
    # pkg-config, libssl-dev: cargo-pgrx itself links OpenSSL.
    # sudo: cargo-pgrx runs its test server as another user through it when called by root. libfaketime: a test steps a clock.
    echo gcc libc6-dev pkg-config libssl-dev ca-certificates curl sudo libfaketime
    found=$(find_pg_config || true)
    case $found in
    "") major=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -1) ;;
    /usr/lib/postgresql/*) major=$(echo "$found" | cut -d/ -f5) ;;
    *) return ;; # a PostgreSQL of the user's own
    esac
    echo "postgresql-$major" "postgresql-server-dev-$major"
}

if command -v apt-get >/dev/null; then
    if ! find_pg_config >/dev/null && ! apt-cache show postgresql >/dev/null 2>&1; then
        say "Refreshing the package lists"
        as_root apt-get update
    fi
    install_packages
fi
find_pg_config >/dev/null ||
    die "no PostgreSQL with server headers; install PostgreSQL 14 to 18 with its development files, clang and gcc"
need_postgres

if [ "$(cargo pgrx --version 2>/dev/null)" != "cargo-pgrx $PGRX_VERSION" ]; then
    say "Building cargo-pgrx $PGRX_VERSION (once, some minutes)"
    # Unoptimized: it only calls other programs, and is built much sooner.
    CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-pgrx --version "=$PGRX_VERSION" --locked --debug --root target/tools
fi

# cargo-pgrx keeps its choice in this file and rebuilds everything when it is touched.
if ! grep -qs "^pg$PG_MAJOR = \"$PG_CONFIG\"" "$PGRX_HOME/config.toml"; then
    say "Using PostgreSQL $PG_MAJOR ($PG_CONFIG)"
    cargo pgrx init "--pg$PG_MAJOR" "$PG_CONFIG"
fi
