//! Users and processes: root hands what must not run as root to the user `postgres`.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};

/// A user of this machine; none means the one who runs the tests.
#[derive(Debug, Clone, Copy)]
pub struct User(Option<(u32, u32)>);

impl User {
    /// The one who runs the tests.
    pub const ME: Self = Self(None);

    /// Who runs database servers: `postgres` when the tests run as root, since those refuse root; else the same user.
    pub fn postgres() -> Self {
        if geteuid().is_root() { Self::named("postgres") } else { Self::ME }
    }

    /// A user by name, read from /etc/passwd.
    ///
    /// # Panics
    /// When there is none.
    pub fn named(name: &str) -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd");
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no user {name} on this machine"));
        let id =
            |field| line.split(':').nth(field).and_then(|text| text.parse().ok()).expect("a number in /etc/passwd");
        Self(Some((id(2), id(3))))
    }

    /// Whether it may do everything, so that no mode of a file keeps it out.
    pub fn is_root(self) -> bool {
        self.0.map_or_else(|| geteuid().is_root(), |(uid, _)| uid == 0)
    }

    /// A command that runs as this user.
    pub fn command(self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        if let Some((uid, gid)) = self.0 {
            command.uid(uid).gid(gid);
        }
        // The working directory of the tests may be closed to this user.
        command.current_dir("/");
        command
    }

    /// Makes this user the owner of `path`.
    pub fn give(self, path: &Path) {
        if let Some((uid, gid)) = self.0 {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).expect("chown");
        }
    }
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: Signal) {
    signal_pid(child.id(), signal);
}

/// Sends a signal to the process group that a child leads.
pub fn signal_group(child: &Child, signal: Signal) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
    let _ = kill_process_group(group, signal);
}

/// Sends a signal to a process; one that is gone already is no failure.
pub fn signal_pid(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    let _ = kill_process(pid, signal);
}

/// Whether a process is there and not a zombie.
pub fn runs(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the command's name, which is in brackets and may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The lines that a process has printed so far.
#[derive(Debug, Clone, Default)]
pub struct Output(Arc<Mutex<Vec<String>>>);

impl Output {
    /// Collects what comes out of `pipe` until it ends.
    pub fn collect(&self, pipe: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.0);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                lines.lock().expect("no panic under this lock").push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic under this lock").clone()
    }

    /// All lines as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }
}

/// Writes a shell script that everybody may run at once.
///
/// A file that is open for writing anywhere cannot be executed (ETXTBSY), and a process that another test starts at
/// this moment inherits our descriptors for an instant. So another process writes it.
pub fn script(path: &Path, text: &str) {
    let mut install = Command::new("install").args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped()).spawn();
    let install = install.as_mut().expect("install (coreutils) starts");
    let text = format!("#!/bin/sh\n{text}\n");
    install.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("install reads");
    assert!(install.wait().expect("wait").success(), "install {}", path.display());
}

/// Copies a program to where everybody may run it at once; by another process, as [`script`].
pub fn install(program: &Path, to: &Path) {
    crate::postgres::run(Command::new("install").args(["-m", "755"]).args([program, to]));
}
