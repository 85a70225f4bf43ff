//! Locks over HTTP, as their users call them.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::http::{Http, Reply};
use crate::postgres::Database;
use crate::service::Service;

/// One call about a lock.
pub fn post(http: &Http, lock: &str, what: &str, body: &Value) -> Reply {
    http.post(&format!("/v1/locks/{lock}/{what}"), body)
}

/// Asks for a slot with the usual TTL; `wait` is a time such as `0s`.
pub fn acquire(http: &Http, lock: &str, holder: &str, wait: &str) -> Reply {
    post(http, lock, "acquire", &json!({ "holder": holder, "wait": wait }))
}

/// The token of an answer that must be a grant.
pub fn token(reply: &Reply) -> i64 {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["token"].as_i64().expect("a token")
}

/// Keeps or confirms a hold.
pub fn renew(http: &Http, lock: &str, holder: &str, token: i64) -> Reply {
    post(http, lock, "renew", &json!({ "holder": holder, "token": token }))
}

/// Gives a slot back.
pub fn release(http: &Http, lock: &str, holder: &str, token: i64) -> Reply {
    post(http, lock, "release", &json!({ "holder": holder, "token": token }))
}

/// Who waits for any lock, in the order of tickets.
pub fn queued(database: &Database<'_>) -> Vec<String> {
    let rows =
        database.connect().query("SELECT holder FROM goahead.lock_queue WHERE state = 'queued' ORDER BY ticket", &[]);
    rows.expect("the queue").iter().map(|row| row.get(0)).collect()
}

/// Sends an acquire over a connection of its own and leaves the answer to the caller, who may go away without it.
pub fn begin_acquire(service: &Service, lock: &str, body: &Value) -> TcpStream {
    let address = service.url.strip_prefix("http://").expect("an address without TLS");
    let mut stream = TcpStream::connect(address).expect("connect");
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "POST /v1/locks/{lock}/acquire HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("send");
    stream
}
