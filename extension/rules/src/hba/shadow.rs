//! Earlier rules that take a connection away from a managed one.

use super::Entry;
use std::path::PathBuf;

/// An earlier rule that matches first some or all of what a managed line is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The managed rule's name.
    pub rule: String,
    /// The file of the earlier rule.
    pub file: PathBuf,
    /// Its line.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// Whether it takes everything, or perhaps only some.
    pub whole: bool,
}

/// Every earlier rule, for each managed line, in order.
#[must_use]
pub fn shadows(entries: &[Entry]) -> Vec<Shadow> {
    let _ = entries;
    unimplemented!()
}
