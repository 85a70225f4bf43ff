//! What the end-to-end tests stand on: a private Postgres, the real binary, a client, and the clean-up after them.
//!
//! Environment: `GOAHEAD_BIN` is the binary under test (default `target/release/goahead`), `GOAHEAD_PG_BIN` the
//! directory of the PostgreSQL programs whose installation carries the extension (default: what `pg_config` on the
//! PATH says). `make test` sets both.

pub mod bed;
pub mod clock;
pub mod command;
pub mod fleet;
pub mod hba;
pub mod history;
pub mod http;
pub mod locks;
pub mod port;
pub mod postgres;
pub mod process;
pub mod service;
pub mod tls;
pub mod wire;

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long anything that should happen soon may take on a loaded machine.
pub const SOON: Duration = Duration::from_secs(30);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Lets every wait of this process end by a panic, so that what it has started is stopped on the way out.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether [`interrupt`] was called.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Calls `probe` until it gives something, at most for `limit`; panics with `what` when it never does.
pub fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(!interrupted(), "interrupted");
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Prints to standard error in a clean-up, which must go on where nobody reads that any more: `eprintln!` would panic.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The binary under test.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("GOAHEAD_BIN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/goahead")),
        PathBuf::from,
    );
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}; run `make build` first", path.display()))
}

/// A file that belongs to the tests, by its path below `tests/`.
pub fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A new private directory with a short path (sockets lie in such), removed when dropped; `owner` may write to it.
pub fn directory(owner: process::User) -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("ga").tempdir().expect("a temporary directory");
    owner.give(directory.path());
    directory
}
