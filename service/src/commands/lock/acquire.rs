//! The way to the lock: ask, wait in the queue, ask again, confirm; and out of the queue when that ends otherwise.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::calls::{Calls, Reply, Trouble};
use super::clock;
use super::lease::{Lease, Moment};
use super::signals::Signals;

/// How long one request waits; the next keeps its place. Somebody who watches wants to see the position change.
const POLL: Duration = Duration::from_secs(30);
const WATCHED_POLL: Duration = Duration::from_secs(3);
/// The shortest and the longest pause while the service is away.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long leaving the queue may take.
const GIVE_UP: Duration = Duration::from_secs(5);

/// How the wait ended.
#[derive(Debug)]
pub enum Acquired {
    /// The lock is held, with this token
    Yes(i64, Lease),
    /// The wait is over; the place in the queue is given up
    NotInTime,
    /// The service could not be reached until the wait was over, or never will
    Unreachable(String),
    /// The service refuses
    Refused(String),
    /// A signal ended the wait; the place in the queue is given up
    Signalled(Signal),
}

/// Waits for the lock, at most for `patience`; none: for ever.
pub async fn wait(calls: &Calls<'_>, patience: Option<Duration>, signals: &mut Signals) -> Acquired {
    let progress = Progress::of(calls.slot.lock);
    let mut asking = Asking {
        calls,
        end: patience.map(|patience| progress.start + patience),
        poll: if progress.terminal { WATCHED_POLL } else { POLL },
        tries: 0,
        pause: PAUSE.0,
        progress: &progress,
    };
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let acquired = loop {
        let step = asking.step();
        tokio::pin!(step);
        let stepped = loop {
            tokio::select! {
                stepped = &mut step => break Ok(stepped),
                signal = signals.next() => match signal {
                    Signal::HUP | Signal::INT | Signal::QUIT | Signal::TERM => break Err(signal),
                    // As any process: nothing runs under a lock yet.
                    Signal::TSTP => { let _ = kill_process(getpid(), Signal::STOP); }
                    _ => {}
                },
                _ = second.tick() => progress.show(),
            }
        };
        match stepped {
            Ok(Some(acquired)) => break acquired,
            Ok(None) => {}
            Err(signal) => break Acquired::Signalled(signal),
        }
    };
    progress.clear();
    if matches!(acquired, Acquired::NotInTime | Acquired::Signalled(_) | Acquired::Unreachable(_))
        && asking.tries > 0
        && let Err(trouble) = give_up(calls).await
        && progress.position.get().is_some()
    {
        tracing::warn!("could not leave the queue, the place ends by itself within a minute: {trouble}");
    }
    acquired
}

struct Asking<'a> {
    calls: &'a Calls<'a>,
    end: Option<Moment>,
    poll: Duration,
    tries: u32,
    pause: Duration,
    progress: &'a Progress<'a>,
}

impl Asking<'_> {
    /// One request, and a pause if it could not be made; gives how the wait ends, if it does.
    async fn step(&mut self) -> Option<Acquired> {
        let left = self.end.map(|end| end.saturating_sub(clock::now()));
        if self.tries > 0 && left.is_some_and(|left| left.is_zero()) {
            return Some(match self.progress.away.take() {
                Some(why) => Acquired::Unreachable(why),
                None => Acquired::NotInTime,
            });
        }
        // The first answer comes at once: whoever has to wait wants to know the position.
        let wait = if self.tries == 0 { Duration::ZERO } else { left.unwrap_or(self.poll).min(self.poll) };
        self.tries += 1;
        let sent = clock::now();
        let reply = match self.calls.acquire(wait).await {
            Ok(Reply::Done { token: Some(token), confirm }) => return self.granted(token, confirm, sent).await,
            reply => reply,
        };
        // Whatever answers at once although it was asked to wait is not to be asked without end.
        let hasty = PAUSE.0.min(wait).saturating_sub(clock::now().saturating_sub(sent));
        sleep(hasty).await;
        self.took(reply).await
    }

    /// A grant that ended a wait is confirmed. So is one that an earlier request may have got, whose answer was lost:
    /// nobody knows how much of its TTL is left.
    async fn granted(&mut self, token: i64, confirm: bool, sent: Moment) -> Option<Acquired> {
        let ttl = self.calls.slot.ttl;
        let lease = Lease { sent, ttl };
        if !confirm && self.tries == 1 && clock::now() < lease.renew_at() {
            return Some(Acquired::Yes(token, lease));
        }
        let sent = clock::now();
        match self.calls.renew(token, GIVE_UP.min(ttl)).await {
            Ok(Reply::Done { .. }) if clock::now() < (Lease { sent, ttl }).renew_at() => {
                Some(Acquired::Yes(token, Lease { sent, ttl }))
            }
            // It came too late, or its answer did. What is still held is given again.
            Ok(_) => None,
            trouble => self.took(trouble).await,
        }
    }

    async fn took(&mut self, reply: Result<Reply, Trouble>) -> Option<Acquired> {
        match reply {
            Ok(Reply::Queued(position)) => {
                if self.progress.position.replace(Some(position)).is_none() || self.progress.away.take().is_some() {
                    tracing::info!("waiting for {}: position {position}", self.progress.lock);
                }
                self.pause = PAUSE.0;
                None
            }
            Ok(other) => Some(Acquired::Refused(format!("the service answers {other:?}, which is no answer to this"))),
            Err(Trouble::Refused(why)) => Some(Acquired::Refused(why)),
            Err(Trouble::Unusable(why)) => Some(Acquired::Unreachable(why)),
            Err(Trouble::Away(why, asked)) => {
                let left = self.end.map_or(Duration::MAX, |end| end.saturating_sub(clock::now()));
                if self.progress.away.replace(Some(why.clone())).is_none() && !left.is_zero() {
                    self.progress.clear();
                    tracing::warn!("the service cannot be reached, trying again until the wait is over: {why}");
                }
                let pause = self.pause.max(asked.unwrap_or_default()).min(PAUSE.1);
                self.pause = (self.pause * 2).min(PAUSE.1);
                sleep(pause.mul_f64(rand::random_range(0.5..1.0)).min(left)).await;
                None
            }
        }
    }
}

/// Leaves no place behind, and no hold that was granted in the very last moment.
async fn give_up(calls: &Calls<'_>) -> Result<(), Trouble> {
    if !matches!(calls.withdraw(GIVE_UP).await?, Reply::Conflict(_)) {
        return Ok(());
    }
    match calls.acquire(Duration::ZERO).await? {
        Reply::Done { token: Some(token), .. } => calls.release(token, GIVE_UP).await.map(drop),
        _ => calls.withdraw(GIVE_UP).await.map(drop),
    }
}

/// The line that tells somebody at a terminal how far it is.
#[derive(Debug)]
struct Progress<'a> {
    lock: &'a str,
    start: Moment,
    terminal: bool,
    shown: Cell<bool>,
    position: Cell<Option<i64>>,
    /// Why the service could not be reached the last time
    away: RefCell<Option<String>>,
}

impl<'a> Progress<'a> {
    fn of(lock: &'a str) -> Self {
        Self {
            lock,
            start: clock::now(),
            terminal: stderr().is_terminal(),
            shown: Cell::new(false),
            position: Cell::new(None),
            away: RefCell::new(None),
        }
    }

    fn show(&self) {
        let Some(position) = self.position.get().filter(|_| self.terminal) else { return };
        let away = self.away.borrow().is_some();
        let line = line(self.lock, position, away, clock::now().saturating_sub(self.start));
        let _ = write!(stderr(), "\r\x1b[K{line}");
        self.shown.set(true);
    }

    fn clear(&self) {
        if self.shown.take() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn line(lock: &str, position: i64, away: bool, waited: Duration) -> String {
    let place = if away { "the service cannot be reached".to_owned() } else { format!("position {position}") };
    format!("waiting for {lock}: {place}, {} s", waited.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is() {
        assert_eq!(line("etl", 3, false, Duration::from_millis(12_900)), "waiting for etl: position 3, 12 s");
        assert_eq!(
            line("etl", 3, true, Duration::from_secs(70)),
            "waiting for etl: the service cannot be reached, 70 s"
        );
    }
}
