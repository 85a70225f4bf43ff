//! The SQL functions that hosts call, singly from psql and in sets from the service.

use super::clusters;
use super::engine;
use super::wire::{self, Answer, Ask, Invalid, Outcome, RawAsk, Wants};
use super::world::World;
use crate::clock;
use crate::store;
use goahead_rules::pattern::Match;
use goahead_rules::restart;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::value::RawValue;

/// Most calls that one set may hold.
const MOST: usize = 1_024;

fn set(asks: &str, wants: Wants) -> String {
    let raw: Vec<&RawValue> = serde_json::from_str(asks).unwrap_or_else(|problem| {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("asks is not a JSON array of objects: {problem}"),
            "give [{\"fqdn\": …, \"uptime\": …}]",
        )
    });
    if raw.len() > MOST {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("a set of {} calls is too large", raw.len()),
            format!("send at most {MOST} at once"),
        );
    }
    let asks = raw.into_iter().map(|item| parse(item, wants)).collect();
    let outcomes = store::decide(|store| engine::run(store, asks));
    serde_json::to_string(&outcomes).expect("outcomes are plain data")
}

fn parse(item: &RawValue, wants: Wants) -> Result<Ask, Invalid> {
    let raw: RawAsk = serde_json::from_str(item.get()).map_err(|problem| Invalid {
        message: format!("the call cannot be read: {problem}"),
        hint: "texts are to be JSON strings",
    })?;
    Ask::new(raw, wants)
}

/// Runs one call for psql: an invalid one is an error.
fn one(raw: RawAsk, wants: Wants) -> Outcome {
    let ask = Ask::new(raw, wants).unwrap_or_else(|invalid| {
        store::fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, invalid.message, invalid.hint)
    });
    let outcome = store::decide(|store| engine::run(store, vec![Ok(ask)])).pop().expect("one call, one outcome");
    if outcome.outcome == "busy" {
        store::fail(
            PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            "the host's cluster kept changing while the call was judged",
            "ask again",
        );
    }
    outcome
}

fn answer(answer: Option<Answer>) -> JsonB {
    JsonB(serde_json::to_value(answer).expect("an answer is plain data"))
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn request_restarts(asks: &str) -> String {
    set(asks, Wants::Restart)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn inquire_restarts(asks: &str) -> String {
    set(asks, Wants::Reason)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn fleetlock(asks: &str) -> String {
    set(asks, Wants::Lock)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn request_restart(
    fqdn: &str,
    uptime: &str,
    request_id: default!(Option<&str>, "NULL"),
    reason: default!(Option<&str>, "NULL"),
) -> JsonB {
    answer(one(wire::ask_of_sql(fqdn, uptime, request_id, reason), Wants::Restart).answer)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn inquire_restart(fqdn: &str, uptime: &str, checks: default!(Option<JsonB>, "NULL")) -> JsonB {
    let raw = wire::ask_of_sql(fqdn, uptime, None, None).with_checks(checks.map(|checks| checks.0)).unwrap_or_else(
        |invalid| store::fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, invalid.message, invalid.hint),
    );
    let outcome = one(raw, Wants::Reason);
    match outcome.checks {
        Some(checks) => JsonB(serde_json::json!({ "checks": checks })),
        None => answer(outcome.answer),
    }
}

#[pg_extern(stable, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn explain_restart(
    fqdn: &str,
    uptime: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(condition, String), name!(passed, bool), name!(detail, String))> {
    TableIterator::new(explain(fqdn, uptime))
}

fn explain(fqdn: &str, uptime: Option<&str>) -> Vec<(String, bool, String)> {
    let raw = wire::ask_of_sql(fqdn, uptime.unwrap_or("0s"), None, None);
    let mut ask = Ask::new(raw, Wants::Restart).unwrap_or_else(|invalid| {
        store::fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, invalid.message, invalid.hint)
    });
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
