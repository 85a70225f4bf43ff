//! Settings: how they are judged, imported and seen.

#[pgrx::pg_schema]
mod tests {
    use crate::tests::support::*;
    use pgrx::prelude::*;
    use serde_json::json;

    #[pg_test]
    fn settings_are_judged_when_written() {
        let wrong = [
            (
                r#"{"name_patern": "^x", "allowed_parallel_restarts": 1}"#,
                "22023 cluster c: name_patern: is not a setting",
            ),
            (r#"{"name_pattern": "^x"}"#, "22023 cluster c: allowed_parallel_restarts: is missing"),
            (r#"{"name_pattern": "^x[", "allowed_parallel_restarts": 1}"#, "22023 cluster c: name_pattern: "),
            (
                r#"{"name_pattern": "^x", "allowed_parallel_restarts": "200%"}"#,
                "22023 cluster c: allowed_parallel_restarts: is ",
            ),
            (
                r#"{"name_pattern": "^x", "allowed_parallel_restarts": 1, "minimum_uptime": "1d"}"#,
                "22023 cluster c: minimum_uptime: ",
            ),
            (
                r#"{"name_pattern": "^x", "allowed_parallel_restarts": 1, "restart_windows": [{"start": "22:00", "length": "1h", "time_zone": "Mars/Base"}]}"#,
                "22023 cluster c: restart_windows: time zone \"Mars/Base\" is not known",
            ),
            (
                r#"{"name_pattern": "^x", "allowed_parallel_restarts": 1, "blocker": "no.such(text,text)"}"#,
                "22023 cluster c: blocker: ",
            ),
            (
                r#"{"name_pattern": "^x", "allowed_parallel_restarts": 1, "reboot_completion_check": "/tmp/{:%fqdn%:}"}"#,
                "22023 cluster c: reboot_completion_check: ",
            ),
        ];
        for (settings, expected) in wrong {
            let error = error_of(&format!("SELECT goahead.set_cluster('c', '{settings}')"));
            assert!(error.starts_with(expected), "{settings}: {error}");
        }
        assert_eq!(number("SELECT count(*) FROM goahead.clusters"), 0);
    }

    #[pg_test]
    fn a_change_of_settings_is_seen_at_the_next_call() {
        cluster(json!({ "allowed_parallel_restarts": 0 }));
        let version = || number("SELECT version FROM goahead._patterns");
        let before = version();
        let id = request("web1.example.org", "2h", None)["request_id"].as_str().map(str::to_owned);
        assert_eq!(request("web1.example.org", "2h", id.as_deref())["go_ahead"], false);
        cluster(json!({ "allowed_parallel_restarts": 1 }));
        assert_eq!(request("web1.example.org", "2h", id.as_deref())["go_ahead"], true);
        assert_eq!(version(), before, "a new limit has no host looked up anew");
        cluster(json!({ "name_pattern": "^db" }));
        assert!(version() > before);
        assert_eq!(request("web2.example.org", "2h", None)["unknown_host"], true);
    }

    #[pg_test]
    fn imports_leave_alone_what_was_edited_since() {
        let import = |limit: i32, force: bool| {
            text(&format!(
                r#"SELECT string_agg(line, '; ') FROM goahead.import_clusters('{{"c": {{"enabled": true, "name_pattern": "^x", "allowed_parallel_restarts": {limit}, "odd": 1}}}}', {force}) line"#
            ))
        };
        assert_eq!(
            import(1, false),
            "warning: c: odd: is not a setting and was ignored; did you mean enabled?; c: imported"
        );
        assert_eq!(import(1, false), "c: unchanged since its last import");
        Spi::run(r#"SELECT goahead.set_cluster('c', '{"name_pattern": "^x", "allowed_parallel_restarts": 7}')"#)
            .expect("valid");
        assert!(import(2, false).starts_with("warning: c: was edited by SQL"));
        assert_eq!(text("SELECT allowed_parallel_restarts FROM goahead.clusters"), "7");
        assert!(import(2, true).ends_with("c: imported"));
        assert_eq!(text("SELECT allowed_parallel_restarts FROM goahead.clusters"), "2");
    }

    #[pg_test]
    fn imported_nanoseconds_are_kept_with_their_unit() {
        text(
            r#"SELECT string_agg(line, '') FROM goahead.import_clusters('{"web": {"enabled": true, "name_pattern": "^web", "allowed_parallel_restarts": 1, "request_timeout": 600000000000}}') line"#,
        );
        assert_eq!(text("SELECT settings ->> 'request_timeout' FROM goahead.clusters"), "10m0s");
        request("web1.example.org", "2h", None);
        assert_eq!(number("SELECT count(*) FROM goahead.requests WHERE expires_at > now()"), 1);
    }
}
