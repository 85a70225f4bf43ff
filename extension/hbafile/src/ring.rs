//! Previous versions of the file, beside it.

use crate::Error;
use crate::place::Place;
use crate::seen::Seen;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many are kept.
const KEPT: usize = 10;

/// A previous version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its number; the newest has the highest.
    pub number: u64,
    /// Where it lies.
    pub path: PathBuf,
    /// When it was written; it was the file's text until the next version was.
    pub modified: SystemTime,
    /// Its length in bytes.
    pub size: u64,
}

/// What is there, oldest first.
pub(crate) fn list(place: &Place) -> Result<Vec<Version>, Error> {
    let wrong = |problem| Error::reading(&place.directory, problem);
    let prefix = place.with_suffix(".goahead.");
    let prefix = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(&place.directory).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix))
            .filter(|digits| digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(number) = number.and_then(|digits| digits.parse().ok()) else { continue };
        // One that is pruned meanwhile is none; a link is nobody's version.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            versions.push(Version { number, path: entry.path(), modified, size: metadata.len() });
        }
    }
    versions.sort_by_key(|version| version.number);
    Ok(versions)
}

/// Where the next version goes.
pub(crate) fn next(place: &Place) -> Result<PathBuf, Error> {
    let newest = list(place)?.last().map_or(0, |version| version.number);
    Ok(place.with_suffix(&format!(".goahead.{:06}", newest + 1)))
}

/// Drops the oldest beyond those that are kept. One that cannot be dropped stays: the file itself is in order.
pub(crate) fn prune(place: &Place) {
    let Ok(versions) = list(place) else { return };
    for version in &versions[..versions.len().saturating_sub(KEPT)] {
        let _ = std::fs::remove_file(&version.path);
    }
}

/// The previous versions of a file, oldest first.
///
/// # Errors
/// Where the file is missing or its directory cannot be read.
pub fn versions(path: &Path) -> Result<Vec<Version>, Error> {
    list(&Place::find(path)?)
}

/// The text of a previous version.
///
/// # Errors
/// [`Error::Missing`] when it is not, or no more, kept.
pub fn version(path: &Path, number: u64) -> Result<Vec<u8>, Error> {
    let place = Place::find(path)?;
    match list(&place)?.into_iter().find(|version| version.number == number) {
        Some(version) => Ok(Seen::glance(&version.path)?.text),
        None => Err(Error::Missing { path: place.with_suffix(&format!(".goahead.{number:06}")) }),
    }
}
