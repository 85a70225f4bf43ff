//! What can go wrong with the file, and how it is mended.

use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Why the file was not read or replaced. Whatever the error but [`Error::Untold`], the file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be replaced where it lies: read-only file system, bind mount, no right to the directory.
    #[error("hba_unwritable: {path} cannot be replaced: {problem}", path = path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        problem: String,
    },
    /// Somebody else kept changing the file.
    #[error("hba_conflict: {path} was changed by somebody else {tries} times while it was being replaced", path = path.display())]
    Conflict {
        /// The file.
        path: PathBuf,
        /// How often it was tried.
        tries: u32,
    },
    /// Another writer of ours held the lock too long.
    #[error("hba_busy: another process of goahead has held {path} for more than {waited_ms} ms", path = path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long was waited, in milliseconds.
        waited_ms: u128,
    },
    /// Another gate keeps the file.
    #[error("hba_kept: another gate keeps {path}: {holder} holds {lock}", path = path.display(), lock = lock.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
        /// Its process, as far as the lock file says, in words.
        holder: String,
    },
    /// The new text would not load, so it was not written.
    #[error("hba_invalid: {path} would not load: {problem}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        problem: String,
    },
    /// The file is written, and the server cannot be told.
    #[error("hba_untold: the server cannot be told to reload {path}: {problem}", path = path.display())]
    Untold {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        problem: io::Error,
    },
    /// There is no such file or version.
    #[error("hba_missing: there is no {path}", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("hba_io: {path}: {problem}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        problem: io::Error,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Unwritable { .. } => {
                "the file is replaced by rename, never written in place: let the server's user own the file and write to \
                 its directory, and mount the directory instead of the single file; until then gate by HTTP"
            }
            Self::Conflict { .. } => "a tool is rewriting the file just now: try again when it has finished",
            Self::Busy { .. } => "try again; if it stays, look which process has the lock file open (fuser -v)",
            Self::Kept { .. } => {
                "stop one of the two gates; two nodes cannot share a pg_hba.conf: give each its own hba_file, in a \
                 directory of its own"
            }
            Self::Invalid { .. } => "mend the line; nothing was written, and the server keeps the rules that it has",
            Self::Untold { .. } => "SELECT pg_reload_conf(), and run this as the user whose server it is",
            Self::Missing { .. } => "look at SHOW hba_file and at goahead.hba_versions()",
            Self::Io { .. } => "look at the disk and at the rights of the file; nothing was written",
        }
    }

    /// An error of the operating system while the file was only read.
    pub(crate) fn reading(path: &Path, problem: impl Into<io::Error>) -> Self {
        let problem = problem.into();
        match problem.kind() {
            io::ErrorKind::NotFound => Self::Missing { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), problem },
        }
    }

    /// An error of the operating system while it was being replaced.
    pub(crate) fn writing(path: &Path, problem: impl Into<io::Error>) -> Self {
        let problem = problem.into();
        match problem.raw_os_error().map(Errno::from_raw_os_error) {
            // EBUSY: the file itself is a mount point. EXDEV: it lies on another mount than its directory.
            Some(Errno::ROFS | Errno::BUSY | Errno::ACCESS | Errno::PERM | Errno::XDEV) => {
                Self::Unwritable { path: path.to_owned(), problem: problem.to_string() }
            }
            _ => Self::Io { path: path.to_owned(), problem },
        }
    }
}
