#!/usr/bin/env bash
# Builds the release binary and the extension's files (target/release/goahead-pgNN/, laid out from the root).
. "$(dirname "$0")/env.sh"
need_postgres

say "Building the service: target/release/goahead"
cargo build --release -p goahead-service
say "Building the extension for PostgreSQL $PG_MAJOR: target/release/goahead-pg$PG_MAJOR/"
cargo pgrx package -p goahead --pg-config "$PG_CONFIG" --no-default-features --features "pg$PG_MAJOR"
