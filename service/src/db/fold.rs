//! Folding: concurrent calls of one kind share one call to the database, and so one commit.
//!
//! A task per kind owns a connection. It takes whatever is queued, hands it to the set form of a function as one JSON
//! array and gives each caller its element of the array that comes back (see [`worker`]). A set does not wait for locks:
//! an item whose group another transaction has locked comes back `busy`. From a kind whose calls lock no group it goes to
//! the one whose calls do; there it is asked again, at last alone on a connection that waits for locks up to a second, so
//! that one open transaction stalls only its own group.

mod worker;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_postgres::types::Type;

use super::groups::Groups;
use super::pool::{Connector, connection, give_back};
use super::{DbError, Health, Json, SqlError};
use crate::metrics::Metrics;

/// Callers that may queue; more are answered `Unavailable` at once.
const QUEUE: usize = 16 * 1024;
/// How long a caller waits for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a call that waits for its group's lock waits, and one that runs a blocker of the operator's runs.
const PATIENT_SESSION: &str = "-c lock_timeout=1s -c statement_timeout=1900ms";
/// Connections for calls that wait for a lock.
const PATIENT_CONNECTIONS: usize = 4;
/// Pauses before a busy item joins another set; a set of another service holds the lock for about as long as a commit.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(2), Duration::from_millis(5)];

/// What is folded.
#[derive(Debug, Clone, Copy)]
pub struct FoldKind {
    /// The label in metrics
    pub name: &'static str,
    /// The call: one parameter, one result, both JSON arrays of the same length and order
    pub sql: &'static str,
    /// Startup options of its connections
    pub options: &'static str,
    /// Whether a call whose connection broke is made once more: only for what may happen twice
    pub repeatable: bool,
}

/// What a set form answers for one item.
pub trait Answered: DeserializeOwned {
    /// Why the item is to be asked again, if it is.
    fn busy(&self) -> Option<Why<'_>>;
}

/// Why an item is to be asked again.
#[derive(Debug, Clone, Copy)]
pub struct Why<'a> {
    /// Whose lock somebody else holds
    pub group: Option<&'a str>,
    /// It is never judged in a set, however often it is asked
    pub never_in_a_set: bool,
}

/// What becomes of an item that comes back busy.
pub enum Busy {
    /// Another kind of calls, which locks groups, gets it.
    HandOn(Fold),
    /// It is asked again, and at last alone, by this statement, which waits for locks.
    AskAlone(&'static str),
}

/// A queue to the task of one kind.
#[derive(Clone)]
pub struct Fold(Arc<Shared>);

struct Shared {
    name: &'static str,
    queue: mpsc::Sender<Item>,
    busy: Way,
    health: Health,
    metrics: Arc<Metrics>,
}

enum Way {
    HandOn(Fold),
    AskAlone { sql: &'static str, pool: Pool, groups: Groups },
}

struct Item {
    text: String,
    answer: oneshot::Sender<Answer>,
}

/// The answer as the database wrote it, which the caller reads on its own time, and the item's text back for another
/// attempt.
type Answer = (Result<Box<RawValue>, DbError>, String);

impl Fold {
    /// Starts the task of `kind`; it ends when the last clone is dropped. It connects when first asked.
    pub fn start(kind: FoldKind, busy: Busy, connector: &Connector, health: Health, metrics: Arc<Metrics>) -> Self {
        let connector = connector.with_options(worker::SESSION).with_options(kind.options);
        let (queue, items) = mpsc::channel(QUEUE);
        let busy = match busy {
            Busy::HandOn(fold) => Way::HandOn(fold),
            Busy::AskAlone(sql) => {
                let pool = connector.with_options(PATIENT_SESSION).pool(PATIENT_CONNECTIONS);
                Way::AskAlone { sql, pool, groups: Groups::default() }
            }
        };
        worker::start(kind, connector, items, health.clone(), Arc::clone(&metrics));
        Self(Arc::new(Shared { name: kind.name, queue, busy, health, metrics }))
    }

    /// The database's answer to one item, a JSON object as text. Never a busy one.
    ///
    /// # Errors
    /// `Unavailable` after two seconds at the latest; 55P03 when the item's group stays locked.
    pub async fn ask<T: Answered>(&self, item: String) -> Result<T, DbError> {
        match timeout(PATIENCE, self.ask_until_free(item)).await {
            Ok(result) => result,
            Err(_) => Err(DbError::Unavailable(format!("no answer within {PATIENCE:?}"))),
        }
    }

    async fn ask_until_free<T: Answered>(&self, item: String) -> Result<T, DbError> {
        match &self.0.busy {
            Way::HandOn(fold) => {
                let (outcome, item): (T, _) = self.ask_in_a_set(item).await?;
                if outcome.busy().is_none() {
                    return Ok(outcome);
                }
                self.0.metrics.fold_busy.with_label_values(&[self.0.name]).inc();
                Box::pin(fold.ask_until_free(item)).await
            }
            Way::AskAlone { sql, pool, groups } => self.ask_repeatedly(item, sql, pool, groups).await,
        }
    }

    async fn ask_repeatedly<T: Answered>(
        &self,
        mut item: String,
        sql: &str,
        pool: &Pool,
        groups: &Groups,
    ) -> Result<T, DbError> {
        let mut group: Option<String> = None;
        for pause in PAUSES {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let (outcome, asked): (T, _) = self.ask_in_a_set(item).await?;
            let Some(why) = outcome.busy() else { return Ok(outcome) };
            group = why.group.map(str::to_owned);
            item = asked;
            if why.never_in_a_set {
                break;
            }
            if group.as_ref().is_some_and(|group| groups.is_stuck(group)) {
                return Err(still_busy());
            }
        }
        self.0.metrics.fold_busy.with_label_values(&[self.0.name]).inc();
        let Some(group) = group else { return self.ask_alone(&item, sql, pool).await };
        let _turn = groups.turn(&group).await;
        // It may have turned out so while this one waited for its turn.
        if groups.is_stuck(&group) {
            return Err(still_busy());
        }
        let answer: Result<T, DbError> = self.ask_alone(&item, sql, pool).await;
        if answer.as_ref().err().and_then(DbError::code) == Some("55P03") {
            groups.note_stuck(&group);
        }
        answer
    }

    /// What a set says of an item, and the item back.
    async fn ask_in_a_set<T: Answered>(&self, text: String) -> Result<(T, String), DbError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .queue
            .try_send(Item { text, answer })
            .map_err(|_| DbError::Unavailable("too many requests are waiting".into()))?;
        // The task drops an item without an answer only when the process ends.
        let (answer, asked) =
            answered.await.map_err(|_| DbError::Unavailable("the service is shutting down".into()))?;
        Ok((read(answer?.get())?, asked))
    }

    async fn ask_alone<T: Answered>(&self, item: &str, sql: &str, pool: &Pool) -> Result<T, DbError> {
        let result = call_alone::<T>(item, sql, pool).await;
        self.0.health.seen(&result);
        match result? {
            outcome if outcome.busy().is_some() => Err(still_busy()),
            outcome => Ok(outcome),
        }
    }
}

async fn call_alone<T: Answered>(item: &str, sql: &str, pool: &Pool) -> Result<T, DbError> {
    let client = connection(pool).await.map_err(DbError::at_connect)?;
    let items = format!("[{item}]");
    let call = async {
        let statement = client.prepare_typed_cached(sql, &[Type::TEXT]).await?;
        let row = client.query_one(&statement, &[&Json(&items)]).await?;
        let Json(text) = row.try_get(0)?;
        let mut outcomes: Vec<T> = read(text)?;
        outcomes.pop().ok_or_else(|| DbError::Answer("an empty array".into()))
    };
    let result = call.await;
    give_back(client, &result);
    result
}

fn still_busy() -> DbError {
    DbError::Sql(Box::new(SqlError {
        code: "55P03".into(),
        message: "another transaction holds the lock of this group".into(),
        detail: None,
        hint: Some("Ask again in a second; if it lasts, look for an open transaction in pg_stat_activity.".into()),
    }))
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|error| DbError::Answer(error.to_string()))
}
