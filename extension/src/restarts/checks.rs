//! What the report of a job means: a completion check may complete its restart, other jobs just end.

use super::clusters;
use super::effects::Effects;
use super::world::World;
use crate::clock;
use crate::events::{self, Event};
use crate::jobs::{self, Claimed, Report};
use crate::store::{self, Store};
use goahead_rules::restart::{self, CheckStep};
use pgrx::prelude::*;
use serde_json::json;

/// How much of a program's output is kept, in bytes.
const OUTPUT: usize = 4_096;

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn finish_job(
    id: i64,
    run: i32,
    runner: &str,
    exit_code: Option<i32>,
    failure: default!(Option<&str>, "NULL"),
    output: default!(Option<&str>, "NULL"),
) -> &'static str {
    if exit_code.is_none() && failure.is_none() {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "a job without an exit code needs its failure",
            "say why it did not run to its end: not started, timed out, killed",
        );
    }
    let report = Report { exit_code, failure, output: output.map(tail) };
    store::decide(|store| finish(store, id, run, runner, &report))
}

fn finish(store: &mut Store<'_, '_>, id: i64, run: i32, runner: &str, report: &Report<'_>) -> &'static str {
    let clock = clock::settled(store);
    let Some((cluster_id, check)) = jobs::cluster_of(store, id) else { return "lost" };
    if check {
        store.lock(store::CLUSTER_LOCK, cluster_id);
    }
    let Some(job) = jobs::claimed(store, id, run, runner) else { return "lost" };
    if !check {
        jobs::end(store, id, report);
        report_failure(store, &job, id, report);
        return "done";
    }
    let mut world = World::new(clock);
    world.load_clusters(store, &[cluster_id]);
    world.load_open(store, &[cluster_id]);
    let held = world.clusters.get(&cluster_id).and_then(|cluster| {
        let open = cluster.open.iter().find(|open| open.id == job.restart_id)?;
        Some((open.clone(), std::rc::Rc::clone(&cluster.settings)))
    });
    let Some((open, settings)) = held else {
        jobs::end(store, id, report);
        return "done";
    };
    let successes: i32 = store
        .first("SELECT successes FROM goahead._restart WHERE id = $1", &[open.id.into()], |row| row.get(1))
        .unwrap_or(0);
    match restart::after_check(u32::try_from(successes).unwrap_or(0), report.exit_code == Some(0), &settings) {
        CheckStep::Complete => {
            world.load_hosts(store, vec![open.holder.clone()]);
            let mut effects = Effects::default();
            effects.complete(&mut world, cluster_id, &open, None);
            jobs::end(store, id, report);
            effects.write(store, &world);
            "done"
        }
        CheckStep::Again { successes: now, after } => {
            let now = i32::try_from(now).unwrap_or(i32::MAX);
            if now != successes {
                store.run("UPDATE goahead._restart SET successes = $2 WHERE id = $1", &[open.id.into(), now.into()]);
            }
            jobs::again(store, id, clock.after(after), report);
            "again"
        }
    }
}

/// With `raise_errors` a failed command is history, not only a failed job.
fn report_failure(store: &mut Store<'_, '_>, job: &Claimed, id: i64, report: &Report<'_>) {
    if report.exit_code == Some(0) {
        return;
    }
    let raised =
        store.first("SELECT version FROM goahead._cluster WHERE id = $1", &[job.cluster_id.into()], |row| row.get(1));
    let raised = raised
        .and_then(|version| clusters::settings(store, vec![(job.cluster_id, version)]).remove(&job.cluster_id))
        .is_some_and(|settings| settings.raise_errors);
    if raised {
        let detail = json!({
            "job": id, "restart": job.restart_id, "kind": job.kind, "command": job.command,
            "exit_code": report.exit_code, "failure": report.failure,
        });
        let event =
            Event { kind: "job_failed", cluster: Some(job.cluster.clone()), subject: Some(job.fqdn.clone()), detail };
        events::write(store, &[event]);
    }
}

/// The last [`OUTPUT`] bytes, cut between characters.
fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(OUTPUT);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}
