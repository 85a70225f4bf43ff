//! One connection that listens for everybody: a waiter is woken by the payload that its row has.
//!
//! A notification is a hint and never the only way: whoever waits looks again at a slow interval, and everybody is woken
//! when the connection was lost, since what happened meanwhile was not heard.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::{Connector, DbError};

/// Pauses between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long a notification is kept for a waiter that has not subscribed yet: its place was committed a moment ago.
const KEPT: Duration = Duration::from_secs(10);
/// How many of these are kept.
const MOST_KEPT: usize = 4096;

/// The waiters of this process, by what wakes them.
#[derive(Clone)]
pub struct Notifications(Arc<Shared>);

struct Shared {
    waiters: Mutex<Waiters>,
    started: std::sync::Once,
    connector: Connector,
    channels: &'static [&'static str],
}

#[derive(Default)]
struct Waiters {
    by_key: HashMap<Arc<str>, (Arc<Wake>, usize)>,
    unheard: HashMap<String, Instant>,
}

/// What wakes the waiters of one key. Each of them compares the count of wakings with the one it has seen, so that one
/// that was busy while all were woken does not wait for the next time.
#[derive(Default)]
struct Wake {
    notify: Notify,
    count: AtomicU64,
}

impl Wake {
    fn all(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.notify.notify_waiters();
    }
}

/// A place among the waiters, left when dropped.
pub struct Subscription {
    shared: Arc<Shared>,
    key: Arc<str>,
    wake: Arc<Wake>,
    seen: AtomicU64,
}

impl Notifications {
    /// Listens on `channels` as soon as somebody waits.
    pub fn new(connector: &Connector, channels: &'static [&'static str]) -> Self {
        let started = std::sync::Once::new();
        let waiters = Mutex::default();
        Self(Arc::new(Shared { waiters, started, connector: connector.clone(), channels }))
    }

    /// Begins to wait for `channel:payload`. What was heard a moment ago counts.
    pub fn subscribe(&self, key: String) -> Subscription {
        self.0.started.call_once(|| {
            tokio::spawn(listen(Arc::downgrade(&self.0)));
        });
        let mut waiters = self.0.lock();
        let heard = waiters.unheard.remove(&key).is_some_and(|at| at.elapsed() < KEPT);
        let key: Arc<str> = key.into();
        let entry = waiters.by_key.entry(Arc::clone(&key)).or_default();
        entry.1 += 1;
        let wake = Arc::clone(&entry.0);
        let seen = wake.count.load(Ordering::Acquire);
        let seen = AtomicU64::new(if heard { seen.wrapping_sub(1) } else { seen });
        Subscription { shared: Arc::clone(&self.0), key, wake, seen }
    }
}

impl Subscription {
    /// Until something may have happened: a notification, a lost connection, or `floor` has passed. Gives whether it was
    /// one of the first two.
    pub async fn changed(&self, floor: Duration) -> bool {
        let mut notified = std::pin::pin!(self.wake.notify.notified());
        notified.as_mut().enable();
        let woken = self.wake.count.load(Ordering::Acquire) != self.seen.load(Ordering::Acquire)
            || tokio::time::timeout(floor, notified).await.is_ok();
        self.seen.store(self.wake.count.load(Ordering::Acquire), Ordering::Release);
        woken
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut waiters = self.shared.lock();
        if let Some(entry) = waiters.by_key.get_mut(&self.key) {
            entry.1 -= 1;
            if entry.1 == 0 {
                waiters.by_key.remove(&self.key);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // Nothing that could panic runs under this lock; if it did, the maps are still maps.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, key: String) {
        let mut waiters = self.lock();
        if let Some((wake, _)) = waiters.by_key.get(key.as_str()) {
            wake.all();
            return;
        }
        if waiters.unheard.len() >= MOST_KEPT {
            waiters.unheard.retain(|_, at| at.elapsed() < KEPT);
        }
        if waiters.unheard.len() < MOST_KEPT {
            waiters.unheard.insert(key, Instant::now());
        }
    }

    fn wake_all(&self) {
        for (wake, _) in self.lock().by_key.values() {
            wake.all();
        }
    }
}

/// Listens until nobody can wait any more.
async fn listen(shared: std::sync::Weak<Shared>) {
    let mut pause = BACKOFF.0;
    loop {
        let Some((connector, channels)) = shared.upgrade().map(|shared| (shared.connector.clone(), shared.channels))
        else {
            return;
        };
        match hear(&connector, channels).await {
            // The connection ends with its client.
            Ok((_client, mut heard)) => {
                pause = BACKOFF.0;
                if let Some(shared) = shared.upgrade() {
                    shared.wake_all();
                }
                while let Some(key) = heard.recv().await {
                    let Some(shared) = shared.upgrade() else { return };
                    shared.wake(key);
                }
                tracing::debug!("the connection that listens for waiters was lost");
            }
            Err(error) => tracing::debug!(%error, "cannot listen for waiters yet"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

async fn hear(connector: &Connector, channels: &[&str]) -> Result<(Client, mpsc::UnboundedReceiver<String>), DbError> {
    let (client, heard) = connector.listen().await?;
    let listen: Vec<String> = channels.iter().map(|channel| format!("LISTEN {channel}")).collect();
    client.batch_execute(&listen.join("; ")).await?;
    Ok((client, heard))
}
