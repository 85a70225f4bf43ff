//! HAProxy in front of a bed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use postgres::{Client, NoTls};

use super::net::Net;
use crate::process::User;
use crate::{SOON, eventually};

/// A running HAProxy, stopped when this is dropped.
#[derive(Debug)]
pub struct Haproxy {
    /// Its address: that of its listeners, and where its checks come from
    pub address: Ipv4Addr,
    /// The network it is in
    pub net: Net,
    files: PathBuf,
    child: Child,
}

impl Haproxy {
    /// Starts it with the sections `configuration`, to which a `global` section with a socket is added. `files` is a
    /// path that the names of its files begin with.
    pub fn start(net: &Net, address: Ipv4Addr, files: &Path, configuration: &str) -> Self {
        let with = |ending: &str| files.with_extension(ending);
        let socket = with("sock");
        let text = format!("global\n    stats socket {} mode 600 level admin\n{configuration}", socket.display());
        super::repmgr::write(&with("cfg"), &text);
        let log = std::fs::File::create(with("log")).expect("log file");
        let program =
            ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"].into_iter().find(|path| Path::new(path).exists());
        let mut command =
            User::postgres().command(program.expect("HAProxy is missing; tools/setup-gate.sh installs it"));
        command.arg("-db").arg("-f").arg(with("cfg"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("dup")).stderr(log);
        let child = net.run(|| command.spawn().expect("HAProxy starts"));
        let mut haproxy = Self { address, net: net.clone(), files: files.to_owned(), child };
        eventually("HAProxy answers on its socket", SOON, || {
            let ended = haproxy.child.try_wait().expect("wait");
            assert!(ended.is_none(), "HAProxy ended: {}\n{text}", haproxy.log());
            UnixStream::connect(&socket).ok()
        });
        // Until its first check a server counts as up.
        eventually("HAProxy has checked every server", SOON, || {
            let rows = rows(&socket);
            let checked = |row: &&Vec<String>| !row[36].is_empty() && row[36] != "INI";
            (!rows.is_empty() && rows.iter().filter(checked).count() == rows.len()).then_some(())
        });
        haproxy
    }

    /// The socket on which its state is asked.
    pub fn socket(&self) -> PathBuf {
        self.files.with_extension("sock")
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.with_extension("log")).unwrap_or_default()
    }

    /// The servers of a section that take traffic.
    pub fn up(&self, section: &str) -> Vec<String> {
        let servers = servers(&self.socket()).into_iter();
        servers.filter(|server| server.section == section && server.is_up()).map(|server| server.name).collect()
    }

    /// The state of a server of a section, in HAProxy's words.
    pub fn state(&self, section: &str, name: &str) -> String {
        let mut servers = servers(&self.socket()).into_iter();
        let server = servers.find(|server| server.section == section && server.name == name);
        server.map(|server| server.state).unwrap_or_default()
    }

    /// A client's session as `app` through the listener at `port`.
    pub fn connect(&self, port: u16) -> Result<Client, postgres::Error> {
        let to = SocketAddrV4::new(self.address, port);
        self.net.run(|| {
            let mut config = Client::configure();
            config.host(&to.ip().to_string()).port(to.port()).user("app").password("app").dbname("postgres");
            config.connect_timeout(Duration::from_secs(3)).connect(NoTls)
        })
    }

    /// The address of the node where a new session through `port` ends up, and whether it is a standby, as psql sees
    /// it; or psql's error.
    pub fn psql(&self, port: u16) -> Result<String, String> {
        self.run_psql(port, &["-At", "-c", "SELECT host(inet_server_addr()) || ' ' || pg_is_in_recovery()"])
    }

    /// What psql prints for a statement through `port`, as for people; or its error.
    pub fn query(&self, port: u16, statement: &str) -> Result<String, String> {
        self.run_psql(port, &["-c", statement])
    }

    fn run_psql(&self, port: u16, arguments: &[&str]) -> Result<String, String> {
        let mut psql = Command::new("psql");
        psql.arg("-X").args(arguments).arg("-d");
        psql.arg(format!("host={} port={port} user=app dbname=postgres connect_timeout=3", self.address));
        let output = self.net.run(|| psql.env("PGPASSWORD", "app").output().expect("psql starts"));
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

/// A server of a section as HAProxy sees it.
#[derive(Debug)]
pub(super) struct Server {
    section: String,
    name: String,
    state: String,
}

impl Server {
    fn is_up(&self) -> bool {
        self.state.starts_with("UP")
    }

    /// Whether traffic of this section goes to this node by it.
    pub(super) fn takes(&self, section: &str, node: &str) -> bool {
        self.section == section && self.name == node && self.is_up()
    }
}

/// Asks the HAProxy behind `socket` for its servers; none when it does not answer.
pub(super) fn servers(socket: &Path) -> Vec<Server> {
    let field = |row: &Vec<String>, at: usize| row[at].clone();
    let server = |row| Server { section: field(&row, 0), name: field(&row, 1), state: field(&row, 17) };
    rows(socket).into_iter().map(server).collect()
}

/// The rows of `show stat` that stand for servers; their fields are numbered in HAProxy's management guide, 9.1.
fn rows(socket: &Path) -> Vec<Vec<String>> {
    let Ok(mut stream) = UnixStream::connect(socket) else { return Vec::new() };
    let mut answer = String::new();
    // Of every section (-1), servers (4) alone.
    if stream.write_all(b"show stat -1 4 -1\n").and_then(|()| stream.read_to_string(&mut answer)).is_err() {
        return Vec::new();
    }
    let rows = answer.lines().map(|line| line.split(',').map(ToOwned::to_owned).collect::<Vec<_>>());
    rows.filter(|row| row.len() > 36 && !row[0].starts_with('#')).collect()
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() && !crate::interrupted() {
            crate::complain(&format!("--- log of HAProxy\n{}", crate::postgres::tail(&self.log())));
        }
    }
}
