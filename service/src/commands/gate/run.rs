//! A gate from its start to its end: everything that listens opens before the first round, and goes on answering until
//! the lines are closed.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::super::{CommandResult, Failure};
use super::listeners::Sockets;
use crate::gate::config::Loaded;
use crate::gate::settings::{Mode, Settings};
use crate::gate::{self, notify};
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
    // The rounds must not wait for a request that is answered.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(work(loaded.settings));
    // A look-up of a name may hang in a thread of its own; nobody needs it any more.
    runtime.shutdown_background();
    done
}

async fn work(settings: Settings) -> CommandResult {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Not for us, and not our end.
    let _hangup = signal(SignalKind::hangup())?;
    let (stop, stopping) = watch::channel(false);
    let (close, closing) = watch::channel(false);
    let sockets = Sockets::bind(&settings).await.map_err(Failure::new)?;
    let watchdog = (
        std::env::current_exe()?,
        ["gate", "watch", "--gate", &std::process::id().to_string()].map(str::to_owned).to_vec(),
    );
    let mode = settings.mode;
    let mut running = gate::start(settings, watchdog, stopping).await.map_err(Failure::new)?;
    let listeners = sockets.open(&running, &closing).map_err(Failure::new)?;
    notify::tell("READY=1");
    let failed = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = running.works() => true,
    };
    notify::tell("STOPPING=1");
    tracing::info!("ending{}", if mode == Mode::ServerOnly { "" } else { ": closing first" });
    let _ = stop.send(true);
    running.ended().await;
    let _ = close.send(true);
    for listener in listeners {
        let _ = tokio::time::timeout(gate::DRAIN, listener).await;
    }
    if failed {
        return Err(Failure::new("the gate's rounds have ended by themselves; its watchdog closes the lines"));
    }
    Ok(ExitCode::SUCCESS)
}
