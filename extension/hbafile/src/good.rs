//! The last text of the file that loads, for as long as it is certain which one that was.
//!
//! It is what a server goes on with when somebody leaves a line in the file that does not load. Kept in the memory of
//! whoever looks all the time, not beside the file: a copy from an earlier time would bring back rules that an
//! administrator has taken out since.

use crate::clock;
use crate::seen::{Identity, Seen};
use crate::standin::is_stand_in;
use goahead_rules::hba::{self, Dialect};
use std::path::Path;

/// The longest time between two looks, in microseconds, in which nobody is taken to have had another text loaded.
const GAP: i64 = 3_000_000;
/// How long nothing is tried again with a file with which it failed, in microseconds.
const PAUSE: i64 = 10_000_000;

/// What somebody who looks all the time knows of the texts that lay there.
#[derive(Debug, Default)]
pub struct LastGood {
    /// The file at the last look, and when that was.
    last: Option<(Identity, i64)>,
    /// The newest text that loads; none: nobody knows.
    text: Option<Vec<u8>>,
    /// Why the file does not load; none: it does, or nobody knows.
    mistake: Option<String>,
    failed: Option<(Identity, i64, String)>,
}

impl LastGood {
    /// Looks at the file. To be called at least every second; it waits for nobody, and one that cannot be read, or that
    /// somebody is writing, has not been looked at.
    pub fn look(&mut self, path: &Path, dialect: &Dialect) {
        self.look_at(path, dialect, clock::boottime());
    }

    pub(crate) fn look_at(&mut self, path: &Path, dialect: &Dialect, now: i64) {
        let Ok(identity) = Identity::of(path) else { return };
        if let Some((last, at)) = &mut self.last
            && *last == identity
        {
            *at = now;
            return;
        }
        let Some(seen) = Seen::glance(path).ok().filter(Seen::is_quiet) else { return };
        if is_stand_in(&seen.text) {
            // What it stands in for was looked at already, or will be.
            self.last = self.last.map(|(last, _)| (last, now));
            return;
        }
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let problems = hba::problems(&hba::parse(&seen.text, &target, dialect, &crate::AsServer));
        self.mistake = problems.first().map(|problem| format!("{problem}; {}", problem.mend));
        if problems.is_empty() {
            self.text = Some(seen.text);
        } else if self.last.is_none_or(|(_, at)| now - at > GAP) {
            self.text = None;
        }
        self.last = Some((seen.identity, now));
    }

    /// Why the file that lies there does not load, and what to do about it; none: it does, or it was not looked at. The
    /// server goes on with what it has.
    #[must_use]
    pub fn mistake(&self) -> Option<&str> {
        self.mistake.as_deref()
    }

    /// The text with its gated lines closed.
    pub(crate) fn closed(&self) -> Option<Vec<u8>> {
        self.text.as_deref().map(hba::close)
    }

    /// Whether it may have let somebody in by a gated line.
    pub(crate) fn may_be_open(&self) -> bool {
        self.text.as_deref().is_none_or(|text| !hba::open_gated(text).is_empty())
    }

    /// Why it is not to be tried with this file just now.
    pub(crate) fn failed(&self, identity: &Identity) -> Option<String> {
        let (file, at, why) = self.failed.as_ref()?;
        (file == identity && clock::boottime() - at < PAUSE).then(|| why.clone())
    }

    pub(crate) fn fail(&mut self, identity: Identity, why: &str) {
        self.failed = Some((identity, clock::boottime(), why.to_owned()));
    }
}
