use crate::{Edited, Error, edit};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const SOON: Duration = Duration::from_secs(10);

/// A directory with a pg_hba.conf.
pub struct Bed(tempfile::TempDir);

impl Bed {
    pub fn new(text: &str) -> Self {
        let bed = Self(tempfile::tempdir().expect("a directory"));
        fs::write(bed.path(), text).expect("write");
        bed
    }

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("pg_hba.conf")
    }

    pub fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("read")
    }

    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("read");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// Makes this the text.
pub fn put(path: &Path, text: &str) -> Result<Edited, Error> {
    edit(path, SOON, |_| Ok(text.into()), |_| Ok(()))
}
