//! The SQL functions that hosts call, singly from psql and in sets from the service.

use super::clusters;
use super::engine::{self, Locks};
use super::wire::{self, Answer, Ask, Outcome, RawAsk, Wants};
use super::world::World;
use crate::clock;
use crate::sets::{self, Invalid};
use crate::store;
use goahead_rules::pattern::Match;
use goahead_rules::restart;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::value::RawValue;

/// What to do about a missing name.
const WHO: &str = "give the host's fully qualified domain name";

/// Judges a JSON array of calls in one transaction.
fn set(calls: &str, locks: Locks) -> String {
    let items = sets::items(calls, r#"{"op": "request", "fqdn": …, "uptime": …}"#);
    let asks = items.into_iter().map(parse).collect();
    let outcomes = store::decide(|store| engine::run(store, asks, locks));
    serde_json::to_string(&outcomes).expect("outcomes are plain data")
}

fn parse(item: &RawValue) -> Result<Ask, Invalid> {
    let raw: RawAsk = serde_json::from_str(item.get()).map_err(|problem| Invalid {
        message: format!("the call cannot be read: {problem}"),
        hint: "op is request, inquire, lock or unlock, and texts are JSON strings",
    })?;
    Ask::new(raw)
}

/// Runs one call for psql: an invalid one is an error.
fn one(raw: RawAsk) -> Outcome {
    let ask = Ask::new(raw).unwrap_or_else(|invalid| invalid.raise());
    let outcomes = store::decide(|store| engine::run(store, vec![Ok(ask)], Locks::Wait));
    let outcome = outcomes.into_iter().next().expect("one call, one outcome");
    if outcome.outcome == "busy" {
        store::fail(
            PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            "the host's cluster kept changing while the call was judged",
            "ask again",
        );
    }
    outcome
}

fn said<'a>(fqdn: Option<&'a str>, uptime: Option<&'a str>) -> (&'a str, &'a str) {
    let uptime = store::said(uptime, "uptime", "give how long the host is up, such as 36h or 2h31m");
    (store::said(fqdn, "fqdn", WHO), uptime)
}

fn answer(answer: Option<Answer>) -> JsonB {
    JsonB(serde_json::to_value(answer).expect("an answer is plain data"))
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn judge_restarts(calls: &str, locks: default!(&str, "'wait'")) -> String {
    let locks = match locks {
        "none" => Locks::None,
        "free" => Locks::Free,
        "wait" => Locks::Wait,
        other => store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("locks is {other:?}"),
            "it is none (touch no cluster), free (those that nobody holds) or wait",
        ),
    };
    set(calls, locks)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn request_restart(
    fqdn: Option<&str>,
    uptime: Option<&str>,
    request_id: default!(Option<&str>, "NULL"),
    reason: default!(Option<&str>, "NULL"),
) -> JsonB {
    let (fqdn, uptime) = said(fqdn, uptime);
    answer(one(wire::ask_of_sql(Wants::Restart, fqdn, uptime, request_id, reason)).answer)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn inquire_restart(fqdn: Option<&str>, uptime: Option<&str>, checks: default!(Option<JsonB>, "NULL")) -> JsonB {
    let (fqdn, uptime) = said(fqdn, uptime);
    let raw = wire::ask_of_sql(Wants::Reason, fqdn, uptime, None, None)
        .with_checks(checks.map(|checks| checks.0))
        .unwrap_or_else(|invalid| {
            store::fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, invalid.message, invalid.hint)
        });
    let outcome = one(raw);
    match outcome.checks {
        Some(checks) => JsonB(serde_json::json!({ "checks": checks })),
        None => answer(outcome.answer),
    }
}

#[pg_extern(stable, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn explain_restart(
    fqdn: Option<&str>,
    uptime: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(condition, String), name!(passed, bool), name!(detail, String))> {
    TableIterator::new(explain(store::said(fqdn, "fqdn", WHO), uptime))
}

fn explain(fqdn: &str, uptime: Option<&str>) -> Vec<(String, bool, String)> {
    let raw = wire::ask_of_sql(Wants::Restart, fqdn, uptime.unwrap_or("0s"), None, None);
    let mut ask = Ask::new(raw).unwrap_or_else(|invalid| invalid.raise());
    store::read(|store| {
        let patterns = clusters::patterns(store);
        let mut world = World::new(clock::glimpsed(store));
        world.load_hosts(store, vec![ask.holder.clone()]);
        let known = |passed: bool, detail: String| vec![("cluster".to_owned(), passed, detail)];
        let id = match patterns.find(&ask.holder) {
            Match::Cluster(id) => id,
            Match::Blacklisted { pattern, .. } => {
                return known(false, format!("matches the blacklist_name_pattern {pattern}"));
            }
            Match::None => return known(false, "matches the name_pattern of no cluster that is enabled".into()),
        };
        world.load_clusters(store, &[id]);
        world.load_open(store, &[id]);
        let (Some(cluster), Some(host)) = (world.clusters.get(&id), world.hosts.get(&ask.holder)) else {
            return known(false, "its cluster was dropped a moment ago".into());
        };
        if uptime.is_none() {
            // Without one given, what the host reported last counts, grown by the time since.
            let reported = host.last_uptime.map_or(0, |reported| reported.saturating_add(host.seen_ago));
            ask.uptime = reported;
            ask.uptime_text = goahead_rules::lease::whole_seconds(reported).to_string();
        }
        let blocked = cluster.settings.blocker.as_ref().map(|_| engine::ask_blocker(store, &world, id, &ask.holder));
        let mine = host.mine.as_ref().map(|(_, open)| open);
        let mut lines = known(true, cluster.name.clone());
        let judgements = restart::explain(&cluster.facts(), mine, &engine::rules_ask(&ask, &blocked), world.clock);
        lines.extend(judgements.into_iter().map(|each| (each.condition.name().to_owned(), each.passed, each.detail)));
        lines
    })
}
