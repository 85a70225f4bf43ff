//! Names that try to be paths, shell words or memory hogs change nothing.

use goahead_tests::fleet::{self, INQUIRE, REQUEST};
use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::service::Setup;
use serde_json::{Value, json};

/// Names that no host has, which a pattern that takes everything would take.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "../x",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "..",
        ".",
        "",
        " ",
        "a b",
        "a.example.org extra",
        "-rf",
        "--help",
        "a'b",
        "a\"b",
        "a`id`b",
        "$(touch /tmp/pwned)",
        "${IFS}",
        "a;id",
        "a|id",
        "a&id",
        "a>b",
        "a\nb",
        "a\0b",
        "a\\b",
        "a%2e%2e",
        "{:%fqdn%:}",
        "ä.example.org",
        "a..b",
        "-a.example.org",
        "a-.example.org",
        "*.example.org",
        "a\u{202e}b",
        "a\r\nX: y",
        "DROP TABLE x; --",
        "'; SELECT 1; --",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    names.push("a".repeat(64));
    names.push(format!("{}.org", "a.".repeat(200)));
    names.push("a".repeat(1 << 20));
    names
}

#[test]
fn hostile_names_change_nothing() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster(
        "everything",
        json!({ "name_pattern": ".*", "reboot_goahead_actions": ["/bin/echo {:%fqdn%:} {:%uptime%:}"] }),
    );
    let service = Setup::over(&database).start();
    let before = snapshot(&database);
    for name in names() {
        for path in [REQUEST, INQUIRE] {
            for id in [None, Some("AAAAAAAA")] {
                let reply = service.http.post(path, &fleet::ask(&name, "100h", id));
                let shown: String = name.chars().take(40).collect();
                assert!([400, 413].contains(&reply.status), "{shown:?} at {path}: {} {}", reply.status, reply.body);
                assert!(reply.json()["error"].is_string(), "{shown:?}: {}", reply.body);
            }
        }
    }
    assert_eq!(snapshot(&database), before);
    alive(&database, &service.http);
}

#[test]
fn hostile_bodies_change_nothing() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("web", json!({}));
    let service = Setup::over(&database).start();
    let before = snapshot(&database);
    let deep =
        format!(r#"{{"fqdn":"web-1.example.org","uptime":"1h","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let bodies: [&[u8]; 8] = [
        b"\xff\xfe\xfd",
        b"{\"fqdn\":\"web-1.example.org\\ud800\",\"uptime\":\"1h\"}",
        b"{\"fqdn\":\"web-1.example.org\\u0000\",\"uptime\":\"1h\"}",
        b"{\"fqdn\":[\"web-1.example.org\"],\"uptime\":\"1h\"}",
        b"{\"fqdn\":\"web-1.example.org\",\"uptime\":\"99999999999999h\"}",
        b"[]",
        deep.as_bytes(),
        &[b' '; 4 << 20],
    ];
    for body in bodies {
        let reply = service.http.send("POST", REQUEST, Some(body));
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
        assert!([400, 413].contains(&reply.status), "{shown}: {} {}", reply.status, reply.body);
    }
    assert_eq!(snapshot(&database), before);
    alive(&database, &service.http);
}

#[test]
fn a_host_in_a_handshake_is_not_disturbed_by_hostile_fields() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let file = goahead_tests::directory(goahead_tests::process::User::ME);
    database.cluster("web", json!({ "reboot_goahead_actions": ["/bin/echo {:%fqdn%:} {:%uptime%:} {:%cluster%:}"] }));
    let service = Setup::over(&database).start();
    let first = fleet::request(&service.http, "web-1.example.org", "100h", None);
    for id in ["'", "$(id)", "\u{0}", "; --", "%s", &"A".repeat(1 << 16)] {
        let reply = service.http.post(REQUEST, &fleet::ask("web-1.example.org", "100h", Some(id)));
        assert!([200, 400, 413].contains(&reply.status), "{id:.20?}: {}", reply.status);
        assert_ne!(reply.json()["go_ahead"], true, "{id:.20?}");
    }
    let mut body = fleet::ask("web-1.example.org", "100h", first["request_id"].as_str());
    body["restart_reason"] = Value::from("'); $(touch x) \u{1b}[31m \n");
    let reply = service.http.post(REQUEST, &body);
    assert_eq!(reply.json()["go_ahead"], true, "{}", reply.body);
    drop(file);
    // The commands are kept as they were configured: names are put in only where the program is run.
    let command: String =
        database.connect().query_one("SELECT command FROM goahead._job", &[]).expect("one job").get(0);
    assert_eq!(command, "/bin/echo {:%fqdn%:} {:%uptime%:} {:%cluster%:}");
}

/// Everything that a request could have changed.
fn snapshot(database: &Database<'_>) -> Vec<String> {
    let mut client = database.connect();
    ["_cluster", "_host", "_restart", "_job", "_event", "_unknown_host", "_token", "_rollout"]
        .iter()
        .map(|table| {
            let query = format!("SELECT coalesce(json_agg(t)::text, '') FROM goahead.{table} AS t");
            client.query_one(&query, &[]).expect("a table").get(0)
        })
        .collect()
}

/// The service still serves an honest host, and nothing has crashed behind it.
fn alive(database: &Database<'_>, service: &goahead_tests::http::Http) {
    fleet::grant(service, "web-honest.example.org", "100h");
    assert!(!database.server.log().contains("was terminated by signal"), "a backend crashed");
}
