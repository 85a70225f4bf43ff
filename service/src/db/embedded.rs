//! A private PostgreSQL for a service without a database: made, started, watched, adopted and stopped here.
//!
//! It touches no other server of the machine: its files, its socket and its log are below the data directory, and
//! nothing listens on the network. When `goahead serve` is killed the server lives on and the next `serve` adopts it.

mod directory;
mod postmaster;
mod programs;
mod setup;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub use self::directory::default_data_directory;

use self::directory::{Directory, cluster_of};
use self::postmaster::{Postmaster, signal};
use self::programs::Programs;
use super::{Address, Connector, DbError};

/// The number in the socket's name. Each server has a directory of its own, so all may have the same.
const PORT: u16 = 8442;
/// How long a server may take until it answers; recovery after a crash is part of it.
const START: Duration = Duration::from_secs(120);
/// How long a server may take to write everything and end.
const STOP: Duration = Duration::from_secs(60);
/// Pauses before a server that died is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A server that lived this long died of something new.
const STEADY: Duration = Duration::from_secs(60);
/// Attempts to start a server that dies at once.
const ATTEMPTS: u32 = 5;
const POLL: Duration = Duration::from_millis(50);

/// A running private server; dropped without [`Embedded::stop`], it goes on running.
#[derive(Debug)]
pub struct Embedded {
    socket: PathBuf,
    port: u16,
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
}

impl Embedded {
    /// Starts the server of the data directory `root`, or adopts the one that runs there, and brings it into shape.
    ///
    /// # Errors
    /// What is in the way, and what to do about it.
    pub async fn start(root: &Path) -> Result<Self, String> {
        let directory = Directory::open(root)?;
        let major = directory.major()?;
        let programs = Programs::find(major).await?;
        if major.is_none() {
            if programs.extension == Some(false) {
                return Err(format!(
                    "the extension goahead is not installed for PostgreSQL {0}: install the package postgresql-{0}-goahead, \
                     or run `make install` in the source tree",
                    programs.major
                ));
            }
            tracing::info!(directory = %directory.cluster().display(), "making a private PostgreSQL {}", programs.major);
            directory.initialise(&programs).await?;
        }
        let server = Server { programs, directory };
        let (running, socket, port) = server.bring_up().await?;
        let address = |database: &str, user: &str| Address::local(&socket, port, user, database);
        if let Err(error) = setup::run(address, server.programs.major).await {
            running.stop().await;
            return Err(error);
        }
        let (stop, stopping) = watch::channel(false);
        let supervisor = tokio::spawn(supervise(server, running, stopping));
        Ok(Self { socket, port, stop, supervisor })
    }

    /// Where the service reaches it.
    pub fn address(&self) -> Address {
        Address::local(&self.socket, self.port, setup::ROLE, setup::DATABASE)
    }

    /// The command by which a person reaches it.
    pub fn psql(&self) -> String {
        format!("psql -h {} -p {} -U {} {}", self.socket.display(), self.port, setup::SUPERUSER, setup::DATABASE)
    }

    /// Ends it: connections are closed, everything is written.
    pub async fn stop(self) {
        // The supervisor has ended only if it panicked, and then there is nobody to tell.
        let _ = self.stop.send(true);
        if let Err(error) = self.supervisor.await {
            tracing::error!(%error, "the supervisor of PostgreSQL ended badly");
        }
    }
}

/// Where the private server of the data directory `root` is reached, by a command beside the service.
///
/// # Errors
/// When none runs there.
pub fn running_at(root: &Path) -> Result<Address, String> {
    match Postmaster::find(&cluster_of(root)) {
        Some(found) => Ok(Address::local(&found.socket, found.port, setup::ROLE, setup::DATABASE)),
        None => Err(format!(
            "no PostgreSQL of goahead serve runs on the data directory {}: start `goahead serve` there, or give --database-url",
            root.display()
        )),
    }
}

/// The programs and files of the private server.
struct Server {
    programs: Programs,
    directory: Directory,
}

/// A server process.
enum Running {
    /// Started by this process
    Child(Child),
    /// Left behind by another
    Adopted(Postmaster),
}

impl Server {
    /// Adopts the server that runs on the directory, or starts one, and waits until it answers.
    async fn bring_up(&self) -> Result<(Running, PathBuf, u16), String> {
        let mut pause = BACKOFF.0;
        let mut attempts = 1..=ATTEMPTS;
        loop {
            let (mut running, socket, port) = match Postmaster::find(&self.directory.cluster()) {
                Some(found) => {
                    tracing::info!(
                        pid = found.pid.as_raw_nonzero().get(),
                        "adopting the PostgreSQL that runs here already"
                    );
                    let (socket, port) = (found.socket.clone(), found.port);
                    (Running::Adopted(found), socket, port)
                }
                None => (self.launch()?, self.directory.socket(PORT)?, PORT),
            };
            let address = Address::local(&socket, port, setup::SUPERUSER, setup::SUPERUSER);
            match wait_until_ready(&address, &mut running).await {
                Ok(()) => return Ok((running, socket, port)),
                // After a crash its last processes may take a moment to let go of the shared memory.
                Err(Start::Ended(_)) if attempts.next().is_some() => {
                    sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF.1);
                }
                Err(Start::Ended(how)) => {
                    return Err(format!("PostgreSQL ended while it was starting ({how}):\n{}", self.last_words()));
                }
                Err(Start::Refused(why)) => {
                    running.stop().await;
                    return Err(format!("PostgreSQL does not let its superuser in: {why}"));
                }
            }
        }
    }

    /// Starts the server; it may die at once.
    fn launch(&self) -> Result<Running, String> {
        let cluster = self.directory.cluster();
        let socket = self.directory.socket(PORT)?;
        let path = self.directory.start_log();
        let log = std::fs::File::create(&path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        let again = log.try_clone().map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        // Not through `program`, which ends what it starts together with this process.
        let mut command = Command::new(self.programs.path("postgres"));
        command
            .arg("-D")
            .arg(&cluster)
            .args(["-p", &PORT.to_string(), "-h", "", "-k"])
            .arg(&socket)
            .args(["-c", "unix_socket_permissions=0700"])
            .current_dir(&cluster)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            // Ctrl-C in the terminal goes to the service alone, which stops the server after its last request.
            .process_group(0);
        if let Some(user) = &self.directory.user {
            command.uid(user.uid).gid(user.gid);
        }
        let child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => format!(
                "cannot start PostgreSQL in {}: {error}; its user must be able to enter every directory above",
                cluster.display()
            ),
            _ => format!("cannot start {}: {error}", self.programs.path("postgres")),
        })?;
        Ok(Running::Child(child))
    }

    /// What the server said before it died.
    fn last_words(&self) -> String {
        let started = std::fs::read_to_string(self.directory.start_log()).unwrap_or_default();
        format!("{}\n(see also the log in {})", started.trim(), self.directory.cluster().join("log").display())
    }
}

impl Running {
    fn pid(&self) -> Option<Pid> {
        match self {
            Self::Child(child) => child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw),
            Self::Adopted(found) => Some(found.pid),
        }
    }

    /// Returns when the server has ended, with how.
    async fn ended(&mut self) -> String {
        match self {
            Self::Child(child) => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            },
            Self::Adopted(found) => {
                while found.runs() {
                    sleep(POLL).await;
                }
                "it was not started by this service".into()
            }
        }
    }

    /// Ends it: fast at first, at once when that takes too long.
    async fn stop(mut self) {
        let Some(pid) = self.pid() else { return };
        for (how, patience) in [(Signal::INT, STOP), (Signal::QUIT, Duration::from_secs(5))] {
            signal(pid, how);
            if timeout(patience, self.ended()).await.is_ok() {
                return;
            }
            tracing::warn!("PostgreSQL did not end within {patience:?}");
        }
    }
}

/// Why a server does not answer.
enum Start {
    /// Its process ended, and how
    Ended(String),
    /// It answers, but not as it should
    Refused(String),
}

async fn wait_until_ready(address: &Address, running: &mut Running) -> Result<(), Start> {
    let connector = Connector::new(address.clone()).map_err(Start::Refused)?;
    let answers = async {
        loop {
            match connector.connect().await {
                Ok(_) => return Ok(()),
                Err(DbError::Sql(error)) => return Err(Start::Refused(error.to_string())),
                Err(_) => sleep(POLL).await,
            }
        }
    };
    tokio::select! {
        answered = timeout(START, answers) => answered
            .unwrap_or_else(|_| Err(Start::Refused(format!("no answer after {START:?}")))),
        how = running.ended() => Err(Start::Ended(how)),
    }
}

/// Starts the server again whenever it dies, until `stop` becomes true; then ends it.
async fn supervise(server: Server, mut running: Running, mut stop: watch::Receiver<bool>) {
    let mut pause = BACKOFF.0;
    loop {
        let since = Instant::now();
        let how = tokio::select! {
            how = running.ended() => Some(how),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(how) = how else { return running.stop().await };
        tracing::error!(how, "PostgreSQL ended; starting it again");
        if since.elapsed() > STEADY {
            pause = BACKOFF.0;
        }
        running = loop {
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            pause = (pause * 2).min(BACKOFF.1);
            match server.launch() {
                Ok(running) => break running,
                Err(error) => tracing::error!(error, "cannot start PostgreSQL"),
            }
        };
    }
}
