//! Whether the rules are in force after a reload, as a health check from this machine gets to see them.

use super::server::{self, MAJOR};
use goahead_hba_file::{Complaint, Effect, effect};
use goahead_rules::hba::{Entry, Shadow};
use pgrx::prelude::*;
use std::path::Path;
use std::time::Duration;

/// How long the server may take to load the file.
const LIMIT: Duration = Duration::from_secs(1);

/// Asks about each rule that can be asked about from here, and warns of those that reply other than they say. Nothing is
/// taken back: the file is right. `text` is what was written to `path`, `entries` what it says, `shadows` which of its
/// rules come too late as far as that can be read: of those was warned.
pub fn look(path: &Path, text: &[u8], entries: &[Entry], shadows: &[Shadow]) {
    let mut between = || {
        pgrx::check_for_interrupts!();
    };
    let Effect { complaints, skipped } =
        effect((path, text), entries, shadows, MAJOR, &server::listens(), limit(), &mut between);
    if !skipped.is_empty() {
        debug1!(
            "rules {skipped:?} were not asked about after the reload: no address that they are for is one of this machine \
             from which the server can be reached, or the time was up"
        );
    }
    for Complaint { message, mend, .. } in complaints {
        pgrx::pg_sys::panic::ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "goahead")
            .set_hint(mend)
            .report(PgLogLevel::WARNING);
    }
}

/// A part of the time that the caller has: a call that is cancelled after the reload would look as if it had failed.
fn limit() -> Duration {
    match server::statement_timeout() {
        Duration::ZERO => LIMIT,
        timeout => LIMIT.min(timeout / 4),
    }
}
