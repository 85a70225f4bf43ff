//! When the database's wall clock jumps by two minutes nobody is freed, and nobody is held, by it.

use goahead_tests::clock::Clock;
use goahead_tests::fleet;
use goahead_tests::postgres::Database;
use goahead_tests::service::Setup;
use serde_json::json;

#[test]
fn a_step_forward_frees_nobody() {
    let clock = Clock::new();
    let server = clock.server();
    let database = server.database("fleet");
    database.cluster("web", json!({ "reboot_completion_panic_threshold": "90s", "minimum_interval": "1m" }));
    let service = Setup::over(&database).start();
    fleet::grant(&service.http, "web-1.example.org", "100h");

    let before = seconds(&database);
    clock.step("+120");
    assert!(seconds(&database) - before >= 119, "the wall clock did not jump");

    // By the wall clock the uptime should have grown by two minutes, and the restart should be overdue.
    fleet::inquire(&service.http, "web-1.example.org", "100h0m1s");
    database.connect().query("SELECT goahead.sweep()", &[]).expect("sweep");
    assert_eq!(held(&database), 1, "the slot was freed");
    assert_eq!(
        database.count("SELECT count(*) FROM goahead._restart WHERE overdue_at IS NOT NULL"),
        0,
        "overdue too early"
    );
    let other = fleet::handshake(&service.http, "web-2.example.org", "100h");
    assert_eq!(other["go_ahead"], false, "{other}");

    // The interval between two go-aheads has not passed either.
    fleet::inquire(&service.http, "web-1.example.org", "1s");
    assert_eq!(held(&database), 0, "a real restart is seen");
    let other = fleet::handshake(&service.http, "web-2.example.org", "100h");
    assert_eq!(other["go_ahead"], false, "{other}");
}

#[test]
fn a_step_back_hides_no_restart() {
    let clock = Clock::new();
    let server = clock.server();
    let database = server.database("fleet");
    database.cluster("web", json!({}));
    let service = Setup::over(&database).start();
    fleet::grant(&service.http, "web-1.example.org", "100h");
    clock.step("-120");
    fleet::inquire(&service.http, "web-1.example.org", "30s");
    assert_eq!(held(&database), 0, "the restart was not seen");
    fleet::grant(&service.http, "web-2.example.org", "100h");
}

fn held(database: &Database<'_>) -> i64 {
    database.count("SELECT count(*) FROM goahead._restart WHERE ended_at IS NULL")
}

fn seconds(database: &Database<'_>) -> i64 {
    database.count("SELECT extract(epoch FROM clock_timestamp())::bigint")
}
