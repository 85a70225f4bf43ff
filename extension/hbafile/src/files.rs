//! The files that a pg_hba.conf names by `@`, `include` and `include_dir`.

use crate::seen::Seen;
use crate::{Error, MOST};
use goahead_rules::hba::{Files, Unread};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Reads what the server would read.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsServer;

impl Files for AsServer {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unread> {
        match Seen::glance(path) {
            Ok(seen) if seen.text.len() as u64 > MOST => Err(Unread::Refused("longer than 16 MiB".to_owned())),
            Ok(seen) => Ok(seen.text),
            Err(Error::Missing { .. }) => Err(Unread::Missing),
            Err(Error::Io { problem, .. }) => Err(Unread::Refused(problem.to_string())),
            Err(problem) => Err(Unread::Refused(problem.to_string())),
        }
    }

    fn list(&self, directory: &Path) -> Result<Vec<OsString>, Unread> {
        let wrong = |problem: std::io::Error| match problem.kind() {
            std::io::ErrorKind::NotFound => Unread::Missing,
            _ => Unread::Refused(problem.to_string()),
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            // Follows links, as the server does.
            if !std::fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir()) {
                names.push(entry.file_name());
            }
        }
        Ok(names)
    }
}

/// Reads only what lies in one directory or below it, wherever links lead: for a text that somebody proposes.
#[derive(Debug, Clone)]
pub struct Inside {
    target: PathBuf,
    directory: PathBuf,
}

impl Inside {
    /// For the directory of a file.
    ///
    /// # Errors
    /// Where there is no such file.
    pub fn of(hba_file: &Path) -> Result<Self, Error> {
        let place = crate::place::Place::find(hba_file)?;
        Ok(Self { target: place.target, directory: place.directory })
    }

    /// The file behind all links: what a text names relative to it lies inside.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.target
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf, Unread> {
        let outside = || Unread::Refused(format!("it lies outside of {}", self.directory.display()));
        // Before anything is looked up: whether a file outside exists is none of the asker's business.
        let lexical = path.parent().is_some_and(|parent| parent.starts_with(&self.directory));
        if !lexical || path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(outside());
        }
        let real = std::fs::canonicalize(path).map_err(|problem| match problem.kind() {
            std::io::ErrorKind::NotFound => Unread::Missing,
            _ => Unread::Refused(problem.to_string()),
        })?;
        if real.starts_with(&self.directory) { Ok(real) } else { Err(outside()) }
    }
}

impl Files for Inside {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unread> {
        AsServer.read(&self.resolve(path)?)
    }

    fn list(&self, directory: &Path) -> Result<Vec<OsString>, Unread> {
        AsServer.list(&self.resolve(directory)?)
    }
}
