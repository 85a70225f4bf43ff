//! The gated lines: opened and closed as the verdict says, through the extension's rules where it has some, else by
//! rendering our own, and closed through the file when the database is down.
//!
//! A server takes a reload before it accepts another connection, so a line counts as closed once the server was told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use goahead_hba_file::{Error as FileError, Identity, Locked, Stamp, close_gated, open_rules, reload};
use goahead_rules::gate::Verdict;
use goahead_rules::hba::{self, Desired, Dialect, State};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::clock::{self, Micros};
use super::database::Trouble;
use super::facts::Facts;
use super::rendering;
use super::settings::Settings;
use super::snapshot::{Applied, By, Local};
use super::voting::Door;

/// Of which major version a server is taken to be of which nobody knows it.
const NEWEST: u32 = 18;
/// Rules may have arrived by replication: how many rounds may pass until they are written.
const REFRESH: u64 = 10;

/// The doors of this node.
pub struct Doors {
    settings: Arc<Settings>,
    limit: Duration,
    applied: Applied,
    door: Door,
    /// The file as it was after we last wrote or confirmed it
    seen: Option<Identity>,
    refreshed: u64,
    said: Option<String>,
    major: Option<u32>,
    /// Writes so far
    pub writes: u64,
}

/// Why the lines are not as they should be.
#[derive(Debug)]
enum Miss {
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

impl Doors {
    /// Doors of which nothing is known yet. Whatever is done takes at most `limit`.
    pub fn new(settings: Arc<Settings>, limit: Duration) -> Self {
        Self {
            settings,
            limit,
            applied: Applied::default(),
            door: Door::Unknown,
            seen: None,
            refreshed: 0,
            said: None,
            major: None,
            writes: 0,
        }
    }

    /// How the read-write door stands.
    pub fn door(&self) -> Door {
        self.door
    }

    /// The server's major version, as far as known: a newer one reads the file alike.
    pub fn major(&self, facts: &Facts) -> u32 {
        self.major.or_else(|| major_on_disk(facts)).unwrap_or(NEWEST)
    }

    /// What was done last.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// The last verdict has ended without another: the watchdog has closed the lines, or is about to.
    pub fn expired(&mut self) {
        if self.door == Door::Open {
            self.door = Door::Unknown;
        }
        self.applied.state = None;
    }

    /// Makes the lines what `verdict` says, and writes its stamp: before they open, after they close. Where nothing
    /// has changed it only looks at the file and stamps. `may_open` is whether others have been told that a door opens.
    /// What may be open now, at the other doors too.
    pub async fn apply(
        &mut self,
        verdict: &Verdict,
        may_open: bool,
        local: Option<&Local>,
        facts: &mut Facts,
    ) -> State {
        let now = clock::now();
        let mut state = State { rw: verdict.rw_open(now), ro: verdict.ro_open(now) };
        let (was_rw, was_ro) = self.applied.state.unwrap_or_default();
        let unchanged = State { rw: state.rw && was_rw, ro: state.ro && was_ro };
        if state != unchanged && !(may_open && verdict.may_begin(now)) {
            state = unchanged;
        }
        let Some(file) = facts.hba_file.clone() else {
            self.without_file(state);
            return state;
        };
        if state != unchanged && !self.stamp(&file, facts, verdict, state) && By::HttpOnly != self.applied.by {
            // The watchdog would close at once what is opened without a stamp.
            self.applied.error = Some("the stamp cannot be written".to_owned());
        }
        if self.is_due(&file, state, verdict.round) {
            let opening = (state != unchanged).then_some(verdict);
            let done = self.write(&file, state, opening, local, facts).await;
            self.refreshed = verdict.round;
            let shown = match &done {
                Err(Miss::Late) => State::CLOSED,
                // HTTP is a door too, and opens by no older verdict than the lines.
                _ if opening.is_some_and(|verdict| !verdict.may_begin(clock::now())) && done.is_err() => unchanged,
                _ => state,
            };
            self.note(&file, state, done);
            state = shown;
        }
        // Whatever was done: the watchdog is to leave the lines alone only while a verdict lets them be open.
        self.stamp(&file, facts, verdict, state);
        state
    }

    /// Closes both doors for good: the gate ends. Whether they are closed for certain.
    pub async fn close(&mut self, local: Option<&Local>, facts: &mut Facts) -> Result<(), String> {
        let Some(file) = facts.hba_file.clone() else {
            self.without_file(State::CLOSED);
            return Ok(());
        };
        let done = self.write(&file, State::CLOSED, None, local, facts).await;
        self.note(&file, State::CLOSED, done);
        match (&self.applied.error, Stamp::remove(&file)) {
            (Some(error), _) => Err(error.clone()),
            (None, Err(error)) => Err(error.to_string()),
            (None, Ok(())) => Ok(()),
        }
    }

    /// There is no file to write: what HTTP says is all there is.
    fn without_file(&mut self, state: State) {
        if self.applied.state != Some((state.rw, state.ro)) {
            self.applied.since_us = Some(clock::now());
        }
        self.applied = Applied { by: By::Nothing, state: Some((state.rw, state.ro)), ..self.applied.clone() };
        self.settle(state.rw);
    }

    fn settle(&mut self, rw: bool) {
        match (rw, self.door) {
            (true, _) => self.door = Door::Open,
            (false, Door::Closed(_)) => {}
            (false, _) => self.door = Door::Closed(clock::now()),
        }
    }

    fn is_due(&self, file: &Path, state: State, round: u64) -> bool {
        self.applied.state != Some((state.rw, state.ro))
            || self.applied.error.is_some()
            || self.seen.is_none()
            || self.seen != Identity::of(file).ok()
            || round >= self.refreshed + REFRESH
    }

    async fn write(
        &mut self,
        file: &Path,
        state: State,
        opening: Option<&Verdict>,
        local: Option<&Local>,
        facts: &mut Facts,
    ) -> Result<(By, bool), Miss> {
        self.major = local.map(|local| local.server_version / 10_000).or(self.major);
        let major = self.major(facts);
        let by_sql = local.is_some_and(|local| local.extension && local.rules > 0);
        let through_file = |rules: Vec<Desired>, data_directory: Option<PathBuf>| {
            let open_by = opening.map(|verdict| verdict.open_by.min(verdict.expires));
            write_file(file.to_owned(), rules, state, major, open_by, data_directory, self.limit)
        };
        if by_sql {
            match self.write_sql(state, opening, facts).await {
                Ok(changed) => return Ok((By::Sql, changed)),
                Err(Miss::Failed(why)) if !state.rw => {
                    // Closing must not hang on the database.
                    let closed = through_file(Vec::new(), facts.data_directory.clone()).await;
                    return match closed {
                        Ok(_) if !state.ro => Ok((By::File, true)),
                        Ok(_) => Err(Miss::Failed(why)),
                        Err(error) => Err(error),
                    };
                }
                Err(error) => return Err(error),
            }
        }
        let rules = match &self.settings.haproxy {
            // While the database is down nobody knows whether there are rules in it, which come first.
            Some(haproxy) if local.is_some() => rendering::rules(haproxy, major).map_err(Miss::Failed)?,
            _ => Vec::new(),
        };
        // Without rules of anybody there is nothing to open; what an earlier installation left open is closed.
        let by = if rules.is_empty() && local.is_some() { By::Nothing } else { By::File };
        let state_is_possible = !rules.is_empty() || local.is_some() || state == State::CLOSED;
        let done = through_file(rules, facts.data_directory.clone()).await?;
        if state_is_possible { Ok((by, done)) } else { Err(Miss::Failed("the database is down".to_owned())) }
    }

    async fn write_sql(&self, state: State, opening: Option<&Verdict>, facts: &mut Facts) -> Result<bool, Miss> {
        let session = facts.session();
        let named = |trouble: Trouble| match trouble {
            Trouble::Refused(why) if why.contains("hba_unwritable") => Miss::Unwritable(why),
            Trouble::Refused(why) | Trouble::Down(why) => Miss::Failed(why),
        };
        let changed = session.apply(word(state), self.limit).await.map_err(named)?;
        if opening.is_some_and(|verdict| !verdict.may_begin(clock::now())) {
            // This process, or the server's, was stopped in between, and others may count on the door being closed.
            session.apply(word(State::CLOSED), self.limit).await.map_err(named)?;
            return Err(Miss::Late);
        }
        Ok(changed)
    }

    fn note(&mut self, file: &Path, state: State, done: Result<(By, bool), Miss>) {
        self.seen = Identity::of(file).ok();
        match done {
            Ok((by, changed)) => {
                if changed {
                    self.writes += 1;
                }
                let since = if self.applied.state == Some((state.rw, state.ro)) { self.applied.since_us } else { None };
                self.applied = Applied {
                    by,
                    state: Some((state.rw, state.ro)),
                    since_us: since.or_else(|| Some(clock::now())),
                    error: None,
                };
                if self.said.take().is_some() {
                    tracing::info!("the file can be written again");
                }
                self.settle(state.rw);
            }
            Err(Miss::Late) => {
                tracing::warn!("the verdict was too old when the lines were open; they are closed again");
                self.applied.state = Some((false, false));
                self.settle(false);
            }
            Err(miss) => self.missed(file, state, miss),
        }
    }

    fn missed(&mut self, file: &Path, state: State, miss: Miss) {
        let (by, why) = match miss {
            Miss::Unwritable(why) => (By::HttpOnly, why),
            Miss::Failed(why) => (self.applied.by, why),
            Miss::Late => return,
        };
        if self.said.as_ref() != Some(&why) {
            tracing::error!("the file cannot be made what the verdict says: {why}");
            self.said = Some(why.clone());
        }
        let closed_on_disk = open_rules(file).is_ok_and(|open| open.is_empty());
        if by == By::HttpOnly && closed_on_disk {
            // No line lets anybody in, so HTTP is the only door, and it stands as it should.
            self.applied =
                Applied { by, state: Some((state.rw, state.ro)), since_us: Some(clock::now()), error: Some(why) };
            self.settle(state.rw);
        } else {
            self.applied = Applied { by, state: None, since_us: None, error: Some(why) };
            self.door = Door::Unknown;
        }
    }

    /// Writes the stamp. Whether lines may be opened: without a stamp the watchdog would close them.
    fn stamp(&self, file: &Path, facts: &Facts, verdict: &Verdict, state: State) -> bool {
        let written = Stamp::new(&self.settings.node, file, verdict.expires, state.rw, state.ro)
            .and_then(|stamp| Stamp { data_directory: facts.data_directory.clone(), ..stamp }.write());
        match written {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "the stamp cannot be written");
                false
            }
        }
    }
}

/// A state as the extension calls it.
fn word(state: State) -> &'static str {
    match (state.rw, state.ro) {
        (false, false) => "closed",
        (true, false) => "primary",
        (false, true) => "standby",
        (true, true) => "both",
    }
}

fn major_on_disk(facts: &Facts) -> Option<u32> {
    let file = facts.data_directory.as_ref()?.join("PG_VERSION");
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Renders `rules` into the file, or closes what is gated where there are none, and has the server reload. Whether the
/// file changed. `open_by` is until when a door may begin to open.
async fn write_file(
    file: PathBuf,
    rules: Vec<Desired>,
    state: State,
    major: u32,
    open_by: Option<Micros>,
    data_directory: Option<PathBuf>,
    limit: Duration,
) -> Result<bool, Miss> {
    let work = spawn_blocking(move || {
        let dialect = Dialect::packaged(major);
        if rules.is_empty() {
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
        let edited = match locked.edit(|text| Ok(hba::install(text, &rules, state, major)), check) {
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
