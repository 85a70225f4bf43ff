//! A `goahead lock` that was started, and a directory in which its commands leave word.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use goahead_tests::postgres::Database;
use goahead_tests::process::{self, Output, User};
use goahead_tests::{SOON, binary, eventually};
use rustix::process::Signal;

/// How many stand in queues or hold something.
pub fn requests(database: &Database<'_>) -> i64 {
    database.count("SELECT count(*) FROM goahead.lock_queue")
}

pub fn fence(database: &Database<'_>, lock: &str, token: i64) -> bool {
    database.connect().query_one("SELECT goahead.check_fence($1, $2)", &[&lock, &token]).expect("check_fence").get(0)
}

/// A `goahead lock` that was started.
pub struct Run {
    pub child: std::cell::RefCell<Child>,
    pub stdout: Output,
    pub stderr: Output,
}

impl Run {
    /// Starts `goahead lock` with these arguments, against the service at `url`, with nothing on standard input.
    pub fn start(url: &str, arguments: &[&str]) -> Self {
        // What the tests were started to ignore (in the background of a script: INT and QUIT) it would ignore too.
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP,INT,QUIT").arg(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GOAHEAD_") {
                command.env_remove(name);
            }
        }
        command.arg("lock").args(["--url", url]).args(arguments).stdin(Stdio::null());
        Self::of(command)
    }

    pub fn of(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let (stdout, stderr) = (Output::default(), Output::default());
        stdout.collect(child.stdout.take().expect("piped"));
        stderr.collect(child.stderr.take().expect("piped"));
        Self { child: child.into(), stdout, stderr }
    }

    pub fn signal(&self, signal: Signal) {
        process::signal(&self.child.borrow(), signal);
    }

    /// Waits until it has ended and gives its exit code.
    pub fn end(&self) -> i32 {
        let status: ExitStatus =
            eventually("goahead lock ends", 2 * SOON, || self.child.borrow_mut().try_wait().expect("wait"));
        // Its lines are read by threads of their own.
        std::thread::sleep(Duration::from_millis(50));
        status.code().unwrap_or_else(|| panic!("{status}: {}", self.output()))
    }

    pub fn output(&self) -> String {
        format!("{}\n{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        if child.try_wait().is_ok_and(|status| status.is_none()) {
            // The command dies with it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A directory in which commands leave word.
pub struct World(tempfile::TempDir);

impl World {
    pub fn new() -> Self {
        Self(goahead_tests::directory(User::ME))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn path(&self, name: &str) -> String {
        self.file(name).to_str().expect("UTF-8").to_owned()
    }

    /// A script that notes its process id, and the time again and again, until it is told to end; deaf to SIGTERM.
    pub fn busy(&self, name: &str) -> String {
        let times = self.path(&format!("{name}.times"));
        format!("trap '' TERM; {}while :; do date +%s%N >>{times}; sleep 0.05; done", self.note(name))
    }

    /// A script that notes the time once.
    pub fn once(&self, name: &str) -> String {
        format!("date +%s%N >>{}", self.path(&format!("{name}.times")))
    }

    /// A script that notes its process id and runs until it is told to end.
    pub fn until_told(&self, name: &str) -> String {
        format!("{}while [ ! -e {} ]; do sleep 0.05; done", self.note(name), self.path(&format!("{name}.told")))
    }

    pub fn note(&self, name: &str) -> String {
        let (noted, pid) = (self.path(&format!("{name}.noted")), self.path(&format!("{name}.pid")));
        format!("echo $$ >{noted}; mv {noted} {pid}; ")
    }

    /// Waits until a script runs and gives its process id.
    pub fn wait_for(&self, name: &str) -> u32 {
        eventually(name, 2 * SOON, || {
            std::fs::read_to_string(self.file(&format!("{name}.pid"))).ok()?.trim().parse().ok()
        })
    }

    pub fn tell(&self, name: &str) {
        std::fs::write(self.file(&format!("{name}.told")), "").expect("write");
    }

    /// Panics unless the last word of one is older than the first of the other.
    pub fn one_after_the_other(&self, one: &str, other: &str) {
        let times = |name: &str| -> Vec<u64> {
            let text = std::fs::read_to_string(self.file(&format!("{name}.times"))).expect("it has noted the time");
            text.lines().filter_map(|line| line.parse().ok()).collect()
        };
        let (last, first) = (times(one).pop().expect("a time"), times(other)[0]);
        assert!(last < first, "{one} still ran {} ms after {other} had started", (last - first) / 1_000_000);
    }
}
