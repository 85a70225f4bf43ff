#!/usr/bin/env bash
# Copies PostgreSQL's files below a directory and adds the built extension: private-postgres.sh DIR
# PostgreSQL finds its files relative to its programs, so the copy in DIR/usr/lib/postgresql/NN/bin stands alone.
. "$(dirname "$0")/env.sh"
need_postgres

for part in "$PG_BIN" "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)"; do
    mkdir -p "$1$part"
    # What came since the last time too: repmgr lies in the same directories.
    cp -au "$part/." "$1$part/"
done
DESTDIR='' tools/install-extension.sh "$1$PG_BIN/pg_config"
