//! The background worker that closes the gate's lines when its verdict has expired: the gate was stopped, killed, or
//! hangs. From the server's first moment, on standbys too; it has no database connection.

use crate::config;
use crate::gate;
use goahead_hba_file::{Error, Step, Watchdog};
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
use pgrx::prelude::*;
use std::time::Duration;

/// Has the server start it. To be called at its start.
pub fn register() {
    // SAFETY: a plain global. Elsewhere a worker cannot be registered.
    if !unsafe { pg_sys::process_shared_preload_libraries_in_progress } || !config::gate() {
        return;
    }
    BackgroundWorkerBuilder::new("goahead gate watchdog")
        .set_library("goahead")
        .set_function("goahead_watchdog")
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

/// The worker.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn goahead_watchdog(_argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let path = gate::hba_file();
    let mut watchdog = Watchdog::new(&path);
    let mut trouble = None;
    loop {
        let step = watchdog.watch_once(&gate::dialect(), &mut gate::Own);
        report(&path.display().to_string(), &step, &mut trouble);
        if !BackgroundWorker::wait_latch(Some(Duration::from_millis(config::gate_watchdog()))) {
            break;
        }
        if BackgroundWorker::sighup_received() {
            // SAFETY: what every process of the server does after a SIGHUP.
            unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
        }
    }
    // Any other end than the server's own is a failure, after which the server starts it again.
    // SAFETY: ends this process as the server wants its processes to end.
    unsafe { pg_sys::proc_exit(1) };
}

/// Says what has been done, and every trouble once.
fn report(path: &str, step: &Result<Step, Error>, trouble: &mut Option<String>) {
    match step {
        Ok(Step::Live(_)) => *trouble = None,
        Ok(Step::Quiet) => {}
        Ok(Step::Closed(closed)) => {
            if closed.changed() {
                log!("goahead: no live verdict of a gate, closed {} in {path}", closed.rules.join(", "));
            }
            let said = closed.trouble();
            if let Some(said) = said.as_ref().filter(|said| trouble.as_ref() != Some(said)) {
                warning!("goahead: {path}: {said}");
            }
            *trouble = said;
        }
        Err(error) => {
            let said = error.to_string();
            if trouble.as_ref() != Some(&said) {
                warning!("goahead: the gate's lines cannot be closed: {said}; {}", error.mend());
                *trouble = Some(said);
            }
        }
    }
}
