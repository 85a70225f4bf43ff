//! One gate for one file: a second one neither writes the lines nor votes, it ends.

use std::path::Path;
use std::time::Duration;

use goahead_hba_file::{Error, Keeper};

/// The right to write a file, as far as anybody can have it.
#[derive(Debug, Default)]
pub struct Sole {
    keeper: Option<Keeper>,
    said: Option<String>,
}

impl Sole {
    /// Takes the right to write `hba_file`, or sees that this gate still has it; waits at most for `limit` where another
    /// has it. Where no lock file can be made it says so once and lets the gate go on: HTTP may be its only door.
    ///
    /// # Errors
    /// Who has it, and what to do. This gate must end then, and touch nothing.
    pub fn keep(&mut self, hba_file: &Path, limit: Duration) -> Result<(), String> {
        if self.keeper.as_ref().is_some_and(|keeper| keeper.keeps(hba_file)) {
            return Ok(());
        }
        match Keeper::take(hba_file, limit) {
            Ok(keeper) => {
                self.keeper = Some(keeper);
                self.said = None;
            }
            Err(error @ Error::Kept { .. }) => return Err(format!("{error}; {}", error.mend())),
            Err(error) => self.say(&error),
        }
        Ok(())
    }

    fn say(&mut self, error: &Error) {
        let why = error.to_string();
        if self.said.as_ref() != Some(&why) {
            tracing::warn!("another gate for this file would not be noticed, for there is no lock file: {why}");
            self.said = Some(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(20);
    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn one_of_two_keeps_a_file_and_one_alone_needs_no_lock_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pg_hba.conf");
        std::fs::write(&file, "local all all peer\n").unwrap();
        let (mut first, mut second) = (Sole::default(), Sole::default());
        first.keep(&file, SOON).unwrap();
        first.keep(&file, SOON).unwrap();
        let why = second.keep(&file, MOMENT).unwrap_err();
        assert!(why.contains(&format!("process {}", std::process::id())) && why.contains("stop one"), "{why}");
        // A clone emptied the directory: whoever is first has it, and the other learns it.
        std::fs::remove_file(directory.path().join(".goahead_hba.gate")).unwrap();
        second.keep(&file, SOON).unwrap();
        first.keep(&file, MOMENT).unwrap_err();
        drop(second);
        first.keep(&file, SOON).unwrap();
        drop(first);
        std::fs::remove_file(directory.path().join(".goahead_hba.gate")).unwrap();
        std::fs::create_dir(directory.path().join(".goahead_hba.gate")).unwrap();
        let mut alone = Sole::default();
        alone.keep(&file, SOON).unwrap();
        assert!(alone.keeper.is_none() && alone.said.is_some());
    }
}
