//! One machine of a bed: its PostgreSQL, its repmgrd and its gate.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use postgres::{Client, NoTls};
use rustix::process::Signal;

use super::gate::Gate;
use super::net::Net;
use crate::postgres::programs;
use crate::process::{self, User};
use crate::{SOON, eventually};

/// What is the same for all machines of a bed.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Of PostgreSQL
    pub postgres: u16,
    /// Of the gate's health paths
    pub health: u16,
    /// Of what gates ask each other
    pub peer: u16,
    /// Of the gate's agent-check
    pub agent: u16,
}

/// One machine; what runs on it ends when this is dropped.
#[derive(Debug)]
pub struct Node {
    /// Its number, from 1; also repmgr's node_id
    pub number: u8,
    /// Its name, for repmgr and for the gate
    pub name: String,
    /// Its address
    pub address: Ipv4Addr,
    /// Whether it holds no copy of the data, and only votes
    pub witness: bool,
    /// The network it is in
    pub net: Net,
    /// Ports, the same on every machine
    pub ports: Ports,
    /// Its gate, if one runs
    pub gate: Option<Gate>,
    pub(super) root: PathBuf,
    repmgrd: Option<Child>,
}

impl Node {
    pub(super) fn new(
        number: u8,
        name: &str,
        address: Ipv4Addr,
        witness: bool,
        net: Net,
        ports: Ports,
        root: &Path,
    ) -> Self {
        let node = Self {
            number,
            name: name.to_owned(),
            address,
            witness,
            net,
            ports,
            gate: None,
            root: root.to_owned(),
            repmgrd: None,
        };
        std::fs::create_dir(node.socket()).expect("mkdir");
        User::postgres().give(&node.socket());
        node
    }

    /// A path in the bed's directory that carries this node's number.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}{}", self.number))
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.path("n")
    }

    /// The directory of PostgreSQL's socket.
    pub fn socket(&self) -> PathBuf {
        self.path("s")
    }

    /// The file pg_hba.conf.
    pub fn hba(&self) -> PathBuf {
        self.data().join("pg_hba.conf")
    }

    /// What pg_hba.conf holds now.
    pub fn hba_text(&self) -> String {
        std::fs::read_to_string(self.hba()).expect("pg_hba.conf")
    }

    /// Where PostgreSQL listens.
    pub fn postgres(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, self.ports.postgres)
    }

    /// repmgr's configuration of this node.
    pub fn repmgr_conf(&self) -> PathBuf {
        self.root.join(format!("repmgr{}.conf", self.number))
    }

    /// A command of PostgreSQL's or repmgr's programs, as user postgres; run it in [`Node::net`].
    pub fn program(&self, name: &str) -> Command {
        let mut command = User::postgres().command(programs().join(name));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", programs().display()));
        command
    }

    /// Runs one of the programs to its end and gives what it printed; panics when it fails.
    pub fn run(&self, name: &str, arguments: &[&str]) -> String {
        // pg_ctl leaves a server behind that would keep a pipe open.
        let log = std::fs::File::create(self.path("out")).expect("a file");
        let status = self.net.run(|| {
            let mut command = self.program(name);
            command.args(arguments).stdin(Stdio::null());
            command.stdout(log.try_clone().expect("dup")).stderr(log);
            command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"))
        });
        let output = std::fs::read_to_string(self.path("out")).unwrap_or_default();
        assert!(status.success(), "{}: {name} {arguments:?}: {status}\n{output}", self.name);
        output
    }

    /// Runs `repmgr` with this node's configuration.
    pub fn repmgr(&self, arguments: &[&str]) -> String {
        let conf = self.repmgr_conf();
        self.run("repmgr", &[&["-f", conf.to_str().expect("UTF-8")], arguments].concat())
    }

    /// Starts PostgreSQL, and waits until it answers.
    pub fn start(&self) {
        self.pg_ctl(&["-w", "-t", "60", "-l", self.path("log").to_str().expect("UTF-8"), "start"]);
    }

    /// Stops PostgreSQL as an administrator would.
    pub fn stop(&self) {
        self.pg_ctl(&["-m", "fast", "-w", "stop"]);
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        let data = self.data();
        self.run("pg_ctl", &[&["-D", data.to_str().expect("UTF-8")], arguments].concat());
    }

    /// Kills PostgreSQL's first process with SIGKILL, and waits until the others have noticed.
    pub fn crash(&self) {
        let processes = self.processes();
        assert!(!processes.is_empty(), "{} does not run", self.name);
        process::signal_pid(processes[0], Signal::KILL);
        eventually("the server's processes end", SOON, || {
            processes.iter().all(|pid| !process::runs(*pid)).then_some(())
        });
        // Else a later start could take another process of that number, or what init has yet to reap, for this server.
        let _ = std::fs::remove_file(self.data().join("postmaster.pid"));
        let _ = std::fs::remove_file(self.socket().join(format!(".s.PGSQL.{}.lock", self.ports.postgres)));
    }

    /// PostgreSQL's processes, the first one first; none when it does not run.
    pub fn processes(&self) -> Vec<u32> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let Some(first) = file.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else {
            return Vec::new();
        };
        if !process::runs(first) {
            return Vec::new();
        }
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
        std::iter::once(first).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }

    /// Sends a signal to everything on this machine: SIGSTOP is a machine that hangs.
    pub fn signal_all(&self, signal: Signal) {
        let helpers = self.repmgrd.iter().map(Child::id).chain(self.gate.iter().flat_map(Gate::processes));
        helpers.chain(self.processes()).for_each(|pid| process::signal_pid(pid, signal));
    }

    /// Starts repmgrd.
    pub fn start_repmgrd(&mut self) {
        let log = std::fs::File::create(self.path("repmgrd")).expect("log file");
        let child = self.net.run(|| {
            let mut command = self.program("repmgrd");
            command.arg("-f").arg(self.repmgr_conf()).args(["--daemonize=false", "--no-pid-file"]);
            command.stdin(Stdio::null()).stdout(log.try_clone().expect("dup")).stderr(log);
            // So that a promotion under way ends with it.
            command.process_group(0);
            command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; tools/setup-gate.sh installs it"))
        });
        self.repmgrd = Some(child);
    }

    /// Stops repmgrd: this node takes no part in repmgr's failover any more.
    pub fn stop_repmgrd(&mut self) {
        if let Some(mut child) = self.repmgrd.take() {
            process::signal_group(&child, Signal::KILL);
            let _ = child.wait();
        }
    }

    /// A connection as superuser over the local socket.
    pub fn connect(&self, database: &str) -> Client {
        self.try_connect(database).unwrap_or_else(|error| panic!("{}: {error}\n{}", self.name, self.log()))
    }

    /// A connection as superuser over the local socket, if the server takes one.
    pub fn try_connect(&self, database: &str) -> Result<Client, postgres::Error> {
        let mut config = Client::configure();
        config.host_path(self.socket()).port(self.ports.postgres).user("postgres").dbname(database);
        config.connect_timeout(Duration::from_secs(5)).connect(NoTls)
    }

    /// Runs statements as superuser in database postgres.
    pub fn sql(&self, statements: &str) {
        self.connect("postgres").batch_execute(statements).unwrap_or_else(|error| {
            panic!("{}: {statements}: {error:?}", self.name);
        });
    }

    /// The first value that a query gives, as text; empty for none.
    pub fn value(&self, query: &str) -> String {
        let rows = self.connect("postgres").simple_query(query).unwrap_or_else(|error| {
            panic!("{}: {query}: {error:?}", self.name);
        });
        rows.iter()
            .find_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// Whether it answers and is a primary.
    pub fn is_primary(&self) -> bool {
        self.try_connect("postgres")
            .and_then(|mut client| client.query_one("SELECT NOT pg_is_in_recovery()", &[]))
            .is_ok_and(|row| row.get(0))
    }

    /// Whether it answers, is a standby, and streams.
    pub fn streams(&self) -> bool {
        let query = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
        self.try_connect("postgres").and_then(|mut client| client.query_one(query, &[])).is_ok_and(|row| {
            let receivers: i64 = row.get(0);
            receivers == 1
        })
    }

    /// PostgreSQL's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// repmgrd's log.
    pub fn repmgrd_log(&self) -> String {
        std::fs::read_to_string(self.path("repmgrd")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What is frozen would not notice its end.
        self.signal_all(Signal::CONT);
        self.gate = None;
        self.stop_repmgrd();
        let processes = self.processes();
        if let Some(first) = processes.first() {
            process::signal_pid(*first, Signal::QUIT);
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            while processes.iter().any(|pid| process::runs(*pid)) {
                if std::time::Instant::now() > deadline {
                    processes.iter().for_each(|pid| process::signal_pid(*pid, Signal::KILL));
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
