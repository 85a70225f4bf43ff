//! An edit of the file: read, change, replace; again when somebody else was quicker.

use crate::Error;
use crate::lock;
use crate::place::Place;
use crate::ring;
use crate::seen::Seen;
use crate::standin::put_back;
use crate::swap::{Swapped, is_untold, set_untold, swap, told};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often an edit begins anew.
const TRIES: u32 = 20;

/// The file while no other process of ours writes it.
#[derive(Debug)]
pub struct Locked {
    place: Place,
    _lock: File,
}

/// What an edit has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The text that was edited.
    pub previous: Vec<u8>,
    /// The text that is there now; the previous one when nothing had to change.
    pub text: Vec<u8>,
    changed: bool,
    /// Where the previous text is kept, if the versions did not have it yet.
    version: Option<PathBuf>,
    /// Whether the server was up to date before.
    told: bool,
}

impl Edited {
    /// Whether the file was replaced.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.changed
    }
}

impl Locked {
    /// Takes the lock of the file behind `path`, waiting at most for `limit`; `between` is called every few
    /// milliseconds of the wait. What somebody who was killed had set aside is put back first.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Missing`], [`Error::Unwritable`] when no lock file can be made.
    pub fn take(path: &Path, limit: Duration, between: &mut dyn FnMut()) -> Result<Self, Error> {
        let place = Place::find(path)?;
        let lock = lock::take(&place, lock::WRITERS, limit, between)?;
        // A link may have been turned to another file during the wait; that one would need its own lock.
        if Place::find(path)?.target != place.target {
            return Err(Error::Conflict { path: path.to_owned(), tries: 1 });
        }
        put_back(&place)?;
        Ok(Self { place, _lock: lock })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The file behind all links.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.place.target
    }

    /// The text as it is now, once nobody is writing it.
    ///
    /// # Errors
    /// As reading has.
    pub fn text(&self) -> Result<Vec<u8>, Error> {
        Ok(Seen::read(&self.place.target)?.text)
    }

    /// Replaces the text by what `change` makes of it, if `check` has nothing against that. The same bytes are not
    /// written. Both are called again for what others wrote meanwhile, at most 20 times.
    ///
    /// # Errors
    /// Those of `change` and `check`; [`Error::Unwritable`], [`Error::Conflict`], [`Error::Missing`], [`Error::Io`].
    pub fn edit(
        &self,
        mut change: impl FnMut(&[u8]) -> Result<Vec<u8>, Error>,
        mut check: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Edited, Error> {
        let target = &self.place.target;
        let mut seen = Seen::read(target)?;
        let mut base = seen.text.clone();
        let told = !self.must_reload();
        let (mut changed, mut version) = (false, None);
        for _ in 0..TRIES {
            let text = change(&base)?;
            if text == seen.text {
                return Ok(Edited { previous: base, text, changed, version, told });
            }
            check(&text)?;
            match swap(&self.place, &seen, &text, self.is_new(&seen.text)?)? {
                Swapped::Done(older) => {
                    (changed, version) = (true, older.or(version));
                    if !seen.was_written() {
                        return Ok(Edited { previous: base, text, changed, version, told });
                    }
                    // A tool had the old file open and wrote into it while it was replaced: its text is the one to edit.
                    let theirs = seen.again(target)?;
                    seen = Seen::read(target)?;
                    base = if seen.text == text { theirs } else { seen.text.clone() };
                }
                Swapped::Changed => {
                    seen = Seen::read(target)?;
                    base.clone_from(&seen.text);
                }
            }
        }
        Err(Error::Conflict { path: target.clone(), tries: TRIES })
    }

    /// Whether the server has not been told of what lies there now, by this process or one that was killed.
    #[must_use]
    pub fn must_reload(&self) -> bool {
        is_untold(&self.place)
    }

    /// To be called when it turns out that it has not taken what it was told.
    ///
    /// # Errors
    /// [`Error::Unwritable`] and [`Error::Io`].
    pub fn not_taken(&self) -> Result<(), Error> {
        set_untold(&self.place).map_err(|problem| Error::writing(&self.place.target, problem))
    }

    /// To be called when it has been told.
    pub fn reloaded(&self) {
        told(&self.place);
    }

    /// Whether a text is worth a place among the versions: those that differ only in our own lines are not, or a gate
    /// that goes up and down would push out what people wrote.
    fn is_new(&self, text: &[u8]) -> Result<bool, Error> {
        let versions = ring::list(&self.place)?;
        let Some(newest) = versions.last().and_then(|version| Seen::glance(&version.path).ok()) else {
            return Ok(true);
        };
        Ok(foreign(&newest.text) != foreign(text))
    }

    /// Puts the previous text back, if nobody has changed the file since; it leaves no version behind.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody has; those of writing.
    pub fn undo(&self, edited: &Edited) -> Result<(), Error> {
        if !edited.changed {
            return Ok(());
        }
        let seen = Seen::read(&self.place.target)?;
        let conflict = || Error::Conflict { path: self.place.target.clone(), tries: 1 };
        if seen.text != edited.text {
            return Err(conflict());
        }
        match swap(&self.place, &seen, &edited.previous, false)? {
            Swapped::Done(_) => {
                if let Some(version) = &edited.version {
                    let _ = std::fs::remove_file(version);
                }
                if edited.told {
                    self.reloaded();
                }
                Ok(())
            }
            Swapped::Changed => Err(conflict()),
        }
    }
}

/// The text of a file as it is at this moment.
///
/// # Errors
/// As reading has.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(Seen::glance(path)?.text)
}

/// What of a text is not ours.
fn foreign(text: &[u8]) -> Vec<u8> {
    goahead_rules::hba::remove(text)
}

/// Edits a file once: [`Locked::take`], then [`Locked::edit`].
///
/// # Errors
/// As these have.
pub fn edit(
    path: &Path,
    limit: Duration,
    change: impl FnMut(&[u8]) -> Result<Vec<u8>, Error>,
    check: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Edited, Error> {
    Locked::take(path, limit, &mut || {})?.edit(change, check)
}
