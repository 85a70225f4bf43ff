//! Closing the gated lines on disk.

use crate::Error;
use crate::edit::Locked;
use crate::files::AsServer;
use crate::seen::Seen;
use goahead_rules::hba::{self, Dialect, Problem};
use std::path::Path;
use std::time::Duration;

/// Names of the gated rules that are open on disk. Takes no lock and waits for nobody.
///
/// # Errors
/// Where the file is missing or cannot be read.
pub fn open_rules(path: &Path) -> Result<Vec<String>, Error> {
    Ok(hba::open_gated(&Seen::glance(path)?.text))
}

/// Closes every gated rule on disk, waiting at most for `limit` for the lock; gives their names. The server is not told.
///
/// # Errors
/// As [`Locked::take`] and [`Locked::edit`] have; none where nothing is open.
pub fn close_gated(path: &Path, limit: Duration) -> Result<Vec<String>, Error> {
    if open_rules(path)?.is_empty() {
        return Ok(Vec::new());
    }
    let edited = Locked::take(path, limit, &mut || {})?.edit(|text| Ok(hba::close(text)), |_| Ok(()))?;
    Ok(hba::open_gated(&edited.previous))
}

impl Locked {
    /// Why a text would not load in this place.
    #[must_use]
    pub fn problems(&self, text: &[u8], dialect: &Dialect) -> Vec<Problem> {
        hba::problems(&hba::parse(text, self.target(), dialect, &AsServer))
    }
}
