//! A server of somebody else's, measured beside ours: its own process, private directory and ports; ended with its owner.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use goahead_tests::port::free_ports;
use goahead_tests::postgres::tail;
use goahead_tests::process::{self, Output, User};
use goahead_tests::{SOON, directory};
use rustix::process::Signal;

/// A running server.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    output: Output,
    /// What it is called at
    port: u16,
    _directory: tempfile::TempDir,
}

/// How often a server is started whose ports were taken by another program meanwhile.
const TRIES: usize = 3;
/// How long one may take to end.
const END: Duration = Duration::from_secs(10);

impl Peer {
    /// Starts `program` with the arguments for a data directory and two free ports, of which the first is what it is
    /// called at, and waits until it is `ready`.
    ///
    /// # Panics
    /// When it is not installed, or does not get ready.
    pub fn start(
        program: &str,
        arguments: impl Fn(&Path, [u16; 2]) -> Vec<String>,
        ready: impl Fn(u16) -> bool,
    ) -> Self {
        let mut said = String::new();
        for _ in 0..TRIES {
            let directory = directory(User::ME);
            let ports = free_ports(2);
            let ports = [ports[0], ports[1]];
            let mut command = User::ME.command(program);
            command.args(arguments(directory.path(), ports));
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; {HINT}"));
            let output = Output::default();
            output.collect(child.stdout.take().expect("piped"));
            output.collect(child.stderr.take().expect("piped"));
            let mut peer = Self { child, output, port: ports[0], _directory: directory };
            let start = Instant::now();
            while peer.child.try_wait().expect("wait").is_none() {
                if ready(peer.port) {
                    return peer;
                }
                assert!(start.elapsed() < SOON, "{program} does not get ready\n{}", tail(&peer.output.text()));
                std::thread::sleep(Duration::from_millis(20));
            }
            said = peer.output.text();
        }
        panic!("{program} ended at once\n{}", tail(&said));
    }

    /// The address it is called at.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// What somebody does who lacks a server.
pub const HINT: &str = "tools/bench.sh installs it";

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- output of the peer\n{}", tail(&self.output.text()));
        }
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            process::signal(&self.child, Signal::TERM);
            let start = Instant::now();
            while self.child.try_wait().is_ok_and(|status| status.is_none()) {
                if start.elapsed() > END {
                    let _ = self.child.kill();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
