//! Where the file really lies, and the names beside it.

use crate::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file behind all symbolic links: a rename over a link would replace the link.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The file.
    pub target: PathBuf,
    /// Its directory.
    pub directory: PathBuf,
}

impl Place {
    /// Follows the links of `path`.
    pub fn find(path: &Path) -> Result<Self, Error> {
        let target = std::fs::canonicalize(path).map_err(|problem| Error::reading(path, problem))?;
        let Some(directory) = target.parent().map(Path::to_owned) else {
            return Err(Error::Missing { path: target });
        };
        Ok(Self { target, directory })
    }

    /// A file beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A file beside it whose name begins with its own.
    pub fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(self.target.file_name().unwrap_or_default());
        name.push(suffix);
        self.directory.join(name)
    }
}
