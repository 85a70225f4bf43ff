//! The programs around a restart: the condition script that knows a reason, the hooks that carry it out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::config::Config;
use super::log::{Log, Stop};
use super::signals::Signals;
use crate::program::{Outcome, Program};

/// How long a hook may take to end after the client was told to end: it may be in the middle of something.
const HOOK_GRACE: Duration = Duration::from_secs(30);

/// The reason that the condition script gives, or none when it sees no reason to restart.
///
/// # Errors
/// When it did not run to its end: then nobody knows, and that is no reason to restart.
pub async fn local_reason(
    config: &Config,
    limit: Option<Duration>,
    signals: &Signals,
    log: Log,
) -> Result<Option<String>, Stop> {
    let text = &config.condition_text;
    log.debug("ExecuteCommand", &format!("Executing {text}"));
    let started = Instant::now();
    let finished = Program::new(config.condition.clone()).timeout(limit).run_until(signals.received()).await;
    log.verbose(&took(text, started));
    signals.check()?;
    match finished.outcome {
        Outcome::Exited(code) if code == config.condition_code => Ok(Some(finished.output.trim_end().to_owned())),
        Outcome::Exited(_) => Ok(None),
        outcome => {
            let output = finished.output.trim_end();
            let output = if output.is_empty() { String::new() } else { format!("\nOutput: {output}") };
            Err(Stop::fatal(format!("executeCommand(): command failed: {text} {outcome}{output}")))
        }
    }
}

/// Every entry of the hooks directory, in the order of their names' bytes.
///
/// # Errors
/// When the directory is empty or cannot be read: a go-ahead would hold a place for a restart that nobody carries out.
pub fn find(directory: &Path, log: Log) -> Result<Vec<PathBuf>, Stop> {
    let pattern = directory.join("*");
    log.debug("executeRestartHooks", &format!("Glob'ing with path {}", pattern.display()));
    let unreadable = |error: std::io::Error| {
        Stop::fatal(format!(
            "Failed to glob pre restart hook script directory with glob path {} Error: {error}",
            pattern.display()
        ))
    };
    let mut hooks = std::fs::read_dir(directory)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if hooks.is_empty() {
        let pattern = pattern.display();
        return Err(Stop::fatal(format!("Could not find any restart hook scripts matching {pattern}")));
    }
    hooks.sort();
    let names: Vec<_> = hooks.iter().map(|hook| hook.display().to_string()).collect();
    log.debug("executeRestartHooks", &format!("found pre restart hook script: {}", names.join(" ")));
    Ok(hooks)
}

/// Runs the hooks one after another, their output line by line in the log.
/// Each of them may reboot the machine, so everything is told before it happens.
///
/// # Errors
/// At the first hook that fails, unless hooks may fail.
pub async fn run(
    config: &Config,
    environment: &[(&str, String)],
    limit: Option<Duration>,
    signals: &Signals,
    log: Log,
) -> Result<(), Stop> {
    let hooks = find(&config.hooks, log)?;
    for (number, hook) in (1..).zip(&hooks) {
        let path = hook.display().to_string();
        let name = hook.file_name().unwrap_or_default().to_string_lossy();
        log.info(&format!("Executing {path} ({number} of {})", hooks.len()));
        let started = Instant::now();
        let outcome = match hook.to_str() {
            Some(path) => {
                let program = environment
                    .iter()
                    .fold(Program::new(vec![path.to_owned()]), |program, (name, value)| program.env(name, value));
                program
                    .timeout(limit)
                    .grace(HOOK_GRACE)
                    .stream_until(signals.received(), |line| log.info(&format!("{name}: {line}")))
                    .await
            }
            None => Outcome::NotStarted("its name is not UTF-8; rename it".to_owned()),
        };
        log.info(&took(&path, started));
        signals.check()?;
        if outcome.success() {
            continue;
        }
        let failure = format!("executeCommand(): command failed: {path} {outcome}");
        if !config.hooks_may_fail {
            return Err(Stop::Fatal(failure));
        }
        log.info(&format!("{failure}; going on, as os_restart_hooks_allow_fail is set"));
    }
    Ok(())
}

fn took(command: &str, started: Instant) -> String {
    format!("Executing {command} took {:.5}s", started.elapsed().as_secs_f64())
}
