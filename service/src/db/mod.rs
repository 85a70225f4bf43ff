//! The database: the one handle through which everything above reaches the functions of schema `goahead`.

mod address;
mod embedded;
mod error;
mod fold;
mod groups;
mod health;
mod json;
mod notifications;
mod outcome;
mod pool;
mod rhythm;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, types::Type};

pub use self::address::Address;
pub use self::embedded::{Embedded, default_data_directory, running_at};
pub use self::error::{DbError, SqlError, chain as error_chain};
pub use self::health::Health;
pub use self::json::Json;
pub use self::notifications::{Notifications, Subscription};
pub use self::outcome::{Kind, LockOutcome, Meeting, Outcome, RendezvousOutcome};
pub use self::pool::Connector;

use self::fold::{Busy, Fold, FoldKind};
use crate::metrics::Metrics;

/// Connections for administration.
const POOL: usize = 4;
/// How long a call over the pool may take; the server cancels it a little earlier and says so.
const CALL_LIMIT: Duration = Duration::from_millis(5500);
const POOL_SESSION: &str = "-c statement_timeout=5s -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s";

const LONG_LIMIT: Duration = Duration::from_secs(300);
const LONG_SESSION: &str = "-c statement_timeout=295s -c lock_timeout=10s";

// What an inquiry writes is an observation that the next inquiry repeats: it may get lost in a crash.
const INQUIRE: FoldKind = FoldKind {
    name: "inquire",
    sql: "SELECT goahead.judge_restarts($1, 'none')",
    options: "-c synchronous_commit=off",
    repeatable: true,
};
const CONTACT: FoldKind =
    FoldKind { name: "contact", sql: "SELECT goahead.judge_restarts($1, 'none')", options: "", repeatable: false };
// All that locks clusters, over one connection: two would find each other's clusters locked.
const DECIDE: FoldKind =
    FoldKind { name: "decide", sql: "SELECT goahead.judge_restarts($1, 'free')", options: "", repeatable: false };
const LOCKS: FoldKind =
    FoldKind { name: "lock", sql: "SELECT goahead.judge_locks($1, false)", options: "", repeatable: false };
const LOCKS_ALONE: &str = "SELECT goahead.judge_locks($1, true)";
const RENDEZVOUS: FoldKind =
    FoldKind { name: "rendezvous", sql: "SELECT goahead.judge_rendezvous($1, false)", options: "", repeatable: false };
const RENDEZVOUS_ALONE: &str = "SELECT goahead.judge_rendezvous($1, true)";
const DECIDE_ALONE: &str = "SELECT goahead.judge_restarts($1, 'wait')";

/// Parameters of a call.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A handle to the database; clones share its connections.
#[derive(Clone)]
pub struct Database {
    inquire: Fold,
    contact: Fold,
    decide: Fold,
    locks: Fold,
    rendezvous: Fold,
    notifications: Notifications,
    pool: Pool,
    connector: Connector,
    health: Health,
    metrics: Arc<Metrics>,
}

impl Database {
    /// A handle that connects when it is first asked. Needs a tokio runtime.
    pub fn new(connector: &Connector, metrics: Arc<Metrics>) -> Self {
        let health = Health::new(metrics.clone());
        let fold = |kind, busy| Fold::start(kind, busy, connector, health.clone(), metrics.clone());
        let locks = Busy::AskAlone(LOCKS_ALONE);
        let locks = Fold::start(LOCKS, locks, connector, health.clone(), metrics.clone());
        let rendezvous = fold(RENDEZVOUS, Busy::AskAlone(RENDEZVOUS_ALONE));
        let decide = fold(DECIDE, Busy::AskAlone(DECIDE_ALONE));
        Self {
            inquire: fold(INQUIRE, Busy::HandOn(decide.clone())),
            contact: fold(CONTACT, Busy::HandOn(decide.clone())),
            decide,
            locks,
            rendezvous,
            notifications: Notifications::new(connector, &["goahead_lock", "goahead_rendezvous"]),
            pool: connector.with_options(POOL_SESSION).pool(POOL),
            connector: connector.clone(),
            health: health.clone(),
            metrics: metrics.clone(),
        }
    }

    /// `goahead.judge_restarts` for one inquiry, a JSON object as text.
    ///
    /// # Errors
    /// `Unavailable` after two seconds at the latest; 55P03 when the cluster stays locked.
    pub async fn inquire(&self, item: String) -> Result<Outcome, DbError> {
        self.inquire.ask(item).await
    }

    /// `goahead.judge_restarts` for one request without a request_id, which hardly ever changes who holds a slot.
    ///
    /// # Errors
    /// As [`Self::inquire`].
    pub async fn contact(&self, item: String) -> Result<Outcome, DbError> {
        self.contact.ask(item).await
    }

    /// `goahead.judge_restarts` for one call that may well be granted or release a slot.
    ///
    /// # Errors
    /// As [`Self::inquire`].
    pub async fn decide(&self, item: String) -> Result<Outcome, DbError> {
        self.decide.ask(item).await
    }

    /// `goahead.judge_locks` for one call, a JSON object as text.
    ///
    /// # Errors
    /// `Unavailable` after two seconds at the latest; 55P03 when somebody else keeps deciding about the lock.
    pub async fn lock(&self, item: String) -> Result<LockOutcome, DbError> {
        self.locks.ask(item).await
    }

    /// `goahead.judge_rendezvous` for one call, a JSON object as text.
    ///
    /// # Errors
    /// `Unavailable` after two seconds at the latest; 55P03 when somebody else keeps deciding about the key.
    pub async fn rendezvous(&self, item: String) -> Result<RendezvousOutcome, DbError> {
        self.rendezvous.ask(item).await
    }

    /// Begins to wait for a notification, `channel:payload`.
    pub fn subscribe(&self, key: String) -> Subscription {
        self.notifications.subscribe(key)
    }

    /// Connects once.
    ///
    /// # Errors
    /// Why that fails, as the server says it: a wrong password is an error of SQL here.
    pub async fn reach(&self) -> Result<(), DbError> {
        self.connector.connect().await.map(drop)
    }

    /// Rows of a statement, over the pool.
    ///
    /// # Errors
    /// `Unavailable` when there is no connection within two seconds; what the statement raised.
    pub async fn call(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        self.bounded(self.call_unbounded(None, sql, params)).await
    }

    /// The json or jsonb in the first column of the first row; none for NULL and for no row.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn json(&self, sql: &str, params: Params<'_>) -> Result<Option<Box<RawValue>>, DbError> {
        first_json(&self.call(sql, params).await?)
    }

    /// The same on behalf of `actor`, whose name goes into the events that the call writes. A function that returns
    /// nothing gives none.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn json_as(&self, actor: &str, sql: &str, params: Params<'_>) -> Result<Option<Box<RawValue>>, DbError> {
        first_json(&self.bounded(self.call_unbounded(Some(actor), sql, params)).await?)
    }

    /// Rows of a statement that may take long, such as an import of thousands of clusters; over a connection of its own.
    ///
    /// # Errors
    /// As [`Self::call`], and when it takes longer than five minutes.
    pub async fn call_at_length(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        let connector = self.connector.with_options(LONG_SESSION);
        let call = async {
            let (client, _) = connector.connect().await?;
            Ok(client.query(sql, params).await?)
        };
        let result = match timeout(LONG_LIMIT, call).await {
            Ok(result) => result,
            Err(_) => Err(DbError::Unavailable(format!("no answer within {LONG_LIMIT:?}"))),
        };
        self.health.seen(&result);
        result
    }

    /// Connections of the pool, into the gauges.
    pub fn observe_pool(&self) {
        let status = self.pool.status();
        for (state, count) in [("open", status.size), ("idle", status.available), ("waiting", status.waiting)] {
            self.metrics.pool.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
        let result = match timeout(CALL_LIMIT, call).await {
            Ok(result) => result,
            Err(_) => Err(DbError::Unavailable(format!("no answer within {CALL_LIMIT:?}"))),
        };
        self.health.seen(&result);
        result
    }

    async fn call_unbounded(&self, actor: Option<&str>, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        let mut client = pool::connection(&self.pool).await.map_err(DbError::at_connect)?;
        let statement = client.prepare_cached(sql).await;
        let result = match (statement, actor) {
            (Err(error), _) => Err(error),
            (Ok(statement), None) => client.query(&statement, params).await,
            (Ok(statement), Some(actor)) => as_actor(&mut client, actor, &statement, params).await,
        };
        let result = result.map_err(DbError::from);
        pool::give_back(client, &result);
        result
    }
}

async fn as_actor(
    client: &mut deadpool_postgres::Object,
    actor: &str,
    statement: &tokio_postgres::Statement,
    params: Params<'_>,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.query_typed("SELECT pg_catalog.set_config('goahead.actor', $1, true)", &[(&actor, Type::TEXT)]).await?;
    let rows = transaction.query(statement, params).await?;
    transaction.commit().await?;
    Ok(rows)
}

fn first_json(rows: &[Row]) -> Result<Option<Box<RawValue>>, DbError> {
    let Some(row) = rows.first() else { return Ok(None) };
    match row.columns().first().map(|column| column.type_().clone()) {
        Some(Type::JSON | Type::JSONB) => {}
        _ => return Ok(None),
    }
    let Some(Json(text)) = row.try_get::<_, Option<Json<'_>>>(0)? else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|error| DbError::Answer(error.to_string()))
}
