//! What a user can run: one file or folder per command, none of which knows another.

use std::io::Write;
use std::process::ExitCode;

use crate::db::DbError;

pub mod client;
pub mod clusters;
pub mod completions;
pub mod database;
pub mod gate;
pub mod lock;
pub mod man;
pub mod operate;
pub mod rendezvous;
pub mod rollout;
pub mod serve;
pub mod service;
pub mod signal;
pub mod status;
pub mod token;
pub mod wait;

/// What a command ends with: an exit code it chose, or a failure that is printed and ends in exit code 1.
pub type CommandResult = Result<ExitCode, Failure>;

/// Why a command failed, in words that say what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// A failure that is told to the user as `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Writes `text` to standard output; a reader that has gone away, such as `head`, has seen enough.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The runtime of a command that is mostly waiting: everything on the calling thread.
///
/// # Errors
/// When the operating system refuses the runtime its descriptors.
pub fn small_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
