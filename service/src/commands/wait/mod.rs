//! `goahead wait`: waits until others are ready, then becomes the command that needs them.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use goahead_rules::duration;
use tokio::time::Instant;

use super::rendezvous::RendezvousArgs;
use super::{CommandResult, print, small_runtime};
use crate::probe::{Allow, Miss, Prober};
use crate::{program, yaml};

mod progress;
mod race;
mod target;

use race::{Found, Race};
use target::Wanted;

const EXPLANATION: &str = "\
Targets, all probed at once:
  KEY                     a rendezvous key, at the service of --rendezvous-url; `goahead signal KEY` or PUT /KEY marks it
  HOST:PORT, tcp://…      a TCP port that accepts a connection; a key that looks like one is written /KEY
  http://…, https://…     a page answered with 2xx; redirects are not followed
  postgres://…            a database that answers SELECT 1
  file:///PATH            a file, directory or socket that exists

A service, host or name that is not there yet is waited for like everything else. Names are looked up anew for each try.
Without a command, the payload of each key that has one is printed, a line of JSON each, in the order of the keys.
With a command, goahead becomes it: same process id, signals and exit code. No shell is involved.

Examples:
  goahead wait tcp://db:5432
  goahead wait postgres://app@db/app http://auth:8080/health migrations-done --timeout 2m -- ./app --port 80
  goahead wait --any --timeout 5s cache-1:11211 cache-2:11211
  goahead wait leader-elected | jq .address

Exit codes:
  0    everything is there (with a command: its own exit code)
  1    a target can never be there: the service refuses the key, the address cannot be used
  2    wrong usage
  75   timed out
  126  the command cannot be executed
  127  the command was not found";

/// The time is up.
const TIMED_OUT: u8 = 75;
/// What a wait without an end ends after.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Arguments of `goahead wait`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXPLANATION, after_help = "`--help` explains targets and exit codes, with examples.")]
pub struct Args {
    /// What to wait for: KEY, HOST:PORT, tcp://, http://, https://, postgres:// or file:// (see --help)
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// What to become when everything is there
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// How long to wait in all: 30s, 1m30s, a bare number of seconds, 0 to try once, or `forever`
    #[arg(long, short = 't', value_name = "TIME", default_value = "30s", value_parser = patience)]
    timeout: Duration,
    /// How long one try of a target may take; keys are not tried but waited for
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = yaml::time)]
    try_timeout: Duration,
    /// One target suffices
    #[arg(long)]
    any: bool,
    /// Say nothing but what is wrong with the command line
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    rendezvous: RendezvousArgs,
}

fn patience(text: &str) -> Result<Duration, String> {
    if text == "forever" {
        return Ok(FOREVER);
    }
    if text == "0" || duration::parse(text).is_ok_and(|time| time.0 == 0) {
        return Ok(Duration::ZERO);
    }
    yaml::time(text).map(|time| time.min(FOREVER))
}

/// Waits, and becomes the command if there is one.
///
/// # Errors
/// When the service's address or a file of the options cannot be used. Everything else is told and ends in an exit code.
pub fn run(args: &Args) -> CommandResult {
    let mut targets = Vec::new();
    for text in &args.targets {
        match Wanted::parse(text) {
            Ok(target) => targets.push(target),
            // Not by clap, which shows the whole value: a URL may have a password in it.
            Err(why) => {
                eprintln!("goahead: {why}");
                return Ok(ExitCode::from(2));
            }
        }
    }
    let keys = targets.iter().any(|target| matches!(target, Wanted::Key(_)));
    let rendezvous = if keys { Some(args.rendezvous.client()?) } else { None };
    let runtime = small_runtime()?;
    let race = Race {
        targets,
        rendezvous,
        // Whoever calls this could connect to anything without it.
        prober: Prober::new(Allow::everything(), args.try_timeout),
        deadline: Instant::now() + args.timeout,
        any: args.any,
        quiet: args.quiet,
    };
    let found = runtime.block_on(async {
        tokio::select! {
            found = race.run() => Ok(found),
            code = ended_as_first_process() => Err(code),
        }
    });
    // A name lookup may still hang in its thread; nobody waits for it any more.
    runtime.shutdown_background();
    match found {
        Ok(found) => conclude(args, &found),
        Err(code) => Ok(ExitCode::from(code)),
    }
}

/// The first process of a container is not ended by signals that it has no handler for. Anywhere else a wait ends as
/// any process does, and this never returns.
async fn ended_as_first_process() -> u8 {
    use tokio::signal::unix::{SignalKind, signal};
    if std::process::id() != 1 {
        return std::future::pending().await;
    }
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => 128 + 15,
        _ = interrupt.recv() => 128 + 2,
    }
}

fn conclude(args: &Args, found: &Found) -> CommandResult {
    if !found.enough(args.any) {
        let late = found.missing().any(|(_, miss)| matches!(miss, Miss::NotYet(_)));
        // One that can never be there decides, unless another one would have sufficed.
        let never = found.missing().any(|(_, miss)| !matches!(miss, Miss::NotYet(_))) && !(args.any && late);
        if !args.quiet {
            for (target, miss) in found.missing() {
                match miss {
                    Miss::NotYet(why) if !never => eprintln!("goahead: timed out waiting for {target}: {why}"),
                    Miss::NotYet(_) => {}
                    Miss::Refused(why) | Miss::Wrong(why) => eprintln!("goahead: {target}: {why}"),
                }
            }
        }
        return Ok(ExitCode::from(if never { 1 } else { TIMED_OUT }));
    }
    let Some((command, arguments)) = args.command.split_first() else {
        let payloads: String = found.payloads().map(|payload| format!("{payload}\n")).collect();
        if !args.quiet {
            print(&payloads)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let error = program::replace_process(command, arguments);
    eprintln!("goahead: {}: {error}", command.display());
    Ok(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patience_may_be_nothing_or_endless() {
        for (text, wanted) in [
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
            ("0m0s", Duration::ZERO),
            ("30", Duration::from_secs(30)),
            ("1m30s", Duration::from_secs(90)),
            ("500ms", Duration::from_millis(500)),
            ("forever", FOREVER),
            ("2000000h", FOREVER),
        ] {
            assert_eq!(patience(text), Ok(wanted), "{text}");
        }
        for wrong in ["", "-1s", "soon", "1d"] {
            assert!(patience(wrong).is_err(), "{wrong}");
        }
    }
}
