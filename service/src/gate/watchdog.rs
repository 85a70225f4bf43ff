//! The process that closes the gated lines when this gate's verdict has expired: the gate was killed, stopped, or hangs.
//!
//! It is another process because a stopped one can do nothing, and it lives until the lines are closed. What it does at
//! each step is `goahead_hba_file::Watchdog`, as in the extension's worker.

use std::fs::File;
use std::io::{self, BufRead, PipeWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use goahead_hba_file::{OfDirectory, Step, Watchdog};
use goahead_rules::hba::Dialect;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

/// What is to be watched. One JSON line on the watchdog's standard input; the newest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The gated file
    pub hba_file: PathBuf,
    /// The server's data directory, for telling it to reload; none: unknown
    pub data_directory: Option<PathBuf>,
    /// The server's major version
    pub major: u32,
    /// How often to look, in microseconds
    pub period_us: u64,
}

/// The watchdog as the gate sees it.
#[derive(Debug)]
pub struct Watcher {
    program: PathBuf,
    arguments: Vec<String>,
    running: Option<(Child, PipeWriter)>,
    order: Option<Order>,
}

impl Watcher {
    /// Started with its first order, as `program` with `arguments`.
    pub fn new(program: PathBuf, arguments: Vec<String>) -> Self {
        Self { program, arguments, running: None, order: None }
    }

    /// Has it watch what `order` says; starts it where it is not running.
    ///
    /// # Errors
    /// When the operating system refuses another process. Nothing may be open then.
    pub fn watch(&mut self, order: &Order) -> io::Result<()> {
        if let Some((child, _)) = &mut self.running
            && let Some(status) = child.try_wait()?
        {
            tracing::warn!("the watchdog has ended ({status}); another one is started");
            self.running = None;
        }
        if self.running.is_some() && self.order.as_ref() == Some(order) {
            return Ok(());
        }
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        match &mut self.running {
            Some((_, input)) => input.write_all(&line)?,
            None => self.running = Some(self.start(&line)?),
        }
        self.order = Some(order.clone());
        Ok(())
    }

    fn start(&self, first: &[u8]) -> io::Result<(Child, PipeWriter)> {
        let (theirs, mut input) = io::pipe()?;
        // It is there before the watchdog is: one without an order would end with a gate that is killed just now.
        input.write_all(first)?;
        let mut command = Command::new(&self.program);
        // No signal that is meant for the gate's terminal may end it first.
        command.args(&self.arguments).stdin(theirs).stdout(Stdio::null()).process_group(0);
        Ok((command.spawn()?, input))
    }

    /// Lets it go and waits until it has ended: at once where the lines are closed.
    pub fn release(mut self) {
        if let Some((mut child, input)) = self.running.take() {
            drop(input);
            if let Err(error) = child.wait() {
                tracing::debug!(%error, "the watchdog's end cannot be awaited");
            }
        }
    }
}

/// What the watchdog's process does until its gate, `gate`, is gone and the lines are closed. Orders come on standard
/// input; SIGTERM closes at once and ends it.
///
/// # Errors
/// When the operating system refuses what it needs.
pub fn run(gate: u32) -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
    // The system's own input, without the buffer that poll() cannot look into.
    let standard_input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut input = io::BufReader::with_capacity(8192, standard_input.try_clone()?);
    let mut watch = Watch { gate, gate_lives: true, watched: None, said: None };
    loop {
        let pause = watch.step();
        let Some(pause) = pause else { return Ok(()) };
        let pause = Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: i64::from(pause.subsec_nanos()) };
        let mut descriptors = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        if watch.gate_lives {
            descriptors.push(PollFd::from_borrowed_fd(standard_input.as_fd(), PollFlags::IN));
        }
        rustix::io::retry_on_intr(|| poll(&mut descriptors, Some(&pause)))?;
        let asked = |at: usize| descriptors.get(at).is_some_and(|descriptor| !descriptor.revents().is_empty());
        let (signalled, ordered) = (asked(0), asked(1));
        if signalled
            && let Some(signal) = signals.read_signal()?
            && signal.ssi_signo != Signal::SIGHUP as u32
        {
            watch.close_now();
            return Ok(());
        }
        if ordered {
            loop {
                let mut line = String::new();
                match input.read_line(&mut line) {
                    Ok(0) | Err(_) => watch.gate_lives = false,
                    Ok(_) => watch.order(&line),
                }
                // Two orders may have come at once.
                if input.buffer().is_empty() {
                    break;
                }
            }
        }
    }
}

struct Watch {
    gate: u32,
    gate_lives: bool,
    watched: Option<(Order, Watchdog)>,
    /// What was complained about last, to be said once
    said: Option<String>,
}

impl Watch {
    fn order(&mut self, line: &str) {
        match serde_json::from_str::<Order>(line) {
            Ok(order) => {
                let watchdog = Watchdog::new(&order.hba_file);
                self.watched = Some((order, watchdog));
            }
            Err(error) => tracing::warn!(%error, "the watchdog got an order that it cannot read"),
        }
    }

    /// Looks once. Until when to sleep; none: there is nothing left to do.
    fn step(&mut self) -> Option<Duration> {
        let Some((order, watchdog)) = &mut self.watched else {
            return self.gate_lives.then_some(Duration::from_secs(3600));
        };
        let period = Duration::from_micros(order.period_us);
        let mut server = OfDirectory::new(order.data_directory.clone());
        match watchdog.watch_once(&Dialect::packaged(order.major), &mut server) {
            Ok(Step::Live(until)) => {
                // Another gate has taken over, and has a watchdog of its own.
                if !self.gate_lives && is_of_another(&order.hba_file, self.gate) {
                    return None;
                }
                let left = u64::try_from(until - Watchdog::now()).unwrap_or(0);
                Some(period.min(Duration::from_micros(left + 1)))
            }
            Ok(Step::Quiet) => {
                self.said = None;
                self.gate_lives.then_some(period)
            }
            Ok(Step::Closed(closed)) => {
                let rules = closed.rules.join(", ");
                match closed.trouble() {
                    None => tracing::warn!(rules, "the gate's verdict has expired: its lines are closed"),
                    Some(trouble) => tracing::error!(rules, "the gate's verdict has expired: {trouble}"),
                }
                Some(period)
            }
            // The node was removed with its directory: nothing is left to close.
            Err(goahead_hba_file::Error::Missing { .. }) if !self.gate_lives => None,
            Err(error) => {
                let text = error.to_string();
                if self.said.as_ref() != Some(&text) {
                    tracing::error!("the gate's lines cannot be closed: {text}; {}", error.mend());
                    self.said = Some(text);
                }
                Some(period)
            }
        }
    }

    fn close_now(&mut self) {
        let Some((order, watchdog)) = &mut self.watched else { return };
        let mut server = OfDirectory::new(order.data_directory.clone());
        let closed = watchdog.close_now(&Dialect::packaged(order.major), &mut server);
        match closed {
            Ok(closed) if !closed.loads() => {
                tracing::error!("the watchdog was asked to end: {}", closed.trouble().unwrap_or_default());
            }
            Ok(closed) if closed.changed() => tracing::warn!("the watchdog was asked to end and has closed the lines"),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the gate's lines cannot be closed: {}", error.mend()),
        }
    }
}

fn is_of_another(hba_file: &Path, gate: u32) -> bool {
    matches!(goahead_hba_file::Stamp::live(hba_file), Ok(Some(stamp)) if stamp.pid != gate)
}
