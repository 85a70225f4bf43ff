//! The watchdog: closes the gated lines when the gate's verdict has expired. The extension's worker and the gate's own
//! child call it, each with its period.

use crate::close::Closed;
use crate::edit::Locked;
use crate::seen::{Identity, Seen};
use crate::{Error, Stamp, clock};
use goahead_rules::hba::{self, Dialect};
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a step waits for another writer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a step found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The verdict counts until this microsecond of CLOCK_BOOTTIME.
    Live(i64),
    /// It does not, and nothing is open.
    Quiet,
    /// It does not, and lines were open, or the server did not know yet that they are closed. It was told if the file
    /// loads.
    Closed(Closed),
}

/// What is remembered between steps, so that most of them are two looks at the directory.
#[derive(Debug)]
pub struct Watchdog {
    path: PathBuf,
    /// The file when it was last found closed.
    closed: Option<Identity>,
}

impl Watchdog {
    /// Of a file; nothing is looked at yet.
    #[must_use]
    pub fn new(hba_file: &Path) -> Self {
        Self { path: hba_file.to_owned(), closed: None }
    }

    /// One step: where the stamp does not count, closes what is open, and has the server told by `reload`.
    ///
    /// # Errors
    /// When the file cannot be read or replaced, or `reload` fails: the next step tries again.
    pub fn watch_once(&mut self, dialect: &Dialect, reload: &mut dyn FnMut() -> io::Result<()>) -> Result<Step, Error> {
        if let Some(stamp) = Stamp::live(&self.path)? {
            self.closed = None;
            return Ok(Step::Live(stamp.expires_us));
        }
        if self.closed.is_some() && self.closed == Identity::of(&self.path).ok() {
            return Ok(Step::Quiet);
        }
        let seen = Seen::glance(&self.path)?;
        let place = crate::place::Place::find(&self.path)?;
        if hba::open_gated(&seen.text).is_empty() && !crate::swap::is_untold(&place) {
            self.closed = Some(seen.identity);
            return Ok(Step::Quiet);
        }
        let locked = Locked::take(&self.path, PATIENCE, &mut || {})?;
        // The gate may have come back during the wait.
        if let Some(stamp) = Stamp::live(&self.path)? {
            return Ok(Step::Live(stamp.expires_us));
        }
        let closed = locked.close_gated(dialect)?;
        if closed.loads() && locked.must_reload() {
            reload().map_err(|problem| Error::reading(Path::new("the server's first process"), problem))?;
            locked.reloaded();
        }
        // A file that does not load is not looked at again until somebody has changed it.
        let seen = Seen::glance(&self.path)?;
        self.closed = hba::open_gated(&seen.text).is_empty().then_some(seen.identity);
        Ok(Step::Closed(closed))
    }

    /// Microseconds of CLOCK_BOOTTIME, for whoever sleeps until a verdict ends.
    #[must_use]
    pub fn now() -> i64 {
        clock::boottime()
    }
}

/// Tells the server of a data directory to reload; gives its process id. For processes that are not the server's own.
///
/// # Errors
/// Where no server runs there. A process that only has the number of one that has ended is not signalled.
pub fn reload(data_directory: &Path) -> io::Result<u32> {
    let file = data_directory.join("postmaster.pid");
    let text = std::fs::read_to_string(&file)?;
    // A server in single-user mode writes a negative number.
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).filter(|pid| *pid > 0);
    let pid = pid.and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other(format!("{} holds no process id", file.display())))?;
    // The server's first process works in its data directory.
    let place = std::fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()))?;
    if place != std::fs::canonicalize(data_directory)? {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("process {} does not serve {}", pid.as_raw_nonzero(), data_directory.display()),
        ));
    }
    kill_process(pid, Signal::HUP)?;
    Ok(pid.as_raw_nonzero().get().unsigned_abs())
}
