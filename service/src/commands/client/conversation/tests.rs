//! Answers, good and bad, as the client reads them.

use super::*;

fn of(status: u16, body: &str) -> Result<Response, Stop> {
    read("inquireRestart", &Answer { status, body: body.to_owned(), ..Answer::default() })
}

#[test]
fn an_answer_is_read_leniently() {
    let response = of(200, r#"{"go_ahead": true, "timestamp": 7, "found_cluster": "c", "request_id": 12, "new": []}"#);
    let wanted =
        Response { go_ahead: true, request_id: "12".to_owned(), found_cluster: "c".to_owned(), ..Response::default() };
    assert_eq!(response, Ok(wanted));
    assert_eq!(of(200, r#"{"message": null}"#), Ok(Response::default()));
}

#[test]
fn only_true_is_a_go_ahead() {
    for go_ahead in ["\"true\"", "1", "null", "\"yes\"", "[true]", "false"] {
        let body = format!("{{\"go_ahead\": {go_ahead}}}");
        assert_eq!(of(200, &body).map(|response| response.go_ahead), Ok(false), "{go_ahead}");
    }
    assert!(of(500, r#"{"go_ahead": true}"#).is_err(), "an error is no go-ahead whatever it says");
}

#[test]
fn errors_are_told_in_the_service_s_words() {
    let fatal = |text: &str| Err(Stop::fatal(text));
    assert_eq!(of(400, r#"{"error": "bad uptime"}"#), fatal("Recieved error: bad uptime"));
    assert_eq!(of(200, r#"{"error": "odd"}"#), fatal("Recieved error: odd"));
    let problem = r#"{"title": "Forbidden", "detail": "not your name", "status": 403}"#;
    assert_eq!(of(403, problem), fatal("Recieved error: not your name"));
    assert_eq!(of(500, "{}"), fatal("Recieved error: HTTP 500: {}"));
}

#[test]
fn what_is_no_json_object_is_a_warning() {
    for body in ["404 page not found", "", "[]", "null", "{\"go_ahead\": tru"] {
        match of(404, body) {
            Err(Stop::Warning("inquireRestart", text)) => {
                assert!(text.starts_with(&format!("Could not parse JSON response: {body}")), "{text}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn a_payload_has_the_keys_and_their_order() {
    let payload = |request_id, boot_id: Option<&str>| {
        serde_json::to_string(&Payload {
            fqdn: "h".to_owned(),
            uptime: "1h0m0s".to_owned(),
            request_id,
            restart_reason: "why",
            boot_id: boot_id.map(str::to_owned),
        })
        .unwrap()
    };
    assert_eq!(payload("", None), r#"{"fqdn":"h","uptime":"1h0m0s","restart_reason":"why"}"#);
    assert_eq!(
        payload("abc", Some("b")),
        r#"{"fqdn":"h","uptime":"1h0m0s","request_id":"abc","restart_reason":"why","boot_id":"b"}"#
    );
}

#[test]
fn the_uptime_is_a_go_duration_of_whole_seconds() {
    let uptime = uptime().unwrap();
    let parsed = duration::parse(&uptime).unwrap();
    assert!(parsed.0 > 0 && parsed.0 % 1_000_000_000 == 0, "{uptime}");
    assert_eq!(parsed.to_string(), uptime);
}
