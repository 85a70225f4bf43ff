//! Whether anybody has the file open for writing, by the kernel's leases on files (fcntl(2), "Leases").
//!
//! A tool that writes in place truncates the file and then writes, and may be stopped in between for as long as it
//! pleases: how old the last write is says little on a busy machine. A read lease is granted only while nobody has the
//! file open for writing, and who opens it for that waits until the lease is given back.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};

/// fcntl(2)'s F_SETSIG, which the crate libc does not name; Linux has one number for it.
const F_SETSIG: libc::c_int = 10;

/// A read lease, given back when dropped. Nobody writes to the file meanwhile; who wants to, waits. It is to be held for
/// microseconds: the kernel takes it away after `/proc/sys/fs/lease-break-time`.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    file: &'a File,
}

/// What the kernel says.
#[derive(Debug)]
pub(crate) enum Writers<'a> {
    /// There is none, for as long as this is held
    None(Lease<'a>),
    /// Somebody has the file open for writing
    Some,
    /// This file system has no leases, or the file is another user's
    Unknown,
}

fn control(file: RawFd, command: libc::c_int, argument: libc::c_int) -> std::io::Result<libc::c_int> {
    // SAFETY: these commands take a number and touch no memory of ours; the descriptor is open for the whole call.
    let result = unsafe { libc::fcntl(file, command, argument) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}

impl<'a> Lease<'a> {
    /// Takes a lease on a file that was opened for reading only.
    pub fn take(file: &'a File) -> Writers<'a> {
        let descriptor = file.as_raw_fd();
        // Whoever waits for the lease is announced by a signal; SIGIO would end this process, SIGURG ends none.
        let taken = control(descriptor, F_SETSIG, libc::SIGURG)
            .and_then(|_| control(descriptor, libc::F_SETLEASE, libc::F_RDLCK));
        match taken {
            Ok(_) => Writers::None(Self { file }),
            Err(problem) if problem.raw_os_error() == Some(libc::EAGAIN) => Writers::Some,
            Err(_) => Writers::Unknown,
        }
    }

    /// Whether somebody waits to write, or the kernel has taken the lease away.
    pub fn is_wanted(&self) -> bool {
        !control(self.file.as_raw_fd(), libc::F_GETLEASE, 0).is_ok_and(|held| held == libc::F_RDLCK)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // It ends with the descriptor at the latest.
        let _ = control(self.file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK);
    }
}
