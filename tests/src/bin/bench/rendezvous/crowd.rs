//! Callers that wait for keys and are woken, whatever the service.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::measured::Times;

/// One connection to a service where callers wait for keys.
pub trait Caller: Sized + 'static {
    /// Waits until the key is signalled. An error says that the wait ended in another way.
    async fn wait(&mut self, key: &str) -> io::Result<()>;
    /// Wakes the callers that wait for a key; there are `waiting`.
    async fn signal(&mut self, key: &str, waiting: usize) -> io::Result<()>;
}

/// Who waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// All for the same
    One,
    /// Each for one of its own
    Each,
}

impl Keys {
    /// The key of a waiter.
    fn of(self, name: &str, number: usize) -> String {
        match self {
            Self::One => name.to_owned(),
            Self::Each => format!("{name}-{number}"),
        }
    }
}

/// What a crowd has shown.
#[derive(Debug)]
pub struct Woken {
    /// From the sending of a signal until its waiter had its answer
    pub times: Times,
    /// From the sending of the first signal until the last waiter had its answer
    pub all: Duration,
}

/// Callers that wait at this moment.
pub struct Crowd<C> {
    keys: Keys,
    name: String,
    size: usize,
    tasks: JoinSet<io::Result<(usize, C, Instant)>>,
}

impl<C: Caller> Crowd<C> {
    /// Has all callers wait for `name`, or keys that begin with it, until `waiting` says that all are known to wait.
    pub async fn gather(
        callers: Vec<C>,
        keys: Keys,
        name: &str,
        waiting: impl AsyncFn() -> io::Result<u64>,
    ) -> io::Result<Self> {
        let size = callers.len();
        let mut tasks = JoinSet::new();
        for (number, mut caller) in callers.into_iter().enumerate() {
            let key = keys.of(name, number);
            tasks.spawn_local(async move {
                caller.wait(&key).await?;
                Ok((number, caller, Instant::now()))
            });
        }
        let since = Instant::now();
        while waiting().await? < size as u64 {
            if let Some(ended) = tasks.try_join_next() {
                ended.map_err(io::Error::other)??;
                return Err(io::Error::other(format!("somebody was woken before {name} was signalled")));
            }
            if since.elapsed() > goahead_tests::SOON {
                return Err(io::Error::other(format!("{} of {size} wait for {name}", waiting().await?)));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Self { keys, name: name.to_owned(), size, tasks })
    }

    /// Signals, and gives the callers back once all have returned; several `signallers` share the keys.
    pub async fn wake(mut self, signallers: Vec<C>) -> io::Result<(Woken, Vec<C>, Vec<C>)> {
        let sent = Rc::new(RefCell::new(vec![None; self.size]));
        let mut signals = JoinSet::new();
        let share = signallers.len();
        for (first, mut signaller) in signallers.into_iter().enumerate() {
            let (keys, name, size, sent) = (self.keys, self.name.clone(), self.size, Rc::clone(&sent));
            signals.spawn_local(async move {
                match keys {
                    Keys::One if first > 0 => {}
                    Keys::One => {
                        sent.borrow_mut().fill(Some(Instant::now()));
                        signaller.signal(&name, size).await?;
                    }
                    Keys::Each => {
                        for number in (first..size).step_by(share) {
                            let key = keys.of(&name, number);
                            sent.borrow_mut()[number] = Some(Instant::now());
                            signaller.signal(&key, 1).await?;
                        }
                    }
                }
                Ok::<_, io::Error>(signaller)
            });
        }
        let (mut times, mut callers, mut last) = (Vec::new(), Vec::new(), None);
        while let Some(ended) = self.tasks.join_next().await {
            let (number, caller, woken) = ended.map_err(io::Error::other)??;
            let sent = sent.borrow()[number].ok_or_else(|| io::Error::other("woken without a signal"))?;
            times.push(woken.duration_since(sent));
            callers.push(caller);
            last = last.max(Some(woken));
        }
        let mut signallers = Vec::new();
        while let Some(ended) = signals.join_next().await {
            signallers.push(ended.map_err(io::Error::other)??);
        }
        let first = sent.borrow().iter().flatten().min().copied();
        let all = last.zip(first).map(|(last, first)| last.duration_since(first)).unwrap_or_default();
        Ok((Woken { times: Times::new(times), all }, callers, signallers))
    }
}

/// Wakes one crowd of callers after another at one key each, and gives how long each wake-up of each caller took.
pub async fn rounds<C: Caller>(
    mut callers: Vec<C>,
    signaller: C,
    rounds: usize,
    name: &str,
    waiting: impl AsyncFn(&str) -> io::Result<u64>,
) -> io::Result<Times> {
    let mut signallers = vec![signaller];
    let mut times = Vec::new();
    for round in 0..rounds {
        let key = format!("{name}-{round}");
        let crowd = Crowd::gather(callers, Keys::One, &key, async || waiting(&key).await).await?;
        let woken;
        (woken, callers, signallers) = crowd.wake(signallers).await?;
        times.extend_from_slice(woken.times.all());
    }
    Ok(Times::new(times))
}
