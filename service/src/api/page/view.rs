//! The page's HTML. Everything from the database passes maud's escaping.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::{Fleet, SCRIPT, STYLE};
use crate::api::error::Refusal;

/// The page of a fleet.
pub fn fleet(fleet: &Fleet, now: Timestamp) -> Markup {
    page(
        "goahead",
        now,
        html! {
            (counts(&fleet.stats))
            (clusters(&fleet.clusters))
            (restarts(&fleet.restarts))
            (events(&fleet.events))
            (unknown(&fleet.unknown))
        },
    )
}

/// The page of a refusal.
pub fn refusal(refusal: &Refusal, now: Timestamp) -> Markup {
    page(
        "goahead",
        now,
        html! {
            h2.bad { (refusal.detail) }
            @if let Some(hint) = &refusal.hint { p { (hint) } }
        },
    )
}

/// A page that shows `content` under `title`, as of now.
pub fn page(title: &str, now: Timestamp, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                noscript { meta http-equiv="refresh" content="10"; }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        h1 { (title) }
                        p { "as of " time { (format!("{now:.0}")) } }
                    }
                    (content)
                }
                footer { "The API is described in " a href="/openapi.json" { "openapi.json" } "." }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn counts(stats: &Value) -> Markup {
    let shown = [
        ("clusters", "clusters", ""),
        ("known_hosts", "hosts", ""),
        ("running", "restarting", ""),
        ("overdue", "overdue", "bad"),
        ("jobs_queued", "jobs queued", ""),
        ("jobs_running", "jobs running", ""),
        ("jobs_failed", "jobs failed", "warn"),
        ("unknown_hosts", "unknown hosts", "warn"),
    ];
    html! {
        ul.counts {
            @for (key, label, alarm) in shown {
                @let count = stats[key].as_i64().unwrap_or(0);
                li { b class=[(count > 0 && !alarm.is_empty()).then_some(alarm)] { (count) } (label) }
            }
        }
    }
}

fn clusters(clusters: &[Value]) -> Markup {
    html! {
        h2 { "Clusters" }
        @if clusters.is_empty() {
            p.none { "None yet. Import some with " code { "goahead clusters import FILE" } "." }
        } @else {
            div.scroll { table {
                tr {
                    th { "Cluster" } th.number { "Restarting" } th.number { "Limit" } th.number { "Overdue" }
                    th.number { "Known hosts" } th { "State" }
                }
                @for cluster in clusters {
                    tr {
                        td.name { (text(cluster, "cluster")) }
                        td.number { (text(cluster, "running")) }
                        td.number { (text(cluster, "allowed_parallel_restarts")) }
                        td.number { @if cluster["overdue"].as_i64() > Some(0) { span.bad { (text(cluster, "overdue")) } } @else { "0" } }
                        td.number { (text(cluster, "known_hosts")) }
                        td { (state(cluster)) }
                    }
                }
            } }
        }
    }
}

/// What keeps a cluster from granting, the strongest reason first.
fn state(cluster: &Value) -> Markup {
    html! {
        @if cluster["enabled"] == Value::Bool(false) {
            span.warn { "disabled" }
        } @else if let Some(reason) = cluster["frozen"].as_str() {
            span.warn { "frozen" } ": " (reason)
        } @else if cluster["rollout"].is_number() {
            "rollout " (text(cluster, "rollout"))
        } @else {
            span.good { "open" }
        }
    }
}

fn restarts(restarts: &[Value]) -> Markup {
    let open: Vec<&Value> = restarts.iter().filter(|restart| restart["ended_at"].is_null()).collect();
    html! {
        h2 { "Restarting now" }
        @if open.is_empty() { p.none { "Nobody." } }
        @else {
            div.scroll { table {
                tr { th { "Host" } th { "Cluster" } th { "State" } th { "Granted" } th { "Reason" } }
                @for restart in open {
                    tr {
                        td.name { (text(restart, "host")) @if restart["named"].is_string() { " (" (text(restart, "named")) ")" } }
                        td.name { (text(restart, "cluster")) }
                        td { (text(restart, "state")) @if !restart["overdue_at"].is_null() { " " span.bad { "overdue" } } }
                        td { (moment(restart, "granted_at")) }
                        td.name { (text(restart, "reason")) }
                    }
                }
            } }
        }
    }
}

fn events(events: &[Value]) -> Markup {
    html! {
        h2 { "Recent events" }
        @if events.is_empty() { p.none { "None." } }
        @else {
            div.scroll { table {
                tr { th { "When" } th { "Event" } th { "Cluster" } th { "Host" } th { "By" } }
                @for event in events {
                    tr {
                        td { (moment(event, "at")) }
                        td { (text(event, "kind")) }
                        td.name { (text(event, "cluster")) }
                        td.name { (text(event, "subject")) }
                        td.name { (text(event, "actor")) }
                    }
                }
            } }
        }
    }
}

fn unknown(hosts: &[Value]) -> Markup {
    html! {
        h2 { "Hosts that match no cluster" }
        @if hosts.is_empty() { p.none { "None." } }
        @else {
            div.scroll { table {
                tr { th { "Name" } th.number { "Times asked" } th { "Last asked" } th { "Blacklisted by" } }
                @for host in hosts {
                    tr {
                        td.name { (text(host, "name")) }
                        td.number { (text(host, "times")) }
                        td { (moment(host, "last_seen")) }
                        td { code { (text(host, "blacklist")) } }
                    }
                }
            } }
        }
    }
}

/// A field as text; nothing for null and for a field that is not there.
pub fn text(object: &Value, key: &str) -> String {
    match &object[key] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A moment to the second in UTC.
pub fn moment(object: &Value, key: &str) -> Markup {
    let text = text(object, key);
    match text.parse::<Timestamp>() {
        Ok(at) => html! { time datetime=(text) { (at.strftime("%Y-%m-%d %H:%M:%S")) } },
        Err(_) => html! { (text) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample(name: &str) -> String {
        let page = Fleet {
            stats: json!({ "clusters": 1, "overdue": 2 }),
            clusters: vec![
                json!({ "cluster": name, "running": 1, "allowed_parallel_restarts": "2", "overdue": 1, "frozen": name }),
            ],
            restarts: vec![json!({ "host": name, "granted_at": "2026-11-20T19:01:02.5+00:00", "ended_at": null })],
            events: vec![json!({ "kind": "granted", "subject": name, "at": name })],
            unknown: vec![json!({ "name": name, "times": 3 })],
        };
        fleet(&page, Timestamp::UNIX_EPOCH).into_string()
    }

    #[test]
    fn hostile_names_stay_text() {
        let page = sample("<script>alert(1)</script>\"'><img src=x>");
        assert!(!page.contains("<script>alert") && !page.contains("<img"), "{page}");
        assert_eq!(page.matches("&lt;script&gt;").count(), 6, "{page}");
    }

    #[test]
    fn the_page_shows_what_matters() {
        let page = sample("web1");
        assert!(page.contains("2026-11-20 19:01:02"), "{page}");
        assert!(page.contains(r#"<b class="bad">2</b>overdue"#), "{page}");
        assert!(page.contains("frozen</span>: web1"), "{page}");
        assert!(page.contains("1970-01-01T00:00:00Z"), "{page}");
    }
}
