//! Operations over HTTP and by `goahead lock operate`: one unit at a time, whatever fails.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use goahead_tests::http::{Http, Reply};
use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::process::{self, Output, User};
use goahead_tests::service::{Service, Setup};
use goahead_tests::{SOON, binary, directory, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

fn request(http: &Http, unit: &str, more: Value) -> i64 {
    let mut body = json!({ "unit": unit, "lock": "restart" });
    for (key, value) in more.as_object().expect("an object") {
        body[key] = value.clone();
    }
    let reply = http.post("/v1/operations", &body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["id"].as_i64().expect("an id")
}

fn next(http: &Http, unit: &str, body: Value) -> Reply {
    http.post(&format!("/v1/units/{unit}/next"), &body)
}

fn token(reply: &Reply) -> i64 {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["token"].as_i64().expect("a token")
}

fn finish(http: &Http, id: i64, unit: &str, token: i64, outcome: &str) -> (u16, Value) {
    let body = json!({ "unit": unit, "token": token, "outcome": outcome });
    let reply = http.post(&format!("/v1/operations/{id}/finish"), &body);
    (reply.status, reply.json()["outcome"].clone())
}

fn state(database: &Database<'_>, id: i64) -> String {
    let mut psql = database.connect();
    psql.query_one("SELECT state FROM goahead.operations WHERE id = $1", &[&id]).expect("an operation").get(0)
}

/// A running `goahead lock operate`, killed when it goes out of scope.
struct Operate {
    child: Child,
    output: Output,
}

impl Operate {
    fn start(url: &str, unit: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(["lock", "operate", "--unit", unit, "--url", url]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let output = Output::default();
        output.collect(child.stdout.take().expect("piped"));
        output.collect(child.stderr.take().expect("piped"));
        Self { child, output }
    }

    fn ends(&mut self) -> Option<i32> {
        eventually("it ends", SOON, || self.child.try_wait().expect("wait")).code()
    }
}

impl Drop for Operate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- output of goahead lock operate\n{}", self.output.text());
        }
        // Twice, so that it ends what it runs.
        for _ in 0..200 {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            process::signal(&self.child, Signal::TERM);
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn service(database: &Database<'_>) -> Service {
    Setup::over(database).start()
}

#[test]
fn statuses_say_what_became_of_a_call() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = service(&database);
    let http = &service.http;
    let nothing = next(http, "web%2F0", json!({}));
    assert_eq!((nothing.status, &nothing.json()["outcome"]), (202, &json!("nothing")), "{}", nothing.body);
    let one = request(http, "web/0", json!({ "services": ["nginx"], "context": { "version": 1 }, "max_retry": 0 }));
    let two = request(http, "web/1", json!({}));
    let granted = next(http, "web%2F0", json!({}));
    let held = token(&granted);
    let told = granted.json();
    assert_eq!(
        (&told["id"], &told["services"], &told["context"]),
        (&json!(one), &json!(["nginx"]), &json!({ "version": 1 }))
    );
    let queued = next(http, "web%2F1", json!({}));
    assert_eq!((queued.status, &queued.json()["position"]), (202, &json!(1)), "{}", queued.body);
    assert_eq!(finish(http, one, "web/1", held, "release").0, 404);
    assert_eq!(finish(http, one, "web/0", held - 1, "release"), (410, json!("lost")));
    assert_eq!(finish(http, one, "web/0", held, "well").0, 400);
    assert_eq!(finish(http, one, "web/0", held, "retry_release"), (200, json!("failed")));
    assert_eq!(next(http, "web%2F0", json!({})).status, 409);
    let held = token(&next(http, "web%2F1", json!({})));
    assert_eq!(finish(http, two, "web/1", held, "release"), (200, json!("done")));
    for wrong in [
        json!({}),
        json!({ "unit": "u" }),
        json!({ "unit": "u", "lock": "l", "services": ["-x"] }),
        json!({ "unit": "u", "lock": "l", "more": 1 }),
    ] {
        let reply = http.post("/v1/operations", &wrong);
        assert_eq!(reply.status, 400, "{wrong}: {}", reply.body);
    }
    for wrong in [json!({ "wait": "soon" }), json!({ "ttl": "0s" }), json!({ "claim_within": "x" })] {
        assert_eq!(next(http, "web%2F1", wrong.clone()).status, 400, "{wrong}");
    }

    assert_eq!(http.get("/v1/operations").status, 401);
    assert_eq!(http.post("/v1/units/web%2F0/resume", &json!({ "note": "x" })).status, 401);
    let secret: String =
        database.connect().query_one("SELECT goahead.create_token('admin')", &[]).expect("a token").get(0);
    let admin = http.token(&secret);
    assert_eq!(admin.get("/v1/units/web%2F0").json()["blocked_by"], json!(one));
    assert_eq!(admin.post("/v1/units/web%2F0/resume", &json!({ "note": " " })).status, 400);
    assert_eq!(admin.post("/v1/units/web%2F0/resume", &json!({ "note": "repaired" })).status, 204);
    assert_eq!(admin.post("/v1/units/web%2F0/resume", &json!({ "note": "repaired" })).status, 409);
    assert_eq!(admin.post("/v1/units/none/resume", &json!({ "note": "repaired" })).status, 404);
    assert_eq!(admin.get("/v1/units/none").status, 404);
    assert_eq!(admin.get("/v1/operations?limit=1").json()["items"][0]["id"], json!(two));
    assert_eq!(admin.post(&format!("/v1/operations/{two}/drop"), &json!({ "reason": "x" })).status, 409);
    assert_eq!(admin.post("/v1/operations/0/drop", &json!({ "reason": "x" })).status, 404);
    let three = request(http, "web/0", json!({}));
    assert_eq!(admin.post(&format!("/v1/operations/{three}/drop"), &json!({ "reason": "x" })).status, 204);
    let set = admin.send("PUT", "/v1/locks/restart", Some(br#"{"on_failure": "halt"}"#));
    assert_eq!(set.status, 204, "{}", set.body);
    let set = admin.send("PUT", "/v1/locks/restart", Some(br#"{"on_failure": "stop"}"#));
    assert_eq!(set.status, 400, "{}", set.body);
    let four = request(http, "web/0", json!({}));
    let held = token(&next(http, "web%2F0", json!({})));
    assert_eq!(finish(http, four, "web/0", held, "failed"), (200, json!("failed")));
    request(http, "web/1", json!({}));
    assert!(next(http, "web%2F1", json!({})).json()["halted"].is_string());
    assert_eq!(admin.post("/v1/locks/restart/resume", &json!({ "note": "x" })).status, 204);
    assert_eq!(admin.post("/v1/locks/restart/resume", &json!({ "note": "x" })).status, 409);
    token(&next(http, "web%2F1", json!({})));
    let metrics = service.admin.get("/metrics").body;
    assert!(metrics.contains("goahead_operation_reports_total{outcome=\"failed\"} 2"), "{metrics}");
    eventually("the gauge follows", SOON, || {
        service.admin.get("/metrics").body.contains("goahead_fleet{what=\"units_blocked\"} 1").then_some(())
    });
    let document = http.get("/openapi.json").json();
    assert!(document["paths"]["/v1/units/{unit}/next"]["post"]["responses"]["409"].is_object());
}

#[test]
fn names_are_bound_where_the_operator_asks_for_it() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).switch("--bind-names").start();
    let create = "SELECT goahead.create_token('host', '{web/0}')";
    let secret: String = database.connect().query_one(create, &[]).expect("a token").get(0);
    let own = service.http.token(&secret);
    assert_eq!(service.http.post("/v1/operations", &json!({ "unit": "web/0", "lock": "l" })).status, 401);
    let id = request(&own, "web/0", json!({}));
    assert_eq!(own.post("/v1/operations", &json!({ "unit": "web/1", "lock": "l" })).status, 403);
    assert_eq!(next(&own, "web%2F1", json!({})).status, 403);
    let held = token(&next(&own, "web%2F0", json!({})));
    assert_eq!(finish(&own, id, "web/1", held, "release").0, 403);
    assert_eq!(finish(&own, id, "web/0", held, "release").0, 200);
}

#[test]
fn who_waits_is_woken_by_a_request_by_a_release_and_by_an_operator() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let services = [service(&database), service(&database)];
    let (http, other) = (&services[0].http, &services[1].http);
    let waits = || next(http, "a", json!({ "wait": "60s" }));
    let asleep = || database.count("SELECT count(*) FROM goahead._unit WHERE waited");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(waits);
        eventually("it waits", SOON, || (asleep() == 1).then_some(()));
        let first = request(other, "a", json!({ "max_retry": 0 }));
        let granted = waiter.join().expect("an answer");
        let held = token(&granted);
        assert!(granted.json()["confirm_by"].is_string() && granted.json()["attempt"] == 0, "{}", granted.body);
        let begun = next(http, "a", json!({}));
        assert_eq!((token(&begun), &begun.json()["attempt"]), (held, &json!(1)));

        // It fails: who waits for a blocked unit is told when it may go on.
        assert_eq!(finish(other, first, "a", held, "retry_hold"), (200, json!("failed")));
        request(other, "a", json!({}));
        let waiter = scope.spawn(waits);
        eventually("it waits", SOON, || (asleep() == 1).then_some(()));
        database.connect().execute("SELECT goahead.resume_unit('a', 'repaired')", &[]).expect("resumed");
        let held = token(&waiter.join().expect("an answer"));

        // Another unit waits for the lock.
        request(other, "b", json!({}));
        let waiter = scope.spawn(|| next(other, "b", json!({ "wait": "60s" })));
        eventually("it waits", SOON, || {
            (database.count("SELECT count(*) FROM goahead.lock_queue WHERE waited") == 1).then_some(())
        });
        let second: i64 = next(http, "a", json!({})).json()["id"].as_i64().expect("an id");
        assert_eq!(finish(http, second, "a", held, "release"), (200, json!("done")));
        assert!(token(&waiter.join().expect("an answer")) > held);
    });
}

#[test]
fn a_silent_unit_loses_its_hold_and_its_report_does_not_count() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = service(&database);
    let http = &service.http;
    let (a, b) = (request(http, "a", json!({})), request(http, "b", json!({})));
    let silent = token(&next(http, "a", json!({ "ttl": "1s" })));
    let held = token(&next(http, "b", json!({ "wait": "30s" })));
    assert_eq!(state(&database, a), "lost");
    assert_eq!(finish(http, a, "a", silent, "release"), (410, json!("lost")));
    assert_eq!(state(&database, a), "queued");
    assert_eq!(finish(http, b, "b", held, "release"), (200, json!("done")));
    token(&next(http, "a", json!({})));
}

#[test]
fn a_rolling_restart_touches_one_unit_at_a_time() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = service(&database);
    let directory = directory(User::ME);
    let log = directory.path().join("log");
    let busy = directory.path().join("busy");
    // mkdir fails when the directory is there: two at once would be seen.
    let restart = format!(
        "sh -c 'mkdir {0} && echo \"$GOAHEAD_LOCK_HOLDER $1 $GOAHEAD_LOCK_TOKEN\" >> {1} && rmdir {0}' sh {{service}}",
        busy.display(),
        log.display()
    );
    let units: Vec<String> = (0..6).map(|number| format!("web/{number}")).collect();
    for unit in &units {
        request(&service.http, unit, json!({ "services": ["ng inx; x", "php"], "max_retry": 0 }));
    }
    let mut workers: Vec<Operate> =
        units.iter().map(|unit| Operate::start(&service.url, unit, &["--restart", &restart, "--once"])).collect();
    for worker in &mut workers {
        assert_eq!(worker.ends(), Some(0), "{}", worker.output.text());
    }
    let lines = lines(&log);
    assert_eq!(lines.len(), 12, "{lines:?}");
    let tokens: Vec<i64> =
        lines.iter().map(|line| line.rsplit(' ').next().and_then(|t| t.parse().ok()).expect("a token")).collect();
    assert!(tokens.is_sorted(), "{lines:?}");
    for pair in lines.chunks(2) {
        let unit = pair[0].split(' ').next().expect("a unit");
        assert!(
            pair[0].starts_with(&format!("{unit} ng inx; x ")) && pair[1].starts_with(&format!("{unit} php ")),
            "{lines:?}"
        );
    }
    assert_eq!(database.count("SELECT count(*) FROM goahead.operations WHERE state = 'done'"), 6);
}

#[test]
fn a_failed_check_is_tried_again_and_blocks_after_the_last_retry() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = service(&database);
    let id = request(&service.http, "a", json!({ "services": ["x"], "max_retry": 1 }));
    let directory = directory(User::ME);
    let told = directory.path().join("told");
    let on_done = format!("sh -c 'cat >> {0}; echo >> {0}'", told.display());
    let check = "sh -c 'echo it does not answer; exit 1'";
    let mut worker = Operate::start(
        &service.url,
        "a",
        &["--restart", "true {service}", "--check", check, "--on-done", &on_done, "--once", "--ttl", "6s"],
    );
    assert_eq!(worker.ends(), Some(1), "{}", worker.output.text());
    assert!(worker.output.text().contains("is blocked"), "{}", worker.output.text());
    let lines: Vec<Value> = lines(&told).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.iter().map(|line| line["attempt"].clone()).collect::<Vec<_>>(), [1, 2]);
    assert!(lines.iter().all(|line| line["outcome"] == "retry_release" && line["id"] == json!(id)), "{lines:?}");
    let row = database.connect().query_one("SELECT blocked_detail FROM goahead.units", &[]).expect("a unit");
    assert_eq!(row.get::<_, String>(0), "check: exit status 1: it does not answer");
    assert_eq!(database.count("SELECT held::bigint FROM goahead.locks"), 0);
}

#[test]
fn a_program_is_ended_before_the_lock_is_anybody_elses() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut first = service(&database);
    let directory = directory(User::ME);
    let (running, ended) = (directory.path().join("running"), directory.path().join("ended"));
    let restart = format!(
        "sh -c 'trap \"touch {1}; exit 1\" TERM; touch {0}; while :; do sleep 0.1; done'",
        running.display(),
        ended.display()
    );
    request(&first.http, "a", json!({ "services": ["x"] }));
    request(&first.http, "b", json!({}));
    let worker = Operate::start(&first.url, "a", &["--restart", &restart, "--ttl", "8s"]);
    eventually("it runs", SOON, || running.exists().then_some(()));
    first.kill();
    let second = service(&database);
    let granted = next(&second.http, "b", json!({ "wait": "60s" }));
    assert!(ended.exists(), "b was granted the lock while a's program ran\n{}", worker.output.text());
    token(&granted);
    assert!(worker.output.text().contains("lost the lock restart"), "{}", worker.output.text());
}

#[test]
fn told_to_end_it_finishes_what_runs_and_leaves_the_queue() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = service(&database);
    let directory = directory(User::ME);
    let (running, go) = (directory.path().join("running"), directory.path().join("go"));
    let restart = format!("sh -c 'touch {0}; while [ ! -e {1} ]; do sleep 0.1; done'", running.display(), go.display());
    let a = request(&service.http, "a", json!({ "services": ["x"] }));
    request(&service.http, "b", json!({}));
    let mut worker = Operate::start(&service.url, "a", &["--restart", &restart]);
    eventually("it runs", SOON, || running.exists().then_some(()));
    let mut waits = Operate::start(&service.url, "b", &[]);
    let queued = || database.count("SELECT count(*) FROM goahead.lock_queue WHERE state = 'queued'");
    eventually("b waits", SOON, || (queued() == 1 && waits.output.text().contains("position")).then_some(()));
    process::signal(&waits.child, Signal::TERM);
    assert_eq!(waits.ends(), Some(0));
    assert_eq!(queued(), 0);
    process::signal(&worker.child, Signal::TERM);
    std::fs::write(&go, "").expect("written");
    assert_eq!(worker.ends(), Some(0), "{}", worker.output.text());
    assert_eq!(state(&database, a), "done");

    // A second signal ends what runs, which is tried again.
    std::fs::remove_file(&go).expect("removed");
    std::fs::remove_file(&running).expect("removed");
    let again = request(&service.http, "a", json!({ "services": ["x"] }));
    let mut worker = Operate::start(&service.url, "a", &["--restart", &restart]);
    eventually("it runs", SOON, || running.exists().then_some(()));
    process::signal(&worker.child, Signal::TERM);
    std::thread::sleep(Duration::from_millis(200));
    process::signal(&worker.child, Signal::TERM);
    assert_eq!(worker.ends(), Some(0), "{}", worker.output.text());
    assert_eq!(state(&database, again), "queued");
}
