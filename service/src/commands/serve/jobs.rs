//! The job runner: claims the programs that decisions of the database want run, runs them, and reports.
//!
//! A job is claimed under a lease and run at least once; the number of its run fences the report, so that a runner that
//! was away too long reports in vain. Every program can know the job's id and use it to do nothing twice.

use std::time::Duration;

use goahead_rules::command::{self, Names};
use rand::Rng;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::db::{Database, DbError};
use crate::program::{Finished, Outcome, Program, User};

/// Between two looks for work while there is none.
const POLL: Duration = Duration::from_millis(200);
/// The longest pause between two looks while the database refuses or is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a report is tried again at least. Past the lease it may still arrive before another runner claims the job.
const REPORT_PATIENCE: Duration = Duration::from_secs(30);
/// How long reports and returns are tried again once the service ends.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// How much of a failed program's output goes into the log, in bytes.
const LOGGED: usize = 400;

/// How jobs are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name under which this process claims; no other process may use it at the same time
    pub runner: String,
    /// How many run at once
    pub parallel: usize,
    /// How long a program may run whose job does not say
    pub timeout: Duration,
    /// How long a running program has to end by itself once the service ends; then it is ended and given back
    pub patience: Duration,
    /// The user that programs run as; none: the one of this process
    pub user: Option<User>,
}

impl Options {
    /// Eight at once, 20 s each, 5 s to end in.
    pub fn new(runner: String, user: Option<User>) -> Self {
        Self { runner, parallel: 8, timeout: Duration::from_secs(20), patience: Duration::from_secs(5), user }
    }
}

/// A claimed job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Job {
    id: i64,
    run: i32,
    kind: String,
    command: String,
    fqdn: String,
    hostname: String,
    cluster: String,
    uptime: String,
    timeout_ms: Option<u64>,
}

/// What is reported of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    exit_code: Option<i32>,
    failure: Option<String>,
    output: String,
}

/// Where jobs come from and reports go to.
trait Outbox: Clone + Send + Sync + 'static {
    /// Gives back what an earlier process of this name had claimed.
    fn start_anew(&self, runner: &str) -> impl Future<Output = Result<(), DbError>> + Send;
    fn claim(&self, options: &Options, max: usize) -> impl Future<Output = Result<Vec<Job>, DbError>> + Send;
    /// `done`, `again` (a check that is to be repeated) or `lost` (another run of it counts).
    fn finish(&self, runner: &str, job: &Job, report: &Report) -> impl Future<Output = Result<String, DbError>> + Send;
    fn release(&self, runner: &str, job: &Job) -> impl Future<Output = Result<(), DbError>> + Send;
}

impl Outbox for Database {
    async fn start_anew(&self, runner: &str) -> Result<(), DbError> {
        self.call("SELECT goahead.release_runner($1)", &[&runner]).await.map(drop)
    }

    async fn claim(&self, options: &Options, max: usize) -> Result<Vec<Job>, DbError> {
        let max = i32::try_from(max).unwrap_or(i32::MAX);
        let timeout = i32::try_from(options.timeout.as_millis()).unwrap_or(i32::MAX).max(1);
        let jobs = self.json("SELECT goahead.claim_jobs($1, $2, $3)", &[&options.runner, &max, &timeout]).await?;
        let jobs = jobs.ok_or_else(|| DbError::Answer("claim_jobs gave nothing".to_owned()))?;
        serde_json::from_str(jobs.get()).map_err(|error| DbError::Answer(format!("claim_jobs: {error}")))
    }

    async fn finish(&self, runner: &str, job: &Job, report: &Report) -> Result<String, DbError> {
        let rows = self
            .call(
                "SELECT goahead.finish_job($1, $2, $3, $4, $5, $6)",
                &[&job.id, &job.run, &runner, &report.exit_code, &report.failure, &report.output],
            )
            .await?;
        let row = rows.first().ok_or_else(|| DbError::Answer("finish_job gave nothing".to_owned()))?;
        Ok(row.try_get(0)?)
    }

    async fn release(&self, runner: &str, job: &Job) -> Result<(), DbError> {
        self.call("SELECT goahead.release_job($1, $2, $3)", &[&job.id, &job.run, &runner]).await.map(drop)
    }
}

/// Runs jobs until `stop` becomes true, and then those under way to their end or back into the queue.
pub async fn run(db: Database, options: Options, stop: watch::Receiver<bool>) {
    run_from(db, options, stop).await;
}

async fn run_from(outbox: impl Outbox, options: Options, mut stop: watch::Receiver<bool>) {
    let mut running = JoinSet::new();
    let mut failures = 0;
    let mut fresh = true;
    while !*stop.borrow() {
        let free = options.parallel.max(1) - running.len();
        let claimed_at = Instant::now();
        let claimed = if free == 0 { Ok(Vec::new()) } else { claim(&outbox, &options, free, &mut fresh).await };
        let pause = match claimed {
            Ok(jobs) => {
                if std::mem::take(&mut failures) > 0 {
                    tracing::info!("jobs are claimed again");
                }
                for job in jobs {
                    let worker = Worker {
                        outbox: outbox.clone(),
                        options: options.clone(),
                        stop: stop.clone(),
                        claimed_at,
                        last: None,
                    };
                    running.spawn(worker.work(job));
                }
                POLL
            }
            Err(error) => {
                // That the database is away has been said by whoever noticed first.
                if failures == 0 && !matches!(error, DbError::Unavailable(_)) {
                    tracing::warn!(%error, "jobs cannot be claimed; it is tried again");
                }
                failures += 1;
                backoff(failures, LONGEST_PAUSE)
            }
        };
        tokio::select! {
            // A job that ended may have queued the next one.
            Some(ended) = running.join_next() => ended_well(ended),
            () = sleep(pause.mul_f64(rand::rng().random_range(0.8..1.2))) => {}
            () = stopped(&mut stop) => break,
        }
    }
    while let Some(ended) = running.join_next().await {
        ended_well(ended);
    }
}

async fn claim(outbox: &impl Outbox, options: &Options, max: usize, fresh: &mut bool) -> Result<Vec<Job>, DbError> {
    if *fresh {
        outbox.start_anew(&options.runner).await?;
        *fresh = false;
    }
    outbox.claim(options, max).await
}

fn ended_well(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the runner of a job ended badly; the job runs again when its lease is over");
    }
}

/// 200 ms, doubled with each failure up to `longest`.
fn backoff(failures: u32, longest: Duration) -> Duration {
    (POLL * (1 << (failures.saturating_sub(1)).min(10))).min(longest)
}

/// Runs one job.
struct Worker<O> {
    outbox: O,
    options: Options,
    stop: watch::Receiver<bool>,
    claimed_at: Instant,
    /// When nothing is tried again any more, because the service ends
    last: Option<Instant>,
}

impl<O: Outbox> Worker<O> {
    async fn work(mut self, job: Job) {
        let limit = job.timeout_ms.map_or(self.options.timeout, Duration::from_millis);
        let program = match self.program(&job, limit) {
            Ok(program) => program,
            Err(why) => {
                let failed = Finished { outcome: Outcome::NotStarted(why), output: String::new() };
                return self.report(&job, limit, failed).await;
            }
        };
        tracing::debug!(job.id, job.kind, job.fqdn, job.cluster, "a job runs");
        let mut cut = false;
        let (mut stop, patience) = (self.stop.clone(), self.options.patience);
        let finished = program
            .run_until(async {
                stopped(&mut stop).await;
                sleep(patience).await;
                cut = true;
            })
            .await;
        if cut {
            self.give_back(&job).await;
        } else {
            self.report(&job, limit, finished).await;
        }
    }

    fn program(&self, job: &Job, limit: Duration) -> Result<Program, String> {
        let names = Names { fqdn: &job.fqdn, hostname: &job.hostname, cluster: &job.cluster, uptime: &job.uptime };
        let argv = command::render(&job.command, &names).map_err(|error| error.to_string())?;
        Ok(Program::new(argv)
            .clean_environment()
            .env("GOAHEAD_JOB_ID", job.id.to_string())
            .env("GOAHEAD_FQDN", &job.fqdn)
            .env("GOAHEAD_HOSTNAME", &job.hostname)
            .env("GOAHEAD_CLUSTER", &job.cluster)
            .env("GOAHEAD_UPTIME", &job.uptime)
            .user(self.options.user.clone())
            .timeout(Some(limit)))
    }

    async fn report(&mut self, job: &Job, limit: Duration, finished: Finished) {
        tell(job, &finished);
        let (exit_code, failure) = match finished.outcome {
            Outcome::Exited(code) => (Some(code), None),
            other => (None, Some(other.to_string())),
        };
        let mut report = Report { exit_code, failure, output: finished.output };
        let patience = self.claimed_at + limit + REPORT_PATIENCE;
        let mut failures = 0;
        loop {
            let error = match self.outbox.finish(&self.options.runner, job, &report).await {
                Ok(word) => {
                    if word == "lost" {
                        tracing::warn!(job.id, job.kind, "a job's lease was over before its report; it runs again");
                    }
                    return;
                }
                Err(error) => error,
            };
            match error.code() {
                // A database in another encoding has no place for every character that a program can print.
                Some(code) if code.starts_with("22") && !report.output.is_empty() => {
                    report.output.clear();
                    continue;
                }
                Some(code) if !passes(code) => {
                    tracing::error!(job.id, %error, "a job's report was refused; it runs again when its lease is over");
                    return;
                }
                _ => {}
            }
            failures += 1;
            if !self.again(failures, patience).await {
                tracing::error!(job.id, %error, "a job's report did not arrive; it runs again when its lease is over");
                return;
            }
        }
    }

    async fn give_back(&mut self, job: &Job) {
        tracing::info!(job.id, job.kind, job.fqdn, "the service ends: a running job was ended and is given back");
        let patience = Instant::now() + LAST_PATIENCE;
        let mut failures = 0;
        while let Err(error) = self.outbox.release(&self.options.runner, job).await {
            failures += 1;
            if !self.again(failures, patience).await {
                tracing::warn!(job.id, %error, "a job was not given back; it runs again when its lease is over");
                return;
            }
        }
    }

    /// Waits before the next try; false when there is to be none.
    async fn again(&mut self, failures: u32, patience: Instant) -> bool {
        let pause = backoff(failures, Duration::from_secs(2)).mul_f64(rand::rng().random_range(0.8..1.2));
        if Instant::now() + pause > patience {
            return false;
        }
        tokio::select! {
            () = sleep(pause) => true,
            // The service ends: a few more tries, soon.
            () = stopped(&mut self.stop) => {
                let last = *self.last.get_or_insert(Instant::now() + LAST_PATIENCE);
                sleep(POLL).await;
                Instant::now() < last
            }
        }
    }
}

/// Waits until the service is told to end; a sender that is gone ended with it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whether another try can succeed although the database refused this one.
fn passes(code: &str) -> bool {
    ["08", "25006", "40", "53", "55P03", "57"].iter().any(|class| code.starts_with(class))
}

fn tell(job: &Job, finished: &Finished) {
    let Finished { outcome, output } = finished;
    tracing::debug!(job.id, job.kind, job.fqdn, output, "a job ended: {outcome}");
    match outcome {
        // A check that says "not yet" is what checks are for.
        Outcome::Exited(0) => {}
        Outcome::Exited(_) if job.kind == "check" => {}
        _ => {
            let mut start = output.len().saturating_sub(LOGGED);
            while !output.is_char_boundary(start) {
                start += 1;
            }
            let output = output[start..].trim();
            tracing::warn!(job.id, job.kind, job.fqdn, job.cluster, job.command, output, "a job failed: {outcome}");
        }
    }
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
