//! The binary under test as a running service.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::http::Http;
use crate::postgres::{Database, tail};
use crate::process::{self, Output, User};
use crate::tls::{Authority, Pair};
use crate::{SOON, binary, eventually};

/// A running `goahead serve` on ports of the system's choice.
#[derive(Debug)]
pub struct Service {
    child: Child,
    output: Output,
    /// A client of its main listener
    pub http: Http,
    /// A client of its admin listener
    pub admin: Http,
    /// A client of its rendezvous listener
    pub rendezvous: Http,
    /// The address of its main listener
    pub url: String,
    /// The address of its rendezvous listener
    pub rendezvous_url: String,
}

/// A service about to start.
#[derive(Debug)]
pub struct Setup {
    command: Command,
    authority: Option<String>,
    headers: Vec<(String, String)>,
}

impl Setup {
    /// A service over a database of the test's own server.
    pub fn over(database: &Database<'_>) -> Self {
        Self::over_url(&database.url())
    }

    /// A service over the database at an address.
    pub fn over_url(url: &str) -> Self {
        Self::new().flag("--database-url", url)
    }

    /// A service with its own PostgreSQL below `data`.
    pub fn embedded(data: &DataDirectory) -> Self {
        let mut setup = Self::new().flag("--data-dir", data.path());
        // The PostgreSQL that carries the build of the extension under test.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut directories = vec![crate::postgres::programs()];
        directories.extend(std::env::split_paths(&path));
        setup.command.env("PATH", std::env::join_paths(directories).expect("a PATH"));
        setup
    }

    fn new() -> Self {
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--rendezvous-listen", "127.0.0.1:0"]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GOAHEAD_") || name == "DATABASE_URL" {
                command.env_remove(name);
            }
        }
        Self { command, authority: None, headers: Vec::new() }
    }

    /// A flag with a value.
    pub fn flag(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.arg(name).arg(value);
        self
    }

    /// A flag without a value.
    pub fn switch(mut self, name: &str) -> Self {
        self.command.arg(name);
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the programs that clusters configure.
    pub fn running_jobs(self) -> Self {
        self.switch("--run-jobs")
    }

    /// Runs it to its end and gives what it said, for one that is expected to refuse.
    pub fn output(mut self) -> std::process::Output {
        self.command.output().expect("the binary starts")
    }

    /// HTTPS with a certificate of this authority.
    pub fn tls(self, authority: &Authority) -> Self {
        let pair = authority.sign(&["localhost", "127.0.0.1"]);
        self.flag("--tls-cert", pair.certificate).flag("--tls-key", pair.key).trusting(authority)
    }

    /// The client that comes with the service trusts certificates of this authority.
    pub fn trusting(mut self, authority: &Authority) -> Self {
        self.authority = Some(authority.pem());
        self
    }

    /// A header on every request of the client that comes with the service.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the service and waits until it is ready.
    pub fn start(self) -> Service {
        let service = self.launch();
        eventually("the service is ready", SOON, || {
            service.admin.try_send("GET", "/ready", None).ok().filter(|reply| reply.status == 200)
        });
        service
    }

    /// Starts the service and waits until it listens, ready or not.
    pub fn launch(mut self) -> Service {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the binary starts");
        let output = Output::default();
        output.collect(child.stdout.take().expect("piped"));
        output.collect(child.stderr.take().expect("piped"));
        let start = Instant::now();
        let (url, admin, rendezvous) = loop {
            let lines = output.lines();
            let address = |of: &str| lines.iter().find_map(|line| address_in(line.strip_prefix(of)?));
            let found = (address("listening on"), address("admin listening on"), address("rendezvous listening on"));
            if let (Some(url), Some(admin), Some(rendezvous)) = found {
                break (url, admin, rendezvous);
            }
            if let Some(status) = child.try_wait().expect("wait") {
                panic!("the service ended with {status}\n{}", output.text());
            }
            assert!(start.elapsed() < 2 * SOON, "the service does not listen\n{}", output.text());
            std::thread::sleep(Duration::from_millis(10));
        };
        let client = |url: &str| {
            let client = Http::new(url, self.authority.as_deref());
            self.headers.iter().fold(client, |client, (name, value)| client.header(name, value))
        };
        let (http, meeting) = (client(&url), client(&rendezvous));
        let admin = Http::new(&admin, None);
        Service { child, output, http, admin, rendezvous: meeting, url, rendezvous_url: rendezvous }
    }
}

/// The first `http://ADDRESS` or `https://ADDRESS` with a port in a line.
fn address_in(line: &str) -> Option<String> {
    let start = line.find("http://").or_else(|| line.find("https://"))?;
    let url = line[start..].split(|c: char| c.is_whitespace() || "\"',;)/".contains(c) && c != '/').next()?;
    let url = url.trim_end_matches('/').to_owned();
    url.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()).then_some(url)
}

impl Service {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(&self.child, signal);
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        eventually("the service ends after SIGTERM", SOON, || self.child.try_wait().expect("wait"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- output of the service {}\n{}", self.url, tail(&self.output()));
        }
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(Signal::TERM);
            let start = Instant::now();
            while self.child.try_wait().is_ok_and(|status| status.is_none()) {
                if start.elapsed() > Duration::from_secs(10) {
                    let _ = self.child.kill();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// A directory for the data of a service; whatever server still runs on it is stopped when it goes.
#[derive(Debug)]
pub struct DataDirectory(tempfile::TempDir);

impl DataDirectory {
    /// A new one, not yet there itself, in a directory that the server's user can reach.
    pub fn new() -> Self {
        Self::of(crate::directory(User::ME))
    }

    /// The same on another disk.
    pub fn below(parent: &Path) -> Self {
        Self::of(tempfile::Builder::new().prefix("ga").tempdir_in(parent).expect("a temporary directory"))
    }

    fn of(directory: tempfile::TempDir) -> Self {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).expect("chmod");
        Self(directory)
    }

    /// A directory that lives as long, for other files of the test.
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// Where the service is told to keep its data.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// The first process of the PostgreSQL that runs on it.
    pub fn postmaster(&self) -> Option<u32> {
        let pid = self.pid_file()?.lines().next()?.parse().ok()?;
        process::runs(pid).then_some(pid)
    }

    /// The address of the PostgreSQL that runs on it, for its superuser.
    pub fn url(&self) -> Option<String> {
        self.postmaster()?;
        // Its lines are: process, data directory, start time, port, directory of the socket.
        let file = self.pid_file()?;
        let mut lines = file.lines().skip(3);
        let (port, socket) = (lines.next()?, lines.next()?);
        Some(format!("postgresql:///goahead?host={socket}&port={port}&user=postgres"))
    }

    fn pid_file(&self) -> Option<String> {
        std::fs::read_to_string(find(&self.path(), "postmaster.pid", 3)?).ok()
    }
}

impl Default for DataDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        if let Some(pid) = self.postmaster() {
            process::signal_pid(pid, Signal::QUIT);
            let start = Instant::now();
            while process::runs(pid) && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Writes a configuration file of the original goahead into `directory`: one that has `clusters` imported at start.
pub fn config_file(directory: &Path, clusters: &Path, certificate: &Pair) -> PathBuf {
    let include = directory.join("include");
    std::fs::create_dir(&include).expect("mkdir");
    std::fs::copy(clusters, include.join("clusters.yml")).expect("copy");
    let config = directory.join("config.yml");
    let text = format!(
        "---\ntimeout: 5s\nlisten_address: 0.0.0.0\nlisten_port: 8443\nssl_certificate_file: {}\nssl_private_key: {}\n\
         ssl_require_and_verify_client_cert: false\nssl_client_cert_ca_file: /etc/ssl/ca.pem\nsave_state_dir: /tmp/goahead\n\
         include_dir: {}\n",
        certificate.certificate.display(),
        certificate.key.display(),
        include.display()
    );
    std::fs::write(&config, text).expect("write");
    config
}

/// A file by its name, at most `depth` directories down.
fn find(directory: &Path, name: &str, depth: u32) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.iter().find(|path| path.file_name() == Some(OsStr::new(name))).cloned().or_else(|| {
        let down = depth.checked_sub(1)?;
        entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name, down))
    })
}
