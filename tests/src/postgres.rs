//! A private database server that ends with the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use postgres::{Client, NoTls};
use rustix::process::Signal;

use crate::process::{self, User};
use crate::{SOON, eventually};

/// A database server in a private directory, reached by its socket there; nothing listens on the network.
#[derive(Debug)]
pub struct Postgres {
    directory: tempfile::TempDir,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

/// Where the programs `initdb`, `postgres`, `pg_dump` … are.
pub fn programs() -> PathBuf {
    std::env::var_os("GOAHEAD_PG_BIN").map_or_else(
        || {
            let output = Command::new("pg_config").arg("--bindir").output().expect("pg_config on the PATH");
            PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
        },
        PathBuf::from,
    )
}

impl Postgres {
    /// A new server that trades durability for speed: it survives the death of its processes, not of the machine.
    pub fn start() -> Self {
        Self::with(&["fsync=off"])
    }

    /// A new server with settings as in postgresql.conf, such as `fsync=on`.
    pub fn with(settings: &[&str]) -> Self {
        Self::with_environment(settings, &[])
    }

    /// A new server with settings, whose processes have these environment variables.
    pub fn with_environment(settings: &[&str], environment: &[(&str, &str)]) -> Self {
        let user = User::postgres();
        let directory = crate::directory(user);
        let mut command = user.command(programs().join("initdb"));
        command.args([
            "--no-sync",
            "--no-instructions",
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "-D",
        ]);
        run(command.arg(directory.path().join("data")));
        let mut server = Self {
            directory,
            settings: settings.iter().map(ToString::to_string).collect(),
            environment: environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            child: None,
        };
        server.launch();
        server
    }

    /// A standby that streams from this server, made by `pg_basebackup`, with settings of its own.
    pub fn standby(&self, settings: &[&str]) -> Self {
        let user = User::postgres();
        let directory = crate::directory(user);
        let data = directory.path().join("data");
        let data = data.to_str().expect("a path in UTF-8");
        self.program("pg_basebackup", &["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-D", data]);
        let mut server = Self {
            directory,
            settings: settings.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
            child: None,
        };
        server.launch();
        server
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Other settings, from the next start on.
    pub fn set(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(ToString::to_string).collect();
    }

    /// The directory of the socket.
    pub fn socket(&self) -> &Path {
        self.directory.path()
    }

    /// The process id of the server's first process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// The process ids of the server's processes, the first one first.
    pub fn processes(&self) -> Vec<u32> {
        let first = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).expect("/proc");
        std::iter::once(first).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }

    /// Kills the server's first process with SIGKILL, and waits until the others have noticed; the database recovers at
    /// the next launch.
    pub fn kill(&mut self) {
        let processes = self.processes();
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("kill");
        child.wait().expect("wait");
        // A backend goes on serving until it notices.
        eventually("the server's processes end", SOON, || {
            processes.iter().all(|pid| !process::runs(*pid)).then_some(())
        });
    }

    /// Starts a killed server again, and waits until it answers.
    pub fn launch(&mut self) {
        // Until the last backend of a killed server has noticed, the data directory counts as in use.
        eventually("the database server starts", SOON, || self.try_launch().then_some(()));
    }

    /// Starts it, and waits until it answers or has ended; whether it answers.
    pub fn try_launch(&mut self) -> bool {
        let log = self.directory.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(&log).expect("log file");
        let mut command = User::postgres().command(programs().join("postgres"));
        command.arg("-D").arg(self.data()).arg("-k").arg(self.directory.path());
        command.args(["-c", "listen_addresses=", "-c", "max_connections=200"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("dup")).stderr(log);
        let mut child = command.spawn().expect("postgres starts");
        loop {
            if self.try_connect("postgres").is_ok() {
                self.child = Some(child);
                return true;
            }
            if child.try_wait().expect("wait").is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server as its own administrator would, disconnecting everybody.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            process::signal(&child, Signal::INT);
            child.wait().expect("wait");
        }
    }

    /// A connection as superuser.
    pub fn connect(&self, database: &str) -> Client {
        self.try_connect(database).unwrap_or_else(|error| panic!("connect to {database}: {error}\n{}", self.log()))
    }

    /// A connection as superuser, if the server takes one.
    pub fn try_connect(&self, database: &str) -> Result<Client, postgres::Error> {
        Client::connect(&self.url(database, "postgres"), NoTls)
    }

    /// The address of a database for a user, as both libpq and the service read it.
    pub fn url(&self, database: &str, user: &str) -> String {
        format!("postgresql:///{database}?host={}&user={user}", self.socket().display())
    }

    /// A new database with the extension, and the role `service` through which a service may use it.
    pub fn database(&self, name: &str) -> Database<'_> {
        self.connect("postgres").batch_execute(&format!("CREATE DATABASE {name}")).expect("create database");
        let mut client = self.connect(name);
        client.batch_execute("CREATE EXTENSION goahead").expect("create extension");
        let role = "SELECT FROM pg_roles WHERE rolname = 'service'";
        if client.query_opt(role, &[]).expect("roles").is_none() {
            client.batch_execute("CREATE ROLE service LOGIN; GRANT goahead_service TO service").expect("create role");
        }
        Database { server: self, name: name.to_owned() }
    }

    /// A finished command of the server's own programs, such as `pg_dump`; gives what it printed.
    pub fn program(&self, name: &str, arguments: &[&str]) -> String {
        let mut command = User::postgres().command(programs().join(name));
        command.env("PGHOST", self.socket()).env("PGUSER", "postgres").args(arguments);
        run(&mut command)
    }

    /// The server's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() && !crate::interrupted() {
            crate::complain(&format!("--- log of the database server\n{}", tail(&self.log())));
        }
        if let Some(mut child) = self.child.take() {
            process::signal(&child, Signal::QUIT);
            let _ = child.wait();
        }
    }
}

/// A database of a private server.
#[derive(Debug)]
pub struct Database<'a> {
    /// Its server
    pub server: &'a Postgres,
    /// Its name
    pub name: String,
}

impl Database<'_> {
    /// The address for a service.
    pub fn url(&self) -> String {
        self.server.url(&self.name, "service")
    }

    /// A connection as superuser.
    pub fn connect(&self) -> Client {
        self.server.connect(&self.name)
    }

    /// Writes the settings of a cluster; its pattern, unless given, takes the hosts `NAME-….example.org`.
    pub fn cluster(&self, name: &str, settings: serde_json::Value) {
        let mut all = serde_json::json!({
            "enabled": true,
            "name_pattern": format!(r"^{name}-.*\.example\.org$"),
            "allowed_parallel_restarts": 1,
            "reboot_completion_check_offset": "0s",
        });
        for (key, value) in settings.as_object().expect("an object of settings") {
            all[key] = value.clone();
        }
        self.connect().execute("SELECT goahead.set_cluster($1, $2)", &[&name, &all]).expect("set_cluster");
    }

    /// The one number that a query gives.
    pub fn count(&self, query: &str) -> i64 {
        self.connect().query_one(query, &[]).unwrap_or_else(|error| panic!("{query}: {error}")).get(0)
    }
}

/// Runs a command to its end and gives its standard output; panics with its standard error when it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// The last 100 lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(100)..].join("\n")
}
