//! What this node's database says of itself, once a round, as the decision wants it and as readers want it.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goahead_rules::gate::{self, NodeFacts, ReplayLag, Role, SourceSays, SystemId, Topology, Upstream};

use super::clock::{self, Micros};
use super::database::{self, Session, Trouble};
use super::settings::Settings;
use super::snapshot::{Downstream, Local, Receiver, SourceNode};

/// Asks the local database.
pub struct Facts {
    session: Session,
    source: Option<Session>,
    replies: Replies,
    lag: ReplayLag,
    limit: Duration,
    /// Where the gated file is, once known
    pub hba_file: Option<PathBuf>,
    /// Where the server's data directory is, once known
    pub data_directory: Option<PathBuf>,
    /// Why these are not the server's own: what is written there would close nothing
    pub misled: Option<String>,
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
            hba_file: settings.hba_file.clone(),
            data_directory: settings.data_directory.clone(),
            misled: None,
        })
    }

    /// The connection, for what is to be applied.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Asks once; at most the limit.
    pub async fn ask(&mut self) -> Found {
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
        let mut local = match local(facts, asked_us, &mut self.replies) {
            Ok(local) => local,
            Err(error) => return Found { local: None, error: Some(error) },
        };
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
    /// Ages of the replies in `rows`, in their order, in microseconds; forgets who is gone.
    fn ages(&mut self, rows: &[database::Downstream], now: Micros) -> Vec<Option<u64>> {
        self.0.retain(|pid, _| rows.iter().any(|row| row.pid == *pid));
        let mut age = |row: &database::Downstream| {
            let reply = self.0.entry(row.pid).or_insert(Reply { said: row.reply_us, came_in: None });
            if reply.said != row.reply_us {
                *reply = Reply { said: row.reply_us, came_in: Some(now) };
            }
            reply.came_in.map(|at| u64::try_from(now - at).unwrap_or(0))
        };
        rows.iter().map(&mut age).collect()
    }
}

fn local(facts: database::Facts, asked_us: Micros, replies: &mut Replies) -> Result<Local, String> {
    let system_identifier =
        facts.system_identifier.parse().map_err(|_| "its system identifier is no number".to_owned())?;
    let ages = replies.ages(&facts.downstream, asked_us);
    let downstream = facts.downstream.into_iter().zip(ages).map(|(row, reply_age_us)| Downstream {
        usename: row.usename,
        application_name: row.application_name,
        client_addr: row.client_addr,
        state: row.state,
        sync_state: row.sync_state,
        sync_priority: row.sync_priority,
        reply_age_us,
    });
    let receipt_age_us = facts.receiver.as_ref().and_then(|receiver| receiver.receipt_age_us);
    let receiver = facts.receiver.map(|receiver| Receiver {
        status: receiver.status,
        sender_host: receiver.sender_host,
        sender_port: receiver.sender_port,
        timeline: receiver.timeline,
        slot: receiver.slot,
        latest_end_lsn: receiver.latest_end_lsn,
    });
    Ok(Local {
        asked_us,
        in_recovery: facts.in_recovery,
        stopping: false,
        system_identifier,
        timeline: facts.timeline,
        server_version: facts.server_version,
        postmaster_start_us: facts.postmaster_start_us,
        current_lsn: facts.current_lsn,
        received_lsn: facts.received_lsn,
        replayed_lsn: facts.replayed_lsn,
        replayed_us: facts.replayed_us,
        replay_age_us: facts.replay_age_us,
        replay_lag_us: None,
        receipt_age_us,
        replay_paused: facts.replay_paused,
        receiver,
        archive_recovery: facts.archive_recovery.unwrap_or(false),
        downstream: downstream.collect(),
        cluster_name: facts.cluster_name,
        synchronous_standby_names: facts.synchronous_standby_names,
        extension: facts.extension,
        watchdog: facts.watchdog,
        rules: facts.rules,
        source: None,
        source_error: None,
    })
}

/// The facts as the decision and the peers want them, aged to `now`.
pub fn node_facts(local: &Local, now: Micros) -> NodeFacts {
    let micros = |micros: u64| Duration::from_micros(micros);
    NodeFacts {
        age: micros(u64::try_from(now - local.asked_us).unwrap_or(0)),
        role: if local.in_recovery { Role::Standby } else { Role::Primary },
        shutting_down: local.stopping,
        system_identifier: SystemId(local.system_identifier),
        timeline: local.timeline.unwrap_or(0),
        lsn: if local.in_recovery { local.replayed_lsn } else { local.current_lsn }.unwrap_or(0),
        received_lsn: local.received_lsn,
        upstream: local.receiver.as_ref().map(|receiver| Upstream {
            streaming: receiver.status == "streaming",
            host: receiver.sender_host.clone(),
            port: receiver.sender_port.and_then(|port| u16::try_from(port).ok()),
            latest_end_lsn: receiver.latest_end_lsn,
            receipt_age: local.receipt_age_us.map(micros),
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
    let says = match (&local.source, &local.source_error) {
        (Some(nodes), _) => topology(nodes, &settings.node),
        (None, why) => Topology::Unreadable { why: why.clone().unwrap_or_default() },
    };
    vec![SourceSays { source: "repmgr.nodes".to_owned(), says }]
}

fn topology(nodes: &[SourceNode], node: &str) -> Topology {
    let primaries: Vec<&SourceNode> = nodes.iter().filter(|row| row.active && row.kind == "primary").collect();
    match primaries.as_slice() {
        [] => Topology::Nobody,
        [only] if only.node_name == node => Topology::Us,
        several => Topology::Others {
            nodes: several.iter().map(|row| row.node_name.clone()).filter(|name| name != node).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pid: i32, reply_us: i64) -> database::Downstream {
        database::Downstream {
            pid,
            usename: None,
            application_name: "n2".into(),
            client_addr: None,
            state: Some("streaming".into()),
            sync_state: Some("sync".into()),
            sync_priority: 1,
            reply_us: Some(reply_us),
        }
    }

    #[test]
    fn a_reply_is_as_old_as_our_own_clock_says() {
        let mut replies = Replies::default();
        // However the standby's clock stands; and what was there when we first looked may be old.
        assert_eq!(replies.ages(&[row(1, 5_000_000_000)], 100), [None]);
        assert_eq!(replies.ages(&[row(1, 5_000_000_000)], 200), [None]);
        assert_eq!(replies.ages(&[row(1, 5_000_000_001)], 300), [Some(0)]);
        assert_eq!(replies.ages(&[row(1, 5_000_000_001)], 450), [Some(150)]);
        // Another connection is another standby.
        assert_eq!(replies.ages(&[row(2, 5_000_000_001)], 500), [None]);
        assert_eq!(replies.ages(&[row(1, 5_000_000_002)], 600), [None]);
    }

    #[test]
    fn a_source_confirms_only_the_one_primary() {
        let node = |name: &str, kind: &str, active| SourceNode {
            node_id: 1,
            node_name: name.into(),
            kind: kind.into(),
            active,
            host: None,
        };
        assert_eq!(topology(&[node("a", "primary", true), node("b", "standby", true)], "a"), Topology::Us);
        assert_eq!(topology(&[node("a", "primary", false)], "a"), Topology::Nobody);
        let others = |nodes: &[&str]| Topology::Others { nodes: nodes.iter().map(|&name| name.to_owned()).collect() };
        assert_eq!(topology(&[node("a", "primary", true), node("b", "primary", true)], "a"), others(&["b"]));
        assert_eq!(topology(&[node("b", "primary", true)], "a"), others(&["b"]));
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
