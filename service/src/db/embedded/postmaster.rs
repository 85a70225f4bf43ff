//! A running server of a data directory, as its `postmaster.pid` tells.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A server that runs on a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postmaster {
    /// Its process
    pub pid: Pid,
    /// The number in its socket's name
    pub port: u16,
    /// The directory of its socket
    pub socket: PathBuf,
}

impl Postmaster {
    /// The server that runs on `data`, if one does. A file that a crash left behind, whose number now belongs to
    /// another program or another server, counts for none.
    pub fn find(data: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let (postmaster, directory) = parse(&text)?;
        let same = match (directory.canonicalize(), data.canonicalize()) {
            (Ok(theirs), Ok(ours)) => theirs == ours,
            _ => false,
        };
        (same && serves(postmaster.pid, data)).then_some(postmaster)
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        test_kill_process(self.pid).is_ok() && !is_zombie(self.pid)
    }
}

/// Sends a signal to a process that may have ended already.
pub fn signal(pid: Pid, signal: Signal) {
    if let Err(error) = kill_process(pid, signal) {
        tracing::debug!(%error, pid = pid.as_raw_nonzero().get(), "cannot signal PostgreSQL");
    }
}

/// Lines: process, data directory, start time, port, socket directory, listen address, shared memory, status.
/// Source: `src/include/utils/pidfile.h`. A server that is just starting has written fewer.
fn parse(text: &str) -> Option<(Postmaster, PathBuf)> {
    let lines: Vec<&str> = text.lines().collect();
    // A negative number is a standalone backend, which serves nobody.
    let pid = lines.first()?.trim().parse::<i32>().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)?;
    let port = lines.get(3)?.trim().parse().ok()?;
    let socket = lines.get(4).map(|line| line.trim()).filter(|line| !line.is_empty())?;
    Some((Postmaster { pid, port, socket: socket.into() }, PathBuf::from(lines.get(1)?.trim())))
}

/// Whether the process is a PostgreSQL server on `data`: a server's working directory is its data directory.
#[cfg(target_os = "linux")]
fn serves(pid: Pid, data: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let is_postgres = std::fs::read_link(process.join("exe"))
        // After an upgrade of the package the running program's file is "/…/postgres (deleted)".
        .is_ok_and(|exe| exe.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"postgres")));
    let works_in = std::fs::read_link(process.join("cwd"));
    is_postgres && matches!((works_in, data.canonicalize()), (Ok(theirs), Ok(ours)) if theirs == ours)
}

/// Whether the process has ended and its new parent has not noticed yet: then its program can no longer be seen.
#[cfg(target_os = "linux")]
fn is_zombie(pid: Pid) -> bool {
    let exe = std::fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero()));
    exe.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(not(target_os = "linux"))]
fn is_zombie(_pid: Pid) -> bool {
    false
}

/// Without /proc the file's own word has to do; a wrong one shows when nobody answers at its socket.
#[cfg(not(target_os = "linux"))]
fn serves(pid: Pid, _data: &Path) -> bool {
    test_kill_process(pid).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "4242\n/var/lib/goahead/postgres\n1700000000\n8442\n/var/lib/goahead/socket\n\n  1234567    98304\nready   \n";

    #[test]
    fn a_whole_file_is_read() {
        let (postmaster, directory) = parse(FILE).unwrap();
        assert_eq!(postmaster.pid.as_raw_nonzero().get(), 4242);
        assert_eq!(postmaster.port, 8442);
        assert_eq!(postmaster.socket, PathBuf::from("/var/lib/goahead/socket"));
        assert_eq!(directory, PathBuf::from("/var/lib/goahead/postgres"));
    }

    #[test]
    fn what_names_no_server_is_none() {
        for text in [
            "",
            "x\n/d\n1\n2\n/s\n",
            "-12\n/d\n1\n2\n/s\n",
            "0\n/d\n1\n2\n/s\n",
            "12\n/d\n1\n",
            "12\n/d\n1\nport\n/s\n",
            "12\n/d\n1\n2\n\n",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn another_program_under_the_number_is_no_server() {
        let data = std::env::temp_dir().join(format!("goahead-postmaster-{}", std::process::id()));
        std::fs::create_dir_all(&data).unwrap();
        let text = format!("{}\n{}\n1\n8442\n/tmp\n", std::process::id(), data.display());
        std::fs::write(data.join("postmaster.pid"), text).unwrap();
        assert_eq!(Postmaster::find(&data), None);
        std::fs::remove_dir_all(&data).unwrap();
    }
}
