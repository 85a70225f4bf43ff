//! `goahead lock`: runs a command while it holds a lock, and ends the command before the lock is anybody else's.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use goahead_rules::{duration, hostname};
use serde_json::json;

use super::service::ServiceArgs;
use super::{CommandResult, Failure, small_runtime};
use crate::logging;

mod acquire;
mod calls;
mod child;
mod clock;
mod guard;
mod hold;
mod lease;
mod signals;
mod terminal;

use acquire::Acquired;
use calls::{Calls, Slot};
use child::Child;
use guard::Guard;
use lease::Watch;
use signals::Signals;
use terminal::Terminal;

/// The exit codes of its own, beside the command's; those of sysexits.h and of shells where there is one.
const UNREACHABLE: u8 = 69;
const NOT_ACQUIRED: u8 = 75;
const LOST: u8 = 76;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

const EXPLANATION: &str = "\
Examples:
  goahead lock etl -- /usr/local/bin/nightly-load
  goahead lock etl --wait 0s -- ./load || echo \"somebody else is at it\"
  goahead lock etl --wait forever --ttl 1m -- ./load --all
  goahead lock backup --slots 2 --wait 1h -- pg_dump -f /backup/orders orders
  goahead lock etl -- sh -c 'psql -c \"SELECT load($GOAHEAD_LOCK_TOKEN)\"'

What happens:
  The command starts when the lock is granted, without a shell and in a process group of its own. It finds the lock,
  the holder and the fencing token in GOAHEAD_LOCK, GOAHEAD_LOCK_HOLDER and GOAHEAD_LOCK_TOKEN; a transaction that
  calls goahead.check_fence(lock, token) is safe even from a command that was stopped for an hour and goes on.
  The lock is renewed at a third of --ttl and released when the command ends. Signals are passed on to its whole
  group. If the lock is lost, or cannot be renewed in time, the group gets SIGTERM, and SIGKILL after --grace (never
  more than a third of --ttl), so that it is dead before the ttl ends and anybody else can hold the lock. A second
  process sees to that even when this one is stopped or killed.

Exit codes:
  that of the command, 128+N when signal N ended it, or with a line that begins with \"goahead: \" on standard error:
  1    refused: a name, the credentials, another number of slots; the command was not started
  2    wrong usage
  69   the service could not be reached while there was time to wait
  75   not acquired within --wait; the place in the queue is given up
  76   lost: the command was told to end before it was done (not with --on-lost ignore)
  126  the command cannot be executed
  127  the command was not found
  128+N  signal N came while waiting; the place in the queue is given up";

/// Arguments of `goahead lock`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = EXPLANATION,
    after_help = "`--help` explains what happens, with examples and exit codes.",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Args {
    /// The lock; `operate` is kept for a subcommand, a prefix such as `team/operate` makes it free again
    #[arg(value_name = "NAME", value_parser = lock_name)]
    name: String,
    /// How many may hold the lock at once, when this call makes it; 1 unless told. Another number later is refused
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    slots: Option<u32>,
    /// How long to wait for the lock: a time, `0s` to try once, or `forever`
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = patience)]
    wait: Patience,
    /// How long the lock stays held when nothing is heard of this machine any more, at least 1s
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = ttl)]
    ttl: Duration,
    /// Who asks, for others to see. Two that run at once must never share one: they would be the same holder
    /// [default: machine:process:random]
    #[arg(long, value_name = "NAME", value_parser = holder_name)]
    holder: Option<String>,
    /// What to do with the command when the lock is lost
    #[arg(long, value_name = "HOW", value_enum, default_value_t = OnLost::Kill)]
    on_lost: OnLost,
    /// How long the command may take to end after SIGTERM when the lock is lost, as far as --ttl allows
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    grace: Duration,
    /// Say when the lock is asked for, granted and released: the same as --log info
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    service: ServiceArgs,
    /// The command to run, and its arguments
    #[arg(value_name = "CMD", required = true, last = true)]
    command: Vec<OsString>,
}

/// What becomes of the command when the lock is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnLost {
    /// SIGTERM to its process group, SIGKILL after the grace and before the ttl ends
    Kill,
    /// SIGTERM to its process group; it may run on beside the next holder
    Signal,
    /// A warning, nothing else
    Ignore,
}

/// How long to wait for the lock; none: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience(Option<Duration>);

fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    u64::try_from(time.0).map(Duration::from_nanos).map_err(|_| "a time of 0s or more is wanted".to_owned())
}

fn patience(text: &str) -> Result<Patience, String> {
    if text == "forever" { Ok(Patience(None)) } else { time(text).map(|time| Patience(Some(time))) }
}

fn ttl(text: &str) -> Result<Duration, String> {
    match time(text)? {
        ttl if ttl >= Duration::from_secs(1) => Ok(ttl),
        _ => Err("at least 1s is wanted, or there is no time to renew it".to_owned()),
    }
}

fn lock_name(text: &str) -> Result<String, String> {
    if text == "operate" {
        return Err("this name is kept for a subcommand; give the lock a prefix, such as team/operate".to_owned());
    }
    checked("lock", text)
}

fn holder_name(text: &str) -> Result<String, String> {
    checked("holder", text)
}

fn checked(what: &'static str, text: &str) -> Result<String, String> {
    hostname::check_plain(what, text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// Runs the command under the lock.
///
/// # Errors
/// When `logging` or a file cannot be read, the service refuses, or the operating system refuses what every program
/// needs. Everything else is told and ends in an exit code.
pub fn run(args: &Args, logging: &logging::Options) -> CommandResult {
    logging::init(logging, if args.verbose { "info" } else { "warn" }).map_err(Failure::new)?;
    // Before the runtime, while there is one thread.
    let guard = Guard::start()?;
    let runtime = small_runtime()?;
    // The command is killed with the thread that started it, which is this one: it drives the runtime itself.
    let outcome = runtime.block_on(session(args, guard));
    // A name lookup may still hang in its thread; nobody waits for it any more.
    runtime.shutdown_background();
    outcome
}

async fn session(args: &Args, guard: Guard) -> CommandResult {
    let mut signals = Signals::listen()?;
    let client = args.service.client()?;
    let holder = args.holder.clone().unwrap_or_else(holder);
    let slot = Slot { lock: &args.name, holder: &holder, ttl: args.ttl, slots: args.slots, metadata: metadata(args) };
    let calls = Calls { client: &client, slot };
    let lock = &args.name;
    let (token, lease) = match acquire::wait(&calls, args.wait.0, &mut signals).await {
        Acquired::Yes(token, lease) => (token, lease),
        Acquired::NotInTime => return Ok(told(NOT_ACQUIRED, &format!("{lock} was not acquired within the wait"))),
        Acquired::Unreachable(why) => {
            return Ok(told(UNREACHABLE, &format!("the service at {} cannot be reached: {why}", args.service.url())));
        }
        Acquired::Refused(why) => return Err(Failure::new(why)),
        Acquired::Signalled(signal) => {
            let text = format!("signal {} came while waiting for {lock}", signal.as_raw());
            return Ok(told(signals::exit_code(signal.as_raw()), &text));
        }
    };
    tracing::info!("granted {lock} to {holder}, token {token}");
    let watch = Watch::new(lease, args.grace, args.on_lost);
    let environment = [
        ("GOAHEAD_LOCK", lock.clone()),
        ("GOAHEAD_LOCK_HOLDER", holder.clone()),
        ("GOAHEAD_LOCK_TOKEN", token.to_string()),
    ];
    let terminal = Terminal::own();
    let child = match Child::spawn(&args.command, &environment) {
        Ok(child) => child,
        Err(error) => {
            hold::release(&calls, token, &watch).await;
            let code = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
            return Ok(told(code, &format!("cannot run {:?}: {error}", args.command[0])));
        }
    };
    let ended = hold::keep(&calls, token, watch, (child, guard), terminal, &mut signals).await?;
    hold::release(&calls, token, &ended.watch).await;
    if ended.watch.is_lost() && args.on_lost != OnLost::Ignore {
        return Ok(told(LOST, &format!("{lock} was lost before the command was done")));
    }
    Ok(ExitCode::from(code(ended.status)))
}

/// Ends with an exit code that is not the command's.
fn told(code: u8, why: &str) -> ExitCode {
    eprintln!("goahead: {why}");
    ExitCode::from(code)
}

/// The command's exit code, as a shell gives it.
fn code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, signal) => signals::exit_code(signal.unwrap_or_default()),
    }
}

/// A holder that no other run shares: neither of another machine, nor of this one before or after.
fn holder() -> String {
    format!("{}:{}:{:08x}", machine(), std::process::id(), rand::random::<u32>())
}

/// What operators see in the queue. Of the command only its name: arguments may hold secrets.
fn metadata(args: &Args) -> serde_json::Value {
    let program = args.command.first().and_then(|program| Path::new(program).file_name()).unwrap_or_default();
    let program: String = program.to_string_lossy().chars().take(100).collect();
    json!({ "machine": machine(), "process": std::process::id(), "program": program })
}

fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
