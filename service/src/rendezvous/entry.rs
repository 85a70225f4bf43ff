//! One key that somebody waits for: who they are, and what they are told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::body::Bytes;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::{Goal, Key};
use crate::metrics::Metrics;
use crate::probe::Target;

/// How many of those who wait are shown by address.
const SHOWN: usize = 16;

/// A signal as its waiters get it.
#[derive(Debug, Default)]
pub struct Mark {
    /// What came with it
    pub payload: Option<Box<RawValue>>,
    rendered: OnceLock<Bytes>,
}

impl Mark {
    /// A signal with what came with it.
    pub fn new(payload: Option<Box<RawValue>>) -> Self {
        Self { payload, rendered: OnceLock::new() }
    }

    /// The answer that all waiters get, written by the first of them.
    pub fn rendered(&self, render: impl FnOnce(Option<&RawValue>) -> Bytes) -> Bytes {
        self.rendered.get_or_init(|| render(self.payload.as_deref())).clone()
    }
}

/// What a wait ended with.
#[derive(Debug, Clone)]
pub enum Waited {
    /// The key is signalled
    Signalled(Arc<Mark>),
    /// The time is up
    TimedOut,
    /// The target may not be probed; the text says what would allow it
    Refused(Arc<str>),
    /// The target cannot exist
    Wrong(Arc<str>),
    /// The service ends
    Stopping,
}

impl Waited {
    /// The label in metrics.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Signalled(_) => "signalled",
            Self::TimedOut => "timed_out",
            Self::Refused(_) | Self::Wrong(_) => "refused",
            Self::Stopping => "stopping",
        }
    }
}

/// A key that is attended to by one task: those who wait for it now, and after they were told, those who come then.
pub struct Slot(Mutex<Arc<Entry>>);

impl Slot {
    /// A slot in which `entry` is the first.
    pub fn new(entry: Entry) -> Self {
        Self(Mutex::new(Arc::new(entry)))
    }

    /// Those who wait now, or who were the last to be told.
    pub fn current(&self) -> Arc<Entry> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One more waits.
    pub fn join(&self, goal: Goal, who: SocketAddr, metrics: &Arc<Metrics>) -> Place {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(place) = current.join(who, metrics) {
                return place;
            }
            *current = Arc::new(Entry::new(goal.key.clone(), goal.target.clone()));
        }
    }
}

/// A key and those who wait for it, until all of them are told at once.
pub struct Entry {
    /// The key
    pub key: Key,
    /// What is tried on behalf of those who wait
    pub target: Option<Target>,
    told: OnceLock<Waited>,
    telling: Notify,
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiters: BTreeMap<u64, Waiter>,
    /// How many have come so far, which is the number of the next one
    comers: u64,
    /// Those before this number came before the last look that is done
    looked_for: u64,
    timed_out: bool,
}

struct Waiter {
    since: Timestamp,
    who: SocketAddr,
}

/// What a look at the database is to say about those who wait.
pub struct Look {
    /// How many they are, at least one
    pub waiting: usize,
    /// When the first of them came
    pub since: Timestamp,
    /// Some of them
    pub who: Vec<SocketAddr>,
    comers: u64,
}

/// How things stand for the task of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Somebody waits
    Wanted,
    /// Nobody waits any more
    Deserted,
    /// All have been told
    Told,
}

impl Entry {
    /// Nobody waits yet.
    pub fn new(key: Key, target: Option<Target>) -> Self {
        let (telling, changed) = (Notify::new(), Notify::new());
        Self { key, target, told: OnceLock::new(), telling, changed, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more waits; none when all were told already.
    pub fn join(self: &Arc<Self>, who: SocketAddr, metrics: &Arc<Metrics>) -> Option<Place> {
        let who = SocketAddr::new(who.ip().to_canonical(), who.port());
        let mut state = self.lock();
        if self.told.get().is_some() {
            return None;
        }
        let number = state.comers;
        state.comers += 1;
        state.waiters.insert(number, Waiter { since: Timestamp::now(), who });
        drop(state);
        self.changed.notify_one();
        metrics.rendezvous_waiting.inc();
        Some(Place { entry: Arc::clone(self), number, metrics: Arc::clone(metrics), ended: None })
    }

    /// How many have come so far.
    pub fn comers(&self) -> u64 {
        self.lock().comers
    }

    /// Ends all waits; false when they were ended before.
    pub fn tell(&self, waited: Waited) -> bool {
        self.tell_if(waited, |_| true)
    }

    /// The same, unless others have come than the first `comers`.
    pub fn tell_those(&self, comers: u64, waited: Waited) -> bool {
        self.tell_if(waited, |state| state.comers == comers)
    }

    fn tell_if(&self, waited: Waited, fits: impl FnOnce(&State) -> bool) -> bool {
        // Under the lock, so that nobody joins who is not told.
        let state = self.lock();
        if !fits(&state) {
            return false;
        }
        let first = self.told.set(waited).is_ok();
        drop(state);
        self.telling.notify_waiters();
        self.changed.notify_one();
        first
    }

    /// How things stand.
    pub fn standing(&self) -> Standing {
        match (self.told.get(), self.is_deserted()) {
            (Some(_), _) => Standing::Told,
            (None, true) => Standing::Deserted,
            (None, false) => Standing::Wanted,
        }
    }

    /// Whether nobody waits.
    pub fn is_deserted(&self) -> bool {
        self.lock().waiters.is_empty()
    }

    /// Whether the time of somebody was up who has waited here; asked once.
    pub fn take_timed_out(&self) -> bool {
        std::mem::take(&mut self.lock().timed_out)
    }

    /// What a look says about those who wait; none when nobody does.
    pub fn look(&self) -> Option<Look> {
        let state = self.lock();
        let since = state.waiters.values().next()?.since;
        let who = state.waiters.values().take(SHOWN).map(|waiter| waiter.who).collect();
        Some(Look { waiting: state.waiters.len(), since, who, comers: state.comers })
    }

    /// The key was not signalled when this look was done.
    pub fn looked(&self, look: &Look) {
        self.lock().looked_for = look.comers;
    }

    /// Until somebody has come or gone, or all were told.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// A place among those who wait, left when dropped.
pub struct Place {
    entry: Arc<Entry>,
    number: u64,
    metrics: Arc<Metrics>,
    /// How the wait ended; none: its caller went away
    pub ended: Option<Waited>,
}

impl Place {
    /// The key waited for.
    pub fn key(&self) -> &Key {
        &self.entry.key
    }

    /// What all were told, if that has happened.
    pub fn told(&self) -> Option<Waited> {
        self.entry.told.get().cloned()
    }

    /// What is told before the time is up.
    pub async fn told_before(&self, deadline: Instant) -> Option<Waited> {
        let mut telling = std::pin::pin!(self.entry.telling.notified());
        // Counts from here on; what was told before is seen below.
        telling.as_mut().enable();
        if self.entry.told.get().is_none() {
            // Either way the answer is in `told`.
            let _ = timeout_at(deadline, telling).await;
        }
        self.told()
    }

    /// Whether the database was asked since this one has come, or a probe is what matters.
    pub fn was_looked_for(&self) -> bool {
        self.entry.target.is_some() || self.entry.lock().looked_for > self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.entry.lock();
        state.waiters.remove(&self.number);
        state.timed_out |= matches!(self.ended, Some(Waited::TimedOut));
        drop(state);
        self.entry.changed.notify_one();
        self.metrics.rendezvous_waiting.dec();
        let how = self.ended.as_ref().map_or("gone", Waited::as_str);
        self.metrics.rendezvous_waits.with_label_values(&[how]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn entry() -> (Arc<Entry>, Arc<Metrics>) {
        (Arc::new(Entry::new(Key::parse("k").unwrap(), None)), Arc::new(Metrics::new()))
    }

    fn who(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 7], port))
    }

    #[tokio::test]
    async fn all_who_wait_are_told_and_nobody_who_comes_later() {
        let (entry, metrics) = entry();
        let places: Vec<Place> = (0..3).map(|port| entry.join(who(port), &metrics).unwrap()).collect();
        let far = Instant::now() + Duration::from_secs(60);
        let telling = async { entry.tell(Waited::Stopping) };
        let waits = futures_util::future::join_all(places.iter().map(|place| place.told_before(far)));
        let (told, first) = tokio::join!(waits, telling);
        assert!(first && told.iter().all(|told| matches!(told, Some(Waited::Stopping))));
        assert!(!entry.tell(Waited::TimedOut), "only once");
        assert!(entry.join(who(9), &metrics).is_none(), "who comes now was not meant");
        let slot = Slot(Mutex::new(Arc::clone(&entry)));
        let late = slot.join(Goal { key: entry.key.clone(), target: None }, who(9), &metrics);
        assert!(late.told().is_none() && !Arc::ptr_eq(&slot.current(), &entry));
    }

    #[tokio::test]
    async fn a_look_counts_for_those_who_came_before_it() {
        let (entry, metrics) = entry();
        let early = entry.join(who(1), &metrics).unwrap();
        let look = entry.look().unwrap();
        let late = entry.join(who(2), &metrics).unwrap();
        assert!(!early.was_looked_for());
        entry.looked(&look);
        assert!(early.was_looked_for() && !late.was_looked_for());
        assert_eq!((look.waiting, look.who), (1, vec![who(1)]));
    }

    #[tokio::test]
    async fn who_goes_is_off_the_list() {
        let (entry, metrics) = entry();
        let mapped: SocketAddr = "[::ffff:10.0.0.7]:2".parse().unwrap();
        let first = entry.join(who(1), &metrics).unwrap();
        let mut second = entry.join(mapped, &metrics).unwrap();
        drop(first);
        assert_eq!(entry.look().unwrap().who, [who(2)], "an IPv4 address stays one");
        assert_eq!(metrics.rendezvous_waiting.get(), 1);
        assert!(!entry.take_timed_out());
        second.ended = Some(Waited::TimedOut);
        drop(second);
        assert!(entry.is_deserted() && entry.look().is_none());
        assert!(entry.take_timed_out() && !entry.take_timed_out());
        assert_eq!(metrics.rendezvous_waits.with_label_values(&["gone"]).get(), 1);
    }

    #[tokio::test]
    async fn a_signal_tells_those_who_were_there_before_it() {
        let (entry, metrics) = entry();
        let _early = entry.join(who(1), &metrics).unwrap();
        let comers = entry.comers();
        let _late = entry.join(who(2), &metrics).unwrap();
        assert!(!entry.tell_those(comers, Waited::TimedOut));
        assert!(entry.tell_those(entry.comers(), Waited::TimedOut));
    }

    #[test]
    fn an_answer_is_written_once() {
        let mark = Mark::default();
        assert_eq!(mark.rendered(|_| Bytes::from_static(b"a")), "a");
        assert_eq!(mark.rendered(|_| unreachable!()), "a");
    }
}
