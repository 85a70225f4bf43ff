//! One connection that listens for everybody: a waiter is woken by the payload that its row has.
//!
//! A notification is a hint and never the only way: whoever waits looks again at a slow interval, and everybody is woken
//! when the connection was lost, since what happened meanwhile was not heard.

use std::collections::HashMap;
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
    by_key: HashMap<String, (Arc<Notify>, usize)>,
    unheard: HashMap<String, Instant>,
}

/// A place among the waiters, left when dropped.
pub struct Subscription {
    shared: Arc<Shared>,
    key: String,
    notify: Arc<Notify>,
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
        let notify = {
            let mut waiters = self.0.lock();
            let heard = waiters.unheard.remove(&key).is_some_and(|at| at.elapsed() < KEPT);
            let entry = waiters.by_key.entry(key.clone()).or_default();
            entry.1 += 1;
            if heard {
                entry.0.notify_one();
            }
            Arc::clone(&entry.0)
        };
        Subscription { shared: Arc::clone(&self.0), key, notify }
    }
}

impl Subscription {
    /// Until something may have happened: a notification, a lost connection, or `floor` has passed.
    pub async fn changed(&self, floor: Duration) {
        let _ = tokio::time::timeout(floor, self.notify.notified()).await;
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
        if let Some((notify, _)) = waiters.by_key.get(&key) {
            notify.notify_waiters();
            // For one that is about to wait again.
            notify.notify_one();
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
        for (notify, _) in self.lock().by_key.values() {
            notify.notify_waiters();
            notify.notify_one();
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
