//! Closed at start: lines that were open when the file was copied or the server died are not open when it starts.

use super::server;
use crate::config::{self, CloseAtStart};
use goahead_hba_file::{Error, close_gated};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::time::Duration;

/// How long the start waits for another writer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Closes the gated lines, if this is the start of a server that has the gate: `_PG_init` runs before the file is loaded.
pub fn close_at_start() {
    // SAFETY: plain globals. A backend that loads the library, and a server that is only asked something, close nothing.
    let starts = unsafe {
        pg_sys::process_shared_preload_libraries_in_progress
            && pg_sys::IsPostmasterEnvironment
            && !pg_sys::IsUnderPostmaster
    };
    if !starts || !config::gate() {
        return;
    }
    let path = server::hba_file();
    match close_gated(&path, PATIENCE) {
        Ok(rules) if rules.is_empty() => {}
        Ok(rules) => {
            ErrorReport::new(
                PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
                format!("goahead closed {} in {} until a gate opens them", rules.join(", "), path.display()),
                "goahead",
            )
            .report(PgLogLevel::LOG);
        }
        // Without a file the server does not start anyway, and says so.
        Err(Error::Missing { .. }) => {}
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &Error) {
    let level = match config::close_at_start() {
        CloseAtStart::Require => PgLogLevel::FATAL,
        CloseAtStart::Try => PgLogLevel::WARNING,
    };
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
        format!("goahead cannot close the gate's lines before the server starts: {error}"),
        "goahead",
    )
    .set_hint(format!("{}; or start with goahead.close_at_start = try and an open gate", error.mend()))
    .report(level);
}
