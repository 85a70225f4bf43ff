//! The command under the lock: a process group of its own that dies with this process.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child as Process, Command, ExitStatus};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process_group, set_parent_process_death_signal, waitid,
};
use tokio::signal::unix::{SignalKind, signal};

/// What has become of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was stopped, as by Ctrl-Z
    Stopped,
    /// It has ended; its exit status is kept for [`Child::status`]
    Ended,
}

/// A started command. Dropped before its status was asked for, it is killed with its group.
#[derive(Debug)]
pub struct Child {
    process: Process,
    group: Pid,
    changes: tokio::signal::unix::Signal,
    /// Not waited for yet, so that its number still names its group and no other
    leads: bool,
}

impl Child {
    /// Starts `argv[0]` with the arguments that follow and with these variables added to the environment. To be called
    /// on the thread that lives as long as the process: when the thread that started it ends, the command is killed.
    ///
    /// # Errors
    /// When it cannot be started; the kind says whether it is not there or not a program.
    pub fn spawn(argv: &[OsString], environment: &[(&str, String)]) -> io::Result<Self> {
        let (name, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let changes = signal(SignalKind::child())?;
        let mut command = Command::new(name);
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value))).process_group(0);
        let parent = getpid();
        // SAFETY: between fork and exec this calls prctl and getppid, which POSIX or Linux allow there; it allocates
        // nothing and takes no lock.
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                // It may have died before that was set.
                if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
            });
        }
        let process = command.spawn()?;
        let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { process, group, changes, leads: true })
    }

    /// Its process group.
    pub fn group(&self) -> Pid {
        self.group
    }

    /// Waits until it stops or ends. Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> Change {
        loop {
            let seen = |what| waitid(WaitId::Pid(self.group), what | WaitIdOptions::NOHANG);
            // What cannot be waited for any more has ended.
            if !matches!(seen(WaitIdOptions::EXITED | WaitIdOptions::NOWAIT), Ok(None)) {
                return Change::Ended;
            }
            if matches!(seen(WaitIdOptions::STOPPED), Ok(Some(_))) {
                return Change::Stopped;
            }
            self.changes.recv().await;
        }
    }

    /// Sends a signal to the whole group.
    pub fn signal(&self, signal: Signal) {
        if self.leads {
            // A group whose members have all ended is what most signals want.
            let _ = kill_process_group(self.group, signal);
        }
    }

    /// How it ended; blocks until it has.
    ///
    /// # Errors
    /// When somebody else has taken its status.
    pub fn status(mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait();
        self.leads = false;
        status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
