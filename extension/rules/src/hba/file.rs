//! A whole file.

use super::{Dialect, Files, Problem, Rule};
use std::path::{Path, PathBuf};

/// One record of a file or of one that it includes, in the order in which the server tries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file that it stands in.
    pub file: PathBuf,
    /// Its first physical line, the first of a file being 1.
    pub line: usize,
    /// Its text, continued lines joined.
    pub text: Vec<u8>,
    /// The name in its tag, if it has one and so is ours.
    pub managed: Option<String>,
    /// What it says, or why the file does not load.
    pub verdict: Result<Rule, Problem>,
}

/// Reads a text that is, or is to be, the file at `path`; others are read by `files`.
#[must_use]
pub fn parse(text: &[u8], path: &Path, dialect: &Dialect, files: &dyn Files) -> Vec<Entry> {
    let _ = (text, path, dialect, files);
    unimplemented!()
}

/// Whether a server loads the file.
#[must_use]
pub fn loads(entries: &[Entry]) -> bool {
    !entries.is_empty() && entries.iter().all(|entry| entry.verdict.is_ok())
}

/// Why it does not: every record that fails, or that there is none.
#[must_use]
pub fn problems(entries: &[Entry]) -> Vec<Problem> {
    let _ = entries;
    unimplemented!()
}
