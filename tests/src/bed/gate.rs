//! The gate of one machine of a bed: `goahead gate` with a configuration of its own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::net::Net;
use super::node::Node;
use crate::process::{self, User};
use crate::{SOON, eventually};

/// The bed's timings: 300 ms rounds, so that a failover is a matter of seconds.
pub const TIMINGS: &str = "round: 300ms
lease: 900ms
deadline: 250ms
watchdog: 100ms
detection: 600ms
hold_down: 1900ms
";

/// The hold-down of [`TIMINGS`].
pub const HOLD_DOWN: Duration = Duration::from_millis(1900);

/// The lease of [`TIMINGS`].
pub const LEASE: Duration = Duration::from_millis(900);

/// The lines of a `gate.yml` for `node` among `nodes`, with the bed's timings.
pub fn configuration(node: &Node, nodes: &[&Node]) -> String {
    let peer = |other: &&&Node| {
        let witness = if other.witness { ", witness: true" } else { "" };
        format!("  - {{name: {}, address: \"{}:{}\"{witness}}}\n", other.name, other.address, other.ports.peer)
    };
    let peers: String = nodes.iter().filter(|other| other.name != node.name).map(|other| peer(&other)).collect();
    format!(
        "node: {name}
listen: {address}:{health}
peer_listen: {address}:{peer}
agent_check_listen: {address}:{agent}
peers:
{peers}database: \"host={socket} port={port} dbname=postgres user=postgres\"
hba_file: {hba}
data_directory: {data}
state_dir: {state}
sources: [repmgr]
repmgr_database: repmgr
{TIMINGS}",
        name = node.name,
        address = node.address,
        health = node.ports.health,
        peer = node.ports.peer,
        agent = node.ports.agent,
        socket = node.socket().display(),
        port = node.ports.postgres,
        hba = node.hba().display(),
        data = node.data().display(),
        state = node.path("g").display(),
    )
}

/// A gate that runs, killed when this is dropped.
#[derive(Debug)]
pub struct Gate {
    name: String,
    net: Net,
    binary: PathBuf,
    conf: PathBuf,
    log: PathBuf,
    health: SocketAddrV4,
    source: Ipv4Addr,
    child: Option<Child>,
}

impl Gate {
    /// Starts `goahead gate -f CONFIGURATION ARGUMENTS…` on `node`, as user postgres.
    pub fn start(node: &Node, binary: &Path, configuration: &str, arguments: &[&str]) -> Self {
        let conf = node.path("gate").with_extension("yml");
        super::repmgr::write(&conf, configuration);
        let state = node.path("g");
        if !state.exists() {
            std::fs::create_dir(&state).expect("mkdir");
            User::postgres().give(&state);
        }
        let mut gate = Self {
            name: node.name.clone(),
            net: node.net.clone(),
            binary: binary.to_owned(),
            conf,
            log: node.path("gatelog"),
            health: SocketAddrV4::new(node.address, node.ports.health),
            source: node.address,
            child: None,
        };
        gate.launch(arguments);
        gate
    }

    /// Starts another process with the same configuration: the other half of a gate. Both write to one log.
    pub fn half(&self, arguments: &[&str]) -> Self {
        let mut half = Self {
            name: self.name.clone(),
            net: self.net.clone(),
            binary: self.binary.clone(),
            conf: self.conf.clone(),
            log: self.log.clone(),
            health: self.health,
            source: self.source,
            child: None,
        };
        half.launch(arguments);
        half
    }

    /// Starts another gate with this configuration, which must name a state directory and listeners of its own.
    pub fn second(&self, node: &Node, configuration: &str) -> Self {
        let conf = node.path("second").with_extension("yml");
        super::repmgr::write(&conf, configuration);
        let mut second = Self {
            name: self.name.clone(),
            net: self.net.clone(),
            binary: self.binary.clone(),
            conf,
            log: node.path("secondlog"),
            health: self.health,
            source: self.source,
            child: None,
        };
        second.launch(&[]);
        second
    }

    /// Starts it again after [`Gate::kill`] or [`Gate::stop`].
    pub fn launch(&mut self, arguments: &[&str]) {
        let log = std::fs::File::options().create(true).append(true).open(&self.log).expect("log file");
        let mut command = self.command("gate");
        command.arg("-f").arg(&self.conf).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("dup")).stderr(log);
        self.child = Some(self.net.run(|| command.spawn().expect("the binary starts")));
    }

    /// `goahead COMMAND` as user postgres, without the settings of this environment.
    fn command(&self, command: &str) -> Command {
        let mut process = User::postgres().command(&self.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GOAHEAD_") {
                process.env_remove(name);
            }
        }
        process.arg(command);
        process
    }

    /// Runs `goahead gate WORDS… -f CONFIGURATION` to its end, such as `close --for 1m --reason test`.
    pub fn operate(&self, words: &[&str]) -> Output {
        let mut command = self.command("gate");
        command.args(words).arg("-f").arg(&self.conf);
        self.net.run(|| command.output().expect("the binary starts"))
    }

    /// As [`Gate::operate`], and it must succeed; gives what it printed.
    pub fn must(&self, words: &[&str]) -> String {
        let output = self.operate(words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}: gate {words:?}: {}\n{}", self.name, output.status, text(&output.stderr));
        text(&output.stdout)
    }

    /// The processes of the gate: itself and its children.
    pub fn processes(&self) -> Vec<u32> {
        let Some(child) = &self.child else { return Vec::new() };
        let first = child.id();
        let tasks = std::fs::read_dir(format!("/proc/{first}/task")).into_iter().flatten().flatten();
        let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<u32> = children
            .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        std::iter::once(first).chain(children).collect()
    }

    /// Sends a signal to the gate alone.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.child.as_ref().expect("the gate runs"), signal);
    }

    /// Kills the gate alone with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends the gate as systemd would, and waits for it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            process::signal(&child, Signal::TERM);
            eventually("the gate ends on SIGTERM", SOON, || child.try_wait().expect("wait"));
        }
    }

    /// Whether it has ended by itself, with its log; a gate that refuses to start does.
    pub fn ended(&mut self) -> Option<String> {
        let ended = self.child.as_mut().is_none_or(|child| child.try_wait().expect("wait").is_some());
        ended.then(|| self.log())
    }

    /// Whether it has ended by itself, with success or not.
    pub fn exit(&mut self) -> Option<std::process::ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("wait"))
    }

    /// The status and body of a path on its health listener, if it answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.net.run(|| {
            let agent = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(Duration::from_secs(2)))
                .build()
                .new_agent();
            let mut response = agent.get(format!("http://{}{path}", self.health)).call().ok()?;
            Some((response.status().as_u16(), response.body_mut().read_to_string().ok()?))
        })
    }

    /// What `/gate` says: the verdict with every reason.
    pub fn verdict(&self) -> Option<Value> {
        self.get("/gate").and_then(|(_, body)| serde_json::from_str(&body).ok())
    }

    /// Where its health paths are.
    pub fn health(&self) -> SocketAddrV4 {
        self.health
    }

    /// Its own address.
    pub fn address(&self) -> Ipv4Addr {
        self.source
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let processes = self.processes();
        self.kill();
        processes.into_iter().skip(1).for_each(|pid| process::signal_pid(pid, Signal::KILL));
    }
}
