//! The one gate that keeps a file: two that decide for the same lines would undo each other's work, and a node would have
//! two votes.

use crate::Error;
use crate::lock;
use crate::place::Place;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

const NAME: &str = ".goahead_hba.gate";
/// Longest process id that is read, in bytes.
const LENGTH: u64 = 20;

/// The right to keep a file, until this is dropped or the process is gone; no child inherits it.
#[derive(Debug)]
pub struct Keeper(File);

impl Keeper {
    /// Takes it for the file behind all links of `hba_file`, waiting at most for `limit` where another has it.
    ///
    /// # Errors
    /// [`Error::Kept`] where another gate has it; with any other, nobody can tell: [`Error::Missing`], and
    /// [`Error::Unwritable`] or [`Error::Io`] where no lock file can be made.
    pub fn take(hba_file: &Path, limit: Duration) -> Result<Self, Error> {
        let place = Place::find(hba_file)?;
        match lock::take(&place, NAME, limit, &mut || {}) {
            Ok(mut file) => {
                // For people only; who has the lock is what counts.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Self(file))
            }
            Err(Error::Busy { path, .. }) => Err(Error::Kept { holder: holder(&path), lock: path, path: place.target }),
            Err(error) => Err(error),
        }
    }

    /// Whether what this holds is still what another gate of `hba_file` would have to take: a directory may be emptied and
    /// filled anew by a clone, and a link turned. True where there is no such file for now.
    #[must_use]
    pub fn keeps(&self, hba_file: &Path) -> bool {
        Place::find(hba_file).map_or(true, |place| lock::is_at(&self.0, &place.beside(NAME)))
    }
}

/// Who holds a lock file, by its own words.
fn holder(path: &Path) -> String {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let mut text = String::new();
    let file = File::options().read(true).custom_flags(flags).open(path);
    let read = file.and_then(|file| file.take(LENGTH).read_to_string(&mut text));
    match read.ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(process) => format!("process {process}"),
        None => "another process".to_owned(),
    }
}
