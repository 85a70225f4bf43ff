//! Rendezvous: some wait for a key, others signal it; web-rendezvous' own API and what was added to it.

mod additions;
mod clients;
mod crowd;
mod faults;
mod probes;
mod vectors;

use std::time::{Duration, Instant};

use goahead_tests::http::{Http, Reply};
use goahead_tests::service::Service;
use goahead_tests::wire::{self, Pending};
use goahead_tests::{SOON, eventually};
use serde_json::Value;

/// The lists of web-rendezvous: waiting or failed, and marked.
fn lists(http: &Http) -> (Vec<String>, Vec<String>) {
    let reply = http.get("/");
    assert_eq!((reply.status, reply.content_type.as_str()), (200, "application/json"), "{}", reply.body);
    let list = |name: &str| {
        let names = reply.json()[name].clone();
        serde_json::from_value(names).unwrap_or_else(|error| panic!("{name}: {error}: {}", reply.body))
    };
    (list("waiting_and_failed"), list("marked"))
}

fn put(http: &Http, path: &str, body: &str) -> Reply {
    http.send("PUT", path, Some(body.as_bytes()))
}

/// A request that waits, and is known to the database as waiting.
fn waiter(service: &Service, path: &str) -> Pending {
    let pending = wire::send(&service.rendezvous_url, &format!("GET {path}"));
    let key = path.split('?').next().expect("a path").to_owned();
    eventually("it waits", SOON, || lists(&service.rendezvous).0.contains(&key).then_some(()));
    pending
}

fn ok(pending: Pending) -> Value {
    let (status, body) = pending.answer(SOON).expect("an answer");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Asserts that something took at least `least`, and not much longer on a busy machine.
fn lasted(start: Instant, least: Duration) {
    let took = start.elapsed();
    assert!(
        took >= least.saturating_sub(Duration::from_millis(10)) && took < least + Duration::from_secs(5),
        "{took:?}"
    );
}
