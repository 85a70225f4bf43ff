//! The gated lines: opened and closed as the verdict says. Rows are written by the extension, lines of our own
//! configuration by us, beside them; and everything is closed through the file when the database is down.
//!
//! A server takes a reload before it accepts another connection, so a line counts as closed once the server was told.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goahead_hba_file::{Identity, LastGood, Stamp, open_rules};
use goahead_rules::gate::Verdict;
use goahead_rules::hba::State;

use super::clock;
use super::database::Trouble;
use super::facts::Facts;
use super::lines::{self, Lines, Miss, Place};
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
    good: Arc<Mutex<LastGood>>,
    /// Whether the file does not load and the server is closed all the same
    shut: bool,
    /// Writes so far
    pub writes: u64,
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
            good: Arc::default(),
            shut: false,
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
        self.major = local.map(|local| local.server_version / 10_000).or(self.major);
        let now = clock::now();
        let (rw, ro) = self.applied.state.unwrap_or_default();
        let was = State { rw, ro };
        let mut state = verdict.next(was, may_open, now);
        let unchanged = State { rw: state.rw && was.rw, ro: state.ro && was.ro };
        let Some(file) = facts.hba_file.clone() else {
            self.without_file(state);
            return state;
        };
        if let Some(mistake) = self.place(&file, facts).look().await {
            self.mistaken(&file, mistake);
        }
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
        match (self.applied.error.as_ref().filter(|_| !self.shut), Stamp::remove(&file)) {
            (Some(error), _) => Err(error.clone()),
            (None, Err(error)) => Err(error.to_string()),
            (None, Ok(())) => Ok(()),
        }
    }

    /// There is no file to write: what HTTP says is all there is.
    fn without_file(&mut self, state: State) {
        self.stands(By::Nothing, Some(state), None);
        self.settle(state.rw);
    }

    /// Takes note of how the doors stand; none: nobody knows.
    fn stands(&mut self, by: By, state: Option<State>, error: Option<String>) {
        let state = state.map(|state| (state.rw, state.ro));
        let since = self.applied.since_us.filter(|_| self.applied.state == state);
        let since_us = state.and(since.or_else(|| Some(clock::now())));
        self.applied = Applied { by, state, since_us, error, mistake: self.applied.mistake.take() };
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
            || (self.applied.error.is_some() && !self.shut)
            || self.seen.is_none()
            || self.seen != Identity::of(file).ok()
            || round >= self.refreshed + REFRESH
    }

    async fn write(
        &self,
        file: &Path,
        state: State,
        opening: Option<&Verdict>,
        local: Option<&Local>,
        facts: &mut Facts,
    ) -> Result<(By, bool), Miss> {
        let major = self.major(facts);
        let place = self.place(file, facts);
        let through_file = |lines: Lines| {
            let open_by = opening.map(|verdict| verdict.open_by.min(verdict.expires));
            place.clone().write(lines, state, open_by, self.limit)
        };
        let own = match &self.settings.haproxy {
            // While the database is down nobody knows which rows there are.
            Some(haproxy) if local.is_some() => rendering::rules(haproxy, major),
            _ => Ok(Vec::new()),
        };
        let own = match own {
            Ok(own) => own,
            Err(why) => {
                through_file(Lines::Close).await?;
                return Err(Miss::Failed(why));
            }
        };
        let rows = local.filter(|local| local.extension).map(|local| local.rules);
        if rows.is_some_and(|rows| rows > 0 || !own.is_empty()) {
            let changed = match self.write_sql(state, opening, facts).await {
                Ok(changed) => changed,
                Err(Miss::Failed(why)) if !state.rw => {
                    // Closing must not hang on the database.
                    let closed = through_file(Lines::Close).await;
                    return match closed {
                        Ok(_) if !state.ro => Ok((By::File, true)),
                        Ok(_) => Err(Miss::Failed(why)),
                        Err(error) => Err(error),
                    };
                }
                Err(error) => return Err(error),
            };
            // Those of an earlier configuration stand above the rows, closed.
            if own.is_empty() && !lines::has_own(file) {
                return Ok((By::Sql, changed));
            }
            let by = if rows == Some(0) { By::File } else { By::Sql };
            return match through_file(Lines::Own(own)).await {
                Ok(also) => Ok((by, changed || also)),
                Err(Miss::Late) => Err(Miss::Late),
                Err(error) => self.shut_if_late(opening, facts).await.and(Err(error)),
            };
        }
        // Without rules of anybody there is nothing to open; what an earlier installation left open is closed.
        let by = if own.is_empty() && local.is_some() { By::Nothing } else { By::File };
        let state_is_possible = local.is_some() || state == State::CLOSED;
        let lines = if own.is_empty() { Lines::Close } else { Lines::All(own) };
        let done = through_file(lines).await?;
        if state_is_possible { Ok((by, done)) } else { Err(Miss::Failed("the database is down".to_owned())) }
    }

    async fn write_sql(&self, state: State, opening: Option<&Verdict>, facts: &mut Facts) -> Result<bool, Miss> {
        let changed = facts.session().apply(word(state), self.limit).await.map_err(named)?;
        self.shut_if_late(opening, facts).await?;
        Ok(changed)
    }

    /// This process, or the server's, was stopped in between, and others may count on the door being closed.
    async fn shut_if_late(&self, opening: Option<&Verdict>, facts: &mut Facts) -> Result<(), Miss> {
        if opening.is_none_or(|verdict| verdict.may_begin(clock::now())) {
            return Ok(());
        }
        facts.session().apply(word(State::CLOSED), self.limit).await.map_err(named)?;
        Err(Miss::Late)
    }

    fn note(&mut self, file: &Path, state: State, done: Result<(By, bool), Miss>) {
        self.seen = Identity::of(file).ok();
        self.shut = matches!(done, Err(Miss::Shut(_)));
        match done {
            Ok((by, changed)) => {
                if changed {
                    self.writes += 1;
                }
                self.stands(by, Some(state), None);
                if self.said.take().is_some() {
                    tracing::info!("the file can be written again");
                }
                self.settle(state.rw);
            }
            Err(Miss::Late) => {
                tracing::warn!("the verdict was too old when the lines were open; they are closed again");
                self.stands(self.applied.by, Some(State::CLOSED), None);
                self.settle(false);
            }
            Err(Miss::Shut(why)) => {
                self.say(&why);
                self.stands(By::File, Some(State::CLOSED), Some(why));
                self.settle(false);
            }
            Err(miss) => self.missed(file, state, miss),
        }
    }

    /// Says it once.
    fn say(&mut self, why: &str) {
        if self.said.as_deref() != Some(why) {
            tracing::error!("the file cannot be made what the verdict says: {why}");
            self.said = Some(why.to_owned());
        }
    }

    /// Takes note of a line that somebody has left in the file; it is said once, and so is its end.
    fn mistaken(&mut self, file: &Path, mistake: Option<String>) {
        if self.applied.mistake == mistake {
            return;
        }
        match &mistake {
            Some(why) => tracing::warn!(
                "{} would not load, so the server goes on with the rules that it has: {why}",
                file.display()
            ),
            None => tracing::info!("{} loads again", file.display()),
        }
        self.applied.mistake = mistake;
    }

    fn place(&self, file: &Path, facts: &Facts) -> Place {
        Place {
            file: file.to_owned(),
            data_directory: facts.data_directory.clone(),
            major: self.major(facts),
            good: self.good.clone(),
        }
    }

    fn missed(&mut self, file: &Path, state: State, miss: Miss) {
        let (by, why) = match miss {
            Miss::Unwritable(why) => (By::HttpOnly, why),
            Miss::Failed(why) => (self.applied.by, why),
            Miss::Late | Miss::Shut(_) => return,
        };
        self.say(&why);
        let closed_on_disk = open_rules(file).is_ok_and(|open| open.is_empty());
        if by == By::HttpOnly && closed_on_disk {
            // No line lets anybody in, so HTTP is the only door, and it stands as it should.
            self.stands(by, Some(state), Some(why));
            self.settle(state.rw);
        } else {
            self.stands(by, None, Some(why));
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

fn named(trouble: Trouble) -> Miss {
    match trouble {
        Trouble::Refused(why) if why.contains("hba_unwritable") => Miss::Unwritable(why),
        Trouble::Refused(why) | Trouble::Down(why) => Miss::Failed(why),
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

#[cfg(test)]
mod tests;
