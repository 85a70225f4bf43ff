//! Another text in the file's place for a moment: long enough for the server to load it, and then the file is back.
//!
//! What lay there keeps a second name meanwhile, so that the very file comes back: whoever has it open, or compares
//! times, notices nothing. A text that stands in says so in its last line, with a sum over the rest; one that anybody has
//! touched does not stand in any more, and stays. Who is killed in between leaves the second name behind, and the next
//! who takes the lock puts the file back.

use crate::Error;
use crate::edit::Locked;
use crate::place::Place;
use crate::ring;
use crate::seen::Seen;
use crate::swap::{Swapped, exchange, settle, swap};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Second name of the file that another stands in for.
pub(crate) const ASIDE: &str = ".goahead_hba.aside";
const FIRST: &[u8] = b"# goahead: this stands in for a moment for .goahead_hba.aside, which does not load\n";
const LAST: &[u8] = b"# goahead: stands in, sha256 ";

/// A text that stands in: these lines above that text.
pub(crate) fn stand_in(lines: &str, text: &[u8]) -> Vec<u8> {
    let mut text = [FIRST, lines.as_bytes(), text].concat();
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let sum = sum(&text);
    text.extend_from_slice(LAST);
    text.extend_from_slice(sum.as_bytes());
    text.push(b'\n');
    text
}

/// Whether a text stands in and is as it was written.
pub(crate) fn is_stand_in(text: &[u8]) -> bool {
    let Some(rest) = text.strip_suffix(b"\n") else { return false };
    let start = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (above, last) = rest.split_at(start);
    last.strip_prefix(LAST).is_some_and(|said| said == sum(above).as_bytes())
}

fn sum(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether something has been set aside: only while the lock is held, or after its holder was killed.
pub(crate) fn is_aside(place: &Place) -> bool {
    place.beside(ASIDE).symlink_metadata().is_ok()
}

/// How the place was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// The file is where it was.
    File,
    /// Somebody else has written another text; what was set aside is among the versions.
    Theirs,
}

impl Locked {
    /// Has `text`, which stands in, lie in the file's place while `work` runs; none where somebody changed the file
    /// first, and then `work` did not run.
    pub(crate) fn standing_in<T>(
        &self,
        seen: &Seen,
        text: &[u8],
        work: impl FnOnce() -> T,
    ) -> Result<Option<(T, Back)>, Error> {
        let place = self.place();
        let aside = place.beside(ASIDE);
        fs::hard_link(&place.target, &aside).map_err(|problem| Error::writing(&place.target, problem))?;
        let swapped = match seen.is_still_at(&aside) {
            Ok(true) => swap(place, seen, text, false),
            Ok(false) => Ok(Swapped::Changed),
            Err(problem) => Err(problem),
        };
        match swapped {
            Ok(Swapped::Done(_)) => {
                let done = work();
                put_back(place).map(|back| Some((done, back)))
            }
            other => {
                put_back(place)?;
                other.map(|_| None)
            }
        }
    }
}

/// Puts back what was set aside, unless somebody has written into its place.
pub(crate) fn put_back(place: &Place) -> Result<Back, Error> {
    let aside = place.beside(ASIDE);
    if !is_aside(place) {
        return Ok(Back::File);
    }
    let wrong = |problem: io::Error| Error::writing(&place.target, problem);
    let (there, kept) = (Seen::glance(&place.target)?, Seen::glance(&aside)?);
    // Nothing was exchanged yet, or it is exchanged back already; or both came along with a copied directory.
    if there.identity.is_file(&kept.identity) || is_stand_in(&kept.text) || there.text == kept.text {
        fs::remove_file(&aside).map_err(wrong)?;
        return Ok(Back::File);
    }
    if !is_stand_in(&there.text) {
        keep(place, &aside)?;
        return Ok(Back::Theirs);
    }
    match exchange(&aside, &place.target) {
        Ok(()) => {}
        // A file system that cannot exchange.
        Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => {
            fs::rename(&aside, &place.target).map_err(wrong)?;
            return sync(place).map(|()| Back::File);
        }
        Err(problem) => return Err(wrong(problem.into())),
    }
    if !settle(&aside, place, &there, None, kept.identity)? {
        keep(place, &aside)?;
        return Ok(Back::Theirs);
    }
    if there.was_written() && !is_stand_in(&there.again(&aside)?) {
        // A tool had it open and wrote into it: its text is the newest.
        exchange(&aside, &place.target).map_err(|problem| wrong(problem.into()))?;
        keep(place, &aside)?;
        return Ok(Back::Theirs);
    }
    fs::remove_file(&aside).map_err(wrong)?;
    sync(place).map(|()| Back::File)
}

/// What was set aside becomes a version.
fn keep(place: &Place, aside: &Path) -> Result<(), Error> {
    fs::rename(aside, ring::next(place)?).map_err(|problem| Error::writing(&place.target, problem))?;
    ring::prune(place);
    sync(place)
}

fn sync(place: &Place) -> Result<(), Error> {
    let synced = File::open(&place.directory).and_then(|directory| directory.sync_all());
    synced.map_err(|problem| Error::writing(&place.target, problem))
}
