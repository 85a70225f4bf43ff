//! The server that goes by the file.

use crate::Listens;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::path::PathBuf;

/// A server whose file it is.
pub trait Server {
    /// Where it listens; none: nobody knows.
    fn listens(&self) -> Option<Listens>;

    /// Whether it runs: one that does not will read the file when it starts.
    fn runs(&self) -> bool;

    /// Tells it to reload.
    ///
    /// # Errors
    /// Those of the operating system; `NotFound` where no server runs.
    fn reload(&mut self) -> io::Result<()>;
}

/// The server of a data directory, for processes that are not its own.
#[derive(Debug, Clone)]
pub struct OfDirectory(Option<PathBuf>);

impl OfDirectory {
    /// Of this directory; none: nobody knows it.
    #[must_use]
    pub fn new(data_directory: Option<PathBuf>) -> Self {
        Self(data_directory)
    }

    fn pid_file(&self) -> io::Result<String> {
        let directory = self.0.as_ref();
        let directory = directory.ok_or_else(|| io::Error::other("nobody said where its data directory is"))?;
        std::fs::read_to_string(directory.join("postmaster.pid"))
    }

    /// Its first process. One that only has the number of one that has ended is not it.
    fn first(&self) -> io::Result<Pid> {
        let text = self.pid_file()?;
        let directory = self.0.as_deref().unwrap_or_else(|| std::path::Path::new(""));
        // A server in single-user mode writes a negative number.
        let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).filter(|pid| *pid > 0);
        let pid = pid.and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("postmaster.pid holds no process id"))?;
        // The server's first process works in its data directory.
        let place = std::fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()))?;
        if place != std::fs::canonicalize(directory)? {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("process {} does not serve {}", pid.as_raw_nonzero(), directory.display()),
            ));
        }
        Ok(pid)
    }
}

impl Server for OfDirectory {
    fn listens(&self) -> Option<Listens> {
        Listens::of_pid_file(&self.pid_file().ok()?)
    }

    fn runs(&self) -> bool {
        !matches!(self.first(), Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    fn reload(&mut self) -> io::Result<()> {
        Ok(kill_process(self.first()?, Signal::HUP)?)
    }
}
