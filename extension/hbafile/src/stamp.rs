//! The gate's stamp: how long its last verdict is good for. Who keeps the file closed when it is not looks here.

use crate::clock::{boot_id, boottime};
use crate::error::Error;
use crate::place::Place;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name of the stamp, in the directory of the file behind all links.
pub const STAMP: &str = ".goahead_gate.stamp";
const NEW: &str = ".goahead_gate.stamp.new";
/// Longest stamp, in bytes.
const LENGTH: u64 = 16 * 1024;

/// A verdict and its end, as the gate writes it every round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The node's name.
    pub node: String,
    /// The file it is about, behind all links: a stamp that was copied with a directory counts for nothing.
    pub hba_file: PathBuf,
    /// The server's data directory, where known.
    pub data_directory: Option<PathBuf>,
    /// The boot of the host that `expires_us` belongs to.
    pub boot_id: String,
    /// When the verdict ends, in microseconds of CLOCK_BOOTTIME.
    pub expires_us: i64,
    /// Whether read-write traffic may come in.
    pub rw: bool,
    /// Whether read-only traffic may come in.
    pub ro: bool,
    /// The process id of the gate.
    pub pid: u32,
}

impl Stamp {
    /// A stamp of this process for this boot. `expires_us` is in microseconds of CLOCK_BOOTTIME.
    ///
    /// # Errors
    /// Where the file is missing or /proc is not mounted.
    pub fn new(node: &str, hba_file: &Path, expires_us: i64, rw: bool, ro: bool) -> Result<Self, Error> {
        let place = Place::find(hba_file)?;
        let boot_id = boot_id().map_err(|problem| Error::reading(Path::new("boot_id"), problem))?;
        Ok(Self {
            node: node.to_owned(),
            hba_file: place.target,
            data_directory: None,
            boot_id: boot_id.to_owned(),
            expires_us,
            rw,
            ro,
            pid: std::process::id(),
        })
    }

    /// Writes it beside the file it is about. It is replaced at once and not forced to disk: after a crash of the host
    /// no stamp counts. One gate per file writes.
    ///
    /// # Errors
    /// [`Error::Unwritable`] and [`Error::Io`].
    pub fn write(&self) -> Result<(), Error> {
        let place = Place::find(&self.hba_file)?;
        let (path, new) = (place.beside(STAMP), place.beside(NEW));
        let wrong = |problem: io::Error| Error::writing(&path, problem);
        let mut line = serde_json::to_vec(self).map_err(|problem| wrong(problem.into()))?;
        line.push(b'\n');
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default();
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(&new);
        let mut file = file.map_err(wrong)?;
        file.write_all(&line).map_err(wrong)?;
        if rustix::process::geteuid().is_root()
            && let Ok(target) = std::fs::metadata(&place.target)
        {
            // The server's own user reads it.
            std::os::unix::fs::fchown(&file, Some(target.uid()), Some(target.gid())).map_err(wrong)?;
        }
        std::fs::rename(&new, &path).map_err(wrong)
    }

    /// Takes the stamp of a file away: whoever watches closes at its next look.
    ///
    /// # Errors
    /// [`Error::Unwritable`] and [`Error::Io`]; none to take away is none.
    pub fn remove(hba_file: &Path) -> Result<(), Error> {
        let path = Place::find(hba_file)?.beside(STAMP);
        match std::fs::remove_file(&path) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(Error::writing(&path, problem)),
            _ => Ok(()),
        }
    }

    /// Reads the stamp of a file; none where there is none, it is not one, or it cannot be read, which all mean closed: who
    /// watches must not leave lines open because it does not know.
    ///
    /// # Errors
    /// Where the file itself is missing.
    pub fn read(hba_file: &Path) -> Result<Option<Self>, Error> {
        let path = Place::find(hba_file)?.beside(STAMP);
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits()).unwrap_or_default();
        let Ok(file) = File::options().read(true).custom_flags(flags).open(&path) else { return Ok(None) };
        let mut text = Vec::new();
        let read = file.take(LENGTH).read_to_end(&mut text);
        Ok(read.ok().and_then(|_| serde_json::from_slice(&text).ok()))
    }

    /// Reads the stamp of a file if it still counts.
    ///
    /// # Errors
    /// As [`Stamp::read`].
    pub fn live(hba_file: &Path) -> Result<Option<Self>, Error> {
        let Some(stamp) = Self::read(hba_file)? else { return Ok(None) };
        let boot = boot_id().map_err(|problem| Error::reading(Path::new("boot_id"), problem))?;
        let place = Place::find(hba_file)?;
        Ok(stamp.counts(&place.target, boot, boottime()).then_some(stamp))
    }

    /// Whether it counts for this file (behind all links), in this boot, at this microsecond of CLOCK_BOOTTIME.
    #[must_use]
    pub fn counts(&self, hba_file: &Path, boot_id: &str, now_us: i64) -> bool {
        self.boot_id == boot_id && self.hba_file == hba_file && self.expires_us > now_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_that_cannot_be_read_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pg_hba.conf");
        std::fs::write(&file, "local all all peer\n").unwrap();
        Stamp::new("n1", &file, boottime() + 60_000_000, true, false).unwrap().write().unwrap();
        assert!(Stamp::live(&file).unwrap().is_some());
        std::fs::remove_file(directory.path().join(STAMP)).unwrap();
        std::fs::create_dir(directory.path().join(STAMP)).unwrap();
        assert!(Stamp::live(&file).unwrap().is_none());
    }
}
