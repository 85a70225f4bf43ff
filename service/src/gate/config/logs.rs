//! Where the log goes beside standard error, as both files say it.

use std::path::PathBuf;

use super::ConfigError;
use super::section::Section;
use crate::log_file::Rotation;

/// Reads the section; the keys' names differ between the files.
pub fn read(section: &Section<'_>, keys: [&'static str; 3]) -> Result<Option<Rotation>, ConfigError> {
    let [file, max_age, rotate_every] = keys;
    // 0 is Go's way not to say it.
    let time = |key| match section.text(key)?.as_deref() {
        None | Some("0") => Ok(None),
        Some(_) => section.time(key),
    };
    let (max_age, rotate_every) = (time(max_age)?, time(rotate_every)?);
    Ok(section.text(file)?.map(|file| Rotation { file: PathBuf::from(file), max_age, rotate_every }))
}
