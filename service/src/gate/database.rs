//! The gate's questions to its own node's database: the only SQL of the gate, and the connections it goes over.
//!
//! A connection is kept, because opening one takes longer than a question. Everything has a deadline: a database that
//! hangs is down.

use std::time::Duration;

use goahead_rules::gate::RepmgrNode;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::snapshot::Local;
use crate::db::{Address, Connector, DbError};

/// Everything about a node that its own catalog tells. Positions are bytes, ages microseconds.
const FACTS: &str = "
SELECT jsonb_build_object(
  'in_recovery', r.in_recovery,
  'system_identifier', (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
  'timeline', CASE WHEN r.in_recovery
      THEN coalesce((SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver LIMIT 1),
                    (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()))
      ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int
    END,
  'server_version', pg_catalog.current_setting('server_version_num')::int,
  'postmaster_start_us', (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint,
  'current_lsn', CASE WHEN NOT r.in_recovery
      THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')::bigint END,
  'received_lsn', CASE WHEN r.in_recovery
      THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), '0/0')::bigint END,
  'replayed_lsn', CASE WHEN r.in_recovery
      THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::bigint END,
  'replayed_us', CASE WHEN r.in_recovery
      THEN (extract(epoch FROM pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::bigint END,
  'replay_age_us', CASE WHEN r.in_recovery THEN greatest(0, (extract(epoch FROM
      pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::bigint) END,
  'replay_paused', CASE WHEN r.in_recovery THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END,
  'receiver', CASE WHEN r.in_recovery THEN (SELECT jsonb_build_object(
      'status', status, 'sender_host', sender_host, 'sender_port', sender_port, 'timeline', received_tli,
      'slot', slot_name, 'latest_end_lsn', pg_catalog.pg_wal_lsn_diff(latest_end_lsn, '0/0')::bigint,
      'receipt_age_us', greatest(0,
        (extract(epoch FROM pg_catalog.clock_timestamp() - last_msg_receipt_time) * 1000000)::bigint),
      'quiet_us', nullif((extract(epoch FROM
        pg_catalog.current_setting('wal_receiver_timeout')::interval) * 500000)::bigint, 0))
      FROM pg_catalog.pg_stat_wal_receiver WHERE status IS NOT NULL LIMIT 1) END,
  'archive_recovery', r.in_recovery AND coalesce(pg_catalog.current_setting('restore_command', true), '') <> '',
  'downstream', (SELECT coalesce(jsonb_agg(jsonb_build_object(
      'pid', pid, 'usename', usename, 'application_name', coalesce(application_name, ''),
      'client_addr', pg_catalog.host(client_addr), 'state', state, 'sync_state', sync_state,
      'sync_priority', coalesce(sync_priority, 0),
      'reply_us', (extract(epoch FROM reply_time) * 1000000)::bigint) ORDER BY pid), '[]')
      FROM pg_catalog.pg_stat_replication),
  'cluster_name', coalesce(pg_catalog.current_setting('cluster_name', true), ''),
  'synchronous_standby_names', coalesce(pg_catalog.current_setting('synchronous_standby_names', true), ''),
  'hba_file', pg_catalog.current_setting('hba_file', true),
  'data_directory', pg_catalog.current_setting('data_directory', true),
  'extension', EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'goahead')
    AND pg_catalog.to_regprocedure('goahead.hba_apply(text)') IS NOT NULL,
  'watchdog', coalesce(pg_catalog.current_setting('goahead.gate', true), 'off') = 'on'
      AND coalesce((SELECT setting FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries'), 'goahead')
          OPERATOR(pg_catalog.~) '(^|[,/\" ])goahead([,\" ]|$)'
)::text
FROM (SELECT pg_catalog.pg_is_in_recovery() AS in_recovery) r";

const SOURCE: &str =
    "SELECT node_id, node_name::text, type::text, active, conninfo::text FROM repmgr.nodes ORDER BY node_id";

/// Asked only where the extension is.
const RULES: &str = "SELECT count(*)::int FROM goahead.hba_desired";
const APPLY: &str = "SELECT goahead.hba_apply($1)";
const RECORD: &str = "SELECT goahead.record_gate($1::text::jsonb)";

/// What [`FACTS`] says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Facts {
    /// What readers see too
    #[serde(flatten)]
    pub local: Local,
    /// `hba_file`; none: not allowed to know
    pub hba_file: Option<String>,
    /// `data_directory`; none: not allowed to know
    pub data_directory: Option<String>,
}

/// Why the database gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It cannot be reached, hangs, or is about to end
    #[error("{0}")]
    Down(String),
    /// It is there and refuses: a missing right, a wrong password, a missing function
    #[error("{0}")]
    Refused(String),
}

/// One kept connection.
pub struct Session {
    connector: Connector,
    client: Option<Client>,
}

impl Session {
    /// A session with the database at `address` (libpq's connection string), `database` in place of the one that it
    /// names; it connects when it is first asked. The server gives up on a statement after `limit`.
    ///
    /// # Errors
    /// What is wrong with the address; never with a password in it.
    pub fn new(address: &str, database: Option<&str>, limit: Duration) -> Result<Self, String> {
        let mut address = Address::parse(address).map_err(|error| format!("database: {error}"))?;
        if let Some(database) = database {
            for host in &mut address.hosts {
                host.dbname(database);
            }
        }
        // Operators and functions of the catalog only: whoever may create one in a schema of the search path would else
        // have theirs run with the rights of the gate.
        let options = format!(
            "-c search_path=pg_catalog,pg_temp -c statement_timeout={} -c lock_timeout={0}",
            limit.as_millis().max(1)
        );
        Ok(Self { connector: Connector::new(address.with_options(&options))?, client: None })
    }

    /// Gives the connection back, so that a server which waits for its clients can end.
    pub fn close(&mut self) {
        self.client = None;
    }

    /// Rows of a statement, all within `limit`, connecting included. What fails otherwise than by an error of the
    /// statement costs the connection.
    async fn query(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)], limit: Duration) -> Result<Vec<Row>, Trouble> {
        let answered = timeout(limit, async {
            let client = match self.client.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => self.connector.connect().await?.0,
            };
            let rows = client.query(sql, params).await;
            Ok((client, rows?))
        });
        match answered.await {
            Ok(Ok((client, rows))) => {
                self.client = Some(client);
                Ok(rows)
            }
            Ok(Err(DbError::Unavailable(why))) => Err(Trouble::Down(why)),
            Ok(Err(DbError::Sql(error))) if error.code.starts_with("57") => Err(Trouble::Down(error.to_string())),
            Ok(Err(error)) => Err(Trouble::Refused(error.to_string())),
            Err(_) => Err(Trouble::Down(format!("no answer within {limit:?}"))),
        }
    }

    /// What the node's own catalog tells.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn facts(&mut self, limit: Duration) -> Result<Facts, Trouble> {
        let rows = self.query(FACTS, &[], limit).await?;
        let text: &str = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default();
        let unreadable = |error: serde_json::Error| Trouble::Refused(format!("its facts cannot be read: {error}"));
        let mut facts: Facts = serde_json::from_str(text).map_err(unreadable)?;
        if facts.local.extension {
            let rows = self.query(RULES, &[], limit).await?;
            let rules: i32 = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0);
            facts.local.rules = u32::try_from(rules).unwrap_or(0);
        }
        Ok(facts)
    }

    /// `repmgr.nodes`.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn source(&mut self, limit: Duration) -> Result<Vec<RepmgrNode>, Trouble> {
        let rows = self.query(SOURCE, &[], limit).await?;
        let read = |row: &Row| -> Result<RepmgrNode, tokio_postgres::Error> {
            let conninfo: &str = row.try_get(4)?;
            Ok(RepmgrNode::new(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, conninfo))
        };
        let read: Result<_, _> = rows.iter().map(read).collect();
        read.map_err(|error| Trouble::Refused(format!("repmgr.nodes cannot be read: {error}")))
    }

    /// Has the extension write its rules for `state` (`closed`, `primary`, `standby`, `both`) and reload. Whether the
    /// file changed.
    ///
    /// # Errors
    /// Why that is unknown, or has not been done.
    pub async fn apply(&mut self, state: &str, limit: Duration) -> Result<bool, Trouble> {
        let rows = self.query(APPLY, &[&state], limit).await?;
        Ok(rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(false))
    }

    /// Writes a line of an audit into `goahead.events`, once however often it is called.
    ///
    /// # Errors
    /// Why that is unknown, or has not been done.
    pub async fn record(&mut self, entry: &str, limit: Duration) -> Result<(), Trouble> {
        self.query(RECORD, &[&entry], limit).await.map(drop)
    }
}
