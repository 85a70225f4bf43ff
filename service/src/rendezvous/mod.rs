//! Where callers meet: who waits in this process for which key, and how they are told.
//!
//! The first caller that waits for a key starts a task for it ([`attend`]); all others share that, so ten thousand
//! waiters cost the database one row and one question. A signal given through this process tells its waiters as soon as
//! it is committed; one given elsewhere is heard of by notification; and at a slow floor interval the task asks
//! unbidden.

mod attend;
mod barrier;
mod call;
mod entry;
mod key;
mod probes;
mod time;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub use self::barrier::Met;
pub use self::entry::{Mark, Waited};
pub use self::key::Key;
pub use self::probes::{Probes, Unprobed};
pub use self::time::{LONGEST_WAIT, time};

use self::barrier::Visits;
use self::call::Call;
use self::entry::{Entry, Place, Slot, Standing};
use crate::db::{Database, DbError, Meeting, RendezvousOutcome};
use crate::metrics::Metrics;
use crate::probe::Target;

/// Questions of waiters that are under way at once, so that thousands of keys do not queue before somebody's signal.
const LOOKS: usize = 256;
/// How often a key is looked at without anybody having asked for it.
const FLOOR: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(25));
/// How many looks a second the floor may cost; with more keys it becomes slower instead.
const FLOOR_RATE: f64 = 500.0;
/// How long the last look of a waiter whose time is up may take.
const LAST_LOOK: Duration = Duration::from_millis(250);
/// How long a waiter for a probe waits at least, so that one with hardly any time has its try.
const ONE_TRY: Duration = Duration::from_millis(500);

/// The waiters of this process; clones share them.
#[derive(Clone)]
pub struct Rendezvous(Arc<Shared>);

struct Shared {
    db: Database,
    metrics: Arc<Metrics>,
    probes: Probes,
    /// The name under which this process is one of those that wait
    service: String,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    visits: Mutex<Visits>,
    looks: Semaphore,
    /// Tasks of keys
    attending: AtomicUsize,
    closing: watch::Receiver<bool>,
}

/// What is waited for.
#[derive(Debug, Clone)]
pub struct Goal {
    /// The key
    pub key: Key,
    /// What signals it, once a try succeeds; none: another caller
    pub target: Option<Target>,
}

impl Rendezvous {
    /// Nobody waits yet. All are sent away when `closing` becomes true. Needs a tokio runtime.
    pub fn new(db: Database, metrics: Arc<Metrics>, probes: Probes, closing: watch::Receiver<bool>) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host: String = host.chars().filter(|character| !character.is_control()).take(64).collect();
        // Unlike any other process, and any earlier one of the same number.
        let service = format!("{host} {} {:08x}", std::process::id(), rand::random::<u32>());
        let shared = Arc::new(Shared {
            db,
            metrics,
            probes,
            service,
            slots: Mutex::default(),
            visits: Mutex::default(),
            looks: Semaphore::new(LOOKS),
            attending: AtomicUsize::new(0),
            closing: closing.clone(),
        });
        tokio::spawn(send_away(Arc::downgrade(&shared), closing));
        Self(shared)
    }

    /// What reserved keys stand for.
    pub fn probes(&self) -> &Probes {
        &self.0.probes
    }

    /// Waits until the key is signalled or its target answers, at most until `deadline`. Dropped before, it leaves the
    /// list of those who wait.
    pub async fn wait(&self, goal: Goal, who: SocketAddr, deadline: Instant) -> Waited {
        let deadline = match goal.target {
            Some(_) => deadline.max(Instant::now() + ONE_TRY),
            None => deadline,
        };
        let Some(mut place) = self.join(goal, who) else { return Waited::Stopping };
        let waited = match place.told_before(deadline).await {
            Some(waited) => waited,
            None if place.was_looked_for() => Waited::TimedOut,
            None => Box::pin(self.last_look(&place)).await,
        };
        place.ended = Some(waited.clone());
        waited
    }

    /// Waits for all of `goals`. Gives their marks in the same order, or why one of them is none.
    ///
    /// # Errors
    /// The first end of a wait that is no signal.
    pub async fn wait_for_all(
        &self,
        goals: Vec<Goal>,
        who: SocketAddr,
        deadline: Instant,
    ) -> Result<Vec<Arc<Mark>>, Waited> {
        let waits = goals.into_iter().map(|goal| async move {
            match self.wait(goal, who, deadline).await {
                Waited::Signalled(mark) => Ok(mark),
                other => Err(other),
            }
        });
        futures_util::future::try_join_all(waits).await
    }

    /// Waits for one of `goals`. Gives the number of the first that was signalled, and its mark.
    ///
    /// # Errors
    /// The last end of a wait, when none was signalled.
    pub async fn wait_for_any(
        &self,
        goals: Vec<Goal>,
        who: SocketAddr,
        deadline: Instant,
    ) -> Result<(usize, Arc<Mark>), Waited> {
        let waits = goals.into_iter().enumerate().map(|(number, goal)| {
            Box::pin(async move {
                match self.wait(goal, who, deadline).await {
                    Waited::Signalled(mark) => Ok((number, mark)),
                    other => Err(other),
                }
            })
        });
        futures_util::future::select_ok(waits).await.map(|(found, _)| found)
    }

    /// Signals a key, which tells those who wait for it.
    ///
    /// # Errors
    /// As [`Database::rendezvous`]: it may have happened if the database did not answer.
    pub async fn signal(
        &self,
        key: &Key,
        payload: Option<Box<RawValue>>,
        ttl: Option<Duration>,
    ) -> Result<RendezvousOutcome, DbError> {
        let started = Instant::now();
        // Who comes while this is under way may come after a reset of the key, and finds out by itself.
        let waiting = self.0.current(key).filter(|entry| entry.target.is_none()).map(|entry| (entry.comers(), entry));
        let outcome = self.0.ask(&Call::Signal { key, payload: payload.as_deref(), ttl, probe: false }).await?;
        if outcome.outcome == Meeting::Signalled {
            self.0.metrics.rendezvous_signals.with_label_values(&["put"]).inc();
            if let Some((comers, entry)) = waiting
                && entry.tell_those(comers, Waited::Signalled(Arc::new(Mark::new(payload))))
            {
                let heard = self.0.metrics.rendezvous_wake.with_label_values(&["here"]);
                heard.observe(started.elapsed().as_secs_f64());
            }
        }
        Ok(outcome)
    }

    /// Takes the signal of a key back; gives `Unsignalled` or `NotSignalled`.
    ///
    /// # Errors
    /// As [`Database::rendezvous`].
    pub async fn reset(&self, key: &Key) -> Result<RendezvousOutcome, DbError> {
        self.0.ask(&Call::Unsignal { key }).await
    }

    /// Whether a key is signalled now.
    ///
    /// # Errors
    /// As [`Database::rendezvous`].
    pub async fn read(&self, key: &Key) -> Result<RendezvousOutcome, DbError> {
        self.0.ask(&Call::Read { key }).await
    }

    /// Waits a moment for those who were sent away to be off the list, so that no other service shows them as waiting.
    pub async fn settle(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.0.attending.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A place among those who wait; none when the service ends.
    fn join(&self, goal: Goal, who: SocketAddr) -> Option<Place> {
        let mut slots = self.0.lock();
        if *self.0.closing.borrow() {
            return None;
        }
        let mut new = None;
        let slot = slots.entry(goal.key.clone()).or_insert_with(|| {
            let slot = Arc::new(Slot::new(Entry::new(goal.key.clone(), goal.target.clone())));
            new = Some(Arc::clone(&slot));
            slot
        });
        let place = slot.join(goal, who, &self.0.metrics);
        drop(slots);
        if let Some(slot) = new {
            let shared = Arc::clone(&self.0);
            shared.attending.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                attend::attend(&shared, slot).await;
                shared.attending.fetch_sub(1, Ordering::Relaxed);
            });
        }
        Some(place)
    }

    /// A key that was signalled just before its waiter came is found by this one, however short the wait.
    async fn last_look(&self, place: &Place) -> Waited {
        match tokio::time::timeout(LAST_LOOK, self.read(place.key())).await {
            Ok(Ok(outcome)) if outcome.outcome == Meeting::Signalled => {
                Waited::Signalled(Arc::new(Mark::new(outcome.payload)))
            }
            _ => place.told().unwrap_or(Waited::TimedOut),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Slot>>> {
        // Nothing that could panic runs under this lock; if it did, the map is still a map.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who wait for a key now.
    fn current(&self, key: &Key) -> Option<Arc<Entry>> {
        self.lock().get(key).map(|slot| slot.current())
    }

    /// Whom the task of a slot serves after `entry`: the same, if somebody came back, or those who came since they were
    /// told; none when there is nobody, and the task ends.
    fn next(&self, slot: &Slot, entry: &Arc<Entry>) -> Option<Arc<Entry>> {
        let mut slots = self.lock();
        let current = slot.current();
        if Arc::ptr_eq(&current, entry) && entry.standing() != Standing::Wanted {
            slots.remove(&entry.key);
            return None;
        }
        Some(current)
    }

    async fn ask(&self, call: &Call<'_>) -> Result<RendezvousOutcome, DbError> {
        // The task of a key lives as long as its waiters; this lives for a moment.
        Box::pin(self.db.rendezvous(call.to_json())).await
    }

    /// The time until an unbidden look: spread, and longer when there are many keys.
    fn floor(&self) -> Duration {
        let keys = u32::try_from(self.lock().len()).unwrap_or(u32::MAX);
        let usual = Duration::from_secs_f64(f64::from(keys) / FLOOR_RATE).clamp(FLOOR.0, FLOOR.1);
        usual.mul_f64(rand::random_range(0.8..1.2))
    }
}

/// Ends all waits once the service ends.
async fn send_away(shared: std::sync::Weak<Shared>, mut closing: watch::Receiver<bool>) {
    // An error says that nobody can ask for it any more.
    if closing.wait_for(|closing| *closing).await.is_err() {
        return;
    }
    let Some(shared) = shared.upgrade() else { return };
    // Nobody joins any more, so these are all.
    let slots: Vec<Arc<Slot>> = shared.lock().values().cloned().collect();
    for slot in slots {
        slot.current().tell(Waited::Stopping);
    }
}
