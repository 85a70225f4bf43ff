//! The closed text, written beforehand: on a full disk nothing can be written any more, but a name can be exchanged.
//!
//! Before a text with an open gated line is put in place, the same text with those lines closed lies beside it. Whoever
//! has to close and finds no room takes that file. A disk that has become read-only remains: nothing closes there.

use crate::Error;
use crate::place::Place;
use crate::seen::Seen;
use crate::swap::write;
use goahead_rules::hba;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Their names: of the text that lies in place, and of the one that is about to. Only who holds the lock touches them.
const NAMES: [&str; 2] = [".goahead_hba.spare", ".goahead_hba.spare.new"];

/// Whether a problem is that nothing more fits.
pub(crate) fn is_full(problem: &io::Error) -> bool {
    matches!(problem.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// A spare file that is not in use yet; removed when dropped, because the text that it is for was not put in place.
pub(crate) struct Spare(Option<PathBuf>);

/// To be called before `text` is put in place of what was `seen`: no gated line is to be opened that could not be closed.
pub(crate) fn prepare(place: &Place, seen: &Seen, text: &[u8]) -> Result<Spare, Error> {
    let [path, next] = NAMES.map(|name| place.beside(name));
    let closed = hba::close(text);
    if hba::open_gated(text).is_empty() || holds(&path, &closed) {
        return Ok(Spare(None));
    }
    let wrong = |problem: io::Error| Error::writing(&place.target, problem);
    remove(&next).map_err(wrong)?;
    let spare = Spare(Some(next.clone()));
    write(&next, seen, &closed).map_err(wrong)?;
    Ok(spare)
}

/// Gives the name `new` to a spare file, if `text` is what it holds.
pub(crate) fn take(place: &Place, text: &[u8], new: &Path) -> Option<File> {
    // Who was killed right after a swap leaves the second name.
    let path = NAMES.map(|name| place.beside(name)).into_iter().find(|path| holds(path, text))?;
    fs::rename(path, new).ok()?;
    File::open(new).ok()
}

impl Spare {
    /// To be called when `text` lies in place: one without open lines needs no spare.
    pub fn keep(mut self, place: &Place, text: &[u8]) {
        if let Some(next) = self.0.take() {
            let _ = fs::rename(next, place.beside(NAMES[0]));
        } else if hba::open_gated(text).is_empty() {
            let _ = remove(&place.beside(NAMES[0]));
            let _ = remove(&place.beside(NAMES[1]));
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(next) = &self.0 {
            let _ = remove(next);
        }
    }
}

fn holds(path: &Path, text: &[u8]) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    is_file && Seen::glance(path).is_ok_and(|seen| seen.text == text)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(problem) if problem.kind() != ErrorKind::NotFound => Err(problem),
        _ => Ok(()),
    }
}
