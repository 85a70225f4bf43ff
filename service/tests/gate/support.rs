//! A directory with a gated file, a stamp, and a process that stands for the server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use goahead_hba_file::{Stamp, boottime, open_rules};
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub const LIMIT: Duration = Duration::from_secs(30);

const FILE: &str = "\
# BEGIN goahead: managed by goahead.hba_set and goahead.hba_drop; edits here are undone
host \"harw\" \"harw\" 127.0.0.20/32 scram-sha-256 # goahead:harw applies=primary otherwise=reject
# END goahead
local all all peer
";

/// The program under test.
pub fn goahead() -> Command {
    Command::new(env!("CARGO_BIN_EXE_goahead"))
}

/// Waits until `ready`.
pub fn wait(what: &str, mut ready: impl FnMut() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < LIMIT, "{what} has not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A child that does not outlive its test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.0.id().cast_signed()).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("signalled");
    }

    /// Whether it has ended well; waits for its end.
    pub fn ends_well(&mut self) -> bool {
        let mut status = None;
        wait("the end of a process", || {
            status = self.0.try_wait().expect("a child of ours");
            status.is_some()
        });
        status.is_some_and(|status| status.success())
    }
}

/// A node's directory with one open line.
pub struct Node {
    directory: TempDir,
    _server: Process,
}

impl Node {
    /// With a process that stands for the server: it takes note of each SIGHUP.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("pg_hba.conf"), FILE).expect("written");
        std::fs::write(directory.path().join("PG_VERSION"), "15\n").expect("written");
        let script = "trap 'echo x >> hups' HUP; touch ready; while :; do sleep 0.02; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(directory.path()).stdin(Stdio::null());
        let server = Process(command.spawn().expect("a shell"));
        let pid = format!("{}\n{}\n", server.0.id(), directory.path().display());
        std::fs::write(directory.path().join("postmaster.pid"), pid).expect("written");
        let node = Self { directory, _server: server };
        wait("the server", || node.path().join("ready").exists());
        node
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Its file.
    pub fn hba_file(&self) -> PathBuf {
        self.path().join("pg_hba.conf")
    }

    /// Whether the line is open on disk.
    pub fn is_open(&self) -> bool {
        !open_rules(&self.hba_file()).expect("the file is there").is_empty()
    }

    /// How often the server was told to reload.
    pub fn reloads(&self) -> usize {
        std::fs::read_to_string(self.path().join("hups")).map_or(0, |text| text.lines().count())
    }

    /// Writes the stamp of a gate.
    pub fn stamp(&self, pid: u32, lives: Duration) {
        let expires = boottime() + i64::try_from(lives.as_micros()).expect("a time");
        let stamp = Stamp::new("n1", &self.hba_file(), expires, true, false).expect("a stamp");
        Stamp { pid, ..stamp }.write().expect("written");
    }
}
