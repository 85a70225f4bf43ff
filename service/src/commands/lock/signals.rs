//! Signals that are for the command: all that can be caught and have a meaning to another process.

use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Those that are passed on. Not among them: what tells of a fault or a limit of this very process, and SIGCHLD.
const PASSED: [Signal; 13] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::CONT,
    Signal::TSTP,
    Signal::URG,
    Signal::WINCH,
    Signal::IO,
    Signal::POWER,
];

/// The signals that come.
#[derive(Debug)]
pub struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Starts to listen; from here on none of them ends this process by itself. What it was started to ignore (as by
    /// nohup) it goes on ignoring, and so will the command. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn listen() -> std::io::Result<Self> {
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let heard = PASSED.into_iter().filter(|signal| ignored >> (signal.as_raw() - 1) & 1 == 0);
        let listen = |signal: Signal| Ok((signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
        Ok(Self(heard.map(listen).collect::<std::io::Result<_>>()?))
    }

    /// Waits for one. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (signal, stream) in &mut self.0 {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The signals that a process ignores, as its status in /proc tells: bit n for signal n + 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// What a shell makes of a process that a signal has ended.
pub fn exit_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_ignores_stays_ignored() {
        let status = "Name:\tgoahead\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        let mask = ignored(status);
        assert_eq!(mask >> (Signal::HUP.as_raw() - 1) & 1, 1);
        assert_eq!(mask >> (Signal::TERM.as_raw() - 1) & 1, 0);
        assert_eq!(ignored(""), 0);
    }

    #[test]
    fn a_signal_is_an_exit_code_above_128() {
        assert_eq!((exit_code(15), exit_code(9)), (143, 137));
    }
}
