//! The checks of inquiries: programs that say whether a host should restart, run for whoever asks, seldom and few at once.
//!
//! Hundreds of hosts may inquire in the same minute. A result is kept for a while under the argument vector that gave
//! it, askers of a check that is running wait for that run, and where too many run already the answer is "not
//! checked", which never means yes.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use crate::program::{Outcome, Program, User};

/// Checks that may run at once for each core of this machine.
const PER_CORE: usize = 4;
/// Argument vectors whose results are remembered; each takes a few hundred bytes.
const REMEMBERED: usize = 10_000;
/// Why a check was not run although it could have been.
const TOO_MANY: &str = "too many checks are running already";

/// A check that the database wants run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// The argument vector, templates replaced
    pub command: Vec<String>,
    /// The exit code that is a reason to restart
    pub exit_code_for_reboot: i32,
}

/// What a check said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The argument vector that was asked for
    pub command: Vec<String>,
    /// What became of it
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What became of a check. What did not run to its own end has no exit code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It ended with this exit code
    ExitCode(i32),
    /// It gave no exit code, and why
    NotChecked(String),
}

/// How checks are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a result is kept
    pub keep: Duration,
    /// How long one check may run, and how long one inquiry waits for all of its checks
    pub timeout: Duration,
    /// How many run at once
    pub parallel: usize,
    /// The user they run as; none: the one of this process
    pub user: Option<User>,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { keep: Duration::from_secs(60), timeout: Duration::from_secs(20), parallel: PER_CORE * cores, user: None }
    }
}

/// Runs checks; clones share results and limits.
#[derive(Clone)]
pub struct Checks {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    permits: Arc<Semaphore>,
    results: Mutex<HashMap<Vec<String>, Entry>>,
}

/// A result, or the promise of one.
struct Entry {
    /// When it was asked for; it counts from then, so that a slow check is not older than it says
    since: Instant,
    verdict: watch::Receiver<Option<Verdict>>,
}

impl Checks {
    /// A runner without results.
    pub fn new(options: Options) -> Self {
        let permits = Arc::new(Semaphore::new(options.parallel.max(1)));
        Self { shared: Arc::new(Shared { options, permits, results: Mutex::default() }) }
    }

    /// Runs the checks of one inquiry in their order, up to the first that is a reason to restart; gives the results
    /// of those that were asked. Takes about one timeout at most, however many there are.
    pub async fn run(&self, specs: Vec<CheckSpec>) -> Vec<CheckResult> {
        let patience = Instant::now() + self.shared.options.timeout;
        let mut results = Vec::with_capacity(specs.len());
        for CheckSpec { command, exit_code_for_reboot } in specs {
            let verdict = self.check(&command, patience).await;
            let reason = verdict == Verdict::ExitCode(exit_code_for_reboot);
            results.push(CheckResult { command, verdict });
            if reason {
                break;
            }
        }
        results
    }

    async fn check(&self, command: &[String], patience: Instant) -> Verdict {
        if Instant::now() >= patience {
            return Verdict::NotChecked("the checks before it took all the time".to_owned());
        }
        let mut verdict = match self.find_or_start(command) {
            Ok(verdict) => verdict,
            Err(reason) => return Verdict::NotChecked(reason),
        };
        match timeout_at(patience, verdict.wait_for(Option::is_some)).await {
            Ok(Ok(verdict)) => verdict.clone().unwrap_or_else(|| Verdict::NotChecked("it was given up".to_owned())),
            Ok(Err(_)) => Verdict::NotChecked("it was given up".to_owned()),
            Err(_) => {
                Verdict::NotChecked(format!("still running after {} s", self.shared.options.timeout.as_secs_f64()))
            }
        }
    }

    /// The result or the running check of this vector; starts one where there is none and a permit is free.
    fn find_or_start(&self, command: &[String]) -> Result<watch::Receiver<Option<Verdict>>, String> {
        let mut results = self.results();
        let now = Instant::now();
        if let Some(entry) = results.get(command)
            && now.duration_since(entry.since) < self.lifetime(entry)
        {
            return Ok(entry.verdict.clone());
        }
        let permit = self.shared.permits.clone().try_acquire_owned().map_err(|_| TOO_MANY.to_owned())?;
        let (sender, verdict) = watch::channel(None);
        if results.len() >= REMEMBERED {
            make_room(&mut results, now, self.shared.options.keep);
        }
        results.insert(command.to_vec(), Entry { since: now, verdict: verdict.clone() });
        drop(results);
        let program = Program::new(command.to_vec())
            .clean_environment()
            .user(self.shared.options.user.clone())
            .timeout(Some(self.shared.options.timeout))
            .keep(0);
        let name = command.first().cloned().unwrap_or_default();
        // A task of its own: the inquiry that asked first may hang up while others wait for the same result.
        tokio::spawn(async move {
            let outcome = program.run().await.outcome;
            let verdict = match outcome {
                Outcome::Exited(code) => Verdict::ExitCode(code),
                other => {
                    tracing::warn!(check.program = name, "a check gave no exit code: {other}");
                    Verdict::NotChecked(other.to_string())
                }
            };
            // Nobody may be waiting any more; the entry of the map keeps the result.
            sender.send_replace(Some(verdict));
            drop(permit);
        });
        Ok(verdict)
    }

    /// How long an entry counts: a running check for as long as it may run, so that it is never started twice.
    fn lifetime(&self, entry: &Entry) -> Duration {
        if entry.verdict.borrow().is_none() && entry.verdict.has_changed().is_ok() {
            Duration::MAX
        } else {
            self.shared.options.keep
        }
    }

    fn results(&self) -> MutexGuard<'_, HashMap<Vec<String>, Entry>> {
        // Nothing that could panic runs under this lock; if it did, the map is still a map.
        self.shared.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets results that are too old, and if that is not enough the older half of the rest.
fn make_room(results: &mut HashMap<Vec<String>, Entry>, now: Instant, keep: Duration) {
    let done = |entry: &Entry| entry.verdict.borrow().is_some();
    results.retain(|_, entry| !done(entry) || now.duration_since(entry.since) < keep);
    if results.len() < REMEMBERED {
        return;
    }
    let mut ages: Vec<Instant> = results.values().map(|entry| entry.since).collect();
    let middle = ages.len() / 2;
    let (_, &mut median, _) = ages.select_nth_unstable(middle);
    results.retain(|_, entry| !done(entry) || entry.since > median);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn spec(script: &str) -> CheckSpec {
        CheckSpec { command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(), exit_code_for_reboot: 1 }
    }

    fn checks(change: impl FnOnce(&mut Options)) -> Checks {
        let mut options = Options::default();
        change(&mut options);
        Checks::new(options)
    }

    fn verdicts(results: Vec<CheckResult>) -> Vec<Verdict> {
        results.into_iter().map(|result| result.verdict).collect()
    }

    /// A script that leaves a line in `log` each time it runs.
    fn counting(log: &Path, rest: &str) -> CheckSpec {
        spec(&format!("echo run >> {}; {rest}", log.display()))
    }

    fn runs(log: &Path) -> usize {
        std::fs::read_to_string(log).map_or(0, |text| text.lines().count())
    }

    #[test]
    fn results_have_the_form_the_database_reads() {
        let command = vec!["a".to_owned()];
        let json = |verdict| serde_json::to_string(&CheckResult { command: command.clone(), verdict }).unwrap();
        assert_eq!(json(Verdict::ExitCode(3)), r#"{"command":["a"],"exit_code":3}"#);
        assert_eq!(json(Verdict::NotChecked("why".to_owned())), r#"{"command":["a"],"not_checked":"why"}"#);
    }

    /// Makes a script wait for `gate` to be there.
    fn gated(gate: &Path, rest: &str) -> CheckSpec {
        spec(&format!("while [ ! -e {} ]; do sleep 0.02; done; {rest}", gate.display()))
    }

    #[tokio::test]
    async fn a_result_is_kept_until_it_is_too_old() {
        let directory = tempfile::tempdir().unwrap();
        for (name, keep, wanted) in [("kept", Duration::from_secs(600), 1), ("old", Duration::ZERO, 3)] {
            let log = directory.path().join(name);
            let checks = checks(|options| options.keep = keep);
            let check = counting(&log, "exit 7");
            for _ in 0..3 {
                assert_eq!(verdicts(checks.run(vec![check.clone()]).await), [Verdict::ExitCode(7)]);
            }
            assert_eq!(runs(&log), wanted, "{name}");
        }
    }

    #[tokio::test]
    async fn askers_of_a_running_check_share_its_run() {
        let directory = tempfile::tempdir().unwrap();
        let (log, gate) = (directory.path().join("log"), directory.path().join("gate"));
        // What is running is shared however short results are kept.
        let checks = checks(|options| options.keep = Duration::ZERO);
        let check = gated(&gate, &format!("echo run >> {}; exit 7", log.display()));
        let mut askers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (checks, check) = (checks.clone(), check.clone());
            askers.spawn(async move { verdicts(checks.run(vec![check]).await) });
        }
        // On this runtime every asker has asked when a later task runs.
        tokio::task::yield_now().await;
        std::fs::write(&gate, "").unwrap();
        for verdicts in askers.join_all().await {
            assert_eq!(verdicts, [Verdict::ExitCode(7)]);
        }
        assert_eq!(runs(&log), 1);
    }

    #[tokio::test]
    async fn a_check_goes_on_when_its_first_asker_hangs_up() {
        let directory = tempfile::tempdir().unwrap();
        let gate = directory.path().join("gate");
        let checks = checks(|_| {});
        let check = gated(&gate, "exit 7");
        let first = tokio::time::timeout(Duration::from_millis(100), checks.run(vec![check.clone()]));
        assert!(first.await.is_err(), "the check waits for its gate");
        std::fs::write(&gate, "").unwrap();
        assert_eq!(verdicts(checks.run(vec![check]).await), [Verdict::ExitCode(7)]);
        assert_eq!(checks.results().len(), 1);
    }

    #[tokio::test]
    async fn beyond_the_limit_the_answer_is_not_checked_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let gate = directory.path().join("gate");
        let checks = checks(|options| options.parallel = 2);
        let mut slow = tokio::task::JoinSet::new();
        for n in 0..2 {
            let (checks, check) = (checks.clone(), gated(&gate, &format!("exit {n}")));
            slow.spawn(async move { verdicts(checks.run(vec![check]).await) });
        }
        while checks.results().len() < 2 {
            tokio::task::yield_now().await;
        }
        // This answer comes while both wait for the gate that is opened only after it.
        let third = verdicts(checks.run(vec![spec("exit 1")]).await);
        assert_eq!(third, [Verdict::NotChecked(TOO_MANY.to_owned())]);
        std::fs::write(&gate, "").unwrap();
        let slow = slow.join_all().await;
        for n in 0..2 {
            assert!(slow.contains(&vec![Verdict::ExitCode(n)]), "{slow:?}");
        }
        assert_eq!(verdicts(checks.run(vec![spec("exit 1")]).await), [Verdict::ExitCode(1)]);
    }

    #[tokio::test]
    async fn what_cannot_start_or_takes_too_long_is_not_checked() {
        let checks = checks(|options| options.timeout = Duration::from_secs(1));
        let missing = CheckSpec { command: vec!["/no/such/check".to_owned()], exit_code_for_reboot: 0 };
        let slow = (0..20).map(|n| spec(&format!("sleep 6{n}")));
        let started = Instant::now();
        let results = verdicts(checks.run(std::iter::once(missing).chain(slow).collect()).await);
        assert_eq!(results.len(), 21);
        for verdict in results {
            assert!(matches!(verdict, Verdict::NotChecked(_)), "{verdict:?}");
        }
        assert!(started.elapsed() < Duration::from_secs(10), "one timeout for the whole inquiry");
        assert_eq!(checks.results().len(), 2, "what there is no time for is not started");
    }

    #[tokio::test]
    async fn the_first_reason_ends_the_inquiry() {
        let checks = checks(|_| {});
        let results = checks.run(vec![spec("exit 0"), spec("exit 1"), spec("exit 2")]).await;
        assert_eq!(verdicts(results), [Verdict::ExitCode(0), Verdict::ExitCode(1)]);
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let checks = checks(|_| {});
        let (_sender, done) = watch::channel(Some(Verdict::ExitCode(0)));
        for n in 0..REMEMBERED {
            let entry = Entry { since: Instant::now(), verdict: done.clone() };
            checks.results().insert(vec![n.to_string()], entry);
        }
        assert_eq!(verdicts(checks.run(vec![spec("exit 1")]).await), [Verdict::ExitCode(1)]);
        let results = checks.results();
        assert!(results.len() <= REMEMBERED / 2 + 1, "{}", results.len());
        let newest = vec![(REMEMBERED - 1).to_string()];
        assert!(results.contains_key(&newest), "the newest results stay");
    }
}
