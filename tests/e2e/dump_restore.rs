//! A dump carries the whole state, and a copy restored elsewhere runs no programs until it is adopted.

use goahead_tests::fleet;
use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::service::Setup;
use serde_json::{Value, json};

#[test]
fn a_restored_copy_keeps_the_state_but_runs_nothing_until_adopted() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("web", json!({ "reboot_goahead_actions": ["/bin/echo {:%fqdn%:}"] }));
    {
        let service = Setup::over(&database).start();
        fleet::grant(&service.http, "web-1.example.org", "100h");
    }
    assert_eq!(database.count("SELECT count(*) FROM goahead._job WHERE state = 'queued'"), 1);

    let dump = server.socket().join("fleet.sql");
    let dump = dump.to_str().expect("UTF-8");
    server.program("pg_dump", &["--file", dump, "fleet"]);

    let elsewhere = Postgres::start();
    let copy = restore(&elsewhere, dump);
    for table in ["_cluster", "_host", "_restart", "_job", "_event", "_token"] {
        let query = format!("SELECT count(*) FROM goahead.{table}");
        assert_eq!(copy.count(&query), database.count(&query), "{table}");
    }
    // Numbers go on where they were: a new restart must not take the id of an old one.
    let next = "SELECT nextval(pg_get_serial_sequence('goahead._restart', 'id'))";
    assert!(copy.count(next) > copy.count("SELECT max(id) FROM goahead._restart"), "the sequence started anew");

    let service = Setup::over(&copy).start();
    let again = fleet::handshake(&service.http, "web-1.example.org", "100h");
    assert_eq!(again["go_ahead"], true, "a slot held at the dump is held in the copy: {again}");
    copy.connect().query("SELECT goahead.adopt(confirm => false)", &[]).expect("adopt");
    assert_eq!(claimed(&copy), 0, "the copy would run the original's programs");
    copy.connect().query("SELECT goahead.adopt(confirm => true)", &[]).expect("adopt");
    assert_eq!(claimed(&copy), 1, "an adopted copy runs them");
}

#[test]
fn adopt_says_what_it_would_do_unless_confirmed() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let row = database.connect().query_one("SELECT goahead.adopt()", &[]).expect("adopt");
    let text: String = row.get(0);
    assert!(text.contains("confirm => true"), "{text}");
}

fn restore<'a>(server: &'a Postgres, dump: &str) -> Database<'a> {
    server.connect("postgres").batch_execute("CREATE DATABASE fleet").expect("create database");
    let roles = "CREATE ROLE service LOGIN";
    server.connect("postgres").batch_execute(roles).expect("create role");
    server.program("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "fleet", "-f", dump]);
    server.connect("postgres").batch_execute("GRANT goahead_service TO service").expect("grant");
    Database { server, name: "fleet".to_owned() }
}

/// How many jobs a runner gets.
fn claimed(database: &Database<'_>) -> usize {
    let row = database.connect().query_one("SELECT goahead.claim_jobs('test', 10)", &[]).expect("claim_jobs");
    row.get::<_, Value>(0).as_array().expect("an array").len()
}
