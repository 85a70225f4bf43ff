//! Whether the rules are in force after a reload, as a health check from this machine gets to see them.

use super::server::{self, MAJOR};
use goahead_hba_file::{InForce, Wrong, in_force};
use goahead_rules::hba::{self, Entry, Expected, Shadow};
use pgrx::prelude::*;
use std::path::Path;
use std::time::Duration;

/// How long the server may take to load the file.
const LIMIT: Duration = Duration::from_secs(1);

/// Asks about each rule that can be asked about from here, and warns of those that reply other than they say. Nothing is
/// taken back: the file is right. `text` is what was written to `path`, `entries` what it says, `shadows` which of its
/// rules come too late as far as that can be read.
pub fn look(path: &Path, text: &[u8], entries: &[Entry], shadows: &[Shadow]) {
    let mut probes = hba::probes(entries, MAJOR);
    // These were warned of, and reply as the rule does that takes everything from them.
    probes.retain(|probe| !shadows.iter().any(|shadow| shadow.whole && shadow.rule == probe.rule));
    if probes.is_empty() {
        return;
    }
    let mut between = || {
        pgrx::check_for_interrupts!();
    };
    let InForce { wrong, skipped, .. } = in_force(&probes, &server::listens(), limit(), &mut between);
    if !skipped.is_empty() {
        debug1!(
            "rules {skipped:?} were not asked about after the reload: no address that they are for is one of this machine \
             from which the server can be reached, or the time was up"
        );
    }
    // Somebody may have been quicker with the next state.
    if wrong.is_empty() || goahead_hba_file::read(path).is_ok_and(|now| now != text) {
        return;
    }
    for wrong in &wrong {
        warn(path, wrong, shadows.iter().find(|shadow| shadow.rule == wrong.rule));
    }
}

/// A part of the time that the caller has: a call that is cancelled after the reload would look as if it had failed.
fn limit() -> Duration {
    match server::statement_timeout() {
        Duration::ZERO => LIMIT,
        timeout => LIMIT.min(timeout / 4),
    }
}

fn warn(path: &Path, wrong: &Wrong, shadow: Option<&Shadow>) {
    let Wrong { rule, expected, source, target, reply } = wrong;
    let wanted = match expected {
        Expected::Challenge => "opens",
        Expected::Refusal => "closes",
    };
    let (what, mend) = match shadow {
        Some(Shadow { line, file, text, .. }) => (
            "gate shadowed",
            format!(
                "line {line} of {} comes first: {text:?}; give rule {rule:?} a smaller place than that one has (hba_set)",
                file.display()
            ),
        ),
        None => (
            "not loaded",
            format!(
                "look in the server's log whether it has reloaded and whether it is this server that listens on {target}, \
                 then SELECT pg_reload_conf()"
            ),
        ),
    };
    let message = format!(
        "{what}: {} {wanted} rule {rule:?}, but a health check from {source} at {target} gets to see that {reply}",
        path.display()
    );
    pgrx::pg_sys::panic::ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "goahead")
        .set_hint(mend)
        .report(PgLogLevel::WARNING);
}
