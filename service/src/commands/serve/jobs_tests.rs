//! Jobs from a queue in memory, run for real.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;
use crate::db::SqlError;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    running: usize,
    most_running: usize,
    finished: Vec<(i64, Report)>,
    released: Vec<i64>,
    anew: usize,
    /// Answers of the database to come, before it works
    faults: VecDeque<DbError>,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Queue>>);

impl Memory {
    fn of(jobs: impl IntoIterator<Item = Job>) -> Self {
        let memory = Self::default();
        memory.0.lock().unwrap().waiting.extend(jobs);
        memory
    }

    /// Waits until this many jobs are finished.
    async fn finished(&self, count: usize) -> Vec<(i64, Report)> {
        for _ in 0..1000 {
            let finished = self.0.lock().unwrap().finished.clone();
            if finished.len() >= count {
                return finished;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("jobs did not finish");
    }
}

impl Outbox for Memory {
    async fn start_anew(&self, _: &str) -> Result<(), DbError> {
        self.0.lock().unwrap().anew += 1;
        Ok(())
    }

    async fn claim(&self, _: &Options, max: usize) -> Result<Vec<Job>, DbError> {
        let mut queue = self.0.lock().unwrap();
        let count = max.min(queue.waiting.len());
        queue.running += count;
        queue.most_running = queue.most_running.max(queue.running);
        Ok(queue.waiting.drain(..count).collect())
    }

    async fn finish(&self, _: &str, job: &Job, report: &Report) -> Result<String, DbError> {
        let mut queue = self.0.lock().unwrap();
        if let Some(fault) = queue.faults.pop_front() {
            return Err(fault);
        }
        queue.running -= 1;
        queue.finished.push((job.id, report.clone()));
        if job.kind == "chain" && job.id < 50 {
            queue.waiting.push_back(Job { id: job.id + 1, ..job.clone() });
        }
        Ok("done".to_owned())
    }

    async fn release(&self, _: &str, job: &Job) -> Result<(), DbError> {
        let mut queue = self.0.lock().unwrap();
        queue.running -= 1;
        queue.released.push(job.id);
        Ok(())
    }
}

fn job(id: i64, command: &str) -> Job {
    Job {
        id,
        run: 1,
        kind: "action".to_owned(),
        command: command.to_owned(),
        fqdn: "web1.example.org".to_owned(),
        hostname: "web1".to_owned(),
        cluster: "web".to_owned(),
        uptime: "2h31m0s".to_owned(),
        timeout_ms: None,
    }
}

fn options() -> Options {
    Options::new("test".to_owned(), None)
}

struct Runner {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Runner {
    fn start(memory: &Memory, options: Options) -> Self {
        let (stop, stopping) = watch::channel(false);
        Self { stop, task: tokio::spawn(run_from(memory.clone(), options, stopping)) }
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

async fn reports(jobs: Vec<Job>, options: Options) -> Vec<Report> {
    let count = jobs.len();
    let memory = Memory::of(jobs);
    let runner = Runner::start(&memory, options);
    let mut finished = memory.finished(count).await;
    runner.stop().await;
    assert_eq!(memory.0.lock().unwrap().anew, 1, "what an earlier process claimed is given back once");
    finished.sort_by_key(|(id, _)| *id);
    finished.into_iter().map(|(_, report)| report).collect()
}

#[tokio::test]
async fn a_program_gets_its_words_and_its_environment() {
    let echo = job(1, "/bin/echo {:%fqdn%:} '{:%cluster%:} {:%uptime%:}'");
    let environment = job(2, "/usr/bin/env");
    let reports = reports(vec![echo, environment], options()).await;
    let good = |output: &str| Report { exit_code: Some(0), failure: None, output: output.to_owned() };
    assert_eq!(reports[0], good("web1.example.org web 2h31m0s\n"));
    let mut lines: Vec<&str> =
        reports[1].output.lines().filter(|line| !line.starts_with("PATH=") && !line.starts_with("LANG=")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "GOAHEAD_CLUSTER=web",
            "GOAHEAD_FQDN=web1.example.org",
            "GOAHEAD_HOSTNAME=web1",
            "GOAHEAD_JOB_ID=2",
            "GOAHEAD_UPTIME=2h31m0s",
        ]
    );
}

#[tokio::test]
async fn what_did_not_run_to_its_end_has_a_reason_and_no_exit_code() {
    let slow = Job { timeout_ms: Some(300), ..job(4, "sleep 60") };
    let jobs = vec![job(1, "/no/such/action"), job(2, "unclosed 'quote"), job(3, "sh -c 'echo why; exit 7'"), slow];
    let reports = reports(jobs, options()).await;
    for (report, why) in [(&reports[0], "cannot start"), (&reports[1], "quote"), (&reports[3], "timed out")] {
        assert_eq!(report.exit_code, None);
        assert!(report.failure.as_deref().is_some_and(|failure| failure.contains(why)), "{report:?}");
    }
    assert_eq!(reports[2], Report { exit_code: Some(7), failure: None, output: "why\n".to_owned() });
}

#[tokio::test]
async fn a_default_timeout_ends_what_has_none_of_its_own() {
    let options = Options { timeout: Duration::from_millis(200), ..options() };
    let reports = reports(vec![job(1, "sleep 60")], options).await;
    assert_eq!(reports[0].failure.as_deref(), Some("timed out"));
}

#[tokio::test]
async fn no_more_run_at_once_than_allowed() {
    let memory = Memory::of((1..=12).map(|id| job(id, "sleep 0.1")));
    let runner = Runner::start(&memory, Options { parallel: 3, ..options() });
    memory.finished(12).await;
    runner.stop().await;
    assert_eq!(memory.0.lock().unwrap().most_running, 3);
}

#[tokio::test]
async fn what_a_job_queues_is_claimed_at_once() {
    let memory = Memory::of([Job { kind: "chain".to_owned(), ..job(1, "true") }]);
    let started = Instant::now();
    let runner = Runner::start(&memory, options());
    memory.finished(50).await;
    assert!(started.elapsed() < POLL * 35, "fifty looks after a pause take longer: {:?}", started.elapsed());
    runner.stop().await;
}

fn refused(code: &str) -> DbError {
    DbError::Sql(Box::new(SqlError { code: code.to_owned(), ..SqlError::default() }))
}

#[tokio::test]
async fn a_report_is_repeated_until_the_database_takes_it() {
    let memory = Memory::of([job(1, "sh -c 'echo out; exit 3'")]);
    let away = || DbError::Unavailable("away".to_owned());
    memory.0.lock().unwrap().faults.extend([away(), refused("25006"), refused("22P05")]);
    let runner = Runner::start(&memory, options());
    let finished = memory.finished(1).await;
    runner.stop().await;
    let wanted = Report { exit_code: Some(3), failure: None, output: String::new() };
    assert_eq!(finished, [(1, wanted)], "without the output that the database has no characters for");
}

#[tokio::test]
async fn a_report_that_is_refused_for_good_is_not_repeated() {
    let memory = Memory::of([job(1, "true"), job(2, "sleep 0.3")]);
    memory.0.lock().unwrap().faults.push_back(refused("42501"));
    let runner = Runner::start(&memory, options());
    let finished = memory.finished(1).await;
    runner.stop().await;
    assert_eq!(finished.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn at_the_end_short_jobs_are_finished_and_long_ones_given_back() {
    let memory = Memory::of([job(1, "sleep 1"), job(2, "sleep 60"), job(3, "sh -c \"trap '' TERM; sleep 60 & wait\"")]);
    let runner = Runner::start(&memory, Options { patience: Duration::from_secs(4), ..options() });
    while memory.0.lock().unwrap().running < 3 {
        sleep(Duration::from_millis(20)).await;
    }
    let started = Instant::now();
    runner.stop().await;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let mut queue = memory.0.lock().unwrap();
    queue.released.sort_unstable();
    assert_eq!(queue.finished.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1]);
    assert_eq!(queue.released, [2, 3]);
    assert_eq!(queue.running, 0);
}
