//! The lock files beside the file, of which the first is that of all writers of ours. Other tools do not take it; against
//! them helps comparing before swapping.

use crate::Error;
use crate::place::Place;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Held while the file is written.
pub(crate) const WRITERS: &str = ".goahead_hba.lock";
/// How often the lock is tried.
const PERIOD: Duration = Duration::from_millis(5);

/// Waits for the lock called `name` at most for `limit`, calling `between` between tries; it ends with the file that is
/// returned, and with the process.
pub(crate) fn take(place: &Place, name: &str, limit: Duration, between: &mut dyn FnMut()) -> Result<File, Error> {
    let path = place.beside(name);
    let mut file = open(place, &path)?;
    let start = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_at(&file, &path) => return Ok(file),
            // Somebody removed or replaced it; the one that lies there now is what others will lock.
            Ok(()) => file = open(place, &path)?,
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(problem) => return Err(Error::writing(&path, problem)),
        }
        if start.elapsed() >= limit {
            return Err(Error::Busy { path, waited_ms: start.elapsed().as_millis() });
        }
        between();
        std::thread::sleep(PERIOD);
    }
}

fn open(place: &Place, path: &Path) -> Result<File, Error> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path);
    let file = file.map_err(|problem| Error::writing(&place.target, problem))?;
    give_to_owner(place, &file);
    Ok(file)
}

/// Whether the path still leads to this file.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(mine), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    (mine.dev(), mine.ino()) == (there.dev(), there.ino())
}

/// A lock file that root created would keep the server's own user out.
fn give_to_owner(place: &Place, file: &File) {
    let (Ok(target), Ok(mine)) = (std::fs::metadata(&place.target), file.metadata()) else { return };
    if rustix::process::geteuid().is_root() && mine.uid() != target.uid() {
        let _ = std::os::unix::fs::fchown(file, Some(target.uid()), Some(target.gid()));
    }
}
