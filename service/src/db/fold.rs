//! Folding: concurrent calls of one kind share one call to the database, and so one commit.
//!
//! A task per kind owns a connection. It takes whatever is queued, hands it to the set form of a function as one JSON
//! array and gives each caller its element of the array that comes back. It waits for nothing more, except where calls
//! take long (see [`rhythm`](super::rhythm)). A set whose group is
//! locked by another transaction does not wait for it: the item comes back `busy` and is asked again, at last alone on a
//! connection that waits for locks up to a second, so that one open transaction stalls only its own group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use super::groups::Groups;
use super::pool::{Connector, connection, give_back};
use super::rhythm::Rhythm;
use super::{DbError, Health, Json, Kind, Outcome, SqlError};
use crate::metrics::Metrics;

/// Items of one call at most.
const BATCH: usize = 256;
/// Callers that may queue; more are answered `Unavailable` at once.
const QUEUE: usize = 16 * 1024;
/// How long a caller waits for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one call may take before its connection is given up. Longer than a caller waits: an answer that is merely
/// late is still carried out, and a caller that repeats itself finds it done.
const CALL_LIMIT: Duration = Duration::from_secs(6);
/// The same limit as the server enforces it, a little earlier, so that it says why.
const SESSION: &str = "-c statement_timeout=5s -c idle_in_transaction_session_timeout=10s";
/// How long a call that waits for its group's lock waits, and one that runs a blocker of the operator's runs.
const PATIENT_SESSION: &str = "-c lock_timeout=1s -c statement_timeout=1900ms";
/// An item of no meaning. A set of one waits for its group's lock and runs its blocker; in company it comes back `busy`.
const COMPANY: &str = "null";
/// Connections for calls that wait for a lock.
const PATIENT_CONNECTIONS: usize = 4;
/// Pauses before a busy item joins another set; a set of another service holds the lock for about as long as a commit.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(2), Duration::from_millis(5)];
/// Pauses between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

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

/// A queue to the task of one kind.
#[derive(Clone)]
pub struct Fold(Arc<Shared>);

struct Shared {
    kind: FoldKind,
    queue: mpsc::Sender<Item>,
    patient: Pool,
    groups: Groups,
    health: Health,
    metrics: Arc<Metrics>,
}

struct Item {
    text: String,
    answer: oneshot::Sender<Answer>,
}

/// The answer as the database wrote it, which the caller reads on its own time, and the item's text back for another
/// attempt.
type Answer = (Result<Box<RawValue>, DbError>, String);

impl Fold {
    /// Starts the task of `kind`; it ends when the last clone is dropped. Connects when first asked.
    pub fn start(kind: FoldKind, connector: &Connector, health: Health, metrics: Arc<Metrics>) -> Self {
        let connector = connector.with_options(SESSION).with_options(kind.options);
        let (queue, items) = mpsc::channel(QUEUE);
        let patient = connector.with_options(PATIENT_SESSION).pool(PATIENT_CONNECTIONS);
        let worker = Worker {
            kind,
            connector,
            health: health.clone(),
            metrics: metrics.clone(),
            link: None,
            down: None,
            rhythm: Rhythm::default(),
        };
        tokio::spawn(worker.run(items));
        Self(Arc::new(Shared { kind, queue, patient, groups: Groups::default(), health, metrics }))
    }

    /// The database's answer to one item, a JSON object as text. Never `Kind::Busy`.
    ///
    /// # Errors
    /// `Unavailable` after two seconds at the latest; 55P03 when the item's group stays locked.
    pub async fn ask(&self, item: String) -> Result<Outcome, DbError> {
        match timeout(PATIENCE, self.ask_until_free(item)).await {
            Ok(result) => result,
            Err(_) => Err(DbError::Unavailable(format!("no answer within {PATIENCE:?}"))),
        }
    }

    async fn ask_until_free(&self, mut item: String) -> Result<Outcome, DbError> {
        let mut group: Option<String> = None;
        for pause in PAUSES {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let (answer, asked) = self.ask_in_a_set(item).await?;
            let outcome: Outcome = read(answer?.get())?;
            if outcome.kind != Kind::Busy {
                return Ok(outcome);
            }
            group = outcome.cluster;
            item = asked;
            // A blocker is never asked for a set, however often.
            if outcome.condition.as_deref() == Some("blocker") {
                break;
            }
            if group.as_ref().is_some_and(|group| self.0.groups.is_stuck(group)) {
                return Err(still_busy());
            }
        }
        self.0.metrics.fold_busy.with_label_values(&[self.0.kind.name]).inc();
        let Some(group) = group else { return self.ask_alone(&item).await };
        let _turn = self.0.groups.turn(&group).await;
        // It may have turned out so while this one waited for its turn.
        if self.0.groups.is_stuck(&group) {
            return Err(still_busy());
        }
        let answer = self.ask_alone(&item).await;
        if answer.as_ref().err().and_then(DbError::code) == Some("55P03") {
            self.0.groups.note_stuck(&group);
        }
        answer
    }

    async fn ask_in_a_set(&self, text: String) -> Result<Answer, DbError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .queue
            .try_send(Item { text, answer })
            .map_err(|_| DbError::Unavailable("too many requests are waiting".into()))?;
        // The task drops an item without an answer only when the process ends.
        answered.await.map_err(|_| DbError::Unavailable("the service is shutting down".into()))
    }

    /// A set of one waits for its group's lock.
    async fn ask_alone(&self, item: &str) -> Result<Outcome, DbError> {
        let result = self.call_alone(item).await;
        self.0.health.seen(&result);
        match result? {
            outcome if outcome.kind == Kind::Busy => Err(still_busy()),
            outcome => Ok(outcome),
        }
    }

    async fn call_alone(&self, item: &str) -> Result<Outcome, DbError> {
        let client = connection(&self.0.patient).await.map_err(DbError::at_connect)?;
        let items = format!("[{item}]");
        let call = async {
            let statement = client.prepare_typed_cached(self.0.kind.sql, &[Type::TEXT]).await?;
            let row = client.query_one(&statement, &[&Json(&items)]).await?;
            let Json(text) = row.try_get(0)?;
            let mut outcomes: Vec<Outcome> = read(text)?;
            outcomes.pop().ok_or_else(|| DbError::Answer("an empty array".into()))
        };
        let result = call.await;
        give_back(client, &result);
        result
    }
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

/// The task of one kind.
struct Worker {
    kind: FoldKind,
    connector: Connector,
    health: Health,
    metrics: Arc<Metrics>,
    link: Option<Link>,
    down: Option<Down>,
    rhythm: Rhythm,
}

/// An open connection.
struct Link {
    client: Client,
    statement: Statement,
    _driver: AbortOnDrop,
}

/// Closes the socket of a connection that is given up, whatever it is waiting for.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Since when there is no connection.
struct Down {
    since: Instant,
    next: Instant,
    pause: Duration,
    reason: DbError,
}

impl Worker {
    async fn run(mut self, mut queue: mpsc::Receiver<Item>) {
        let sizes = self.metrics.fold_batch.with_label_values(&[self.kind.name]);
        let durations = self.metrics.fold_duration.with_label_values(&[self.kind.name]);
        let mut items = Vec::with_capacity(BATCH);
        let mut text = String::new();
        while queue.recv_many(&mut items, BATCH).await > 0 {
            self.gather(&mut queue, &mut items).await;
            // Who gave up waiting will ask again.
            items.retain(|item| !item.answer.is_closed());
            if items.is_empty() {
                continue;
            }
            sizes.observe(u32::try_from(items.len()).map_or(f64::MAX, f64::from));
            array(&items, &mut text);
            let started = Instant::now();
            let mut answer = self.call(&text).await;
            if self.kind.repeatable && matches!(answer, Err(DbError::Unavailable(_))) {
                answer = self.call(&text).await;
            }
            let taken = started.elapsed();
            durations.observe(taken.as_secs_f64());
            self.rhythm.called(items.len(), queue.len(), taken);
            self.health.seen(&answer);
            // A caller that has given up in the meantime needs no answer, so a failed send is none.
            match answer.and_then(|row| split(&row, items.len())) {
                Ok(answers) => {
                    for (item, answer) in items.drain(..).zip(answers) {
                        let _ = item.answer.send((Ok(answer), item.text));
                    }
                }
                Err(error) => {
                    for item in items.drain(..) {
                        let _ = item.answer.send((Err(error.clone()), item.text));
                    }
                }
            }
        }
    }

    /// Waits a little for callers that were answered a moment ago, if that pays.
    async fn gather(&mut self, queue: &mut mpsc::Receiver<Item>, items: &mut Vec<Item>) {
        let Some(wait) = self.rhythm.wait(items.len(), BATCH) else { return };
        let deadline = tokio::time::Instant::now() + wait.limit;
        while items.len() < wait.callers {
            match timeout_at(deadline, queue.recv_many(items, BATCH - items.len())).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        self.rhythm.waited(wait, items.len());
    }

    /// Calls the set form. After an error the connection is a new one: whatever was wrong with the old one (a standby
    /// now, a statement planned for another version of the extension) may be right there.
    async fn call(&mut self, items: &str) -> Result<Row, DbError> {
        let link = self.link().await?;
        let parameters: [&(dyn ToSql + Sync); 1] = [&Json(items)];
        let call = link.client.query_one(&link.statement, &parameters);
        let result = match timeout(CALL_LIMIT, call).await {
            Ok(result) => result.map_err(DbError::from),
            Err(_) => Err(DbError::Unavailable(format!("no answer within {CALL_LIMIT:?}"))),
        };
        if result.is_err() {
            self.link = None;
        }
        result
    }

    /// The open connection, or a new one. A database that went away a moment ago is waited for, so that a restart or a
    /// failover of a second is not noticed; one that stays away is reported at once.
    async fn link(&mut self) -> Result<&Link, DbError> {
        if self.link.as_ref().is_some_and(|link| link.client.is_closed()) {
            self.link = None;
        }
        while self.link.is_none() {
            if let Some(down) = &mut self.down {
                let now = Instant::now();
                // Nobody asked for a while, and much may have happened since.
                if now.saturating_duration_since(down.next) >= PATIENCE {
                    down.since = now;
                }
                // Somebody else may have seen it answer since.
                if now < down.next && !self.health.is_up() {
                    if now.duration_since(down.since) >= PATIENCE {
                        return Err(down.reason.clone());
                    }
                    tokio::time::sleep(down.next - now).await;
                }
            }
            match self.open().await.map_err(DbError::at_connect) {
                Ok(link) => {
                    self.link = Some(link);
                    self.down = None;
                }
                Err(reason) => {
                    let now = Instant::now();
                    let (since, pause) = match &self.down {
                        Some(down) => (down.since, (down.pause * 2).min(BACKOFF.1)),
                        None => (now, BACKOFF.0),
                    };
                    let down = Down { since, next: now + pause, pause, reason: reason.clone() };
                    self.health.seen::<()>(&Err(reason.clone()));
                    self.down = Some(down);
                    if now.duration_since(since) >= PATIENCE {
                        return Err(reason);
                    }
                }
            }
        }
        self.link.as_ref().ok_or_else(|| DbError::Unavailable("no connection".into()))
    }

    async fn open(&self) -> Result<Link, DbError> {
        let (client, driver) = self.connector.connect().await?;
        let driver = AbortOnDrop(driver);
        let prepare = client.prepare_typed(self.kind.sql, &[Type::TEXT]);
        match timeout(PATIENCE, prepare).await {
            Ok(statement) => Ok(Link { statement: statement?, client, _driver: driver }),
            Err(_) => Err(DbError::Unavailable(format!("no answer within {PATIENCE:?}"))),
        }
    }
}

/// Writes the items as one JSON array into `text`: two at least, so that nobody waits for the lock of one group.
fn array(items: &[Item], text: &mut String) {
    text.clear();
    for item in items {
        text.push(if text.is_empty() { '[' } else { ',' });
        text.push_str(&item.text);
    }
    if items.len() == 1 {
        text.push(',');
        text.push_str(COMPANY);
    }
    text.push(']');
}

/// The elements of the answer, for the first `count` items that were asked.
fn split(row: &Row, count: usize) -> Result<Vec<Box<RawValue>>, DbError> {
    let Json(text) = row.try_get(0)?;
    let mut answers: Vec<Box<RawValue>> = read(text)?;
    if answers.len() != count.max(2) {
        return Err(DbError::Answer(format!("{} answers to {count} items", answers.len())));
    }
    answers.truncate(count);
    Ok(answers)
}
