//! The file as it was read, and how to tell whether it still is.

use crate::Error;
use crate::lease::{Lease, Writers};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Longest file that is read, in bytes.
pub const MOST: u64 = 16 * 1024 * 1024;
/// How long nobody may have written to a file before it is believed to be whole: tools that write in place truncate it
/// first.
const QUIET: Duration = Duration::from_millis(20);
/// How long who has it open for writing may have written nothing before the file is believed to be whole all the same:
/// nothing may keep the gated lines open for longer.
const STALLED: Duration = Duration::from_secs(1);
/// How often is looked for the end of such a tool.
const PATIENCE: u32 = 150;

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Identity {
    /// Of the file that lies there now.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(|problem| Error::reading(path, problem))?;
        Ok(Self::from(&metadata))
    }

    /// Whether it is the same file, whatever is in it.
    pub(crate) fn is_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, inode, modified: (seconds, nanoseconds), size } = self;
        write!(f, "{device} {inode} {seconds}.{nanoseconds:09} {size}")
    }
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
        }
    }
}

/// A file that was read, kept open so that what is written to it later can be noticed.
#[derive(Debug)]
pub(crate) struct Seen {
    pub file: File,
    pub identity: Identity,
    pub text: Vec<u8>,
    hash: [u8; 32],
}

impl Seen {
    /// Reads a file once nobody is writing to it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut tries = 0;
        loop {
            let seen = Self::glance(path)?;
            if seen.is_quiet() && seen.is_still_at(path)? {
                return Ok(seen);
            }
            tries += 1;
            if tries >= PATIENCE {
                return Err(Error::Conflict { path: path.to_owned(), tries });
            }
            std::thread::sleep(QUIET / 2);
        }
    }

    /// Reads a file as it is at this moment.
    pub fn glance(path: &Path) -> Result<Self, Error> {
        let wrong = |problem| Error::reading(path, problem);
        // A named pipe must not make anybody wait.
        let flags = i32::try_from((OFlags::CLOEXEC | OFlags::NONBLOCK).bits()).unwrap_or_default();
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(wrong)?;
        let metadata = file.metadata().map_err(wrong)?;
        if !metadata.is_file() || metadata.len() > MOST {
            let what = if metadata.is_file() { "longer than 16 MiB" } else { "not a regular file" };
            return Err(wrong(io::Error::other(what)));
        }
        Self::of(file).map_err(wrong)
    }

    fn of(mut file: File) -> io::Result<Self> {
        let identity = Identity::from(&file.metadata()?);
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        (&file).take(MOST + 1).read_to_end(&mut text)?;
        let hash = Sha256::digest(&text).into();
        Ok(Self { file, identity, text, hash })
    }

    /// The text of the same file, wherever it lies now, once its writer has finished.
    pub fn again(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let wrong = |problem| Error::reading(path, problem);
        for _ in 0..PATIENCE {
            let now = Self::of(self.file.try_clone().map_err(wrong)?).map_err(wrong)?;
            if now.is_quiet() {
                return Ok(now.text);
            }
            std::thread::sleep(QUIET / 2);
        }
        Err(Error::Conflict { path: path.to_owned(), tries: PATIENCE })
    }

    /// Whether the text is all of the file, and the last writer has been gone for a while.
    pub fn is_quiet(&self) -> bool {
        let Ok(metadata) = self.file.metadata() else { return false };
        if Identity::from(&metadata) != self.identity || metadata.len() != self.text.len() as u64 {
            return false;
        }
        let open_for_writing = matches!(Lease::take(&self.file), Writers::Some);
        is_older(&metadata, QUIET) && (!open_for_writing || is_older(&metadata, STALLED))
    }

    /// Whether who has the file open for writing has written nothing for long.
    pub fn is_stalled(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| is_older(&metadata, STALLED))
    }

    /// Whether the path still leads to the file with just this text.
    pub fn is_still_at(&self, path: &Path) -> Result<bool, Error> {
        let now = Self::glance(path)?;
        Ok(now.identity == self.identity && now.hash == self.hash)
    }

    /// Whether anybody has written to the file since, wherever it lies now.
    pub fn was_written(&self) -> bool {
        !self.file.metadata().is_ok_and(|metadata| Identity::from(&metadata) == self.identity)
    }
}

/// Whether the last write was at least so long ago.
fn is_older(metadata: &Metadata, limit: Duration) -> bool {
    let age = metadata.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    // A time in the future is a clock that was set back; it says nothing about now.
    age.is_none_or(|age| age >= limit)
}
