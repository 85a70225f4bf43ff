//! `goahead rollout`: restarts a whole cluster, within its limits, and shows how far it is.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use super::database::DatabaseArgs;
use super::{CommandResult, Failure, small_runtime};
use crate::db::{Database, DbError};

const EXAMPLES: &str = "\
Examples:
  goahead rollout web --reason 'kernel 6.12'
  goahead rollout --stop 7

While a rollout runs, hosts of the cluster that have not restarted since it began are told so when they \
inquire, and then ask for their restart as always: windows, limits and freezes hold. Ctrl-C leaves the \
rollout running; --stop ends it.";

/// Between two looks at the progress.
const LOOK: Duration = Duration::from_secs(2);
/// Width of the bar in characters.
const BAR: u64 = 30;

/// Arguments of `goahead rollout`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The cluster
    #[arg(required_unless_present_any = ["stop", "watch"])]
    cluster: Option<String>,
    /// Why; hosts are told, and history keeps it
    #[arg(long, required_unless_present_any = ["stop", "watch"])]
    reason: Option<String>,
    /// Start it and return, with its number
    #[arg(long)]
    detach: bool,
    /// Show the progress of a rollout that runs already
    #[arg(long, value_name = "ID", conflicts_with_all = ["cluster", "reason", "detach", "stop"])]
    watch: Option<i64>,
    /// End a rollout; restarts under way go on
    #[arg(long, value_name = "ID", conflicts_with_all = ["cluster", "reason", "detach"])]
    stop: Option<i64>,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// A row of the view `goahead.rollouts`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Progress {
    cluster: String,
    outcome: Option<String>,
    ended: bool,
    done: u64,
    running: u64,
    remaining: u64,
    /// Seconds
    estimate: Option<u64>,
}

const PROGRESS: &str = "SELECT pg_catalog.json_build_object('cluster', cluster, 'outcome', outcome, 'ended', ended_at IS NOT NULL, \
     'done', done, 'running', running, 'remaining', remaining, 'estimate', pg_catalog.ceil(EXTRACT(epoch FROM estimate))::bigint) \
     FROM goahead.rollouts WHERE id = $1";

/// Runs it.
pub fn run(args: &Args) -> CommandResult {
    small_runtime()?.block_on(async {
        let db = args.database.open().await?;
        if let Some(id) = args.stop {
            db.call("SELECT goahead.stop_rollout($1)", &[&id]).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let id = match (args.watch, &args.cluster, &args.reason) {
            (Some(id), _, _) => id,
            (None, Some(cluster), Some(reason)) => start(&db, cluster, reason).await?,
            _ => return Err(Failure::new("a cluster and a reason are needed")),
        };
        if args.detach {
            super::print(&format!("{id}\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        follow(&db, id).await
    })
}

async fn start(db: &Database, cluster: &str, reason: &str) -> Result<i64, Failure> {
    let rows = db.call("SELECT goahead.start_rollout($1, $2)", &[&cluster, &reason]).await?;
    let row = rows.first().ok_or_else(|| Failure::new("goahead.start_rollout returned nothing"))?;
    Ok(row.try_get(0).map_err(DbError::from)?)
}

/// Shows the progress until the rollout has ended: a line that changes on a terminal, else a line per change.
async fn follow(db: &Database, id: i64) -> CommandResult {
    let terminal = std::io::stderr().is_terminal();
    let mut shown = None;
    loop {
        match look(db, id).await {
            Ok(progress) => {
                if terminal {
                    let _ = write!(std::io::stderr(), "\r\x1b[K{}", line(id, &progress));
                } else if shown.as_ref() != Some(&progress) {
                    let _ = writeln!(std::io::stderr(), "{}", line(id, &progress));
                }
                if progress.ended {
                    if terminal {
                        let _ = writeln!(std::io::stderr());
                    }
                    return Ok(match progress.outcome.as_deref() {
                        Some("stopped" | "failed" | "cancelled") => ExitCode::FAILURE,
                        _ => ExitCode::SUCCESS,
                    });
                }
                shown = Some(progress);
            }
            // The rollout goes on without us; so does looking, as soon as there is something to see.
            Err(Look::Away(why)) => {
                let _ = writeln!(std::io::stderr(), "{}{why}", if terminal { "\r\x1b[K" } else { "" });
            }
            Err(Look::Failed(failure)) => return Err(failure),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Why there is no progress to show.
enum Look {
    Away(DbError),
    Failed(Failure),
}

async fn look(db: &Database, id: i64) -> Result<Progress, Look> {
    match db.json(PROGRESS, &[&id]).await {
        Ok(Some(json)) => serde_json::from_str(json.get())
            .map_err(|error| Look::Failed(Failure::new(format!("goahead.rollouts: {error}")))),
        Ok(None) => Err(Look::Failed(Failure::new(format!("there is no rollout {id}")))),
        Err(error @ DbError::Unavailable(_)) => Err(Look::Away(error)),
        Err(error) => Err(Look::Failed(error.into())),
    }
}

fn line(id: i64, progress: &Progress) -> String {
    let Progress { cluster, done, running, remaining, .. } = progress;
    let all = done + running + remaining;
    let filled = (BAR * done).checked_div(all).unwrap_or(BAR);
    let bar: String = (0..BAR).map(|at| if at < filled { '#' } else { '.' }).collect();
    let rest = match (progress.ended, progress.estimate) {
        (true, _) => progress.outcome.clone().unwrap_or_else(|| "ended".into()),
        (false, Some(seconds)) => format!("about {} left", span(seconds)),
        (false, None) => "waiting for the first restart".into(),
    };
    format!("rollout {id} of {cluster} [{bar}] {done}/{all} done, {running} restarting; {rest}")
}

fn span(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let progress = Progress {
            cluster: "web".into(),
            outcome: None,
            ended: false,
            done: 5,
            running: 1,
            remaining: 4,
            estimate: Some(3700),
        };
        assert_eq!(
            line(7, &progress),
            "rollout 7 of web [###############...............] 5/10 done, 1 restarting; about 1h01m left"
        );
        let empty =
            Progress { done: 0, running: 0, remaining: 0, ended: true, outcome: Some("done".into()), ..progress };
        assert_eq!(line(7, &empty), "rollout 7 of web [##############################] 0/0 done, 0 restarting; done");
    }

    #[test]
    fn spans_are_short() {
        assert_eq!((span(9), span(61), span(36000)), ("9s".into(), "1m01s".into(), "10h00m".into()));
    }
}
