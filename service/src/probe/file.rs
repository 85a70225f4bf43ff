//! A file, a directory, a socket: whatever has the name.

use std::path::{Path, PathBuf};

use super::{Miss, Target};

/// The target of what follows `file://`; the path is taken as it is, without percent-encoding.
///
/// # Errors
/// When it is not absolute.
pub(super) fn target(path: &str) -> Result<Target, String> {
    if path.starts_with('/') {
        return Ok(Target::File(PathBuf::from(path)));
    }
    Err(format!("a file is named by its absolute path: file:///{}", path.trim_start_matches("./")))
}

/// Whether `path` is there.
///
/// # Errors
/// `NotYet` when it is not, or cannot be seen.
pub(super) async fn exists(path: &Path) -> Result<(), Miss> {
    match tokio::fs::try_exists(path).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Miss::NotYet("no such file".into())),
        Err(error) => Err(Miss::NotYet(error.to_string())),
    }
}
