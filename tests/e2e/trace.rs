//! A client of the original goahead sees no difference: every answer of a recorded session, over HTTPS.

use std::collections::HashMap;
use std::time::Duration;

use goahead_tests::fixture;
use goahead_tests::http::{Http, Reply};
use goahead_tests::service::{DataDirectory, Setup, config_file};
use goahead_tests::tls::Authority;
use serde_json::Value;

#[test]
fn a_recorded_session_is_answered_as_the_original_does() {
    let data = DataDirectory::new();
    let authority = Authority::new();
    let pair = authority.sign(&["localhost", "127.0.0.1"]);
    let config = config_file(data.root(), &fixture("conformance/clusters.yml"), &pair);
    let service = Setup::embedded(&data).flag("--config", config).trusting(&authority).start();

    let trace = std::fs::read_to_string(fixture("conformance/goahead.trace.json")).expect("the trace");
    let trace: Value = serde_json::from_str(&trace).expect("JSON");
    let (mut steps, mut differences) = (0, Vec::new());
    for scenario in trace["scenarios"].as_array().expect("scenarios") {
        let mut answers: HashMap<usize, Value> = HashMap::new();
        for (index, step) in scenario["steps"].as_array().expect("steps").iter().enumerate() {
            if let Some(pause) = step["sleep_ms"].as_u64() {
                std::thread::sleep(Duration::from_millis(pause));
                continue;
            }
            steps += 1;
            let reply = play(&service.http, step, &answers);
            let wrong = compare(&step["expect"], &reply);
            differences
                .extend(wrong.into_iter().map(|text| format!("{} step {}: {text}", scenario["name"], index + 1)));
            answers.insert(index + 1, reply.json());
        }
    }
    assert_eq!(steps, 37);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Sends one step; `$N.field` in its body is that field of the Nth answer.
fn play(service: &Http, step: &Value, answers: &HashMap<usize, Value>) -> Reply {
    let mut body = step["body"].clone();
    for value in body.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
        let reference = value.as_str().and_then(|text| text.strip_prefix('$')).and_then(|text| text.split_once('.'));
        if let Some((number, field)) = reference {
            *value = answers[&number.parse().expect("a step number")][field].clone();
        }
    }
    let text = match &body {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let method = step["method"].as_str().unwrap_or("POST");
    let path = step["path"].as_str().expect("a path");
    service.send(method, path, text.as_deref().map(str::as_bytes))
}

fn compare(expected: &Value, reply: &Reply) -> Vec<String> {
    let mut wrong = Vec::new();
    if expected["status"] != reply.status {
        wrong.push(format!("status {} instead of {}", reply.status, expected["status"]));
    }
    if expected["content_type"] != reply.content_type.as_str() {
        wrong.push(format!("Content-Type {:?} instead of {}", reply.content_type, expected["content_type"]));
    }
    let got = reply.json();
    match (expected["body"].as_object(), got.as_object()) {
        (Some(want), Some(have)) => {
            for (key, value) in want {
                if !matches(value, have.get(key).unwrap_or(&Value::Null)) {
                    wrong.push(format!("{key} is {:?} instead of {value}", have.get(key)));
                }
            }
            wrong
                .extend(have.keys().filter(|key| !want.contains_key(*key)).map(|key| format!("{key} is not recorded")));
        }
        _ if matches(&expected["body"], &got) => {}
        _ => wrong.push(format!("body {got} instead of {}", expected["body"])),
    }
    wrong
}

/// `<…>` in the recording stands for a value that differs from run to run.
fn matches(want: &Value, got: &Value) -> bool {
    let (Some(want_text), Some(got_text)) = (want.as_str(), got.as_str()) else {
        return want == got;
    };
    match want_text {
        "<8 letters>" => got_text.len() == 8 && got_text.bytes().all(|byte| byte.is_ascii_alphabetic()),
        _ if want_text.starts_with("<0..29") => {
            got_text.strip_suffix('s').and_then(|number| number.parse::<u8>().ok()).is_some_and(|number| number < 30)
        }
        _ => match want_text.split_once('<') {
            Some((start, _)) => got_text.starts_with(start) && !got_text.is_empty(),
            None => want == got,
        },
    }
}
