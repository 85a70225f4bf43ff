//! The watchdog: closes the gated lines when the gate's verdict has expired. The extension's worker and the gate's own
//! child call it, each with its period.

use crate::edit::Locked;
use crate::good::LastGood;
use crate::place::Place;
use crate::seen::{Identity, Seen};
use crate::server::Server;
use crate::shut::{Closed, GoesBy};
use crate::{AsServer, Error, Stamp, clock, standin, swap};
use goahead_rules::hba::{self, Dialect};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a step waits for another writer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the server may take to load a text.
const LOADING: Duration = Duration::from_secs(1);
/// How long a file with which something failed is left alone while nobody changes it, in microseconds.
const PAUSE: i64 = 10_000_000;

/// What a step found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The verdict counts until this microsecond of CLOCK_BOOTTIME.
    Live(i64),
    /// It does not, and nothing is open.
    Quiet,
    /// It does not, and lines were open, or the server did not know yet that they are closed.
    Closed(Closed),
}

/// What is remembered between steps, so that most of them are two looks at the directory.
#[derive(Debug)]
pub struct Watchdog {
    path: PathBuf,
    /// The file when it was last found closed.
    closed: Option<Identity>,
    /// When to look again all the same.
    again: i64,
    good: LastGood,
}

impl Watchdog {
    /// Of a file; nothing is looked at yet.
    #[must_use]
    pub fn new(hba_file: &Path) -> Self {
        Self { path: hba_file.to_owned(), closed: None, again: i64::MAX, good: LastGood::default() }
    }

    /// One step: where the stamp does not count, closes what is open, on disk and in the server.
    ///
    /// # Errors
    /// When the file cannot be read or replaced, or the server not be told: the next step tries again.
    pub fn watch_once(&mut self, dialect: &Dialect, server: &mut dyn Server) -> Result<Step, Error> {
        self.good.look(&self.path, dialect);
        if let Some(stamp) = Stamp::live(&self.path)? {
            self.closed = None;
            return Ok(Step::Live(stamp.expires_us));
        }
        let again = clock::boottime() >= self.again;
        if !again && self.closed.is_some() && self.closed == Identity::of(&self.path).ok() {
            return Ok(Step::Quiet);
        }
        let seen = Seen::glance(&self.path)?;
        if !again && !self.concerns(&seen, dialect)? {
            self.closed = Some(seen.identity);
            return Ok(Step::Quiet);
        }
        let locked = Locked::take(&self.path, PATIENCE, &mut || {})?;
        // The gate may have come back during the wait.
        if let Some(stamp) = Stamp::live(&self.path)? {
            return Ok(Step::Live(stamp.expires_us));
        }
        self.close(&locked, dialect, server).map(Step::Closed)
    }

    /// Closes what is open now, whatever the stamp says.
    ///
    /// # Errors
    /// As [`Watchdog::watch_once`].
    pub fn close_now(&mut self, dialect: &Dialect, server: &mut dyn Server) -> Result<Closed, Error> {
        self.good.look(&self.path, dialect);
        let locked = Locked::take(&self.path, PATIENCE, &mut || {})?;
        self.close(&locked, dialect, server)
    }

    fn close(&mut self, locked: &Locked, dialect: &Dialect, server: &mut dyn Server) -> Result<Closed, Error> {
        let closed = locked.shut(dialect, &mut self.good, server, LOADING)?;
        // A file that does not load is not looked at again until somebody has changed it, or it may work.
        let seen = Seen::glance(&self.path)?;
        self.closed = hba::open_gated(&seen.text).is_empty().then_some(seen.identity);
        let failed = matches!(closed.goes_by, GoesBy::Earlier(_));
        self.again = if failed { clock::boottime() + PAUSE } else { i64::MAX };
        Ok(closed)
    }

    /// Whether the file or the server may have something open, or a file is set aside.
    fn concerns(&self, seen: &Seen, dialect: &Dialect) -> Result<bool, Error> {
        let place = Place::find(&self.path)?;
        if !hba::open_gated(&seen.text).is_empty() || standin::is_aside(&place) {
            return Ok(true);
        }
        let loads = || hba::loads(&hba::parse(&seen.text, &place.target, dialect, &AsServer));
        Ok(if swap::is_untold(&place) { !swap::is_shut(&place) } else { self.good.may_be_open() && !loads() })
    }

    /// Microseconds of CLOCK_BOOTTIME, for whoever sleeps until a verdict ends.
    #[must_use]
    pub fn now() -> i64 {
        clock::boottime()
    }
}
