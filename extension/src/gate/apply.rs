//! Bringing the rules into the file: compared, swapped, asked about, loaded; or everything as it was.

use super::calls;
use super::force;
use super::server::{self, MAJOR};
use crate::store;
use goahead_hba_file::{AsServer, Edited, Error, Locked, Stamp};
use goahead_rules::hba::{self, Desired, Keeper, State};
use pgrx::prelude::*;
use std::time::Duration;

/// How long a call waits for another writer.
const PATIENCE: Duration = Duration::from_secs(5);

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn hba_apply(state: default!(Option<&str>, "NULL")) -> bool {
    let state = state.map(read_state);
    refuse_after_writes();
    let locked = lock();
    bring_in(locked, state, <[u8]>::to_vec)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn hba_restore(version: Option<i64>) -> bool {
    let number = version.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    refuse_after_writes();
    let locked = lock();
    let text = goahead_hba_file::version(locked.target(), number).unwrap_or_else(|error| server::raise(&error));
    bring_in(locked, None, |now| hba::replace_foreign(now, &text))
}

/// A state as SQL writes it.
pub fn read_state(text: &str) -> State {
    text.parse().unwrap_or_else(|problem: String| {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            problem,
            "NULL is what the gate's live verdict says, else closed",
        )
    })
}

/// The state that the gate's verdict allows, if it counts, else closed.
pub fn verdict() -> State {
    match Stamp::live(&server::hba_file()) {
        Ok(Some(stamp)) => State { rw: stamp.rw, ro: stamp.ro },
        _ => State::CLOSED,
    }
}

/// A transaction that has written can still be rolled back; what is brought into a file cannot. It would also bring in
/// rules that nobody else sees yet.
fn refuse_after_writes() {
    // SAFETY: plain globals of this backend. A subtransaction has an id only if its parents have.
    if unsafe { pg_sys::GetTopTransactionIdIfAny() } != pg_sys::InvalidTransactionId {
        store::fail(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "this transaction has written, and the file would not be rolled back with it",
            "COMMIT first, then call it in a transaction of its own",
        );
    }
}

fn lock() -> Locked {
    let mut between = || {
        pgrx::check_for_interrupts!();
    };
    Locked::take(&server::hba_file(), PATIENCE, &mut between).unwrap_or_else(|error| server::raise(&error))
}

/// The rules as they are now: the caller's snapshot may be older than what another bring-in has seen.
fn newest_rules() -> Vec<Desired> {
    // SAFETY: pushed and popped in pairs; an ERROR between them pops by itself.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
    let rules = store::read(calls::desired);
    // SAFETY: as above.
    unsafe { pg_sys::PopActiveSnapshot() };
    rules
}

/// Gives the file the rows for a state and, outside of the managed block, what `foreign` makes of the file; whether it
/// changed. What a gate has in the block stays there.
fn bring_in(locked: Locked, state: Option<State>, foreign: impl Fn(&[u8]) -> Vec<u8>) -> bool {
    let rules = newest_rules();
    let state = state.unwrap_or_else(verdict);
    let dialect = server::dialect();
    let path = locked.target().to_owned();
    let edited = locked.edit(
        |text| Ok(hba::install_part(&foreign(text), Keeper::Rows, &rules, state, MAJOR)),
        |text| {
            let problems = locked.problems(text, &dialect);
            if problems.is_empty() {
                return Ok(());
            }
            let problem = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            Err(Error::Invalid { path: path.clone(), problem })
        },
    );
    let edited = edited.unwrap_or_else(|error| server::raise(&error));
    let entries = hba::parse(&edited.text, &path, &dialect, &AsServer);
    let shadows = hba::shadows(&entries, MAJOR);
    for shadow in &shadows {
        let takes = if shadow.whole { "takes everything from" } else { "may take connections from" };
        warning!(
            "line {} of {} comes first and {takes} rule {:?}: {}",
            shadow.line,
            shadow.file.display(),
            shadow.rule,
            shadow.text
        );
    }
    if locked.must_reload() {
        load(&locked, &edited);
        // Others need not wait for the answers.
        drop(locked);
        force::look(&path, &edited.text, &entries, &shadows);
    } else if let Some(problem) = locked.problems(&edited.text, &dialect).first() {
        warning!("{} would not load: {problem}; {}", path.display(), problem.mend);
    }
    edited.changed()
}

/// Has the server judge the new file and load it; one that it would not load is taken back.
fn load(locked: &Locked, edited: &Edited) {
    // Also when asking ends in an ERROR.
    let undo = Undo { locked, edited, wanted: true };
    if let Some(problem) = server::refusal(locked.target()) {
        undo.spare();
        let change = match locked.undo(edited) {
            Ok(()) if edited.changed() => "; the change was taken back".to_owned(),
            Ok(()) => String::new(),
            Err(error) => format!("; the change could not be taken back: {error}"),
        };
        let error = Error::Invalid { path: locked.target().to_owned(), problem: format!("{problem}{change}") };
        server::raise(&error);
    }
    undo.spare();
    match server::reload() {
        Ok(()) => locked.reloaded(),
        Err(problem) => store::fail(
            PgSqlErrorCode::ERRCODE_IO_ERROR,
            format!("the file is written, but the server cannot be told: {problem}"),
            "SELECT pg_reload_conf()",
        ),
    }
}

/// Takes an edit back when dropped.
struct Undo<'a> {
    locked: &'a Locked,
    edited: &'a Edited,
    wanted: bool,
}

impl Undo<'_> {
    fn spare(mut self) {
        self.wanted = false;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.wanted
            && let Err(error) = self.locked.undo(self.edited)
        {
            // No ereport here: this may run while an ERROR is on its way.
            eprintln!("goahead: {error}; {}", error.mend());
        }
    }
}
