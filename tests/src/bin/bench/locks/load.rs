//! What clients of locks do, whatever the service: take and give back, or wait for each other.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::LOCKS;
use crate::measured::{Times, rate};

/// One client of a service that keeps locks; it holds one lock at most.
pub trait Client: Sized + 'static {
    /// Takes a lock that nobody else wants. An error says that it was not granted at once.
    async fn acquire(&mut self, lock: &str) -> io::Result<()>;
    /// Waits until the lock is granted.
    async fn wait(&mut self, lock: &str) -> io::Result<()>;
    /// Does what a grant that ended a wait needs before it counts.
    async fn confirm(&mut self, lock: &str) -> io::Result<()>;
    /// Gives the lock back.
    async fn release(&mut self, lock: &str) -> io::Result<()>;
}

/// Locks taken and given back.
#[derive(Debug)]
pub struct Pairs {
    /// How many in a second
    pub rate: f64,
    /// How long one took
    pub times: Times,
}

/// Keeps clients busy for `time`, after a warm-up of a fifth of it; each takes locks of its own.
pub async fn pairs<C: Client>(clients: Vec<C>, time: Duration) -> io::Result<Pairs> {
    let start = Instant::now() + time / 5;
    let end = start + time;
    let mut tasks = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        tasks.spawn_local(async move {
            let mut times = Vec::new();
            // Any start but zero serves.
            let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(number as u64 + 1);
            loop {
                let begun = Instant::now();
                if begun >= end {
                    return Ok::<_, io::Error>(times);
                }
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let lock = format!("lock{}-{number}", random % u64::from(LOCKS));
                client.acquire(&lock).await?;
                client.release(&lock).await?;
                if begun >= start {
                    times.push(begun.elapsed());
                }
            }
        });
    }
    let mut times = Vec::new();
    while let Some(finished) = tasks.join_next().await {
        times.extend(finished.map_err(io::Error::other)??);
    }
    Ok(Pairs { rate: rate(times.len(), time), times: Times::new(times) })
}

/// Locks handed on: both times count from the moment at which the holder before sent its release.
#[derive(Debug)]
pub struct HandOff {
    /// Until the grant has arrived at the next holder
    pub granted: Times,
    /// Until that one has confirmed it, too
    pub confirmed: Times,
}

/// A grant, held until `go` says otherwise.
struct Held {
    granted: Instant,
    confirmed: Instant,
    go: oneshot::Sender<()>,
}

/// Has `clients` hand one lock on for a number of rounds: one holds, and gives back once `waiting` says that all others
/// stand in the queue.
pub async fn hand_off<C: Client>(
    clients: Vec<C>,
    lock: &str,
    rounds: usize,
    waiting: impl AsyncFn() -> io::Result<u64>,
) -> io::Result<HandOff> {
    let others = clients.len() as u64 - 1;
    let released = Rc::new(Cell::new(None));
    let (sender, mut grants) = mpsc::unbounded_channel();
    // They end with this set, where they stand.
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn_local(contend(client, lock.to_owned(), Rc::clone(&released), sender.clone()));
    }
    let (mut granted, mut confirmed) = (Vec::new(), Vec::new());
    for _ in 0..=rounds {
        let held: Held = tokio::select! {
            Some(held) = grants.recv() => held,
            Some(ended) = tasks.join_next() => return Err(ended.map_err(io::Error::other)?),
        };
        // Nobody has given it back before the first.
        if let Some(released) = released.take() {
            granted.push(held.granted.duration_since(released));
            confirmed.push(held.confirmed.duration_since(released));
        }
        let since = Instant::now();
        while waiting().await? < others {
            if since.elapsed() > goahead_tests::SOON {
                return Err(io::Error::other(format!("{others} clients do not come to wait for {lock}")));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _ = held.go.send(());
    }
    Ok(HandOff { granted: Times::new(granted), confirmed: Times::new(confirmed) })
}

/// Waits, holds, gives back, over and over; ends with an error only.
async fn contend<C: Client>(
    mut client: C,
    lock: String,
    released: Rc<Cell<Option<Instant>>>,
    grants: mpsc::UnboundedSender<Held>,
) -> io::Error {
    loop {
        let round = async {
            client.wait(&lock).await?;
            let granted = Instant::now();
            client.confirm(&lock).await?;
            let (go, gone) = oneshot::channel();
            let held = Held { granted, confirmed: Instant::now(), go };
            grants.send(held).map_err(io::Error::other)?;
            gone.await.map_err(io::Error::other)?;
            released.set(Some(Instant::now()));
            client.release(&lock).await
        };
        if let Err(error) = round.await {
            return error;
        }
    }
}
