//! Becoming another program instead of running one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Replaces this process by `program`, looked up on the PATH, with the arguments that follow its name: it has this
/// process's id, environment and open standard streams, and its signals have their default meaning. No shell reads
/// any of it. What this process has not flushed yet is lost.
///
/// Returns only when that fails, with the reason: `NotFound` when there is no such program.
pub fn replace_process(program: &OsStr, arguments: &[OsString]) -> io::Error {
    Command::new(program).args(arguments).exec()
}
