//! The terminal goes to the command while it runs, as a shell does it with a job.
//!
//! The command has a process group of its own; a group in the background is stopped when it reads from the terminal,
//! and Ctrl-C does not reach it. So the terminal is handed over, and taken back when the command stops or ends. Only
//! when both standard input and standard output are the terminal: in a pipe another member may be using it (`goahead
//! lock … | less`), and in the background of a script nobody does.

use std::io::{IsTerminal, stdin, stdout};

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Pid, getpgrp};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// The terminal, where it is ours to give.
#[derive(Debug)]
pub struct Terminal {
    modes: Option<Termios>,
}

impl Terminal {
    /// The terminal of this process, or none.
    pub fn own() -> Option<Self> {
        let both = stdin().is_terminal() && stdout().is_terminal();
        both.then(|| Self { modes: tcgetattr(stdin()).ok() })
    }

    /// Gives it to a process group, unless this process is in the background itself.
    pub fn give(&self, group: Pid) {
        if tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == getpgrp()) {
            set(group);
        }
    }

    /// Takes it back from a process group that has it, and gives it the modes it had.
    pub fn take(&self, group: Pid) {
        if !tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == group) {
            return;
        }
        set(getpgrp());
        if let Some(modes) = &self.modes {
            let _ = tcsetattr(stdin(), OptionalActions::Drain, modes);
        }
    }
}

/// A terminal that has gone away meanwhile needs no owner.
fn set(group: Pid) {
    // Who is in the background is stopped for this, unless the signal is blocked.
    let mut stopping = SigSet::empty();
    stopping.add(Signal::SIGTTOU);
    let blocked = stopping.thread_block().is_ok();
    let _ = tcsetpgrp(stdin(), group);
    if blocked {
        let _ = stopping.thread_unblock();
    }
}
