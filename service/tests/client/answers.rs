//! The answers of the original service, as its documentation records them.

use serde_json::json;

use crate::support::{Reply, ok};

/// First contact: a request_id and a time to wait.
pub fn handshake(ask_again_in: &str) -> Reply {
    ok(json!({
        "timestamp": "2018-11-28T11:44:01.741651181Z", "go_ahead": false, "unknown_host": false,
        "ask_again_in": ask_again_in, "request_id": "KrXwoDxs", "found_cluster": "foobar-servers",
        "requesting_fqdn": "host.example.org", "message": "No previous request file found for fqdn: host.example.org",
        "reported_uptime": "358h14m48s",
    }))
}

/// The go-ahead.
pub fn granted() -> Reply {
    ok(json!({
        "timestamp": "2020-02-05T15:33:43.791804819Z", "go_ahead": true, "unknown_host": false, "ask_again_in": "20s",
        "request_id": "KrXwoDxs", "found_cluster": "foobar-servers", "requesting_fqdn": "host.example.org",
        "reported_uptime": "358h14m48s",
    }))
}

/// An answer without a time to wait, and why.
pub fn denied(message: &str) -> Reply {
    ok(json!({
        "timestamp": "2018-11-28T11:44:01.741651181Z", "go_ahead": false, "unknown_host": false,
        "request_id": "KrXwoDxs", "found_cluster": "foobar-servers", "requesting_fqdn": "host.example.org",
        "message": message, "reported_uptime": "358h14m48s",
    }))
}
