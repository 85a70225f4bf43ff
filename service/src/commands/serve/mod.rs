//! `goahead serve`: the service. Listeners, certificates, the sweeper, jobs, and where wanted a PostgreSQL of its own.

mod admin;
mod config;
mod jobs;
mod layer;
mod prepare;
mod signals;
mod sockets;
mod sweep;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::config::{Config, Layer, Target};
use self::prepare::Unfit;
use self::signals::{Request, Signals};
use self::sockets::Sockets;
use super::{CommandResult, Failure, print};
use crate::checks::{self, Checks};
use crate::db::{Address, Connector, Database, Embedded};
use crate::listener::tls;
use crate::metrics::Metrics;
use crate::probe::{EACH, Prober};
use crate::program::User;
use crate::rendezvous::{Probes, Rendezvous};
use crate::{api, logging};

/// Files and connections that the service wants to be allowed.
const OPEN_FILES: u64 = 65_536;
/// Between two attempts to reach a database that was away at the start.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end of the service waits for the database to hear that nobody waits here any more.
const SETTLE: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  goahead serve
      everything on this machine: a private PostgreSQL, the API on https or http://127.0.0.1:8443
  goahead serve --database-url postgres://goahead_serve@db1,db2/ops?target_session_attrs=read-write
      a database of yours, followed through a failover
  goahead serve --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem --tls-client-ca ca.pem
      reachable from the network
  goahead serve --listen off --admin-listen off --rendezvous-listen 0.0.0.0:8080 --insecure
      only the rendezvous, for containers that wait for each other
  goahead -config /etc/goahead/config.yml
      as the original goahead was started

Settings come from the file (--config, YAML: the flags' names with _ for -), then the environment, then flags; \
the last wins. SIGHUP reads certificates and cluster files again. SIGTERM ends the service after the requests \
in flight.";

/// Arguments of `goahead serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A file of settings, ours or the original goahead's config.yml
    #[arg(long, value_name = "FILE", env = "GOAHEAD_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Layer,
}

/// Serves until it is told to stop.
pub fn run(args: &Args, logging: &logging::Options) -> CommandResult {
    let config = Config::load(args.settings.clone(), args.config.as_deref(), logging).map_err(Failure::new)?;
    logging::init(&config.logging, "info").map_err(Failure::new)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    allow_many_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(Arc::new(config)));
    // A program or a connection that did not end in its time does not keep the process.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

/// Raises the limit of open files towards what the operating system allows: the usual one, kept low for programs of the
/// eighties, ends at a thousand callers.
fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit })
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

async fn serve(config: Arc<Config>) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let user = program_user(config.job_user.as_deref())?;
    let certificates = config.tls.as_ref().map(tls::load).transpose().map_err(Failure::new)?.map(watch::Sender::new);
    // Before the database, which takes longer: an address that is taken should be told at once.
    let sockets = Sockets::bind(&config).await.map_err(Failure::new)?;

    let metrics = Arc::new(Metrics::new());
    let (address, mut embedded) = match &config.target {
        Target::Url(url) => {
            let address = Address::parse(url).map_err(|error| Failure::new(format!("--database-url: {error}")))?;
            (address, None)
        }
        Target::Embedded(directory) => {
            let mut starting = std::pin::pin!(Embedded::start(directory));
            let embedded = tokio::select! {
                started = &mut starting => started.map_err(Failure::new)?,
                () = stop_asked(&mut signals) => {
                    // A server that was left alone while it starts would go on running.
                    starting.await.map_err(Failure::new)?.stop().await;
                    return Ok(());
                }
            };
            say(&format!("database: {}", embedded.psql()));
            (embedded.address(), Some(embedded))
        }
    };
    let served = serve_database(&config, user, address, metrics, certificates, sockets, signals).await;
    if let Some(embedded) = embedded.take() {
        embedded.stop().await;
    }
    served
}

/// The user that programs run as: as root somebody else, otherwise the one of this process.
fn program_user(name: Option<&str>) -> Result<Option<User>, Failure> {
    if !rustix::process::geteuid().is_root() {
        return match name.map(User::find).transpose().map_err(Failure::new)? {
            Some(user) if !user.is_current() => Err(Failure::new(
                "--job-user: only root can run programs as another user; start the service as that user",
            )),
            _ => Ok(None),
        };
    }
    let user = User::find(name.unwrap_or("nobody")).map_err(|error| Failure::new(format!("--job-user: {error}")))?;
    if user.is_root() {
        return Err(Failure::new("--job-user: programs never run as root; name another user"));
    }
    Ok(Some(user))
}

async fn stop_asked(signals: &mut Signals) {
    while signals.next().await != Request::Stop {}
}

async fn serve_database(
    config: &Arc<Config>,
    user: Option<User>,
    address: Address,
    metrics: Arc<Metrics>,
    certificates: Option<watch::Sender<Arc<rustls::ServerConfig>>>,
    sockets: Sockets,
    mut signals: Signals,
) -> Result<(), Failure> {
    let shown = address.describe();
    let connector = Connector::new(address).map_err(|error| Failure::new(format!("--database-url: {error}")))?;
    let db = Database::new(&connector, metrics.clone());
    let (stop, stopping) = watch::channel(false);
    let (failed, mut failure) = mpsc::channel(1);
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();

    let background = Background {
        db: db.clone(),
        metrics: metrics.clone(),
        jobs: config.run_jobs.then(|| jobs::Options {
            timeout: config.timeout,
            ..jobs::Options::new(sockets.runner_name(), user.clone())
        }),
        stop: stopping.clone(),
    };
    match prepared(&db, config).await {
        Ok(()) => tasks.push(tokio::spawn(background.run())),
        Err(Unfit::Wrong(what)) => return Err(Failure::new(what)),
        Err(Unfit::Away(why)) => {
            tracing::warn!(database = shown, "{why}; trying until it does");
            tasks.push(tokio::spawn(prepared_later(background, config.clone(), failed)));
        }
    }

    let checks = Checks::new(checks::Options { timeout: config.timeout, user, ..checks::Options::default() });
    let prober = Prober::new(config.probe_allow.clone(), EACH);
    let probes = Probes::new(prober, config.postgres_template.clone());
    let rendezvous = Rendezvous::new(db.clone(), metrics.clone(), probes, stopping.clone());
    let state = api::State {
        db: db.clone(),
        metrics,
        checks,
        rendezvous: rendezvous.clone(),
        options: api::Options::default(),
        closing: stopping,
    };
    tasks.extend(sockets.open(config, &state, certificates.as_ref())?);

    let result = loop {
        tokio::select! {
            request = signals.next() => match request {
                Request::Stop => break Ok(()),
                Request::Reload => reload(config, certificates.as_ref(), &db).await,
            },
            Some(what) = failure.recv() => break Err(Failure::new(what)),
        }
    };
    tracing::info!("stopping: requests in flight are finished first");
    // Receivers are gone only when every task has ended already.
    let _ = stop.send(true);
    for task in tasks {
        if let Err(error) = task.await {
            tracing::error!(%error, "a task of the service ended badly");
        }
    }
    rendezvous.settle(SETTLE).await;
    result
}

/// Everything that has to happen in the database before it is served.
async fn prepared(db: &Database, config: &Config) -> Result<(), Unfit> {
    prepare::verify(db).await?;
    if let Some(directory) = &config.token_dir {
        prepare::first_token(db, directory).await?;
    }
    if let Some(directory) = &config.include_dir {
        prepare::import(db, directory).await?;
    }
    if !config.keep_marks {
        db.call("SELECT goahead.forget_rendezvous()", &[]).await?;
    }
    Ok(())
}

/// The same for a database that was away: tries until it works, then goes on. Reports what waiting does not mend.
async fn prepared_later(mut background: Background, config: Arc<Config>, failed: mpsc::Sender<String>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            _ = background.stop.wait_for(|stop| *stop) => return,
        }
        match prepared(&background.db, &config).await {
            Ok(()) => return background.run().await,
            Err(Unfit::Away(_)) => {}
            Err(Unfit::Wrong(what)) => {
                // Full only when somebody failed already, and one reason is enough.
                let _ = failed.try_send(what);
                return;
            }
        }
    }
}

/// What goes on beside requests.
struct Background {
    db: Database,
    metrics: Arc<Metrics>,
    /// None: jobs do not run here
    jobs: Option<jobs::Options>,
    stop: watch::Receiver<bool>,
}

impl Background {
    async fn run(self) {
        let jobs = async {
            if let Some(options) = self.jobs {
                jobs::run(self.db.clone(), options, self.stop.clone()).await;
            }
        };
        tokio::join!(sweep::run(self.db.clone(), self.metrics.clone(), self.stop.clone()), jobs);
    }
}

/// A line on standard output. The service goes on when nobody reads it any more.
fn say(line: &str) {
    if let Err(error) = print(&format!("{line}\n")) {
        tracing::debug!(%error, "cannot write to standard output");
    }
}

/// Reads certificates and cluster files again; what cannot be read stays as it was.
async fn reload(config: &Config, certificates: Option<&watch::Sender<Arc<rustls::ServerConfig>>>, db: &Database) {
    if let (Some(files), Some(current)) = (&config.tls, certificates) {
        match tls::load(files) {
            Ok(loaded) => {
                current.send_replace(loaded);
                tracing::info!("read the certificates again; new connections use them");
            }
            Err(error) => tracing::error!(error, "the certificates stay as they were"),
        }
    }
    if let Some(directory) = &config.include_dir {
        match prepare::import(db, directory).await {
            Ok(()) => {}
            Err(Unfit::Away(why) | Unfit::Wrong(why)) => tracing::error!(why, "the clusters stay as they were"),
        }
    }
}
