//! A service made of recorded answers, and a private machine for the client: its files and what it left behind.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// What the service says to one connection.
#[derive(Clone)]
pub enum Reply {
    /// This status with this body
    Http(u16, String),
    /// Nothing: the connection is closed at once
    HangUp,
    /// Nothing, while the connection stays open
    Silence,
    /// These bytes as they are
    Raw(String),
}

/// A status 200 with this JSON.
pub fn ok(body: Value) -> Reply {
    Reply::Http(200, body.to_string())
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method and path, as `POST /v1/…`
    pub line: String,
    /// The header lines in lower case
    pub headers: String,
    /// The body
    pub body: String,
}

impl Asked {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the client sends JSON")
    }
}

/// A service that answers one connection after another with its recorded replies, then refuses.
pub struct Service {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// A service that speaks plain HTTP.
    pub fn start(replies: Vec<Reply>) -> Self {
        Self::start_with(replies, None)
    }

    /// A service that speaks TLS if given how.
    pub fn start_with(replies: Vec<Reply>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(Mutex::new(false));
        let thread = std::thread::spawn({
            let (asked, stop) = (asked.clone(), stop.clone());
            move || {
                let mut replies = VecDeque::from(replies);
                let mut silent = Vec::new();
                for connection in listener.incoming() {
                    if *stop.lock().unwrap() {
                        return;
                    }
                    let connection = connection.unwrap();
                    connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                    let text = match replies.pop_front().unwrap_or(Reply::HangUp) {
                        Reply::HangUp => continue,
                        Reply::Silence => {
                            silent.push(connection);
                            continue;
                        }
                        Reply::Http(status, body) => format!(
                            "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        ),
                        Reply::Raw(text) => text,
                    };
                    match &tls {
                        None => answer(connection, &text, &asked),
                        Some(tls) => {
                            let session = ServerConnection::new(tls.clone()).unwrap();
                            answer(StreamOwned::new(session, connection), &text, &asked);
                        }
                    }
                }
            }
        });
        Self { address, asked, stop, thread: Some(thread) }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        // Wakes the thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(stream: impl Read + Write, text: &str, asked: &Mutex<Vec<Asked>>) {
    let mut stream = BufReader::new(stream);
    if let Some(request) = receive(&mut stream) {
        asked.lock().unwrap().push(request);
        // A client that hung up has made its choice.
        let _ = stream.get_mut().write_all(text.as_bytes()).and_then(|()| stream.get_mut().flush());
    }
}

fn receive(stream: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut headers = String::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        headers.push_str(&header.to_ascii_lowercase());
    }
    let length = headers.lines().find_map(|header| header.strip_prefix("content-length:"))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    let line = line.trim_end_matches(" HTTP/1.1\r\n").to_owned();
    Some(Asked { line, headers, body: String::from_utf8(body).ok()? })
}

/// A directory with everything a client needs, and the client itself.
pub struct Machine {
    directory: tempfile::TempDir,
    /// Further lines of the config file
    pub settings: String,
    /// Further arguments
    pub arguments: Vec<String>,
    /// The address of the service
    pub url: String,
}

impl Machine {
    /// A machine whose condition script says nothing and exits with `code`, without hooks.
    pub fn new(service: &Service, code: i32) -> Self {
        let machine = Self {
            directory: tempfile::tempdir().unwrap(),
            settings: String::new(),
            arguments: Vec::new(),
            url: format!("http://{}", service.address),
        };
        machine.condition(&format!("exit {code}"));
        std::fs::create_dir(machine.path("hooks.d")).unwrap();
        machine
    }

    /// A path below the machine's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes the condition script do this.
    pub fn condition(&self, script: &str) {
        executable(&self.path("condition"), script);
    }

    /// Adds a hook that leaves its name in the log of hooks, then does this.
    pub fn hook(&self, name: &str, script: &str) {
        let log = self.path("ran");
        executable(&self.path("hooks.d").join(name), &format!("echo {name} >> {}\n{script}", log.display()));
    }

    /// The hooks that ran, in their order.
    pub fn ran(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path("ran")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Writes the config file.
    pub fn configure(&self) -> PathBuf {
        let path = self.path("client.yml");
        let text = format!(
            "---\nservice_url: {}\nrequesting_fqdn: host.example.org\nrestart_condition_script: {}\n\
             os_restart_hooks_dir: {}\n{}\n",
            self.url,
            self.path("condition").display(),
            self.path("hooks.d").display(),
            self.settings
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The client under its old name, in Go's syntax.
    pub fn legacy(&self) -> Command {
        let name = self.path("goahead_client");
        if !name.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_goahead"), &name).unwrap();
        }
        let mut command = Command::new(name);
        command.arg("-config").arg(self.configure());
        command.arg(format!("-disabled={}", self.path("disabled").display()));
        command.args(&self.arguments);
        command.env("TZ", "UTC").env_remove("GOAHEAD_LOG");
        command
    }

    /// The client under its new name.
    pub fn modern(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goahead"));
        command.arg("client").arg("--config").arg(self.configure());
        command.arg("--disabled").arg(self.path("disabled"));
        command.args(&self.arguments);
        command.env_remove("GOAHEAD_LOG");
        command
    }

    /// Runs the client under its old name.
    pub fn run(&self) -> Ran {
        Ran::of(self.legacy().output().unwrap())
    }
}

/// What a client left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Reads what a process left.
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The log lines without their time, which must be in Go's form.
    pub fn lines(&self) -> Vec<&str> {
        self.out
            .lines()
            .map(|line| {
                let (time, text) = line.split_at(20);
                let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
                assert_eq!(form, "0000/00/00 00:00:00 ", "{line}");
                text
            })
            .collect()
    }
}

fn executable(path: &Path, script: &str) {
    // Written under another name and renamed: a file that is open for writing anywhere cannot be executed, and a
    // process that another test starts at this moment inherits the descriptor for an instant.
    let draft = path.with_extension("draft");
    let status = Command::new("/bin/sh")
        .args(["-c", "cat > \"$1\"", "sh"])
        .arg(&draft)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            let text = format!("#!/bin/sh\n{script}\n");
            child.stdin.take().expect("it is piped").write_all(text.as_bytes())?;
            child.wait()
        })
        .unwrap();
    assert!(status.success());
    std::fs::set_permissions(&draft, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(draft, path).unwrap();
}
