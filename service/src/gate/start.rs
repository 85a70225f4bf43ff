//! Putting a gate together and starting it.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::asking::Asking;
use super::audit::Audit;
use super::doors::Doors;
use super::facts::Facts;
use super::harepd::{self, Harepds};
use super::legacy_peer::LegacyPeers;
use super::orders::Orders;
use super::own::{Desk, OwnVoter, SERVER};
use super::peer_server::{self, Newest, PeerServer};
use super::peers::tls::Connector;
use super::peers::{Addresses, Asker, Secret};
use super::recorder::{Copier, Recorder};
use super::round::Rounds;
use super::settings::{Mode, Settings};
use super::snapshot::Snapshot;
use super::unix::{self, Socket};
use super::voting::Voting;
use super::watchdog::Watcher;
use super::{Counters, Gate, clock, control};

/// Orders that may wait for their round.
const ORDERS: usize = 16;
/// How long a gate that ends just now may still keep the file.
const PATIENCE: Duration = Duration::from_secs(1);

/// A gate that has started.
pub struct Running {
    /// For readers and whoever gives orders
    pub gate: Gate,
    /// What the peer listener answers; every request needs a [`crate::peer::Peer`] in its extensions. None where this
    /// process answers no peers
    pub peers: Option<Router>,
    /// What connects to peers over TLS
    tls: Vec<Connector>,
    /// Ends when the gate has closed and said so
    rounds: Option<JoinHandle<Result<(), String>>>,
    copier: Option<JoinHandle<()>>,
    _sockets: Vec<Socket>,
    _lock: File,
}

impl Running {
    /// Waits until the lines are closed, after `stop`; a server that does not decide has none.
    pub async fn ended(mut self) {
        if let Some(rounds) = self.rounds.take()
            && let Err(error) = rounds.await.unwrap_or_else(|error| Err(error.to_string()))
        {
            tracing::error!(error, "the rounds ended badly; the watchdog closes");
        }
    }

    /// Reads the certificates that it shows to peers again, and the authorities of theirs.
    ///
    /// # Errors
    /// Which file cannot be used, and why; those that it has stay then.
    pub fn reload(&self) -> Result<(), String> {
        self.tls.iter().try_for_each(Connector::reload)
    }

    /// Waits while the gate works: for ever, unless its rounds end by themselves. Why they did.
    pub async fn works(&mut self) -> String {
        match &mut self.rounds {
            Some(rounds) => {
                let why = rounds.await.ok().and_then(Result::err);
                self.rounds = None;
                let fault = || "the gate's rounds have ended by themselves; its watchdog closes the lines".to_owned();
                why.unwrap_or_else(fault)
            }
            None => std::future::pending().await,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(copier) = &self.copier {
            copier.abort();
        }
    }
}

/// Starts a gate. `watchdog` is the program, with its arguments, that closes when this process cannot, see
/// [`super::watchdog::run`]; `stop` ends it. Needs a tokio runtime.
///
/// # Errors
/// What cannot work, and what to do.
pub async fn start(
    settings: Settings,
    watchdog: (PathBuf, Vec<String>),
    stop: watch::Receiver<bool>,
) -> Result<Running, String> {
    let rules = settings.rules();
    check(&rules)?;
    make(&settings.state_dir)?;
    let lock = alone(&settings.state_dir, settings.mode)?;
    let settings = Arc::new(settings);
    let facts = if settings.mode == Mode::ServerOnly { None } else { Some(sole(&settings).await?) };
    let boot_id = clock::boot_id().map_err(|error| format!("the boot id of this machine cannot be read: {error}"))?;
    let incarnation = rand::random::<u64>() >> 1;
    let secret = settings.trust.secret_file.as_deref().map(Secret::read).transpose()?;
    let addresses = Arc::new(Addresses::of(&settings.peers).await);
    let asker = Arc::new(Asker::new(&settings, secret.clone(), addresses.clone())?);
    let counters: Arc<Counters> = Arc::default();
    let shown =
        Arc::new(watch::Sender::new(Arc::new(Snapshot::nothing(&settings.node, settings.mode, settings.witness))));
    let (orders, commands) = mpsc::channel(ORDERS);
    let voting = (settings.mode != Mode::ClientOnly).then(|| Arc::new(Voting::new(rules.clone())));
    let gate = Gate {
        settings: settings.clone(),
        snapshot: shown.subscribe(),
        counters: counters.clone(),
        orders,
        voting: voting.clone(),
    };
    let recorder = if settings.witness { None } else { Some(Arc::new(Recorder::new(&settings)?)) };
    let mut running = Running {
        gate: gate.clone(),
        peers: None,
        tls: asker.tls().into_iter().collect(),
        rounds: None,
        copier: None,
        _sockets: Vec::new(),
        _lock: lock,
    };
    let mut own = OwnVoter::there(&settings.state_dir, rules.clone(), settings.timings.deadline);
    if let Some(voting) = voting {
        let server = PeerServer {
            settings: settings.clone(),
            voting: voting.clone(),
            secret,
            addresses: addresses.clone(),
            counters: counters.clone(),
            recorder: recorder.clone(),
            newest: Newest::default(),
        };
        let mut router = peer_server::router(Arc::new(server));
        if settings.grpc && settings.repmgr_database.is_some() {
            let table = Box::new(harepd::Table::new(&settings)?);
            router = router.merge(harepd::routes(harepd::Server::new(&settings, table)));
        }
        running.peers = Some(router);
        if settings.mode == Mode::ServerOnly {
            let desk = Desk { voting, shown: shown.clone() };
            let router = desk.router().merge(control::status_router(gate.clone()));
            running._sockets.push(unix::serve(&settings.state_dir.join(SERVER), router).await?);
            return Ok(running);
        }
        own = OwnVoter::Here(voting);
    }
    let mut legacy: Option<Arc<dyn LegacyPeers>> = None;
    if settings.grpc {
        let harepds = Harepds::new(&settings, addresses)?;
        running.tls.extend(harepds.tls());
        legacy = Some(Arc::new(harepds));
    }
    let Some(facts) = facts else { return Ok(running) };
    let audit = Audit::open(&settings.state_dir, &settings.node, incarnation);
    let copier = Copier {
        settings: settings.clone(),
        waiting: audit.waiting(),
        directory: settings.state_dir.clone(),
        recorder,
        asker: asker.clone(),
        snapshot: shown.subscribe(),
    };
    let rounds = Rounds {
        rules,
        incarnation,
        own,
        facts,
        // A slow disk may take longer than a round; what is later than a lease is closed by the watchdog.
        doors: Doors::new(settings.clone(), settings.timings.lease / 3),
        orders: Orders::load(&settings.state_dir, &boot_id)?,
        boot_id,
        audit,
        asking: Asking::new(settings.clone(), asker, legacy),
        watcher: Watcher::new(watchdog.0, watchdog.1),
        shown,
        counters,
        commands,
        settings: settings.clone(),
    };
    running._sockets.push(unix::serve(&settings.state_dir.join(control::CONTROL), control::router(gate)).await?);
    running.rounds = Some(tokio::spawn(rounds.run(stop)));
    running.copier = Some(tokio::spawn(copier.run()));
    Ok(running)
}

/// Whether the settings can work; warns of what is odd.
fn check(rules: &goahead_rules::gate::Settings) -> Result<(), String> {
    let findings = rules.check();
    let fatal: Vec<String> =
        findings.iter().filter(|finding| finding.fatal).map(|finding| finding.message.clone()).collect();
    for finding in findings.iter().filter(|finding| !finding.fatal) {
        tracing::warn!("{}", finding.message);
    }
    if fatal.is_empty() { Ok(()) } else { Err(fatal.join("\n")) }
}

/// Makes the state directory where there is none; nobody else may write in it.
fn make(state_dir: &Path) -> Result<(), String> {
    let named = |what: String| format!("state_dir {} {what}", state_dir.display());
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    made.map_err(|error| named(format!("cannot be made: {error}; choose another")))?;
    let directory = File::open(state_dir).map_err(|error| named(format!("cannot be read: {error}; choose another")))?;
    let known = directory.metadata().map_err(|error| named(format!("cannot be read: {error}")))?;
    let me = nix::unistd::Uid::effective();
    if known.mode() & 0o022 != 0 || !me.is_root() && ![0, me.as_raw()].contains(&known.uid()) {
        return Err(named(
            "is writable to others, who could give orders there: chown it to this user, chmod 0700".into(),
        ));
    }
    Ok(())
}

/// Keeps a second gate of this half out until what is returned is dropped: two that start at once would take each
/// other's socket.
fn alone(state_dir: &Path, mode: Mode) -> Result<File, String> {
    let path = state_dir.join(if mode == Mode::ServerOnly { "server.lock" } else { "control.lock" });
    let named = |error: &dyn std::fmt::Display| format!("{} cannot be locked: {error}", path.display());
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(&path);
    let file = file.map_err(|error| named(&error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            Err(format!("another gate runs with this state_dir, {}: stop it first", state_dir.display()))
        }
        Err(error) => Err(named(&error)),
    }
}

/// Asks the database for the first time, and keeps every other gate away from the file that it names: before this one
/// votes or writes. A database that does not answer yet is asked again by the rounds.
async fn sole(settings: &Settings) -> Result<Facts, String> {
    let mut facts = Facts::new(settings, settings.timings.deadline)?;
    facts.keep(PATIENCE)?;
    facts.ask().await;
    match facts.taken.take() {
        None => Ok(facts),
        Some(_) => facts.keep(PATIENCE).map(|()| facts),
    }
}

/// How long the last requests may take once a gate ends.
pub const DRAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
