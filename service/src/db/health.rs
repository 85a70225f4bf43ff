//! Whether the database answers, as last seen; says so once per change, not once per request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::DbError;
use crate::metrics::Metrics;

/// Shared by everything that talks to the database.
#[derive(Clone)]
pub struct Health(Arc<State>);

struct State {
    up: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Health {
    /// A database that is supposed to answer until it does not.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        metrics.database_up.set(1);
        Self(Arc::new(State { up: AtomicBool::new(true), metrics }))
    }

    /// It answered, if only with an error of SQL.
    pub fn up(&self) {
        // The plain load keeps a shared cache line clean on the path of every request.
        if !self.0.up.load(Ordering::Relaxed) && !self.0.up.swap(true, Ordering::Relaxed) {
            self.0.metrics.database_up.set(1);
            tracing::warn!("the database answers again");
        }
    }

    /// It did not answer.
    pub fn down(&self, reason: &str) {
        if self.0.up.swap(false, Ordering::Relaxed) {
            self.0.metrics.database_up.set(0);
            tracing::warn!(reason, "the database does not answer; requests get 503 until it does");
        }
    }

    /// Whether it answered when it was last asked.
    pub fn is_up(&self) -> bool {
        self.0.up.load(Ordering::Relaxed)
    }

    /// Judges by the result of a call.
    pub fn seen<T>(&self, result: &Result<T, DbError>) {
        match result {
            Err(DbError::Unavailable(reason)) => self.down(reason),
            Ok(_) | Err(DbError::Sql(_) | DbError::Answer(_)) => self.up(),
        }
    }
}
