#!/usr/bin/env bash
# Copies what `make build` made to $DESTDIR; builds nothing. Uses sudo where the place is not writable.
. "$(dirname "$0")/env.sh"
need_postgres

binary=target/release/goahead
package=target/release/goahead-pg$PG_MAJOR
[ -x "$binary" ] && [ -d "$package" ] || die "nothing to install yet; run: make build"

# A staged install belongs to the user; a real one to root.
run=as_root
[ -z "$DESTDIR" ] || run=
place() { $run install -D -m "$1" "$2" "$DESTDIR$3"; }

staged=$(mktemp -d)
trap 'rm -rf "$staged"' EXIT

tools/install-extension.sh "$PG_CONFIG"

place 755 "$binary" "$PREFIX/bin/goahead"
for name in goahead_client web-rendezvous harepd; do $run ln -sf goahead "$DESTDIR$PREFIX/bin/$name"; done

"$binary" man --directory "$staged"
for page in "$staged"/*.1; do place 644 "$page" "$PREFIX/share/man/man1/${page##*/}"; done
"$binary" completions bash >"$staged/bash"
"$binary" completions zsh >"$staged/zsh"
"$binary" completions fish >"$staged/fish"
place 644 "$staged/bash" "$PREFIX/share/bash-completion/completions/goahead"
place 644 "$staged/zsh" "$PREFIX/share/zsh/site-functions/_goahead"
place 644 "$staged/fish" "$PREFIX/share/fish/vendor_completions.d/goahead.fish"

for unit in tools/systemd/*.service tools/systemd/*.timer; do
    sed "s|@PREFIX@|$PREFIX|" "$unit" >"$staged/unit"
    place 644 "$staged/unit" "$PREFIX/lib/systemd/system/${unit##*/}"
done
place 644 tools/systemd/goahead.sysusers "$PREFIX/lib/sysusers.d/goahead.conf"

say "Installed goahead in $DESTDIR$PREFIX and its extension for PostgreSQL $PG_MAJOR"
