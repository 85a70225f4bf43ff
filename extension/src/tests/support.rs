//! What all tests begin with.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};

/// The text that a statement gives.
pub fn text(sql: &str) -> String {
    Spi::get_one::<String>(sql).expect("the statement runs").expect("a value")
}

/// The number that a statement gives.
pub fn number(sql: &str) -> i64 {
    Spi::get_one::<i64>(sql).expect("the statement runs").expect("a value")
}

/// The jsonb that a statement gives.
pub fn json(sql: &str) -> Value {
    Spi::get_one::<JsonB>(sql).expect("the statement runs").expect("a value").0
}

/// Runs a statement in a subtransaction; gives SQLSTATE and message of its error.
pub fn error_of(sql: &str) -> String {
    Spi::run(
        "CREATE OR REPLACE FUNCTION pg_temp.error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN EXECUTE statement; RETURN 'none'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM; END $$",
    )
    .expect("a function in pg_temp");
    Spi::get_one_with_args("SELECT pg_temp.error_of($1)", &[sql.into()]).expect("it runs").expect("a value")
}

/// Cluster web: web1.example.org and so on, one restart at a time, and what is said here.
pub fn cluster(extra: Value) {
    let mut settings = json!({ "name_pattern": "^web[0-9]+[.]example[.]org$", "allowed_parallel_restarts": 1 });
    for (key, value) in extra.as_object().expect("an object") {
        settings[key] = value.clone();
    }
    Spi::run_with_args("SELECT goahead.set_cluster('web', $1)", &[JsonB(settings).into()]).expect("valid settings");
}

/// What request_restart answers.
pub fn request(host: &str, uptime: &str, id: Option<&str>) -> Value {
    Spi::get_one_with_args::<JsonB>(
        "SELECT goahead.request_restart($1, $2, $3)",
        &[host.into(), uptime.into(), id.into()],
    )
    .expect("it runs")
    .expect("an answer")
    .0
}

/// Brings a host to its go-ahead.
pub fn grant(host: &str) -> Value {
    let first = request(host, "2h", None);
    request(host, "2h", Some(first["request_id"].as_str().expect("a request_id")))
}

/// What tests of locks begin with.
pub mod locks {
    use super::text;
    use pgrx::prelude::*;

    /// Outcome and token of a call to acquire.
    pub fn acquire(lock: &str, holder: &str) -> (String, Option<i64>) {
        let (outcome, token) = Spi::get_two_with_args::<String, i64>(
            "SELECT outcome, token FROM goahead.acquire($1, $2)",
            &[lock.into(), holder.into()],
        )
        .expect("it runs");
        (outcome.expect("an outcome"), token)
    }

    /// Token of a grant.
    pub fn granted(lock: &str, holder: &str) -> i64 {
        match acquire(lock, holder) {
            (outcome, Some(token)) if outcome == "granted" => token,
            other => panic!("{holder}: {other:?}"),
        }
    }

    /// Asks, and expects a place in the queue.
    pub fn queued(lock: &str, holder: &str) {
        assert_eq!(acquire(lock, holder), ("queued".to_owned(), None));
    }

    /// Outcome of a call to release.
    pub fn release(lock: &str, holder: &str, token: i64) -> String {
        text(&format!("SELECT goahead.release('{lock}', '{holder}', {token})"))
    }

    /// Lets `seconds` pass for everything that a lock remembers.
    pub fn pass(seconds: i64) {
        let us = seconds * 1_000_000;
        Spi::run(&format!(
            "UPDATE goahead._lock_request SET asked_us = asked_us - {us}, offered_us = offered_us - {us}, granted_us = granted_us - {us},
                    renewed_us = renewed_us - {us}"
        ))
        .expect("it runs");
        Spi::run(&format!("UPDATE goahead._lock_rest SET since_us = since_us - {us}")).expect("it runs");
    }
}
