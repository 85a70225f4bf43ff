//! Whether settings can work, said before the gate starts.

use super::Settings;

/// What is wrong with settings, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The gate refuses to start; else it is a warning.
    pub fatal: bool,
    /// What, with the numbers.
    pub message: String,
}

impl Settings {
    /// Everything that is wrong or odd with them.
    pub fn check(&self) -> Vec<Finding> {
        vec![]
    }
}
