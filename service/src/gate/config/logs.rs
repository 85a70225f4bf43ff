//! Where the log goes beside standard error, as both files say it.

use std::path::PathBuf;
use std::time::Duration;

use super::ConfigError;
use super::section::Section;

/// A log file and how it is rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// The file
    pub file: PathBuf,
    /// How long a file that is no longer written is kept; none: for ever
    pub max_age: Option<Duration>,
    /// How long one file is written; none: for ever
    pub rotate_every: Option<Duration>,
}

/// Reads the section; the keys' names differ between the files.
pub fn read(section: &Section<'_>, keys: [&'static str; 3]) -> Result<Option<Logs>, ConfigError> {
    let [file, max_age, rotate_every] = keys;
    // 0 is Go's way not to say it.
    let time = |key| match section.text(key)?.as_deref() {
        None | Some("0") => Ok(None),
        Some(_) => section.time(key),
    };
    let (max_age, rotate_every) = (time(max_age)?, time(rotate_every)?);
    Ok(section.text(file)?.map(|file| Logs { file: PathBuf::from(file), max_age, rotate_every }))
}
