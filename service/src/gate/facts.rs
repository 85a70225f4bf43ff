//! What this node's database says of itself, once a round, as the decision wants it and as readers want it.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goahead_rules::gate::{self, NodeFacts, ReplayLag, Role, SourceSays, Upstream, repmgr_says};

use super::clock::{self, Micros};
use super::database::{self, Session, Trouble};
use super::settings::Settings;
use super::snapshot::{Downstream, Local};
use super::sole::Sole;

/// How long another gate may take to let go of the file in the middle of a round.
const MOMENT: Duration = Duration::from_millis(20);

/// Asks the local database.
pub struct Facts {
    session: Session,
    source: Option<Session>,
    replies: Replies,
    lag: ReplayLag,
    limit: Duration,
    sole: Sole,
    /// Where the gated file is, once known
    pub hba_file: Option<PathBuf>,
    /// Where the server's data directory is, once known
    pub data_directory: Option<PathBuf>,
    /// Why these are not the server's own: what is written there would close nothing
    pub misled: Option<String>,
    /// Who else keeps the gated file: this gate must end
    pub taken: Option<String>,
}

/// What one round found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// None: the database does not answer
    pub local: Option<Local>,
    /// Why
    pub error: Option<String>,
}

impl Facts {
    /// Connects when first asked; each question takes at most `limit`.
    ///
    /// # Errors
    /// What is wrong with the address of the database.
    pub fn new(settings: &Settings, limit: Duration) -> Result<Self, String> {
        let session = |database| Session::new(&settings.database, database, limit);
        Ok(Self {
            session: session(None)?,
            source: settings.repmgr_database.as_deref().map(|database| session(Some(database))).transpose()?,
            replies: Replies::default(),
            lag: ReplayLag::default(),
            limit,
            sole: Sole::default(),
            hba_file: settings.hba_file.clone(),
            data_directory: settings.data_directory.clone(),
            misled: None,
            taken: None,
        })
    }

    /// The connection, for what is to be applied.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Keeps every other gate away from the file, as far as that is known; waits at most for `limit` where one has it.
    ///
    /// # Errors
    /// Who has it, and what to do.
    pub fn keep(&mut self, limit: Duration) -> Result<(), String> {
        self.hba_file.as_deref().map_or(Ok(()), |file| self.sole.keep(file, limit))
    }

    /// Asks once; at most the limit. Nothing is known where another gate keeps the file.
    pub async fn ask(&mut self) -> Found {
        let found = self.ask_database().await;
        match self.keep(MOMENT) {
            Ok(()) => found,
            Err(why) => {
                self.taken = Some(why.clone());
                Found { local: None, error: Some(why) }
            }
        }
    }

    async fn ask_database(&mut self) -> Found {
        let asked_us = clock::now();
        let ends = self.data_directory.as_deref().is_some_and(is_stopping);
        if ends {
            // A smart shutdown waits for its clients, and we are one.
            self.session.close();
            if let Some(source) = &mut self.source {
                source.close();
            }
            return Found { local: None, error: Some("the server is shutting down".to_owned()) };
        }
        let (facts, source) = match &mut self.source {
            None => (self.session.facts(self.limit).await, None),
            Some(source) => {
                let (facts, source) = tokio::join!(self.session.facts(self.limit), source.source(self.limit));
                (facts, Some(source))
            }
        };
        let facts = match facts {
            Ok(facts) => facts,
            Err(error) => return Found { local: None, error: Some(error.to_string()) },
        };
        self.locate(&facts);
        let mut local = Local { asked_us, ..facts.local };
        self.replies.age(&mut local.downstream, asked_us);
        if let (Some(received), Some(replayed)) = (local.received_lsn, local.replayed_lsn) {
            let lag = self.lag.observe(received, replayed, asked_us);
            local.replay_lag_us = u64::try_from(lag.as_micros()).ok();
        }
        match source {
            Some(Ok(nodes)) => local.source = Some(nodes),
            Some(Err(Trouble::Down(why) | Trouble::Refused(why))) => local.source_error = Some(why),
            None => {}
        }
        Found { local: Some(local), error: None }
    }

    /// Settings come first: they are what an operator wants gated.
    fn locate(&mut self, facts: &database::Facts) {
        let known = |known: &mut Option<PathBuf>, told: &Option<String>| {
            if known.is_none() {
                *known = told.as_deref().filter(|path| path.starts_with('/')).map(PathBuf::from);
            }
        };
        known(&mut self.hba_file, &facts.hba_file);
        known(&mut self.data_directory, &facts.data_directory);
        self.misled = misled("hba_file", self.hba_file.as_deref(), facts.hba_file.as_deref())
            .or_else(|| misled("data_directory", self.data_directory.as_deref(), facts.data_directory.as_deref()));
    }
}

/// Says so where `ours` is another file than the one that the server names. One that is not to be seen from here (another
/// container's) cannot be compared.
fn misled(key: &str, ours: Option<&Path>, told: Option<&str>) -> Option<String> {
    let (ours, told) = (ours?, Path::new(told?));
    if ours == told {
        return None;
    }
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|known| (known.dev(), known.ino()));
    let theirs = identity(told)?;
    (identity(ours) != Some(theirs)).then(|| {
        format!(
            "{key} is {}, but the local database uses {}; mend it in the gate's file",
            ours.display(),
            told.display()
        )
    })
}

/// Whether `postmaster.pid` says that a shutdown has begun.
fn is_stopping(data_directory: &Path) -> bool {
    let text = std::fs::read_to_string(data_directory.join("postmaster.pid")).unwrap_or_default();
    text.lines().nth(7).is_some_and(|status| status.trim() == "stopping")
}

/// When each standby's last reply came in, by our own clock: what the reply itself says is the standby's wall clock.
#[derive(Debug, Default)]
struct Replies(HashMap<i32, Reply>);

#[derive(Debug, Clone, Copy)]
struct Reply {
    said: Option<i64>,
    /// None until it has changed once: it may have been old when we first looked
    came_in: Option<Micros>,
}

impl Replies {
    /// Notes in `rows` how long ago each reply came in; forgets who is gone.
    fn age(&mut self, rows: &mut [Downstream], now: Micros) {
        self.0.retain(|pid, _| rows.iter().any(|row| row.pid == *pid));
        for row in rows {
            let reply = self.0.entry(row.pid).or_insert(Reply { said: row.reply_us, came_in: None });
            if reply.said != row.reply_us {
                *reply = Reply { said: row.reply_us, came_in: Some(now) };
            }
            row.reply_age_us = reply.came_in.map(|at| u64::try_from(now - at).unwrap_or(0));
        }
    }
}

/// What the local database is in its cluster.
pub fn role(local: &Local) -> Role {
    if local.in_recovery { Role::Standby } else { Role::Primary }
}

/// The facts as the decision and the peers want them, aged to `now`.
pub fn node_facts(local: &Local, now: Micros) -> NodeFacts {
    let micros = |micros: u64| Duration::from_micros(micros);
    NodeFacts {
        age: micros(u64::try_from(now - local.asked_us).unwrap_or(0)),
        role: role(local),
        shutting_down: local.stopping,
        system_identifier: local.system_identifier,
        timeline: local.timeline.unwrap_or(0),
        lsn: if local.in_recovery { local.replayed_lsn } else { local.current_lsn }.unwrap_or(0),
        received_lsn: local.received_lsn,
        upstream: local.receiver.as_ref().map(|receiver| Upstream {
            streaming: receiver.status == "streaming",
            host: receiver.sender_host.clone(),
            port: receiver.sender_port.and_then(|port| u16::try_from(port).ok()),
            latest_end_lsn: receiver.latest_end_lsn,
            receipt_age: receiver.receipt_age_us.map(micros),
            quiet: receiver.quiet_us.map(micros),
        }),
        replay_paused: local.replay_paused,
        replay_age: local.replay_age_us.map(micros),
        replay_lag: local.replay_lag_us.map(micros),
        downstream: local
            .downstream
            .iter()
            .map(|row| gate::Downstream {
                name: row.application_name.clone(),
                address: row.client_addr.clone(),
                state: row.state.clone().unwrap_or_default(),
                sync_state: row.sync_state.clone().unwrap_or_default(),
                sync_priority: row.sync_priority,
                reply_age: row.reply_age_us.map(micros),
            })
            .collect(),
    }
}

/// What the source says about the node called `node`; nothing where none is configured.
pub fn source_says(settings: &Settings, local: Option<&Local>) -> Vec<SourceSays> {
    if settings.repmgr_database.is_none() {
        return Vec::new();
    }
    let Some(local) = local else { return Vec::new() };
    let rows = local.source.as_deref().ok_or_else(|| local.source_error.as_deref().unwrap_or_default());
    vec![repmgr_says(rows, &settings.node)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_as_old_as_our_own_clock_says() {
        let mut replies = Replies::default();
        let mut age = |pid, reply_us, now| {
            let mut rows = [Downstream { pid, reply_us: Some(reply_us), ..Downstream::default() }];
            replies.age(&mut rows, now);
            rows[0].reply_age_us
        };
        // However the standby's clock stands; and what was there when we first looked may be old.
        assert_eq!(age(1, 5_000_000_000, 100), None);
        assert_eq!(age(1, 5_000_000_000, 200), None);
        assert_eq!(age(1, 5_000_000_001, 300), Some(0));
        assert_eq!(age(1, 5_000_000_001, 450), Some(150));
        // Another connection is another standby.
        assert_eq!(age(2, 5_000_000_001, 500), None);
        assert_eq!(age(1, 5_000_000_002, 600), None);
    }

    #[test]
    fn what_a_database_says_is_what_is_known_of_it() {
        let facts: database::Facts = serde_json::from_str(
            r#"{"in_recovery": true, "system_identifier": "7311111111111111111", "timeline": 3,
                "server_version": 150020, "postmaster_start_us": 1, "current_lsn": null, "received_lsn": 12,
                "replayed_lsn": 11, "replayed_us": null, "replay_age_us": null, "replay_paused": false,
                "receiver": {"status": "streaming", "sender_host": "10.0.0.1", "sender_port": 5432, "timeline": 3,
                             "slot": null, "latest_end_lsn": 18446744073709551615, "receipt_age_us": 9,
                             "quiet_us": 30000000},
                "archive_recovery": false,
                "downstream": [{"pid": 7, "usename": "r", "application_name": "t", "client_addr": null,
                                "state": "streaming", "sync_state": "async", "sync_priority": 0, "reply_us": 5}],
                "cluster_name": "", "synchronous_standby_names": "", "hba_file": "/etc/pg_hba.conf",
                "data_directory": null, "extension": true, "watchdog": false}"#,
        )
        .unwrap();
        assert_eq!((facts.hba_file.as_deref(), facts.data_directory), (Some("/etc/pg_hba.conf"), None));
        let local = Local { asked_us: 1_000_000, ..facts.local };
        let told = node_facts(&local, 1_000_250);
        assert_eq!((told.role, told.timeline, told.lsn, told.received_lsn), (Role::Standby, 3, 11, Some(12)));
        assert_eq!(
            (told.age, told.system_identifier.to_string()),
            (Duration::from_micros(250), "7311111111111111111".into())
        );
        let upstream = told.upstream.unwrap();
        assert!(upstream.streaming);
        assert_eq!((upstream.port, upstream.receipt_age), (Some(5432), Some(Duration::from_micros(9))));
        assert_eq!((upstream.latest_end_lsn, upstream.quiet), (Some(u64::MAX), Some(Duration::from_secs(30))));
        assert_eq!((told.downstream[0].name.as_str(), told.downstream[0].reply_age), ("t", None));
        // A local server is handed the whole of it.
        let text = serde_json::to_string(&local).unwrap();
        assert_eq!(serde_json::from_str::<Local>(&text).unwrap(), local);
    }

    #[test]
    fn another_file_than_the_server_s_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("pg_hba.conf"), "").unwrap();
        std::fs::write(at("other.conf"), "").unwrap();
        std::os::unix::fs::symlink("pg_hba.conf", at("link.conf")).unwrap();
        let told = at("pg_hba.conf").display().to_string();
        let says = |ours: &str, told: &str| misled("hba_file", Some(&at(ours)), Some(told));
        assert_eq!(says("pg_hba.conf", &told), None);
        assert_eq!(says("link.conf", &told), None);
        assert_eq!(says("other.conf", "/not/to/be/seen/pg_hba.conf"), None);
        assert_eq!(misled("hba_file", Some(&at("other.conf")), None), None);
        for wrong in ["other.conf", "missing.conf"] {
            let why = says(wrong, &told).unwrap();
            assert!(why.starts_with("hba_file is ") && why.contains(&told), "{why}");
        }
    }

    #[test]
    fn a_shutdown_shows_in_the_postmaster_s_file() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_stopping(directory.path()));
        for (status, wanted) in [("ready   ", false), ("stopping", true), ("standby ", false)] {
            let text = format!("1\n/data\n0\n5432\n/tmp\nlocalhost\n 1 2\n{status}\n");
            std::fs::write(directory.path().join("postmaster.pid"), text).unwrap();
            assert_eq!(is_stopping(directory.path()), wanted, "{status}");
        }
    }
}
