//! One attempt: the programs run while the hold is renewed, and end before it does.

use std::time::Duration;

use goahead_rules::operation::Report;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::time::sleep;

use super::calls::{Calls, Operation, Trouble};
use super::signals::Signals;
use super::work::{self, Programs};

/// How often the clock is looked at: timers stand still while the machine sleeps, the hold does not.
const TICK: Duration = Duration::from_millis(250);
/// How long programs may take to end when the hold is about to be lost.
pub const GRACE: Duration = Duration::from_secs(2);
/// How long before the end of the hold nothing may run any more.
const MARGIN: Duration = Duration::from_millis(500);

/// The pause between two reports that nobody heard.
const AGAIN: Duration = Duration::from_secs(1);

/// The time since the machine was started, also while it slept.
fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Does an operation and reports it; whether it was done.
pub async fn attempt(
    calls: &Calls<'_>,
    operation: &Operation,
    programs: &Programs<'_>,
    ttl: Duration,
    signals: &Signals,
) -> bool {
    tracing::info!(
        "operation {} ({}), attempt {}, under lock {}, token {}",
        operation.id,
        operation.action,
        operation.attempt,
        operation.lock,
        operation.token
    );
    let (lost, ended) = watch::channel(false);
    let stop = || async {
        tokio::select! {
            () = has_ended(&ended) => {}
            () = signals.wait(2) => {}
        }
    };
    let keeps = async {
        keep(calls, operation, ttl).await;
        tracing::warn!("lost the lock {}: ending operation {}", operation.lock, operation.id);
        lost.send_replace(true);
        // What runs is told, and ends.
        std::future::pending::<()>().await
    };
    let works = async {
        let told = work::run(programs, operation, calls.unit, stop).await;
        // Without the hold nobody listens to a report; a service that is away hears it for as long as there is time.
        tokio::select! {
            outcome = report(calls, operation, told.report, &told.detail) => outcome.map(|outcome| (told, outcome)),
            () = has_ended(&ended) => None,
            () = signals.wait(3) => None,
        }
    };
    let settled = tokio::select! {
        settled = works => settled,
        () = keeps => None,
    };
    match settled {
        Some((told, outcome)) => {
            tracing::info!("operation {}: {}, {outcome}", operation.id, told.detail);
            outcome == "done"
        }
        None => {
            tracing::warn!("operation {} was not reported; it is tried again", operation.id);
            false
        }
    }
}

async fn has_ended(ended: &watch::Receiver<bool>) {
    let mut ended = ended.clone();
    if ended.wait_for(|ended| *ended).await.is_err() {
        std::future::pending().await
    }
}

/// Renews the hold until it cannot be kept; returns early enough for what runs to be ended before the hold is.
async fn keep(calls: &Calls<'_>, operation: &Operation, ttl: Duration) {
    // The grant is at most as old as its confirmation or its answer; a first renewal at once makes that certain.
    let mut sent = now();
    let mut due = sent;
    // A hold nobody has renewed yet began before this process heard of it.
    let mut end = sent + ttl.saturating_sub(ttl / 3);
    loop {
        let patience = (end - sent).saturating_sub(GRACE + MARGIN);
        if now() >= sent + patience {
            return;
        }
        if now() < due {
            sleep(TICK).await;
            continue;
        }
        let began = now();
        let limit = (sent + patience).saturating_sub(began).min(ttl / 3).max(TICK);
        match calls.renew(operation, ttl, limit).await {
            Ok(true) => (sent, due, end) = (began, began + ttl / 3, began + ttl),
            Ok(false) => return,
            Err(trouble) => {
                tracing::warn!("could not renew the lock {}: {trouble}", operation.lock);
                due = now() + TICK * 4;
            }
        }
    }
}

/// Reports until there is an answer; none: the service refuses to hear it.
async fn report(calls: &Calls<'_>, operation: &Operation, report: Report, detail: &str) -> Option<String> {
    let mut told = false;
    loop {
        match calls.finish(operation, report.as_str(), detail).await {
            Ok(outcome) if outcome == "guarded" => {}
            Ok(outcome) => return Some(outcome),
            Err(Trouble::Refused(why)) => {
                tracing::error!("the report of operation {} is refused: {why}", operation.id);
                return None;
            }
            Err(Trouble::Away(why)) if !told => {
                tracing::warn!("cannot report operation {}, trying again: {why}", operation.id);
                told = true;
            }
            Err(Trouble::Away(_)) => {}
        }
        sleep(AGAIN).await;
    }
}
