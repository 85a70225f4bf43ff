//! `goahead lock operate`: does what a unit is to do under locks, such as restarts of services, one after another.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use goahead_rules::operation::{Report, Work};
use goahead_rules::{command, duration, hostname};
use serde_json::Value;

use super::service::ServiceArgs;
use super::{CommandResult, Failure, small_runtime};
use crate::logging;

mod calls;
mod hold;
mod signals;
mod stash;
mod work;

use calls::{Calls, Next, Trouble};
use signals::Signals;
use stash::Stash;
use work::Programs;

/// The exit code when the service could not be reached and nothing keeps what was asked for.
const UNREACHABLE: u8 = 69;

const EXPLANATION: &str = "\
Examples:
  goahead lock operate --unit web/0 --request restart --service nginx --context '{\"version\": 7}'
  goahead lock operate --unit web/0 --check 'curl -fsS http://127.0.0.1/health' --on-done /usr/local/bin/tell
  goahead lock operate --unit db/0 --restart 'podman restart {service}' --ttl 2m --state /var/lib/db/operations.json
  goahead lock operate --unit web/0 --once

What happens:
  The unit waits for its next operation and for the lock of that. Then each service is restarted by --restart; if all
  were, --check says whether they work. Both speak by their exit code, and standard error has what they wrote. --on-done
  is told of it last: {\"id\", \"action\", \"services\", \"context\", \"attempt\", \"outcome\"} as JSON on standard input, which
  --check gets too, without the outcome. Its own exit code changes nothing. Programs run without a shell; {service} in
  --restart stands for the name and stays inside its word. They find GOAHEAD_LOCK, GOAHEAD_LOCK_HOLDER,
  GOAHEAD_LOCK_TOKEN and GOAHEAD_OPERATION in their environment. While they run the lock is renewed at a third of
  --ttl; when it is lost they are ended before the ttl is over, and the attempt counts as a retry.
  An attempt that failed is reported as --failure says, and tried again after a pause that doubles from 5 s to 5 min;
  after the last retry that the request allows the unit is blocked until `goahead.resume_unit`.
  A first SIGTERM or SIGINT lets a running operation finish, a second one ends it: it is retried.

  With --state requests are kept in that file while the service cannot be reached, and sent when it is back, in order;
  equal ones in a row are kept once. One whose answer was lost is sent again and joins the unit's last if that waits.

Exit codes:
  0    told to end; with --once: nothing is left to do; with --request: it is queued, or kept in --state
  1    refused; with --once: the unit is blocked
  2    wrong usage
  69   with --request: the service cannot be reached, and there is no --state";

/// Arguments of `goahead lock operate`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = EXPLANATION,
    after_help = "`--help` explains what happens, with examples and exit codes.",
)]
pub struct Args {
    /// The unit that this machine is, or one of those on it; it is the holder of the locks
    #[arg(long, value_name = "NAME", value_parser = unit_name)]
    unit: String,
    /// The command that restarts a service
    #[arg(long, value_name = "CMD", default_value = "systemctl restart {service}", value_parser = words)]
    restart: Words,
    /// The command that says whether what was restarted works
    #[arg(long, value_name = "CMD", value_parser = words)]
    check: Option<Words>,
    /// The command that is told how it ended, by JSON on its standard input
    #[arg(long, value_name = "CMD", value_parser = words)]
    on_done: Option<Words>,
    /// How long each of these commands may take
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = limit)]
    timeout: Duration,
    /// What a failed restart or check is
    #[arg(long, value_name = "OUTCOME", value_enum, default_value_t = Failing::RetryRelease)]
    failure: Failing,
    /// How long the lock stays held when nothing is heard of this machine any more, at least 5s
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = ttl)]
    ttl: Duration,
    /// A file that keeps requests of this unit while the service cannot be reached
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// End when there is nothing left to do
    #[arg(long)]
    once: bool,
    /// Request an operation under this lock, and end
    #[arg(long, value_name = "LOCK", conflicts_with_all = ["check", "on_done", "once"])]
    request: Option<String>,
    #[command(flatten)]
    requested: Requested,
    #[command(flatten)]
    service: ServiceArgs,
}

/// What is requested.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "With --request")]
struct Requested {
    /// What is to be done, for --check and --on-done to see
    #[arg(long, value_name = "NAME", default_value = "restart", requires = "request")]
    action: String,
    /// A service to restart; may be given several times
    #[arg(long = "service", value_name = "NAME", requires = "request")]
    services: Vec<String>,
    /// What there is to know about it, JSON; it is shown as the unit's once it was applied
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = json, requires = "request")]
    context: Value,
    /// How many attempts may follow the first; any number unless told
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..), requires = "request")]
    max_retry: Option<i32>,
}

/// What a failed attempt is reported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Failing {
    /// Again later; others come first
    RetryRelease,
    /// Again, before anybody else
    RetryHold,
    /// The unit is blocked at once
    Failed,
}

impl Failing {
    fn report(self) -> Report {
        match self {
            Self::RetryRelease => Report::RetryRelease,
            Self::RetryHold => Report::RetryHold,
            Self::Failed => Report::Failed,
        }
    }
}

/// A command, split into words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Words(Vec<String>);

fn words(text: &str) -> Result<Words, String> {
    let words = command::split(text).map_err(|error| error.to_string())?;
    if words[0].contains(work::SERVICE) {
        return Err("a service's name would choose the program; pass it as an argument".to_owned());
    }
    Ok(Words(words))
}

fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    u64::try_from(time.0).map(Duration::from_nanos).map_err(|_| "a time of 0s or more is wanted".to_owned())
}

fn limit(text: &str) -> Result<Duration, String> {
    time(text).and_then(|time| if time.is_zero() { Err("it needs some time".to_owned()) } else { Ok(time) })
}

fn ttl(text: &str) -> Result<Duration, String> {
    match time(text)? {
        ttl if ttl >= Duration::from_secs(5) => Ok(ttl),
        _ => Err("at least 5s is wanted, or there is no time to end what runs".to_owned()),
    }
}

fn unit_name(text: &str) -> Result<String, String> {
    hostname::check_plain("unit", text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))
}

/// Works, or requests work.
///
/// # Errors
/// When a file cannot be read or written, or the service refuses.
pub fn run(args: &Args, logging: &logging::Options) -> CommandResult {
    logging::init(logging, if args.request.is_some() { "warn" } else { "info" }).map_err(Failure::new)?;
    let runtime = small_runtime()?;
    let outcome = runtime.block_on(session(args));
    // A name lookup may still hang in its thread; nobody waits for it any more.
    runtime.shutdown_background();
    outcome
}

async fn session(args: &Args) -> CommandResult {
    let client = args.service.client()?;
    let calls = Calls { client: &client, unit: &args.unit };
    let stash = args.state.as_deref().map(|file| Stash::at(file, &args.unit)).transpose()?;
    match &args.request {
        Some(lock) => {
            let Requested { action, services, context, max_retry } = &args.requested;
            let work = Work {
                lock: lock.clone(),
                action: action.clone(),
                services: services.clone(),
                context: context.clone(),
                max_retry: *max_retry,
            };
            work.check().map_err(Failure::new)?;
            request(args, &calls, stash.as_ref(), &work).await
        }
        None => operate(args, &calls, stash.as_ref()).await,
    }
}

/// Requests an operation, behind those that are kept; keeps it when the service is away.
async fn request(args: &Args, calls: &Calls<'_>, stash: Option<&Stash>, work: &Work) -> CommandResult {
    let outcome = match stash {
        Some(stash) => stash.send(calls, Some(work)).await?,
        None => calls.request(work).await.map(Some),
    };
    match outcome {
        Ok(Some(id)) => println!("{id}"),
        Ok(None) => {}
        Err(Trouble::Refused(why)) => return Err(Failure::new(why)),
        Err(Trouble::Away(why)) => {
            let (url, unit) = (args.service.url(), &args.unit);
            let Some(state) = args.state.as_ref().map(|file| file.display()) else {
                eprintln!("goahead: the service at {url} cannot be reached: {why}");
                return Ok(ExitCode::from(UNREACHABLE));
            };
            eprintln!("goahead: the service at {url} cannot be reached, {state} keeps the request of {unit}: {why}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The shortest and the longest pause while the service is away, and after a failed attempt.
const AWAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
const FAILED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// How long one request waits.
const POLL: Duration = Duration::from_secs(30);

async fn operate(args: &Args, calls: &Calls<'_>, stash: Option<&Stash>) -> CommandResult {
    let signals = Signals::listen()?;
    let programs = Programs {
        restart: &args.restart.0,
        check: args.check.as_ref().map(|words| words.0.as_slice()),
        on_done: args.on_done.as_ref().map(|words| words.0.as_slice()),
        timeout: args.timeout,
        failure: args.failure.report(),
    };
    let mut away = AWAY.0;
    let mut told = "";
    let mut place: Option<String> = None;
    while !signals.came() {
        let look = async {
            if let Some(stash) = stash {
                match stash.send(calls, None).await? {
                    Err(Trouble::Refused(why)) => tracing::warn!("a kept request was refused and is dropped: {why}"),
                    Err(away) => return Ok(Err(away)),
                    Ok(_) => {}
                }
            }
            Ok::<_, Failure>(calls.next(POLL, args.ttl, told.is_empty(), args.once).await)
        };
        let Some(next) = signals.unless(look).await else { break };
        let operation = match next? {
            Ok(Next::Granted(operation)) => operation,
            Ok(Next::Queued(position, lock)) => {
                away = AWAY.0;
                place = Some(lock);
                if told != "queued" {
                    tracing::info!("waiting for a lock: position {position}");
                    told = "queued";
                }
                continue;
            }
            Ok(Next::Nothing) if args.once => return Ok(ExitCode::SUCCESS),
            Ok(Next::Blocked) if args.once => {
                return Err(Failure::new(format!(
                    "unit {} is blocked by a failed operation; look at it, then call goahead.resume_unit",
                    args.unit
                )));
            }
            Ok(Next::Nothing) => {
                (away, told) = (AWAY.0, "");
                continue;
            }
            Ok(Next::Blocked) => {
                away = AWAY.0;
                if told != "blocked" {
                    tracing::warn!("unit {} is blocked until somebody calls goahead.resume_unit", args.unit);
                    told = "blocked";
                }
                continue;
            }
            Err(Trouble::Refused(why)) => return Err(Failure::new(why)),
            Err(Trouble::Away(why)) => {
                if told != "away" {
                    tracing::warn!("the service at {} cannot be reached, trying again: {why}", args.service.url());
                    told = "away";
                }
                signals.unless(tokio::time::sleep(away)).await;
                away = (away * 2).min(AWAY.1);
                continue;
            }
        };
        (away, told, place) = (AWAY.0, "", None);
        let attempt = u32::try_from(operation.attempt).unwrap_or(1).clamp(1, 16);
        let done = hold::attempt(calls, &operation, &programs, args.ttl, &signals).await;
        if !done {
            let pause = (FAILED.0 * 2_u32.pow(attempt - 1)).min(FAILED.1);
            // A hold that is kept for the next attempt has to last that long.
            let pause = if programs.failure == Report::RetryHold { pause.min(args.ttl / 3) } else { pause };
            signals.unless(tokio::time::sleep(pause)).await;
        }
    }
    if let Some(lock) = place
        && let Err(trouble) = calls.leave(&lock).await
    {
        tracing::warn!("could not leave the queue of {lock}, the place ends by itself: {trouble}");
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
