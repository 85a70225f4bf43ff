//! The gated lines in the file, where this process writes them itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use goahead_hba_file::{
    AsServer, Closed, Complaint, Error as FileError, GoesBy, LastGood, Locked, OfDirectory, Server, effect, read,
};
use goahead_rules::hba::{self, Desired, Dialect, Keeper, State};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::clock::{self, Micros};

/// How long a server may take to load a text that stands in: a round that is late once closes for certain.
const LOADING: Duration = Duration::from_secs(1);

/// Why the lines are not as they should be.
#[derive(Debug)]
pub enum Miss {
    /// The place is not writable, and stays so until somebody mends it
    Unwritable(String),
    /// The verdict is too old to open by it
    Late,
    /// Somebody's line keeps the file from loading; everything is closed, in the server too
    Shut(String),
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

/// The file and its server.
#[derive(Debug, Clone)]
pub struct Place {
    /// The gated file
    pub file: PathBuf,
    /// The server's data directory; none: unknown
    pub data_directory: Option<PathBuf>,
    /// The server's major version
    pub major: u32,
    /// What is known of the texts that lay there
    pub good: Arc<Mutex<LastGood>>,
}

impl Place {
    /// Looks at the file, as is to be done every round. Why it does not load, if it does not; none where somebody of this
    /// process is writing it, who looks too.
    pub async fn look(self) -> Option<Option<String>> {
        let look = spawn_blocking(move || {
            let mut good = self.good.try_lock().ok()?;
            good.look(&self.file, &Dialect::packaged(self.major));
            Some(good.mistake().map(str::to_owned))
        });
        look.await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the file was not looked at");
            None
        })
    }

    /// Does that to the file and has the server reload. Whether the file changed. `open_by` is until when a door may
    /// begin to open.
    ///
    /// # Errors
    /// Why the lines are not as they should be.
    pub async fn write(
        self,
        lines: Lines,
        state: State,
        open_by: Option<Micros>,
        limit: Duration,
    ) -> Result<bool, Miss> {
        match timeout(limit * 2, spawn_blocking(move || self.write_now(&lines, state, open_by, limit))).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(Miss::Failed(error.to_string())),
            Err(_) => Err(Miss::Failed(format!("the file was not written within {:?}", limit * 2))),
        }
    }

    fn write_now(&self, lines: &Lines, state: State, open_by: Option<Micros>, limit: Duration) -> Result<bool, Miss> {
        let locked = Locked::take(&self.file, limit, &mut || {})?;
        if matches!(lines, Lines::Close) {
            return self.shut(locked, limit);
        }
        let late = || open_by.is_some_and(|open_by| clock::now() >= open_by);
        if late() {
            return Err(Miss::Failed("the verdict was too old to open by: another writer held the file".to_owned()));
        }
        let dialect = Dialect::packaged(self.major);
        let check = |text: &[u8]| match locked.problems(text, &dialect).first() {
            None => Ok(()),
            Some(problem) => Err(FileError::Invalid { path: self.file.clone(), problem: problem.to_string() }),
        };
        let edited = match locked.edit(|text| Ok(made(text, lines, state, self.major)), check) {
            // Somebody else's line keeps the whole file from loading, or there is no room for just this text.
            Err(error @ (FileError::Invalid { .. } | FileError::Io { .. })) if !state.rw => {
                return self.shut(locked, limit).and_then(|_| Err(error.into()));
            }
            edited => edited?,
        };
        if late() {
            self.shut(locked, limit)?;
            return Err(Miss::Late);
        }
        self.tell(locked, &edited.text, limit)?;
        Ok(edited.changed())
    }

    /// Closes everything. Whether the file changed.
    fn shut(&self, locked: Locked, limit: Duration) -> Result<bool, Miss> {
        let dialect = Dialect::packaged(self.major);
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = locked.must_reload();
        let closed: Closed = locked.shut(&dialect, &mut good, &mut self.server(), limit.max(LOADING))?;
        match (closed.trouble(), &closed.goes_by) {
            (None, _) if untold || closed.changed() => {
                let text = locked.text()?;
                self.ask(locked, &text, limit)?;
            }
            (None, _) => {}
            (Some(trouble), GoesBy::Earlier(_)) => return Err(Miss::Failed(trouble)),
            (Some(trouble), GoesBy::File | GoesBy::StandIn) => return Err(Miss::Shut(trouble)),
        }
        Ok(closed.changed())
    }

    /// Has the server reload if it does not know the text yet, and looks what it makes of it.
    fn tell(&self, locked: Locked, text: &[u8], limit: Duration) -> Result<(), Miss> {
        if !locked.must_reload() {
            return Ok(());
        }
        locked.tell(&mut self.server())?;
        self.ask(locked, text, limit)
    }

    /// Asks the server as a health check does. A line that is closed and lets in is not closed.
    fn ask(&self, locked: Locked, text: &[u8], limit: Duration) -> Result<(), Miss> {
        let server = self.server();
        let Some(listens) = server.listens().filter(|_| server.runs()) else { return Ok(()) };
        let entries = hba::parse(text, locked.target(), &Dialect::packaged(self.major), &AsServer);
        let shadows = hba::shadows(&entries, self.major);
        let written = (&*self.file, text);
        let found = effect(written, &entries, &shadows, self.major, &listens, limit / 2, &mut || {});
        for Complaint { message, mend, .. } in &found.complaints {
            tracing::warn!("{message}; {mend}");
        }
        match found.complaints.into_iter().find(|complaint| complaint.lets_in) {
            Some(Complaint { message, mend, .. }) => {
                locked.not_taken()?;
                Err(Miss::Failed(format!("{message}; {mend}")))
            }
            None => Ok(()),
        }
    }

    fn server(&self) -> OfDirectory {
        OfDirectory::new(self.data_directory.clone())
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
