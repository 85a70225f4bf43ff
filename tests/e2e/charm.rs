//! The code of docs/moving-from-ops-coordinator.md, run as it stands: units that ask in hooks and go away in between.

use std::path::Path;
use std::process::Command;

use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::process::User;
use goahead_tests::service::Setup;
use goahead_tests::{directory, fixture};
use serde_json::{Value, json};

/// One hook: runs the file with python3; gives its exit code and what it printed.
fn hook(directory: &Path, url: &str, unit: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let state = directory.join(format!("{}.json", unit.replace('/', "-")));
    let mut command = Command::new("python3");
    command
        .arg(fixture("../docs/examples/rolling_restart.py"))
        .args(["--url", url, "--unit", unit, "--state"])
        .arg(state);
    let output = command.args(arguments).output().expect("python3 starts");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(!text.contains("Traceback"), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

fn applied(database: &Database<'_>, unit: &str) -> Option<Value> {
    let row = database.connect().query_opt("SELECT applied_context FROM goahead.units WHERE name = $1", &[&unit]);
    row.expect("it runs").and_then(|row| row.get(0))
}

#[test]
fn units_restart_one_after_another_in_their_hooks() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut service = Setup::over(&database).start();
    let directory = directory(User::ME);
    let log = directory.path().join("log");
    let restart = format!("sh -c 'echo \"$0\" >> {}'", log.display());
    let hook = |url: &str, unit: &str, arguments: &[&str]| hook(directory.path(), url, unit, arguments);
    let work = |url: &str, unit: &str, check: &str| hook(url, unit, &["work", "--restart", &restart, "--check", check]);
    let url = service.url.clone();

    // Stacked requests are one, in the order of requests.
    for unit in ["web/0", "web/1", "web/1", "web/0"] {
        let context = json!({ "version": 1 }).to_string();
        let line = ["request", "--service", unit, "--context", &context, "--max-retry", "1"];
        assert_eq!(hook(&url, unit, &line).0, Some(0));
    }
    assert_eq!(database.count("SELECT count(*) FROM goahead.operations"), 2);
    // A check that fails keeps the lock until the next hook.
    assert_eq!(work(&url, "web/0", "false"), (Some(0), "hold".to_owned()));
    assert_eq!(work(&url, "web/1", "true"), (Some(0), "queued".to_owned()));
    assert_eq!(work(&url, "web/0", "true"), (Some(0), "done".to_owned()));
    assert_eq!(applied(&database, "web/0"), Some(json!({ "version": 1 })));
    // The last retry blocks.
    assert_eq!(work(&url, "web/1", "false"), (Some(0), "hold".to_owned()));
    assert_eq!(work(&url, "web/1", "false"), (Some(1), "failed".to_owned()));
    assert_eq!(work(&url, "web/1", "true"), (Some(1), "blocked".to_owned()));
    assert_eq!(applied(&database, "web/1"), None);
    database.connect().execute("SELECT goahead.resume_unit('web/1', 'repaired')", &[]).expect("resumed");
    let restarted = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(restarted.lines().collect::<Vec<_>>(), ["web/0", "web/0", "web/1", "web/1"]);

    // While the service is away requests are kept, and merged when it is back.
    service.kill();
    for version in [2, 3, 3] {
        let context = json!({ "version": version }).to_string();
        assert_eq!(hook(&url, "web/1", &["request", "--service", "web/1", "--context", &context]).0, Some(0));
    }
    assert_eq!(work(&url, "web/1", "true"), (Some(0), "away".to_owned()));
    let service = Setup::over(&database).start();
    assert_eq!(work(&service.url, "web/1", "true"), (Some(0), "done".to_owned()));
    assert_eq!(work(&service.url, "web/1", "true"), (Some(0), "done".to_owned()));
    assert_eq!(work(&service.url, "web/1", "true"), (Some(0), "nothing".to_owned()));
    assert_eq!(applied(&database, "web/1"), Some(json!({ "version": 3 })));

    // A restart that fails is tried again.
    assert_eq!(hook(&service.url, "web/1", &["request", "--service", "web/1"]).0, Some(0));
    let failing = hook(&service.url, "web/1", &["work", "--restart", "false"]);
    assert_eq!(failing, (Some(0), "retry".to_owned()));
    assert_eq!(work(&service.url, "web/1", "true"), (Some(0), "done".to_owned()));
}
