//! One replacement of the file, if it still is what was read.

use crate::Error;
use crate::lease::{Lease, Writers};
use crate::place::Place;
use crate::ring;
use crate::seen::{Identity, Seen};
use crate::spare;
use rustix::fs::{CWD, OFlags, RenameFlags, XattrFlags, fgetxattr, flistxattr, fsetxattr, renameat_with};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Name of the new text until it is in place. Only who holds the lock writes it, so one that is found was left behind
/// by a writer that was killed.
pub(crate) const NEW: &str = ".goahead_hba.new";

/// What became of a replacement.
pub(crate) enum Swapped {
    /// It is in place; the previous version lies here, if it was to be kept.
    Done(Option<PathBuf>),
    /// Somebody else changed the file first; their text is in place.
    Changed,
}

/// Replaces the file by `text` if it still is what was `seen`. The caller holds the lock.
pub(crate) fn swap(place: &Place, seen: &Seen, text: &[u8], keep: bool) -> Result<Swapped, Error> {
    let wrong = |problem: std::io::Error| Error::writing(&place.target, problem);
    let spare = spare::prepare(place, seen, text)?;
    let new = Leftover(place.beside(NEW));
    new.remove().map_err(wrong)?;
    let file = match write(&new.0, seen, text) {
        Err(problem) if spare::is_full(&problem) => {
            new.remove().map_err(wrong)?;
            spare::take(place, text, &new.0).ok_or_else(|| wrong(problem))?
        }
        written => written.map_err(wrong)?,
    };
    let metadata = file.metadata().map_err(wrong)?;
    let lease = match Lease::take(&seen.file) {
        Writers::None(lease) => Some(lease),
        Writers::Some if !seen.is_stalled() => return Ok(Swapped::Changed),
        Writers::Some | Writers::Unknown => None,
    };
    if !seen.is_still_at(&place.target)? {
        return Ok(Swapped::Changed);
    }
    let older = Kept::link(place, keep).map_err(wrong)?;
    let mark = Mark::set(place).map_err(wrong)?;
    match exchange(&new.0, &place.target) {
        Ok(()) => match settle(&new.0, place, seen, lease.as_ref(), Identity::from(&metadata)) {
            Ok(true) => {}
            Ok(false) => return Ok(Swapped::Changed),
            Err(problem) => {
                // What lies under the temporary name may be somebody's only copy.
                std::mem::forget(new);
                return Err(problem);
            }
        },
        // A file system that cannot exchange.
        Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => std::fs::rename(&new.0, &place.target).map_err(wrong)?,
        Err(problem) => return Err(wrong(problem.into())),
    }
    mark.keep();
    let older = older.keep();
    File::open(&place.directory).and_then(|directory| directory.sync_all()).map_err(wrong)?;
    ring::prune(place);
    spare.keep(place, text);
    Ok(Swapped::Done(older))
}

/// Name of the mark that the server has not been told of the text that lies there: who is killed after a swap leaves it
/// behind, and whoever looks next tells the server.
const UNTOLD: &str = ".goahead_hba.untold";

/// Whether the server has yet to be told to reload.
pub(crate) fn is_untold(place: &Place) -> bool {
    place.beside(UNTOLD).symlink_metadata().is_ok()
}

/// The server has yet to be told, again.
pub(crate) fn set_untold(place: &Place) -> std::io::Result<()> {
    Mark::set(place).map(Mark::keep)
}

/// Notes that the server's gated lines are closed although it was not told of the file that lies there. It counts for
/// this file as it is: after any change nobody knows what was loaded in between.
pub(crate) fn set_shut(place: &Place, file: &Identity) {
    // Who cannot note it does it again.
    let _ = std::fs::write(place.beside(UNTOLD), file.to_string());
}

/// Whether that is so for the file that lies there now.
pub(crate) fn is_shut(place: &Place) -> bool {
    let noted = std::fs::read_to_string(place.beside(UNTOLD)).unwrap_or_default();
    Identity::of(&place.target).is_ok_and(|now| now.to_string() == noted)
}

/// The server has been told.
pub(crate) fn told(place: &Place) {
    let _ = std::fs::remove_file(place.beside(UNTOLD));
}

/// The mark, taken back when dropped by whoever set it, if nothing was replaced.
struct Mark(Option<PathBuf>);

impl Mark {
    fn set(place: &Place) -> std::io::Result<Self> {
        let path = place.beside(UNTOLD);
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default();
        match File::options().write(true).create_new(true).mode(0o600).custom_flags(flags).open(&path) {
            Ok(_) => Ok(Self(Some(path))),
            Err(problem) if problem.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self(None)),
            Err(problem) => Err(problem),
        }
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The second name under which the previous version stays; taken back when dropped, if it was not replaced.
struct Kept(Option<PathBuf>);

impl Kept {
    fn link(place: &Place, keep: bool) -> std::io::Result<Self> {
        if !keep {
            return Ok(Self(None));
        }
        let older = ring::next(place).map_err(std::io::Error::other)?;
        std::fs::hard_link(&place.target, &older)?;
        Ok(Self(Some(older)))
    }

    fn keep(mut self) -> Option<PathBuf> {
        self.0.take()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// After an exchange: whether what came out is what was seen, and nobody waits to write into it. If not, somebody got in
/// between; theirs goes back, and if they replaced ours meanwhile, that.
pub(crate) fn settle(
    new: &Path,
    place: &Place,
    seen: &Seen,
    lease: Option<&Lease<'_>>,
    ours: Identity,
) -> Result<bool, Error> {
    if !lease.is_some_and(Lease::is_wanted) && seen.is_still_at(new)? {
        return Ok(true);
    }
    let mut inside = ours;
    loop {
        let put = Identity::of(new)?;
        exchange(new, &place.target).map_err(|problem| Error::writing(&place.target, problem))?;
        if Identity::of(new)?.is_file(&inside) {
            return Ok(false);
        }
        inside = put;
    }
}

pub(crate) fn exchange(one: &Path, other: &Path) -> Result<(), Errno> {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
}

/// Writes a text beside the file, with all that the file has besides its text.
pub(crate) fn write(path: &Path, seen: &Seen, text: &[u8]) -> std::io::Result<File> {
    let like = seen.file.metadata()?;
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let mut file = File::options().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)?;
    file.write_all(text)?;
    let mine = file.metadata()?;
    if (mine.uid(), mine.gid()) != (like.uid(), like.gid()) {
        std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(like.mode() & 0o7777))?;
    copy_attributes(&seen.file, &file)?;
    file.sync_all()?;
    Ok(file)
}

/// Copies access lists, labels and whatever else hangs on the file.
fn copy_attributes(from: &File, to: &File) -> std::io::Result<()> {
    let Some(names) = grown(|buffer| flistxattr(from, buffer))? else { return Ok(()) };
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let Some(value) = grown(|buffer| fgetxattr(from, name, buffer))? else { continue };
        if let Err(problem) = fsetxattr(to, name, &value, XattrFlags::empty()) {
            // A label that the new file got by itself need not be set, which an ordinary user could not.
            if grown(|buffer| fgetxattr(to, name, buffer))?.as_ref() != Some(&value) {
                return Err(problem.into());
            }
        }
    }
    Ok(())
}

/// Calls with a buffer that is large enough; none where the file system knows no attributes.
fn grown(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> std::io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 64 * 1024];
    match call(&mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(Errno::NOTSUP | Errno::NODATA | Errno::NOSYS) => Ok(None),
        Err(problem) => Err(problem.into()),
    }
}

/// Removed when dropped, whatever lies there.
struct Leftover(PathBuf);

impl Leftover {
    fn remove(&self) -> std::io::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(problem) if problem.kind() != std::io::ErrorKind::NotFound => Err(problem),
            _ => Ok(()),
        }
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}
