//! The gated lines in the file, where this process writes them itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use goahead_hba_file::{Error as FileError, Locked, close_gated, read, reload};
use goahead_rules::hba::{self, Desired, Dialect, Keeper, State};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::clock::{self, Micros};

/// Why the lines are not as they should be.
#[derive(Debug)]
pub enum Miss {
    /// The place is not writable, and stays so until somebody mends it
    Unwritable(String),
    /// The verdict is too old to open by it
    Late,
    /// Anything else; the next round tries again
    Failed(String),
}

impl From<FileError> for Miss {
    fn from(error: FileError) -> Self {
        let text = format!("{error}; {}", error.mend());
        if matches!(error, FileError::Unwritable { .. }) { Self::Unwritable(text) } else { Self::Failed(text) }
    }
}

/// What is to be done with the lines.
#[derive(Debug)]
pub enum Lines {
    /// Close what is gated
    Close,
    /// These and no others
    All(Vec<Desired>),
    /// These for ours; those of the rows stay
    Own(Vec<Desired>),
}

/// Does that to the file and has the server reload. Whether the file changed. `open_by` is until when a door may begin
/// to open.
///
/// # Errors
/// Why the lines are not as they should be.
pub async fn write(
    file: PathBuf,
    lines: Lines,
    state: State,
    major: u32,
    open_by: Option<Micros>,
    data_directory: Option<PathBuf>,
    limit: Duration,
) -> Result<bool, Miss> {
    let work = spawn_blocking(move || {
        let dialect = Dialect::packaged(major);
        if matches!(lines, Lines::Close) {
            let closed = close_gated(&file, &dialect, limit)?;
            let locked = Locked::take(&file, limit, &mut || {})?;
            // Closed on disk, by this round or an earlier one, is not closed while the server has not loaded it.
            if locked.must_reload() {
                let problems = locked.problems(&locked.text()?, &dialect);
                if !problems.is_empty() {
                    return Err(Miss::Failed(does_not_load(&problems)));
                }
            }
            tell(&locked, data_directory.as_deref())?;
            return Ok(closed.changed());
        }
        let locked = Locked::take(&file, limit, &mut || {})?;
        let late = || open_by.is_some_and(|open_by| clock::now() >= open_by);
        if late() {
            return Err(Miss::Failed("the verdict was too old to open by: another writer held the file".to_owned()));
        }
        let check = |text: &[u8]| match locked.problems(text, &dialect) {
            problems if problems.is_empty() => Ok(()),
            problems => Err(FileError::Invalid { path: file.clone(), problem: does_not_load(&problems) }),
        };
        let edited = match locked.edit(|text| Ok(made(text, &lines, state, major)), check) {
            Err(FileError::Invalid { .. }) if !state.rw => {
                // A line of somebody else's keeps the whole file from loading; ours are closed on disk all the same.
                let closed = locked.close_gated(&dialect)?;
                return Err(Miss::Failed(does_not_load(&closed.problems)));
            }
            edited => edited?,
        };
        if late() {
            locked.close_gated(&dialect)?;
            tell(&locked, data_directory.as_deref())?;
            return Err(Miss::Late);
        }
        tell(&locked, data_directory.as_deref())?;
        Ok(edited.changed())
    });
    match timeout(limit * 2, work).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => Err(Miss::Failed(error.to_string())),
        Err(_) => Err(Miss::Failed(format!("the file was not written within {:?}", limit * 2))),
    }
}

/// Whether lines of ours are in the file; one that cannot be read has none that we could take out.
pub fn has_own(file: &Path) -> bool {
    read(file).is_ok_and(|text| hba::has_part(&text, Keeper::Gate))
}

fn made(text: &[u8], lines: &Lines, state: State, major: u32) -> Vec<u8> {
    match lines {
        Lines::Close => hba::close(text),
        Lines::All(rules) => hba::install(text, rules, state, major),
        Lines::Own(rules) => hba::install_part(text, Keeper::Gate, rules, state, major),
    }
}

fn does_not_load(problems: &[hba::Problem]) -> String {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    format!("the file does not load, so the server keeps the rules that it has: {first}")
}

/// Has the server reload if it does not know the text yet; one that does not run reads it when it starts.
fn tell(locked: &Locked, data_directory: Option<&Path>) -> Result<(), Miss> {
    if !locked.must_reload() {
        return Ok(());
    }
    let directory = data_directory.ok_or_else(|| {
        Miss::Failed("nobody said where the data directory is, so the server cannot be told to reload".to_owned())
    })?;
    match reload(directory) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Miss::Failed(format!("the server cannot be told to reload: {error}"))),
    }
    locked.reloaded();
    Ok(())
}
