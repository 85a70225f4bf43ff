//! Barriers: those who arrive wait until all are there.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::attend::notification;
use super::call::Call;
use super::{Key, LAST_LOOK, Rendezvous, Shared};
use crate::db::{DbError, Meeting, RendezvousOutcome};

/// How soon a database that did not answer is asked again, about.
const RETRY: Duration = Duration::from_millis(500);

/// How the wait at a barrier ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    /// All parties are there
    Released {
        /// Which meeting of this barrier it was, from 1
        generation: i64,
    },
    /// The time was up before the others came
    TimedOut,
    /// The call does not fit those before it: message and hint
    Invalid(String, Option<String>),
    /// The service ends
    Stopping,
}

impl Rendezvous {
    /// Arrives at a barrier and waits for the other parties, at most until `deadline`. Dropped before, it departs.
    ///
    /// # Errors
    /// `Answer` for what the database should never say. While the database is away this waits.
    pub async fn meet(&self, key: Key, parties: u32, member: String, deadline: Instant) -> Result<Met, DbError> {
        let mut closing = self.0.closing.clone();
        // Before the arrival, so that no release falls between the two.
        let releases = self.0.db.subscribe(notification(&key));
        let mut visit = Visit::new(Arc::clone(&self.0), key, member);
        let mut generation = None;
        let met = loop {
            let patience = deadline.max(Instant::now() + LAST_LOOK);
            let Ok(outcome) = timeout_at(patience, visit.arrive(parties, generation)).await else {
                break Met::TimedOut;
            };
            let pause = match outcome {
                Ok(outcome) => match visit.read(outcome)? {
                    Progress::Done(met) => break met,
                    Progress::Waits(number) => {
                        generation = Some(number);
                        self.0.floor()
                    }
                },
                Err(error @ DbError::Answer(_)) => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, key = %visit.key, "cannot arrive at a barrier yet");
                    RETRY.mul_f64(rand::random_range(0.8..1.6))
                }
            };
            let rest = releases.changed(pause);
            tokio::select! {
                rested = timeout_at(deadline, rest) => {
                    // Whoever departs too late was released, and is told so by the next turn.
                    if rested.is_err() && !visit.departs_too_late().await {
                        break Met::TimedOut;
                    }
                }
                () = closed(&mut closing) => break Met::Stopping,
            }
        };
        let how = match &met {
            Met::Released { .. } => "released",
            Met::TimedOut => "timed_out",
            Met::Invalid(..) => "refused",
            Met::Stopping => "stopping",
        };
        visit.arrived &= matches!(met, Met::Stopping | Met::TimedOut);
        self.0.metrics.rendezvous_waits.with_label_values(&[how]).inc();
        Ok(met)
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    if closing.wait_for(|closing| *closing).await.is_err() {
        // Nobody can ask for it any more.
        std::future::pending().await
    }
}

enum Progress {
    Done(Met),
    Waits(i64),
}

/// How often each member waits at a barrier here.
pub type Visits = HashMap<(Key, String), usize>;

/// A member at a barrier, who departs when dropped.
struct Visit {
    shared: Arc<Shared>,
    key: Key,
    member: String,
    /// Whether there may be an arrival to take back
    arrived: bool,
}

impl Visit {
    fn new(shared: Arc<Shared>, key: Key, member: String) -> Self {
        let visit = Self { shared, key, member, arrived: true };
        *visit.visits().entry(visit.name()).or_default() += 1;
        visit.shared.metrics.rendezvous_waiting.inc();
        visit
    }

    fn visits(&self) -> MutexGuard<'_, Visits> {
        // Nothing that could panic runs under this lock.
        self.shared.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> (Key, String) {
        (self.key.clone(), self.member.clone())
    }

    /// Whether the same member waits here once more: a client that repeats its request has not gone away, whatever became
    /// of its first connection.
    fn is_repeated(&self) -> bool {
        self.visits().get(&self.name()).is_some_and(|times| *times > 1)
    }

    async fn arrive(&self, parties: u32, generation: Option<i64>) -> Result<RendezvousOutcome, DbError> {
        self.shared.ask(&Call::Arrive { key: &self.key, parties, member: &self.member, generation }).await
    }

    fn read(&self, outcome: RendezvousOutcome) -> Result<Progress, DbError> {
        let generation = || outcome.generation.ok_or_else(|| DbError::Answer("a barrier without a generation".into()));
        match outcome.outcome {
            Meeting::Released => Ok(Progress::Done(Met::Released { generation: generation()? })),
            Meeting::Arrived => Ok(Progress::Waits(generation()?)),
            Meeting::Invalid => Ok(Progress::Done(Met::Invalid(outcome.message.unwrap_or_default(), outcome.hint))),
            other => Err(DbError::Answer(format!("{other:?} at a barrier"))),
        }
    }

    /// Takes the arrival back, unless the others have come meanwhile.
    async fn departs_too_late(&mut self) -> bool {
        if self.is_repeated() {
            return false;
        }
        let depart = Call::Depart { key: &self.key, member: &self.member };
        match timeout(LAST_LOOK, self.shared.ask(&depart)).await {
            Ok(Ok(outcome)) => {
                self.arrived = false;
                outcome.outcome == Meeting::NotHere
            }
            // It is tried once more when this is dropped.
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.shared.metrics.rendezvous_waiting.dec();
        let mut visits = self.visits();
        let others = visits.get_mut(&self.name()).map_or(0, |times| {
            *times -= 1;
            *times
        });
        if others == 0 {
            visits.remove(&self.name());
        }
        drop(visits);
        if !self.arrived || others > 0 {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, key, member) = (Arc::clone(&self.shared), self.key.clone(), std::mem::take(&mut self.member));
        runtime.spawn(async move {
            let turn = shared.looks.acquire().await;
            if let Err(error) = shared.ask(&Call::Depart { key: &key, member: &member }).await {
                tracing::debug!(%error, %key, "cannot take an arrival back; it ends by itself");
            }
            drop(turn);
        });
    }
}
