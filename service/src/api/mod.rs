//! HTTP to SQL: the router of everything that callers reach on `--listen`.

use std::sync::Arc;

use crate::db::Database;
use crate::metrics::Metrics;

/// What every handler shares.
#[derive(Clone)]
pub struct State {
    /// The database
    pub db: Database,
    /// What is counted
    pub metrics: Arc<Metrics>,
    /// What the operator chose
    pub options: Options,
}

/// What the operator chose on the command line about who may call what.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The drop-in APIs ask for a token or a client certificate too
    pub require_auth: bool,
    /// A host speaks only for the names in its client certificate or token
    pub bind_names: bool,
    /// Settings that hold commands are accepted over HTTP
    pub allow_commands_over_http: bool,
    /// Host names, beside addresses and localhost, that requests may be addressed to
    pub host_names: Vec<String>,
}

/// The routes of `--listen`.
pub fn router(state: State) -> axum::Router {
    axum::Router::new().with_state(state)
}
