//! The task of a key that somebody waits for: it asks the database on behalf of all of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::call::Call;
use super::entry::{Entry, Mark, Slot, Standing, Waited};
use super::{Key, Shared};
use crate::db::{DbError, Meeting, RendezvousOutcome, Subscription};
use crate::probe::{Miss, Target};

/// How soon the database is told again how many wait.
const RECOUNT: Duration = Duration::from_secs(1);
/// How soon a database that did not answer is asked again, about.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is asked to forget a wait, about once a [`RETRY`]; by then it has forgotten it.
const FORGOTTEN: u32 = 60;
/// No probe lasts longer; those who wait for one wait an hour at most, and the next of them begins another.
const PROBING: Duration = Duration::from_secs(24 * 3600);

/// Serves those who wait in `slot`, one lot after another, until there is nobody. All that this process says of the key
/// is said here, in order: that some have left before that others have come.
pub async fn attend(shared: &Arc<Shared>, slot: Arc<Slot>) {
    let mut entry = slot.current();
    // Before the first look, so that no signal falls between the two.
    let signals = shared.db.subscribe(notification(&entry.key));
    loop {
        serve(shared, &entry, &signals).await;
        match shared.next(&slot, &entry) {
            Some(next) => entry = next,
            None => return,
        }
    }
}

/// Looks until all who wait at `entry` are told, or nobody waits any more; the database knows that when this ends.
async fn serve(shared: &Arc<Shared>, entry: &Arc<Entry>, signals: &Subscription) {
    let probing = entry.target.as_ref().map(|_| Aborted(tokio::spawn(probe(Arc::clone(shared), Arc::clone(entry)))));
    let mut heard = None;
    loop {
        match entry.standing() {
            Standing::Told => {
                // Else a signal that they were told of would be there for the next, even if it was reset since.
                for _ in 0..FORGOTTEN {
                    if leave(shared, entry, false).await || *shared.closing.borrow() {
                        break;
                    }
                    sleep(RETRY).await;
                }
                return;
            }
            Standing::Deserted => {
                drop(probing);
                leave(shared, entry, entry.take_timed_out()).await;
                return;
            }
            Standing::Wanted => {
                let pause = look(shared, entry, heard).await;
                heard = rest(entry, signals, pause).await;
            }
        }
    }
}

/// What a signal of `key` is heard by.
pub fn notification(key: &Key) -> String {
    format!("goahead_rendezvous:{key}")
}

/// Asks whether the key is signalled, and if it is, tells those who wait. Gives the time until the next look.
async fn look(shared: &Arc<Shared>, entry: &Arc<Entry>, heard: Option<Instant>) -> Duration {
    let Some(look) = entry.look() else { return Duration::ZERO };
    let call = Call::Watch {
        key: &entry.key,
        service: &shared.service,
        waiting: look.waiting,
        since: look.since.to_string(),
        who: look.who.clone(),
    };
    match ask_in_turn(shared, &call).await {
        // What a probe has found before says nothing about now.
        Ok(outcome) if outcome.outcome == Meeting::Signalled && entry.target.is_none() => {
            if entry.tell(Waited::Signalled(Arc::new(Mark::new(outcome.payload))))
                && let Some(heard) = heard
            {
                let wake = shared.metrics.rendezvous_wake.with_label_values(&["notified"]);
                wake.observe(heard.elapsed().as_secs_f64());
            }
            Duration::ZERO
        }
        Ok(outcome) if outcome.outcome == Meeting::Invalid => {
            entry.tell(Waited::Wrong(outcome.message.unwrap_or_default().into()));
            Duration::ZERO
        }
        Ok(_) => {
            entry.looked(&look);
            shared.floor()
        }
        Err(error) => {
            tracing::debug!(%error, key = %entry.key, "cannot look whether a key is signalled");
            RETRY.mul_f64(rand::random_range(0.8..1.6))
        }
    }
}

/// Until the next look: a signal was heard of, others wait now than before, or the time has come. Gives when a signal
/// was heard of.
async fn rest(entry: &Entry, signals: &Subscription, pause: Duration) -> Option<Instant> {
    let looked = Instant::now();
    let mut next = looked + pause;
    loop {
        if entry.standing() != Standing::Wanted {
            return None;
        }
        tokio::select! {
            woken = signals.changed(next.saturating_duration_since(Instant::now())) => {
                return woken.then(Instant::now);
            }
            () = entry.changed() => next = next.min(looked + RECOUNT),
        }
    }
}

/// Says that nobody waits here any more; false when the database did not hear it. The row becomes stale by itself.
async fn leave(shared: &Arc<Shared>, entry: &Entry, timed_out: bool) -> bool {
    let call = Call::Leave { key: &entry.key, service: &shared.service, timed_out };
    let left = ask_in_turn(shared, &call).await;
    if let Err(error) = &left {
        tracing::debug!(%error, key = %entry.key, "cannot say that nobody waits any more");
    }
    left.is_ok()
}

async fn ask_in_turn(shared: &Arc<Shared>, call: &Call<'_>) -> Result<RendezvousOutcome, DbError> {
    let turn = shared.looks.acquire().await;
    let answer = shared.ask(call).await;
    drop(turn);
    answer
}

/// Tries the target of a reserved key, and signals that key.
async fn probe(shared: Arc<Shared>, entry: Arc<Entry>) {
    let Some(target) = &entry.target else { return };
    let waited = match attempt(&shared, target).await {
        Ok(()) => {
            let call = Call::Signal { key: &entry.key, payload: None, ttl: None, probe: true };
            match shared.ask(&call).await {
                Ok(_) => shared.metrics.rendezvous_signals.with_label_values(&["probe"]).inc(),
                // It answers all the same, and that is what was asked.
                Err(error) => tracing::debug!(%error, key = %entry.key, "cannot mark a probe that succeeded"),
            }
            Waited::Signalled(Arc::new(Mark::default()))
        }
        Err(Miss::Refused(why)) => Waited::Refused(why.into()),
        Err(Miss::Wrong(why)) => Waited::Wrong(why.into()),
        Err(Miss::NotYet(_)) => Waited::TimedOut,
    };
    entry.tell(waited);
}

async fn attempt(shared: &Shared, target: &Target) -> Result<(), Miss> {
    Box::pin(shared.probes.prober().until(target, Instant::now() + PROBING)).await
}

/// A task that ends when nobody wants it any more.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}
