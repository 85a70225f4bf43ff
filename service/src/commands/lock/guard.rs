//! A second process that ends the command when this one cannot: killed, stopped, or starved beyond the TTL.
//!
//! The kernel kills the command with its keeper, but not what the command has started, and nobody kills anything
//! while the keeper is stopped. The guard waits for two things: the moment at which the hold is about to end, and the
//! end of a pipe, which is the keeper's.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;

use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, fork, setsid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

use super::clock;
use super::lease::Moment;

/// A process group and the moment at which it is killed, in nanoseconds; 0 each for none.
type Order = [u8; 16];

/// The guard, as the keeper sees it. Dropped, it goes away, and kills what it was told to watch.
#[derive(Debug)]
pub struct Guard(PipeWriter);

impl Guard {
    /// Starts the guard. To be called while this process has one thread, before any runtime.
    ///
    /// # Errors
    /// When the operating system refuses another process.
    pub fn start() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // SAFETY: the process has one thread, so that its copy finds no lock held and no data half written.
        match unsafe { fork() }? {
            ForkResult::Parent { .. } => Ok(Self(writer)),
            ForkResult::Child => {
                drop(writer);
                // No signal that is meant for the keeper or for its terminal may end the guard first.
                let _ = setsid();
                let _ = SigSet::all().thread_block();
                std::process::exit(i32::from(watch(reader).is_err()))
            }
        }
    }

    /// Has the guard kill a process group at a moment, or when this process ends before it was told otherwise.
    pub fn watch(&mut self, group: Pid, kill_at: Option<Moment>) {
        let at = kill_at.map_or(0, |at| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        self.order(i64::from(group.as_raw_nonzero().get()), at);
    }

    /// Has the guard forget it. To be called before the group's leader is waited for, after which its number may be
    /// another's.
    pub fn forget(&mut self) {
        self.order(0, 0);
    }

    fn order(&mut self, group: i64, at: u64) {
        let mut order = Order::default();
        order[..8].copy_from_slice(&group.to_le_bytes());
        order[8..].copy_from_slice(&at.to_le_bytes());
        if let Err(error) = self.0.write_all(&order) {
            tracing::warn!("the process that guards the command is gone: {error}");
        }
    }
}

/// What the guard does until the keeper ends.
fn watch(mut orders: PipeReader) -> io::Result<()> {
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
    let (mut watched, mut kill_at) = (None, None);
    loop {
        let mut both = [PollFd::from_borrowed_fd(orders.as_fd(), PollFlags::IN), PollFd::new(&timer, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut both, None))?;
        // Orders first: the newest may have moved the moment.
        if !both[0].revents().is_empty() {
            let mut order = Order::default();
            let ended = orders.read_exact(&mut order).is_err();
            if ended {
                return watched.map_or(Ok(()), |group| Ok(kill_process_group(group, Signal::KILL)?));
            }
            let number =
                |at: usize| order[at..at + 8].iter().rev().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
            watched = i32::try_from(number(0)).ok().and_then(Pid::from_raw);
            kill_at = Some(Moment::from_nanos(number(8))).filter(|at| !at.is_zero());
            clock::set(&timer, kill_at)?;
        } else if kill_at.is_some_and(|at| clock::now() >= at) {
            if let Some(group) = watched {
                // It may have ended by itself.
                let _ = kill_process_group(group, Signal::KILL);
            }
            kill_at = None;
            clock::set(&timer, None)?;
        }
    }
}
