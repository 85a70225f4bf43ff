//! The task behind a queue: it takes what is there, calls the database, and hands out the answers.
//!
//! It waits for nothing more than what is queued, except where calls take long (see
//! [`rhythm`](crate::db::rhythm)).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use super::{FoldKind, Item, PATIENCE, read};
use crate::db::pool::Connector;
use crate::db::rhythm::Rhythm;
use crate::db::{DbError, Health, Json};
use crate::metrics::Metrics;

/// Items of one call at most.
const BATCH: usize = 256;
/// How long one call may take before its connection is given up. Longer than a caller waits: an answer that is merely
/// late is still carried out, and a caller that repeats itself finds it done.
const CALL_LIMIT: Duration = Duration::from_secs(6);
/// The same limit as the server enforces it, a little earlier, so that it says why.
pub const SESSION: &str = "-c statement_timeout=5s -c idle_in_transaction_session_timeout=10s";
/// Pauses between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Starts the task of `kind`, which empties the queue.
pub fn start(kind: FoldKind, connector: Connector, queue: mpsc::Receiver<Item>, health: Health, metrics: Arc<Metrics>) {
    let worker = Worker { kind, connector, health, metrics, link: None, down: None, rhythm: Rhythm::default() };
    tokio::spawn(worker.run(queue));
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

/// Writes the items as one JSON array into `text`.
fn array(items: &[Item], text: &mut String) {
    text.clear();
    for item in items {
        text.push(if text.is_empty() { '[' } else { ',' });
        text.push_str(&item.text);
    }
    text.push(']');
}

/// The elements of the answer, one for each of `count` items.
fn split(row: &Row, count: usize) -> Result<Vec<Box<RawValue>>, DbError> {
    let Json(text) = row.try_get(0)?;
    let answers: Vec<Box<RawValue>> = read(text)?;
    if answers.len() != count {
        return Err(DbError::Answer(format!("{} answers to {count} items", answers.len())));
    }
    Ok(answers)
}
