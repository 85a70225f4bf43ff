//! Hosts that ask, as goahead_client does.

use serde_json::{Value, json};

use crate::http::{Http, Reply};

/// The path of a restart request.
pub const REQUEST: &str = "/v1/request/restart/os";
/// The path of an inquiry.
pub const INQUIRE: &str = "/v1/inquire/restart/";

/// What a host sends.
pub fn ask(fqdn: &str, uptime: &str, request_id: Option<&str>) -> Value {
    let mut body = json!({ "fqdn": fqdn, "uptime": uptime });
    if let Some(id) = request_id {
        body["request_id"] = id.into();
    }
    body
}

/// A request for a restart that must be answered with 200.
pub fn request(service: &Http, fqdn: &str, uptime: &str, request_id: Option<&str>) -> Value {
    answered(service.post(REQUEST, &ask(fqdn, uptime, request_id)))
}

/// An inquiry that must be answered with 200.
pub fn inquire(service: &Http, fqdn: &str, uptime: &str) -> Value {
    answered(service.post(INQUIRE, &ask(fqdn, uptime, None)))
}

/// Both steps of the handshake; gives the second answer, which says whether the host may restart.
pub fn handshake(service: &Http, fqdn: &str, uptime: &str) -> Value {
    let first = request(service, fqdn, uptime, None);
    assert_eq!(first["go_ahead"], false, "first contact of {fqdn}: {first}");
    let id = first["request_id"].as_str().unwrap_or_else(|| panic!("no request_id: {first}"));
    request(service, fqdn, uptime, Some(id))
}

/// Both steps of the handshake, at whose end the host must be allowed to restart.
pub fn grant(service: &Http, fqdn: &str, uptime: &str) -> Value {
    let answer = handshake(service, fqdn, uptime);
    assert_eq!(answer["go_ahead"], true, "{fqdn} should be granted: {answer}");
    answer
}

fn answered(reply: Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}
