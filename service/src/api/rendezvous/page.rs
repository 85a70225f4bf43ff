//! The page at `/` of the rendezvous listener: who waits for what, and for how long already.

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::path_of;
use crate::api::error::Refusal;
use crate::api::native::fetch;
use crate::api::page::{dress, view};
use crate::api::{App, auth};

/// How much of a payload is shown, in characters.
const EXCERPT: usize = 120;
/// How many keys are shown.
const SHOWN: i32 = 1000;

/// One part of a list.
#[derive(Deserialize)]
struct Items {
    items: Vec<Value>,
    next: Option<Value>,
}

/// The page, or a page that says why there is none.
pub async fn answer(app: &App, parts: &Parts) -> Response {
    let now = Timestamp::now();
    let looked = async {
        auth::admit_reader(app, parts).await?;
        fetch::<Items>(app, "SELECT goahead.list_rendezvous($1, NULL)", &[&SHOWN]).await
    };
    match looked.await {
        Ok(list) => dress(StatusCode::OK, room(&list, now).into_string()),
        Err(refusal) => {
            let mut response = dress(refusal.status, sorry(&refusal, now).into_string());
            refusal.decorate(&mut response);
            response
        }
    }
}

fn sorry(refusal: &Refusal, now: Timestamp) -> Markup {
    view::page(
        "rendezvous",
        now,
        html! {
            h2.bad { (refusal.detail) }
            @if let Some(hint) = &refusal.hint { p { (hint) } }
        },
    )
}

fn room(list: &Items, now: Timestamp) -> Markup {
    let of = |state: &str| -> Vec<&Value> {
        list.items.iter().filter(|item| item["state"] == state && item["barrier"].is_null()).collect()
    };
    let barriers: Vec<&Value> = list.items.iter().filter(|item| !item["barrier"].is_null()).collect();
    let (waiting, failed, signalled) = (of("waiting"), of("timed out"), of("signalled"));
    view::page(
        "rendezvous",
        now,
        html! {
            h2 { "Waiting" }
            @if waiting.is_empty() { p.none { "Nobody." } } @else {
                div.scroll { table {
                    tr { th { "Key" } th.number { "Callers" } th { "For" } th { "Who" } }
                    @for item in &waiting {
                        tr {
                            td.name { (key(item)) }
                            td.number { (view::text(item, "waiting")) }
                            td { (age(item, now)) }
                            td.name { (who(item)) }
                        }
                    }
                } }
            }
            @if !barriers.is_empty() {
                h2 { "Barriers" }
                div.scroll { table {
                    tr { th { "Barrier" } th.number { "Arrived" } th.number { "Parties" } th.number { "Generation" } th { "For" } }
                    @for item in &barriers {
                        tr {
                            td.name { (key(item)) }
                            @for field in ["arrived", "parties", "generation"] {
                                td.number { (view::text(&item["barrier"], field)) }
                            }
                            td { (age(item, now)) }
                        }
                    }
                } }
            }
            h2 { "Waited for in vain" }
            @if failed.is_empty() { p.none { "Nothing." } } @else {
                div.scroll { table {
                    tr { th { "Key" } th { "Since" } }
                    @for item in &failed { tr { td.name { (key(item)) } td { (view::moment(item, "since")) } } }
                } }
            }
            h2 { "Signalled" }
            @if signalled.is_empty() { p.none { "Nothing." } } @else {
                div.scroll { table {
                    tr { th { "Key" } th { "Since" } th { "Payload" } }
                    @for item in &signalled {
                        tr { td.name { (key(item)) } td { (view::moment(item, "since")) } td.name { code { (excerpt(item)) } } }
                    }
                } }
            }
            @if list.next.is_some() { p.none { "There are more keys; " code { "/v1/rendezvous" } " of the main listener lists all." } }
        },
    )
}

fn key(item: &Value) -> String {
    path_of(&view::text(item, "key"))
}

/// How long it has been so, to the second.
fn age(item: &Value, now: Timestamp) -> Markup {
    match view::text(item, "since").parse::<Timestamp>() {
        Ok(since) => {
            let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            html! {
                @if hours > 0 { (hours) "h " }
                @if hours > 0 || minutes > 0 { (minutes) "m " }
                (seconds) "s"
            }
        }
        Err(_) => html! {},
    }
}

fn who(item: &Value) -> String {
    let shown: Vec<&str> = item["who"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let all = item["waiting"].as_u64().and_then(|all| usize::try_from(all).ok()).unwrap_or(shown.len());
    let more = all.saturating_sub(shown.len());
    match more {
        0 => shown.join(", "),
        _ => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn excerpt(item: &Value) -> String {
    let text = view::text(item, "payload");
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(items: Value) -> String {
        let now = "2026-11-21T10:02:05Z".parse().unwrap();
        room(&serde_json::from_value(json!({ "items": items, "next": null })).unwrap(), now).into_string()
    }

    #[test]
    fn the_page_shows_who_waits_how_long() {
        let page = page(json!([
            { "key": "abc", "state": "waiting", "since": "2026-11-21T10:01:00Z", "waiting": 3, "who": ["10.0.0.7:4242"] },
            { "key": "b", "state": "waiting", "since": "2026-11-21T09:00:00Z",
              "barrier": { "parties": 3, "arrived": 2, "generation": 7 } },
            { "key": "no", "state": "timed out", "since": "2026-11-21T10:00:00Z" },
            { "key": "yes", "state": "signalled", "since": "2026-11-21T10:00:00Z", "payload": "x".repeat(500) },
        ]));
        for part in [
            "/abc",
            "1m 5s",
            "10.0.0.7:4242, and 2 more",
            "1h 2m 5s",
            r#"<td class="number">2</td><td class="number">3</td><td class="number">7</td>"#,
            "/no",
            "2026-11-21 10:00:00",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.contains(&format!("{}…", "x".repeat(120))) && !page.contains(&"x".repeat(121)));
    }

    #[test]
    fn hostile_keys_and_payloads_stay_text() {
        let evil = "<script>alert(1)</script>";
        let page = page(json!([
            { "key": evil, "state": "signalled", "payload": evil },
            { "key": evil, "state": "waiting", "who": [evil], "waiting": evil, "since": evil },
            { "key": evil, "state": "timed out" },
        ]));
        assert!(!page.contains("<script>alert"), "{page}");
    }
}
