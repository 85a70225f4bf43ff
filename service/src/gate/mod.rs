//! The gate of one node: what it finds out each round, what it decides, and what it does about it.
//!
//! The decision itself is `goahead_rules::gate`; here are the clock, the database, the peers and the file. Readers see
//! one [`Snapshot`] through a [`Gate`] and never cause a question to the database.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

mod asking;
mod audit;
pub mod clock;
pub mod config;
pub mod control;
mod database;
mod doors;
mod facts;
mod harepd;
pub mod legacy_peer;
mod lines;
mod members;
pub mod notify;
mod obeying;
mod orders;
mod own;
mod peer_server;
mod peers;
mod recorder;
mod remarks;
mod rendering;
mod round;
pub mod settings;
pub mod snapshot;
mod sole;
mod start;
pub mod unix;
mod veto;
mod view;
mod voting;
pub mod watchdog;

pub use start::{DRAIN, Running, start};

use self::settings::Settings;
use self::snapshot::{Order, Snapshot};

/// A running gate, for readers and for whoever gives orders; clones share it.
#[derive(Clone)]
pub struct Gate {
    settings: Arc<Settings>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    counters: Arc<Counters>,
    orders: mpsc::Sender<Command>,
    voting: Option<Arc<voting::Voting>>,
}

/// What has happened since the process started, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rounds that were finished
    pub rounds: std::sync::atomic::AtomicU64,
    /// Rounds that began later than they should have
    pub late_rounds: std::sync::atomic::AtomicU64,
    /// Changes of the verdict
    pub changes: std::sync::atomic::AtomicU64,
    /// Writes of the file
    pub writes: std::sync::atomic::AtomicU64,
    /// Asks of peers that got no answer
    pub unanswered: std::sync::atomic::AtomicU64,
    /// Asks of peers that were refused: unknown source, wrong secret, malformed
    pub refused: std::sync::atomic::AtomicU64,
}

/// An order of an operator, with the place for its answer.
#[derive(Debug)]
pub enum Command {
    /// Set or replace the order
    Set(Order, oneshot::Sender<Result<(), String>>),
    /// Forget it
    Clear(String, oneshot::Sender<Result<(), String>>),
}

impl Gate {
    /// What the operator chose.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The newest round. Ask [`Snapshot::is_live`] before believing its verdict.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// The newest round with this node's own vote as it stands now.
    pub fn shown(&self) -> Snapshot {
        Snapshot { vote: self.voting.as_ref().map(|voting| voting.vote()), ..(*self.snapshot()).clone() }
    }

    /// What has happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Sets or replaces an operator's order; it counts from the next round, which begins at once.
    ///
    /// # Errors
    /// Why it is refused, in words for the operator.
    pub async fn order(&self, order: Order) -> Result<(), String> {
        self.command(|answer| Command::Set(order, answer)).await
    }

    /// Forgets the order that counts; `actor` is who says so.
    ///
    /// # Errors
    /// When it cannot be forgotten for good, in words for the operator.
    pub async fn clear(&self, actor: String) -> Result<(), String> {
        self.command(|answer| Command::Clear(actor, answer)).await
    }

    async fn command(&self, make: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Command) -> Result<(), String> {
        let ended = || "the gate is ending".to_owned();
        let (answer, answered) = oneshot::channel();
        self.orders.send(make(answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// A gate without a process behind it, for tests of what reads it; the sender changes what they see.
    #[cfg(test)]
    pub fn fixed(settings: Settings, snapshot: Snapshot) -> (Self, watch::Sender<Arc<Snapshot>>) {
        let (sender, receiver) = watch::channel(Arc::new(snapshot));
        let (orders, _) = mpsc::channel(1);
        let gate =
            Self { settings: Arc::new(settings), snapshot: receiver, counters: Arc::default(), orders, voting: None };
        (gate, sender)
    }
}
