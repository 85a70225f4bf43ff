//! The one way to run a program: an argument vector in its own process group, with a timeout and bounded output.
//!
//! Nothing here knows a shell. Whatever a name contains, it stays one argument of one program.

use std::fmt;
use std::future::Future;
use std::io::PipeReader;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, sleep_until, timeout};

mod output;
mod replace;
mod user;

pub use replace::replace_process;
pub use user::User;

use output::{Lines, Sink, Tail};

/// How much output is kept when nothing else is said, in bytes; what a job reports fits in it.
pub const OUTPUT_KEPT: usize = 4096;

/// How long a program may take to end after SIGTERM before SIGKILL follows.
const GRACE: Duration = Duration::from_secs(2);
/// How long the last output is awaited after the program has ended: a grandchild may hold the pipe for ever.
const DRAIN: Duration = Duration::from_millis(500);
/// How long the kernel may take to end a killed program; one in uninterruptible sleep takes longer.
const REAP: Duration = Duration::from_secs(5);
/// How often a program that was asked to end is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How a program ended. Only `Exited` carries an exit code: what could not run has none, least of all 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ended by itself with this exit code, 0 to 255
    Exited(i32),
    /// A signal ended it
    Killed(i32),
    /// It was still running at its timeout and was ended
    TimedOut,
    /// It never ran, and why
    NotStarted(String),
}

impl Outcome {
    /// Whether the program ran and ended with exit code 0.
    pub fn success(&self) -> bool {
        *self == Self::Exited(0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::NotStarted(reason) => write!(f, "not started: {reason}"),
        }
    }
}

/// How a program ended, and the end of what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it ended
    pub outcome: Outcome,
    /// The last bytes of standard output and standard error in the order written, as text without NUL
    pub output: String,
}

/// A program to run.
#[derive(Debug, Clone)]
pub struct Program {
    argv: Vec<String>,
    environment: Vec<(String, String)>,
    clean: bool,
    user: Option<User>,
    timeout: Option<Duration>,
    grace: Duration,
    stdin: Option<Vec<u8>>,
    keep: usize,
}

impl Program {
    /// The program `argv[0]` with the arguments that follow it.
    /// Without more it has no time limit, this process's environment and user, and an empty standard input.
    pub fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            environment: Vec::new(),
            clean: false,
            user: None,
            timeout: None,
            grace: GRACE,
            stdin: None,
            keep: OUTPUT_KEPT,
        }
    }

    /// Ends the program and everything in its process group when it has run this long.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long the program may take to end after SIGTERM; 2 s where nothing is said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Adds a variable to its environment.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Gives it `PATH`, `LANG` and what [`Program::env`] adds, instead of this process's environment, which may
    /// hold the password of the database.
    pub fn clean_environment(mut self) -> Self {
        self.clean = true;
        self
    }

    /// Runs it as this user with no supplementary groups; none keeps the user of this process.
    pub fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// Gives it these bytes on standard input.
    pub fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = Some(bytes);
        self
    }

    /// Keeps this many bytes of the end of its output; [`OUTPUT_KEPT`] where nothing is said.
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Runs it to its end. Dropping the future kills its whole process group.
    pub async fn run(self) -> Finished {
        self.run_until(std::future::pending()).await
    }

    /// Runs it to its end, or until `stop` is ready: then it gets SIGTERM, its grace, and SIGKILL, and the outcome
    /// says what ended it.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Finished {
        let mut tail = Tail::new(self.keep);
        let outcome = self.drive(stop, &mut tail).await;
        Finished { outcome, output: tail.into_text() }
    }

    /// As [`Program::run_until`], but gives each line to `line` as soon as it is written, without its line end.
    /// Lines longer than 4 KiB arrive in pieces.
    pub async fn stream_until(self, stop: impl Future<Output = ()>, line: impl FnMut(&str) + Send) -> Outcome {
        let mut lines = Lines::new(line);
        let outcome = self.drive(stop, &mut lines).await;
        lines.finish();
        outcome
    }

    async fn drive(mut self, stop: impl Future<Output = ()>, sink: &mut impl Sink) -> Outcome {
        let (child, output) = match self.spawn() {
            Ok(started) => started,
            Err(reason) => return Outcome::NotStarted(reason),
        };
        let mut running = match Running::new(child, output) {
            Ok(running) => running,
            Err(reason) => return Outcome::NotStarted(reason),
        };
        running.feed(self.stdin.take());
        let deadline = async {
            match self.timeout {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        match running.wait(deadline, stop, sink).await {
            Wait::Ended(status) => {
                running.drain(sink).await;
                outcome(status)
            }
            Wait::Deadline => {
                running.end(self.grace, sink).await;
                Outcome::TimedOut
            }
            Wait::Stopped => match running.end(self.grace, sink).await {
                Some(status) => outcome(status),
                None => Outcome::Killed(Signal::KILL.as_raw()),
            },
        }
    }

    /// Starts it with one pipe for both outputs, so that their order is kept.
    fn spawn(&self) -> Result<(Child, PipeReader), String> {
        let Some((name, arguments)) = self.argv.split_first() else {
            return Err("the command is empty".to_owned());
        };
        let cannot = |error: std::io::Error| format!("cannot start {name:?}: {error}");
        let (reader, writer) = std::io::pipe().map_err(cannot)?;
        let mut command = Command::new(name);
        command
            .args(arguments)
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(writer.try_clone().map_err(cannot)?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        if self.clean {
            command.env_clear().env("PATH", search_path()).env("LANG", language());
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(user) = self.user.as_ref().filter(|user| !user.is_current()) {
            // As root the standard library also drops the supplementary groups when a uid is set.
            command.uid(user.uid).gid(user.gid);
        }
        // `command` holds the writing ends; the pipe would never end if it lived longer than this function.
        command.spawn().map(|child| (child, reader)).map_err(cannot)
    }
}

fn search_path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned())
}

fn language() -> String {
    std::env::var("LANG").unwrap_or_else(|_| "C.UTF-8".to_owned())
}

fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::Exited(code),
        (None, signal) => Outcome::Killed(signal.unwrap_or_default()),
    }
}

/// What ended the wait for a program.
enum Wait {
    Ended(ExitStatus),
    Deadline,
    Stopped,
}

/// A started program. Dropped before it has ended, it takes its process group with it.
struct Running {
    child: Child,
    pid: Pid,
    /// Whether the group's leader may still be there: its number can be reused only after it has been reaped
    leads: bool,
    output: Option<pipe::Receiver>,
}

impl Running {
    fn new(child: Child, output: PipeReader) -> Result<Self, String> {
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or("the operating system gave it no process id")?;
        let mut running = Self { child, pid, leads: true, output: None };
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))
            .map_err(|error| format!("cannot read its output: {error}"))?;
        running.output = Some(output);
        Ok(running)
    }

    /// Writes `bytes` beside everything else, since a program may speak before it has read them all.
    fn feed(&mut self, bytes: Option<Vec<u8>>) {
        if let (Some(bytes), Some(mut stdin)) = (bytes, self.child.stdin.take()) {
            // A program that ends without reading closes the pipe, which ends the task too.
            tokio::spawn(async move { stdin.write_all(&bytes).await });
        }
    }

    async fn wait(
        &mut self,
        deadline: impl Future<Output = ()>,
        stop: impl Future<Output = ()>,
        sink: &mut impl Sink,
    ) -> Wait {
        tokio::pin!(deadline, stop);
        loop {
            tokio::select! {
                status = self.child.wait() => {
                    self.leads = false;
                    // Waiting fails only for what is no child of ours any more; its exit code is lost then.
                    return Wait::Ended(status.unwrap_or_else(|_| ExitStatus::from_raw(Signal::KILL.as_raw())));
                }
                () = read(&mut self.output, sink) => {}
                () = &mut deadline => return Wait::Deadline,
                () = &mut stop => return Wait::Stopped,
            }
        }
    }

    /// Ends the whole group: SIGTERM, `grace`, SIGKILL. None when even that took longer than [`REAP`].
    async fn end(&mut self, grace: Duration, sink: &mut impl Sink) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let patience = Instant::now() + grace;
        while !self.has_ended() && Instant::now() < patience {
            tokio::select! {
                () = read(&mut self.output, sink) => {}
                () = sleep(POLL) => {}
            }
        }
        // The leader is not reaped yet, so that its number still names this group and no other.
        self.signal(Signal::KILL);
        let status = timeout(REAP, self.child.wait()).await.ok()?.ok();
        self.leads = false;
        self.drain(sink).await;
        status
    }

    /// Reads what is left, until the last writer is gone or [`DRAIN`] has passed.
    async fn drain(&mut self, sink: &mut impl Sink) {
        let patience = Instant::now() + DRAIN;
        while self.output.is_some() {
            tokio::select! {
                biased;
                () = sleep_until(patience) => return,
                () = read(&mut self.output, sink) => {}
            }
        }
    }

    fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid), look), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        // A group whose members have all ended is what we want.
        let _ = kill_process_group(self.pid, signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.leads {
            self.signal(Signal::KILL);
        }
    }
}

/// Takes what `output` has; at its end closes it, and without one waits for ever.
async fn read(output: &mut Option<pipe::Receiver>, sink: &mut impl Sink) {
    let Some(pipe) = output else {
        return std::future::pending().await;
    };
    let mut buffer = [0; 8192];
    match pipe.read(&mut buffer).await {
        Ok(0) | Err(_) => *output = None,
        Ok(count) => sink.take(&buffer[..count]),
    }
}

#[cfg(test)]
mod tests;
