//! While the command runs: renew the hold, pass signals on, and end the command before the hold ends.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};
use tokio::time::sleep;

use super::calls::{Calls, Reply, Trouble};
use super::child::{Change, Child};
use super::clock::{self, Alarm};
use super::guard::Guard;
use super::lease::{Due, Moment, Watch};
use super::signals::Signals;
use super::terminal::Terminal;

/// How long giving the slot back may take in all, and the pause between two tries.
const RELEASE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// How the command ended
    pub status: ExitStatus,
    /// What became of the hold
    pub watch: Watch,
}

type Renewal<'a> = Pin<Box<dyn Future<Output = (Moment, Result<Reply, Trouble>)> + 'a>>;

struct Keeper<'a> {
    calls: &'a Calls<'a>,
    token: i64,
    watch: Watch,
    child: Child,
    guard: Guard,
    terminal: Option<Terminal>,
    alarm: Alarm,
    renewal: Option<Renewal<'a>>,
    /// This process has sent itself a SIGTSTP that is not for the command
    stopping: bool,
}

/// Keeps the hold until the command has ended.
///
/// # Errors
/// When the operating system refuses a timer, or somebody else took the command's status. The command is killed then.
pub async fn keep(
    calls: &Calls<'_>,
    token: i64,
    watch: Watch,
    (child, mut guard): (Child, Guard),
    terminal: Option<Terminal>,
    signals: &mut Signals,
) -> io::Result<Ended> {
    guard.watch(child.group(), watch.guard_at());
    let alarm = Alarm::new()?;
    let mut keeper = Keeper { calls, token, watch, child, guard, terminal, alarm, renewal: None, stopping: false };
    if keeper.terminal.is_some() {
        // It may have been stopped for reading before it was given the terminal.
        keeper.pass(Signal::CONT);
    }
    loop {
        keeper.pass_time()?;
        let event = keeper.event(signals).await;
        // This process may have been stopped, or the machine asleep: nothing may happen before the time that has passed
        // since has had its say, least of all the command going on.
        keeper.pass_time()?;
        match event {
            Event::Alarm => {}
            Event::Signal(signal) => keeper.pass(signal),
            Event::Renewal(sent, reply) => keeper.renewed(sent, reply),
            Event::Child(Change::Stopped) => keeper.stop(),
            Event::Child(Change::Ended) => return keeper.end(),
        }
    }
}

enum Event {
    Alarm,
    Signal(Signal),
    Renewal(Moment, Result<Reply, Trouble>),
    Child(Change),
}

impl Keeper<'_> {
    async fn event(&mut self, signals: &mut Signals) -> Event {
        let Self { child, alarm, renewal, .. } = self;
        let renewal = async {
            match renewal {
                Some(renewal) => renewal.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            change = child.changed() => Event::Child(change),
            () = alarm.ring() => Event::Alarm,
            signal = signals.next() => Event::Signal(signal),
            (sent, reply) = renewal => Event::Renewal(sent, reply),
        }
    }

    /// Does what is due by now.
    fn pass_time(&mut self) -> io::Result<()> {
        let (calls, token, lock) = (self.calls, self.token, self.calls.slot.lock);
        while let Some(due) = self.watch.due(clock::now()) {
            match due {
                Due::Renew(limit) => {
                    let sent = clock::now();
                    self.renewal = Some(Box::pin(async move { (sent, calls.renew(token, limit).await) }));
                }
                Due::Ask => {
                    tracing::warn!("{}; ending the command", self.why());
                    self.child.signal(Signal::TERM);
                    // A stopped one could not hear it.
                    self.child.signal(Signal::CONT);
                }
                Due::Kill => {
                    self.child.signal(Signal::KILL);
                    tracing::warn!("{}; killed the command", self.why());
                }
                Due::Tell => tracing::warn!("{}; the command goes on without the lock {lock}", self.why()),
            }
        }
        self.alarm.set(self.watch.next())
    }

    fn why(&self) -> String {
        let lock = self.calls.slot.lock;
        if self.watch.is_told() {
            format!("lost the lock {lock}: the service says that the hold has ended")
        } else {
            format!("lost the lock {lock}: it could not be renewed in time")
        }
    }

    fn renewed(&mut self, sent: Moment, reply: Result<Reply, Trouble>) {
        self.renewal = None;
        match reply {
            Ok(Reply::Done { .. }) => {
                tracing::debug!("renewed the lock {}", self.calls.slot.lock);
                self.watch.renewed(sent);
                self.guard.watch(self.child.group(), self.watch.guard_at());
            }
            Ok(Reply::Conflict(_) | Reply::Gone(_)) => self.watch.told(),
            Ok(other) => self.failed(&format!("the service answers {other:?}, which is no answer to this")),
            Err(trouble) => self.failed(&trouble.to_string()),
        }
    }

    fn failed(&mut self, why: &str) {
        tracing::warn!("could not renew the lock {}: {why}", self.calls.slot.lock);
        self.watch.failed(clock::now());
    }

    /// The command was stopped. At a terminal that was the user, who wants the shell back: this process stops too. It
    /// renews nothing meanwhile; whoever comes back after the TTL finds the lock lost and the command killed, which has
    /// run not one instruction in between.
    fn stop(&mut self) {
        let Some(terminal) = &self.terminal else { return };
        terminal.take(self.child.group());
        self.stopping = true;
        // Whoever else is in this group, such as the shell of a script, stops as by Ctrl-Z; this process catches that.
        let _ = kill_current_process_group(Signal::TSTP);
        let _ = kill_process(getpid(), Signal::STOP);
    }

    /// Passes a signal on, and with the one that lets it go on the terminal.
    fn pass(&mut self, signal: Signal) {
        if signal == Signal::TSTP && std::mem::take(&mut self.stopping) {
            return;
        }
        if let Some(terminal) = self.terminal.as_ref().filter(|_| signal == Signal::CONT) {
            terminal.give(self.child.group());
        }
        self.child.signal(signal);
    }

    fn end(mut self) -> io::Result<Ended> {
        if let Some(terminal) = &self.terminal {
            terminal.take(self.child.group());
        }
        if self.watch.kills() {
            // What it has started may go on without it.
            self.child.signal(Signal::KILL);
        }
        self.guard.forget();
        Ok(Ended { status: self.child.status()?, watch: self.watch })
    }
}

/// Gives the slot back, for whoever is next. What cannot be given back ends with its TTL; that is told.
pub async fn release(calls: &Calls<'_>, token: i64, watch: &Watch) {
    let lock = calls.slot.lock;
    if watch.is_told() {
        return;
    }
    let end = (clock::now() + RELEASE).min(watch.lease().end());
    loop {
        let left = end.saturating_sub(clock::now());
        let why = match calls.release(token, left.max(PAUSE)).await {
            Ok(Reply::Done { .. }) => return tracing::info!("released {lock}"),
            Ok(Reply::Conflict(outcome)) if outcome == "guarded" => {
                "a transaction relies on it (goahead.check_fence)".to_owned()
            }
            Ok(Reply::Gone(_) | Reply::Conflict(_)) => {
                return tracing::warn!("the lock {lock} was lost before it was released");
            }
            Ok(Reply::Queued(_)) => "the service answers something else".to_owned(),
            Err(trouble) => trouble.to_string(),
        };
        if left <= PAUSE {
            return tracing::warn!("could not release the lock {lock}, it is held until its ttl ends: {why}");
        }
        sleep(PAUSE).await;
    }
}
