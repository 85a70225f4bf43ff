//! A gate from its start to its end: everything that listens opens before the first round, and goes on answering until
//! the lines are closed.

use std::path::Path;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::super::{CommandResult, Failure};
use super::listeners::{On, Open, Served, Sockets};
use crate::gate::config::Loaded;
use crate::gate::settings::{Mode, Settings};
use crate::gate::{self, Running, notify};
use crate::log_file::LogFile;
use crate::logging;

/// Runs it until SIGTERM or SIGINT.
///
/// # Errors
/// Why it cannot start, or that its rounds have ended by themselves.
pub fn run(loaded: Loaded, file: &Path, logging: &logging::Options) -> CommandResult {
    let log_file = loaded.logs.clone().map(LogFile::open).transpose().map_err(Failure::new)?;
    logging::init_with(logging, "info", log_file).map_err(Failure::new)?;
    for warning in &loaded.warnings {
        tracing::warn!("{}: {warning}", file.display());
    }
    if nix::unistd::geteuid().is_root() {
        tracing::warn!("this gate runs as root; the user that PostgreSQL runs as can do all that it does");
    }
    // The rounds must not wait for requests that are answered, nor votes for health checks, however many there are: the
    // operating system shares the processors among threads, and nothing else does.
    let threads = |number: usize| Builder::new_multi_thread().worker_threads(number).enable_all().build();
    let (rounds, votes, health) = (threads(2)?, threads(1)?, threads(1)?);
    let on = On { votes: votes.handle().clone(), health: health.handle().clone() };
    let done = rounds.block_on(work(loaded.settings, &on));
    // A look-up of a name may hang in a thread of its own; nobody needs it any more.
    [rounds, votes, health].into_iter().for_each(Runtime::shutdown_background);
    done
}

async fn work(settings: Settings, on: &On) -> CommandResult {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (stop, stopping) = watch::channel(false);
    let (close, closing) = watch::channel(false);
    let sockets = Sockets::bind(&settings).await.map_err(Failure::new)?;
    let watchdog = (
        std::env::current_exe()?,
        ["gate", "watch", "--gate", &std::process::id().to_string()].map(str::to_owned).to_vec(),
    );
    let mode = settings.mode;
    let mut running = gate::start(settings, watchdog, stopping).await.map_err(Failure::new)?;
    let listeners = sockets.open(&running, &closing, on).map_err(Failure::new)?;
    notify::tell("READY=1");
    let failed = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            why = running.works() => break Some(why),
            _ = hangup.recv() => reload(&running, &listeners),
        }
    };
    notify::tell("STOPPING=1");
    if let Some(why) = failed {
        // Nobody must hear another word from a gate that does not know its node any more.
        return Err(Failure::new(why));
    }
    tracing::info!("ending{}", if mode == Mode::ServerOnly { "" } else { ": closing first" });
    let _ = stop.send(true);
    running.ended().await;
    let _ = close.send(true);
    for listener in listeners.tasks {
        let _ = tokio::time::timeout(gate::DRAIN, listener).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the certificates again; what cannot be read stays as it was. Settings are read at the start alone.
fn reload(running: &Running, listeners: &Open) {
    let served = listeners.tls.as_ref().map_or(Ok(()), Served::reload);
    match served.and_then(|()| running.reload()) {
        Ok(()) => tracing::info!("read the certificates again; settings count from the next start"),
        Err(error) => tracing::error!(error, "the certificates stay as they were"),
    }
}
