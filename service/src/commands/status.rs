//! `goahead status`: who restarts now, cluster by cluster.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use super::database::DatabaseArgs;
use super::{CommandResult, Failure, print, small_runtime};
use crate::db::{Database, DbError};

const EXAMPLES: &str = "\
Examples:
  goahead status
  goahead status web
  goahead status --watch
  goahead status --json | jq .clusters";

/// Between two looks with --watch, seconds.
const LOOK: f64 = 2.0;
/// Restarting hosts named in one line.
const NAMED: usize = 4;

/// Arguments of `goahead status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only these clusters
    clusters: Vec<String>,
    /// Show it again and again, every 2 seconds or as often as said
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2")]
    watch: Option<f64>,
    /// JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Everything in one call, so that it fits together.
const STATUS: &str = "SELECT pg_catalog.json_build_object( \
     'standby', pg_catalog.pg_is_in_recovery(), \
     'stats', goahead.stats(), \
     'clusters', (SELECT coalesce(pg_catalog.json_agg(c ORDER BY c.overdue > 0 DESC, c.running > 0 DESC, c.cluster), '[]') \
                    FROM goahead.cluster_status c WHERE $1::text[] IS NULL OR c.cluster = ANY ($1)))";

#[derive(Debug, Deserialize)]
struct Status {
    standby: bool,
    stats: serde_json::Map<String, serde_json::Value>,
    clusters: Vec<Cluster>,
}

#[derive(Debug, Deserialize)]
struct Cluster {
    cluster: String,
    enabled: bool,
    allowed_parallel_restarts: Option<String>,
    known_hosts: i64,
    running: i64,
    overdue: i64,
    hosts: Option<Vec<String>>,
    frozen: Option<String>,
    rollout: Option<i64>,
}

/// Runs it.
pub fn run(args: &Args) -> CommandResult {
    small_runtime()?.block_on(async {
        let db = args.database.open().await?;
        let Some(seconds) = args.watch else {
            print(&look(&db, args).await?)?;
            return Ok(ExitCode::SUCCESS);
        };
        let pause = Duration::try_from_secs_f64(seconds.max(0.1)).unwrap_or(Duration::from_secs_f64(LOOK));
        let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        loop {
            let text = match look(&db, args).await {
                Ok(text) => text,
                // Whoever watches waits for it to come back.
                Err(error) => format!("{error}\n"),
            };
            print(&format!("{clear}{text}"))?;
            tokio::time::sleep(pause).await;
        }
    })
}

async fn look(db: &Database, args: &Args) -> Result<String, Failure> {
    let wanted = (!args.clusters.is_empty()).then_some(&args.clusters);
    let json = db.json(STATUS, &[&wanted]).await?.ok_or_else(|| DbError::Answer("nothing".into()))?;
    if args.json {
        return Ok(format!("{json}\n"));
    }
    let status: Status = serde_json::from_str(json.get()).map_err(|error| DbError::Answer(error.to_string()))?;
    Ok(table(&status))
}

fn table(status: &Status) -> String {
    let width = status.clusters.iter().map(|cluster| cluster.cluster.chars().count()).max().unwrap_or(0).max(7);
    let mut text = String::new();
    if status.standby {
        text.push_str("this database is a standby: what it shows may be late, and it decides nothing\n");
    }
    if status.clusters.is_empty() {
        text.push_str("no clusters; `goahead clusters import FILE` or goahead.set_cluster() adds some\n");
    } else {
        text.push_str(&format!(
            "{:<width$}  {:>5}  {:>7}  {:>7}  {:>7}  STATE\n",
            "CLUSTER", "LIMIT", "HOSTS", "RUNNING", "OVERDUE"
        ));
    }
    for cluster in &status.clusters {
        let line = format!(
            "{:<width$}  {:>5}  {:>7}  {:>7}  {:>7}  {}",
            cluster.cluster,
            cluster.allowed_parallel_restarts.as_deref().unwrap_or("-"),
            cluster.known_hosts,
            cluster.running,
            cluster.overdue,
            state(cluster),
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let count = |key: &str| status.stats.get(key).and_then(serde_json::Value::as_i64).unwrap_or(0);
    text.push_str(&format!(
        "\n{} hosts known, {} restarting, {} overdue; jobs: {} queued, {} running, {} failed; {} unknown names\n",
        count("known_hosts"),
        count("running"),
        count("overdue"),
        count("jobs_queued"),
        count("jobs_running"),
        count("jobs_failed"),
        count("unknown_hosts"),
    ));
    text
}

fn state(cluster: &Cluster) -> String {
    let mut parts = Vec::new();
    if !cluster.enabled {
        parts.push("disabled".to_owned());
    }
    if let Some(reason) = &cluster.frozen {
        parts.push(format!("frozen: {reason}"));
    }
    if let Some(id) = cluster.rollout {
        parts.push(format!("rollout {id}"));
    }
    let hosts = cluster.hosts.as_deref().unwrap_or_default();
    if !hosts.is_empty() {
        let more = if hosts.len() > NAMED { format!(" and {} more", hosts.len() - NAMED) } else { String::new() };
        parts.push(format!("{}{more}", hosts[..hosts.len().min(NAMED)].join(" ")));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(json: serde_json::Value) -> Cluster {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_table_says_what_stands_in_the_way() {
        let status = Status {
            standby: false,
            stats: serde_json::from_str(r#"{"known_hosts": 12, "running": 6}"#).unwrap(),
            clusters: vec![
                cluster(serde_json::json!({
                    "cluster": "web", "enabled": true, "allowed_parallel_restarts": "2", "known_hosts": 12, "running": 6,
                    "overdue": 1, "hosts": ["a", "b", "c", "d", "e", "f"], "frozen": "holidays", "rollout": 3,
                })),
                cluster(serde_json::json!({
                    "cluster": "db", "enabled": false, "allowed_parallel_restarts": null, "known_hosts": 0, "running": 0,
                    "overdue": 0, "hosts": null, "frozen": null, "rollout": null,
                })),
            ],
        };
        assert_eq!(
            table(&status),
            "CLUSTER  LIMIT    HOSTS  RUNNING  OVERDUE  STATE\n\
             web          2       12        6        1  frozen: holidays; rollout 3; a b c d and 2 more\n\
             db           -        0        0        0  disabled\n\
             \n12 hosts known, 6 restarting, 0 overdue; jobs: 0 queued, 0 running, 0 failed; 0 unknown names\n"
        );
    }
}
