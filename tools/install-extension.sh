#!/usr/bin/env bash
# Copies the built extension to where the PostgreSQL of one pg_config looks for it: install-extension.sh PG_CONFIG
# Files that are the same already are left alone, so that a running server is not disturbed.
. "$(dirname "$0")/env.sh"
DESTDIR=${DESTDIR:-}
target=$1
major=$("$target" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
package=target/release/goahead-pg$major
library=$DESTDIR$("$target" --pkglibdir)
share=$DESTDIR$("$target" --sharedir)/extension

find "$package" -type f | while read -r file; do
    case $file in
    *.so) to=$library mode=755 ;;
    *) to=$share mode=644 ;;
    esac
    cmp -s "$file" "$to/${file##*/}" && continue
    run=as_root
    { [ -n "$DESTDIR" ] || [ -w "$to" ]; } && run=
    # A new file under the name, never the old one overwritten: running servers have it mapped.
    $run install -D -m $mode "$file" "$to/${file##*/}.new"
    $run mv -f "$to/${file##*/}.new" "$to/${file##*/}"
done
