//! The outbox: programs that a transaction wants run, and the runners that claim them.
//!
//! A job is written by the transaction that decided it, claimed under a lease and run at least once. Its
//! number of the run fences the report: a runner whose lease ran out reports in vain.

use crate::clock;
use crate::store::{self, Store};
use goahead_rules::duration::GoDuration;
use goahead_rules::lease::{Clock, Instant};
use goahead_rules::restart::Open;
use goahead_rules::settings::Settings;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

/// How much longer than its program's timeout a lease lasts, in milliseconds.
const MARGIN: i64 = 10_000;

/// A program for the outbox.
pub struct Job {
    restart_id: i64,
    cluster_id: i32,
    cluster: String,
    kind: &'static str,
    command: String,
    fqdn: String,
    uptime: String,
    timeout_ms: Option<i64>,
}

impl Job {
    /// A program about a restart. `kind` is action, check, completion_action or panic.
    pub fn of(
        open: &Open,
        cluster_id: i32,
        cluster: &str,
        kind: &'static str,
        command: &str,
        settings: &Settings,
    ) -> Self {
        Self {
            restart_id: open.id,
            cluster_id,
            cluster: cluster.to_owned(),
            kind,
            command: command.to_owned(),
            fqdn: open.holder.clone(),
            uptime: GoDuration::from_micros(open.granted_uptime).to_string(),
            timeout_ms: settings.command_timeout.map(|span| (span.as_micros() / 1_000).max(1)),
        }
    }
}

/// The server's identity: jobs of another one are not run here.
pub fn system_identifier() -> i64 {
    // SAFETY: reads a constant of the cluster.
    unsafe { pg_sys::GetSystemIdentifier() }.cast_signed()
}

/// Queues jobs in their order, due now. A restart's completion check is queued once only.
pub fn queue(store: &mut Store<'_, '_>, clock: Clock, jobs: &[Job]) {
    if jobs.is_empty() {
        return;
    }
    let texts = |make: &dyn Fn(&Job) -> &str| jobs.iter().map(|job| make(job).to_owned()).collect::<Vec<_>>();
    store.run(
        "INSERT INTO goahead._job (system_identifier, restart_id, cluster_id, cluster, kind, command, fqdn, uptime, timeout_ms, due_epoch, due_us)
         SELECT $1, n.restart_id, n.cluster_id, n.cluster, n.kind, n.command, n.fqdn, n.uptime, n.timeout_ms, $2, $3
           FROM ROWS FROM (pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
                           pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11))
                WITH ORDINALITY AS n (restart_id, cluster_id, cluster, kind, command, fqdn, uptime, timeout_ms, place)
          ORDER BY n.place
         ON CONFLICT (restart_id) WHERE kind = 'check' DO NOTHING",
        &[
            system_identifier().into(),
            clock.now.epoch.into(),
            clock.now.us.into(),
            jobs.iter().map(|job| job.restart_id).collect::<Vec<_>>().into(),
            jobs.iter().map(|job| job.cluster_id).collect::<Vec<_>>().into(),
            texts(&|job| &job.cluster).into(),
            texts(&|job| job.kind).into(),
            texts(&|job| &job.command).into(),
            texts(&|job| &job.fqdn).into(),
            texts(&|job| &job.uptime).into(),
            jobs.iter().map(|job| job.timeout_ms).collect::<Vec<_>>().into(),
        ],
    );
}

/// A claimed job, as its report finds it.
pub struct Claimed {
    /// The restart that it is about.
    pub restart_id: i64,
    /// Its cluster.
    pub cluster_id: i32,
    /// Name of the cluster.
    pub cluster: String,
    /// action, check, completion_action or panic.
    pub kind: String,
    /// The host that it is about.
    pub fqdn: String,
    /// As configured.
    pub command: String,
}

/// The cluster of a job and whether it is a completion check; read before the cluster is locked.
pub fn cluster_of(store: &mut Store<'_, '_>, id: i64) -> Option<(i32, bool)> {
    store.first("SELECT cluster_id, kind = 'check' FROM goahead._job WHERE id = $1", &[id.into()], |row| {
        (row.get(1), row.get(2))
    })
}

/// Locks the job's row if this run of it is still the runner's.
pub fn claimed(store: &mut Store<'_, '_>, id: i64, run: i32, runner: &str) -> Option<Claimed> {
    store.begin();
    store.first(
        "SELECT restart_id, cluster_id, cluster, kind, fqdn, command FROM goahead._job
          WHERE id = $1 AND run = $2 AND runner = $3 AND state = 'running' FOR UPDATE",
        &[id.into(), run.into(), runner.into()],
        |row| Claimed {
            restart_id: row.get(1),
            cluster_id: row.get(2),
            cluster: row.get(3),
            kind: row.get(4),
            fqdn: row.get(5),
            command: row.get(6),
        },
    )
}

/// What became of a run.
pub struct Report<'a> {
    /// Its exit code, if it ran to its end.
    pub exit_code: Option<i32>,
    /// Why it did not.
    pub failure: Option<&'a str>,
    /// The end of what it printed.
    pub output: Option<&'a str>,
}

/// Ends a claimed job.
pub fn end(store: &mut Store<'_, '_>, id: i64, report: &Report<'_>) {
    let state = if report.exit_code == Some(0) { "done" } else { "failed" };
    store.run(
        "UPDATE goahead._job SET state = $2, lease_epoch = NULL, lease_us = NULL, finished_at = pg_catalog.clock_timestamp(),
                exit_code = $3, failure = $4, output = $5 WHERE id = $1",
        &[id.into(), state.into(), report.exit_code.into(), report.failure.into(), report.output.into()],
    );
}

/// Queues a claimed job again.
pub fn again(store: &mut Store<'_, '_>, id: i64, due: Instant, report: &Report<'_>) {
    store.run(
        "UPDATE goahead._job SET state = 'queued', lease_epoch = NULL, lease_us = NULL, due_epoch = $2, due_us = $3,
                exit_code = $4, failure = $5, output = $6 WHERE id = $1",
        &[
            id.into(),
            due.epoch.into(),
            due.us.into(),
            report.exit_code.into(),
            report.failure.into(),
            report.output.into(),
        ],
    );
}

/// Drops the queued completion checks of restarts that have ended.
pub fn drop_checks(store: &mut Store<'_, '_>, restarts: &[i64]) {
    if restarts.is_empty() {
        return;
    }
    store.run(
        "UPDATE goahead._job SET state = 'dropped', finished_at = pg_catalog.clock_timestamp(), failure = 'the restart has ended'
          WHERE restart_id = ANY ($1) AND kind = 'check' AND state = 'queued'",
        &[restarts.to_vec().into()],
    );
}

/// Whether a runner would find work now.
fn work_waits(store: &mut Store<'_, '_>, clock: Clock) -> bool {
    store
        .first(
            "SELECT EXISTS (SELECT FROM goahead._job WHERE state = 'queued' AND system_identifier = $1
                                   AND (due_us <= $3 OR due_epoch <> $2))
                 OR EXISTS (SELECT FROM goahead._job WHERE state = 'running'
                                   AND CASE WHEN lease_epoch = $2 THEN lease_us <= $3 ELSE $4 + 60000000 <= $3 END)",
            &[system_identifier().into(), clock.now.epoch.into(), clock.now.us.into(), clock.epoch_start.into()],
            |row| row.get(1),
        )
        .unwrap_or(false)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn claim_jobs(runner: &str, max: default!(i32, 1), default_timeout_ms: default!(i32, 20_000)) -> JsonB {
    if !(1..=255).contains(&runner.len()) || !(1..=1_000).contains(&max) || default_timeout_ms < 1 {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "claim_jobs: an argument is out of range",
            "runner has 1 to 255 bytes, max is 1 to 1000, default_timeout_ms is positive",
        );
    }
    store::decide(|store| {
        let clock = clock::settled(store);
        let seen = store.first(
            "SELECT true FROM goahead._runner WHERE name = $1 AND seen_at > pg_catalog.clock_timestamp() - interval '10 s'",
            &[runner.into()],
            |_| (),
        );
        if seen.is_none() {
            store.begin();
            store.run(
                "INSERT INTO goahead._runner AS r (name, seen_at) VALUES ($1, pg_catalog.clock_timestamp())
                 ON CONFLICT (name) DO UPDATE SET seen_at = EXCLUDED.seen_at",
                &[runner.into()],
            );
        }
        if !work_waits(store, clock) {
            return JsonB(json!([]));
        }
        store.begin();
        store.run(
            "UPDATE goahead._job SET state = 'queued', lease_epoch = NULL, lease_us = NULL, due_epoch = $1, due_us = $2,
                    failure = 'the runner ' || runner || ' did not report in time'
              WHERE id IN (SELECT id FROM goahead._job WHERE state = 'running'
                              AND CASE WHEN lease_epoch = $1 THEN lease_us <= $2 ELSE $3 + 60000000 <= $2 END
                            FOR UPDATE SKIP LOCKED)",
            &[clock.now.epoch.into(), clock.now.us.into(), clock.epoch_start.into()],
        );
        let jobs = store.rows(
            "UPDATE goahead._job j
                SET state = 'running', runner = $1, run = j.run + 1, started_at = pg_catalog.clock_timestamp(),
                    lease_epoch = $4, lease_us = $5 + (coalesce(j.timeout_ms, $6) + $7) * 1000
              WHERE j.id IN (SELECT q.id FROM goahead._job q
                              WHERE q.state = 'queued' AND q.system_identifier = $3 AND (q.due_us <= $5 OR q.due_epoch <> $4)
                              ORDER BY q.due_us, q.id LIMIT $2 FOR UPDATE SKIP LOCKED)
             RETURNING j.id, j.run, j.kind, j.command, j.fqdn, j.cluster, j.uptime, j.timeout_ms",
            &[
                runner.into(),
                i64::from(max).into(),
                system_identifier().into(),
                clock.now.epoch.into(),
                clock.now.us.into(),
                i64::from(default_timeout_ms).into(),
                MARGIN.into(),
            ],
            |row| {
                let fqdn: String = row.get(5);
                json!({
                    "id": row.get::<i64>(1), "run": row.get::<i32>(2), "kind": row.get::<String>(3),
                    "command": row.get::<String>(4), "hostname": fqdn.split('.').next(), "fqdn": fqdn,
                    "cluster": row.get::<String>(6), "uptime": row.get::<String>(7), "timeout_ms": row.opt::<i64>(8),
                })
            },
        );
        JsonB(serde_json::Value::Array(jobs))
    })
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn release_job(id: i64, run: i32, runner: &str) -> bool {
    store::decide(|store| {
        let clock = clock::settled(store);
        let mine = claimed(store, id, run, runner).is_some();
        if mine {
            again(store, id, clock.now, &Report { exit_code: None, failure: Some("given back"), output: None });
        }
        mine
    })
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn release_runner(runner: &str) -> i64 {
    store::decide(|store| {
        let clock = clock::settled(store);
        store.begin();
        let given_back = store.run(
            "UPDATE goahead._job SET state = 'queued', lease_epoch = NULL, lease_us = NULL, due_epoch = $2, due_us = $3,
                    failure = 'the runner was started anew'
              WHERE runner = $1 AND state = 'running'",
            &[runner.into(), clock.now.epoch.into(), clock.now.us.into()],
        );
        i64::try_from(given_back).unwrap_or(i64::MAX)
    })
}
