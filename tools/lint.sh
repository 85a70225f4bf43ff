#!/usr/bin/env bash
# Format, clippy with warnings as errors, and cargo-deny where it is installed.
. "$(dirname "$0")/env.sh"
need_postgres

say "Format"
cargo fmt --all --check
say "Clippy"
cargo clippy --workspace --all-targets --no-default-features --features "goahead/pg$PG_MAJOR" -- -D warnings
say "Shell scripts"
for script in tools/*.sh docker/*.sh .ci/run; do bash -n "$script"; done
if command -v shellcheck >/dev/null; then shellcheck -x -S warning tools/*.sh docker/*.sh .ci/run; else echo "skipped shellcheck: not installed"; fi
say "Dependencies"
if cargo deny --version >/dev/null 2>&1; then
    cargo deny check licenses bans sources
    # The advisories live in a git repository on GitHub.
    if timeout 20 git ls-remote -q https://github.com/rustsec/advisory-db HEAD >/dev/null 2>&1; then
        cargo deny check advisories
    else
        echo "skipped advisories: https://github.com/rustsec/advisory-db cannot be reached"
    fi
else
    echo "skipped cargo-deny: not installed (cargo install cargo-deny --locked)"
fi
