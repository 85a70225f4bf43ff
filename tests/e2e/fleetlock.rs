//! A FleetLock client, as zincati and flatcar's are, is served to the letter of its protocol.

use goahead_tests::http::{Http, Reply};
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use serde_json::{Value, json};

const FIRST: &str = "978a225b3d7b40e9acd7ce9b62f68444";
const OTHER: &str = "00000000000040008000000000000001";

#[test]
fn lock_and_unlock_follow_the_protocol() {
    let server = Postgres::start();
    let database = server.database("fleet");
    // Neither pattern nor minimum uptime matters to a FleetLock client.
    database.cluster("default", json!({ "minimum_uptime": "9000h", "allowed_parallel_restarts": 1 }));
    let service = Setup::over(&database).start();
    let client = service.http.header("fleet-lock-protocol", "true");

    assert_eq!(lock(&client, FIRST).status, 200);
    assert_eq!(lock(&client, FIRST).status, 200, "a holder may lock again");
    assert_eq!(database.count("SELECT count(*) FROM goahead._restart"), 1, "a repeat holds no second slot");
    refused(&lock(&client, OTHER), 400..600);
    assert_eq!(unlock(&client, OTHER).status, 200, "who holds nothing unlocks in peace");
    refused(&lock(&client, OTHER), 400..600);
    assert_eq!(unlock(&client, FIRST).status, 200);
    assert_eq!(unlock(&client, FIRST).status, 200);
    assert_eq!(lock(&client, OTHER).status, 200, "the slot is free");
    // Ids are compared byte for byte.
    refused(&lock(&client, &OTHER.replace('0', "O")), 400..600);
}

#[test]
fn what_is_not_the_protocol_is_refused_with_a_kind() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("default", json!({}));
    let service = Setup::over(&database).start();
    let client = service.http.header("fleet-lock-protocol", "true");

    refused(&lock(&service.http, FIRST), 400..401);
    refused(&lock(&service.http.header("fleet-lock-protocol", "yes"), FIRST), 400..401);
    refused(&client.get("/v1/pre-reboot"), 405..406);
    refused(&client.get("/v1/steady-state"), 405..406);
    for body in [
        json!({}),
        json!({ "client_params": { "id": FIRST } }),
        json!({ "client_params": { "group": "default" } }),
        json!({ "client_params": { "id": "", "group": "default" } }),
        json!({ "client_params": { "id": FIRST, "group": "" } }),
        json!({ "client_params": { "id": "a b", "group": "default" } }),
        json!({ "client_params": { "id": "x".repeat(129), "group": "default" } }),
        json!({ "client_params": { "id": 7, "group": "default" } }),
    ] {
        refused(&client.post("/v1/pre-reboot", &body), 400..401);
        refused(&client.post("/v1/steady-state", &body), 400..401);
    }
    refused(&client.send("POST", "/v1/pre-reboot", Some(b"not json")), 400..401);
    let unknown = json!({ "client_params": { "id": FIRST, "group": "nobody" } });
    assert_eq!(refused(&client.post("/v1/pre-reboot", &unknown), 400..500), "unknown_group");
    assert_eq!(database.count("SELECT count(*) FROM goahead._restart"), 0);
}

#[test]
fn kind_is_one_of_few_and_says_why() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("default", json!({ "allowed_parallel_restarts": 0 }));
    let service = Setup::over(&database).start();
    let client = service.http.header("fleet-lock-protocol", "true");

    let full = refused(&lock(&client, FIRST), 400..600);
    database.connect().execute("SELECT goahead.freeze('default', 'holidays')", &[]).expect("freeze");
    let reply = lock(&client, FIRST);
    refused(&reply, 400..600);
    assert!(reply.json()["value"].as_str().is_some_and(|value| value.contains("holidays")), "{}", reply.body);
    assert!(!full.contains(FIRST), "a kind becomes a metric label");
}

#[test]
fn paths_are_found_however_clients_join_them() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("default", json!({}));
    let service = Setup::over(&database).start();
    let client = service.http.header("fleet-lock-protocol", "true");
    // flatcar's client joins a base address with a trailing slash this way.
    let reply = client.post("//v1/pre-reboot", &params(FIRST));
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(client.post("//v1/steady-state", &params(FIRST)).status, 200);
}

fn params(id: &str) -> Value {
    json!({ "client_params": { "id": id, "group": "default" } })
}

// The client sends no Content-Type, as zincati does.
fn lock(client: &Http, id: &str) -> Reply {
    client.post("/v1/pre-reboot", &params(id))
}

fn unlock(client: &Http, id: &str) -> Reply {
    client.post("/v1/steady-state", &params(id))
}

/// Checks the form of a refusal and gives its kind.
fn refused(reply: &Reply, statuses: std::ops::Range<u16>) -> String {
    assert!(statuses.contains(&reply.status), "status {}: {}", reply.status, reply.body);
    let body = reply.json();
    let text = |key: &str| body[key].as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    assert!(text("value").is_some(), "{}", reply.body);
    text("kind").unwrap_or_else(|| panic!("no kind: {}", reply.body))
}
