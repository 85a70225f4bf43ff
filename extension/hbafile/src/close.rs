//! Closing the gated lines on disk.

use crate::Error;
use crate::edit::{Edited, Locked};
use crate::files::AsServer;
use crate::seen::Seen;
use goahead_rules::hba::{self, Dialect, Problem};
use std::path::Path;
use std::time::Duration;

/// What closing has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The rules that were open and are closed on disk now.
    pub rules: Vec<String>,
    /// Why the file does not load, apart from us; empty when it does. A server that is told to reload such a file keeps
    /// the rules that it has, so it is not told: the lines take effect when the file is mended and reloaded.
    pub problems: Vec<Problem>,
}

impl Closed {
    /// Whether anything was open.
    #[must_use]
    pub fn changed(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether a server loads what is there now.
    #[must_use]
    pub fn loads(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Names of the gated rules that are open on disk. Takes no lock and waits for nobody.
///
/// # Errors
/// Where the file is missing or cannot be read.
pub fn open_rules(path: &Path) -> Result<Vec<String>, Error> {
    Ok(hba::open_gated(&Seen::glance(path)?.text))
}

/// Closes every gated rule on disk, waiting at most for `limit` for the lock. The server is not told.
///
/// # Errors
/// As [`Locked::take`] and [`Locked::edit`] have; none where nothing is open.
pub fn close_gated(path: &Path, dialect: &Dialect, limit: Duration) -> Result<Closed, Error> {
    if open_rules(path)?.is_empty() {
        return Ok(Closed { rules: Vec::new(), problems: Vec::new() });
    }
    Locked::take(path, limit, &mut || {})?.close_gated(dialect)
}

impl Locked {
    /// Closes every gated rule on disk. Our lines are closed even in a file that does not load.
    ///
    /// # Errors
    /// As [`Locked::edit`] has.
    pub fn close_gated(&self, dialect: &Dialect) -> Result<Closed, Error> {
        let Edited { previous, text, .. } = self.edit(|text| Ok(hba::close(text)), |_| Ok(()))?;
        Ok(Closed { rules: hba::open_gated(&previous), problems: self.problems(&text, dialect) })
    }

    /// Why a text would not load in this place.
    #[must_use]
    pub fn problems(&self, text: &[u8], dialect: &Dialect) -> Vec<Problem> {
        hba::problems(&hba::parse(text, self.target(), dialect, &AsServer))
    }
}
