//! What operators do by hand.

#[pgrx::pg_schema]
mod tests {
    use crate::tests::support::*;
    use pgrx::prelude::*;
    use serde_json::json;

    #[pg_test]
    fn an_overdue_restart_keeps_its_slot_until_an_operator_ends_it() {
        cluster(json!({ "allowed_parallel_restarts": 2, "reboot_completion_panic_threshold": "1h",
                        "reboot_completion_panic_actions": { "scripts": ["/bin/page {:%fqdn%:}"] } }));
        grant("web1.example.org");
        Spi::run("UPDATE goahead._restart SET granted_us = granted_us - 3600000000").expect("it runs");
        json("SELECT goahead.sweep()");
        json("SELECT goahead.sweep()");
        assert_eq!(number("SELECT count(*) FROM goahead.jobs WHERE kind = 'panic' AND fqdn = 'web1.example.org'"), 1);
        assert_eq!(number("SELECT overdue FROM goahead.cluster_status"), 1);
        let denied = grant("web2.example.org");
        assert!(denied["message"].as_str().expect("a message").contains("panic threshold met"), "{denied}");
        assert!(
            error_of("SELECT goahead.fail_restart('web1.example.org', NULL)").starts_with("22023 the note is empty")
        );
        Spi::run("SELECT goahead.fail_restart('web1.example.org', 'disk died')").expect("it runs");
        assert!(error_of("SELECT goahead.fail_restart('web1.example.org', 'again')").starts_with("P0002"));
        assert_eq!(text("SELECT state || ' ' || note FROM goahead.restarts"), "failed disk died");
        assert_eq!(grant("web2.example.org")["go_ahead"], true);
    }

    #[pg_test]
    fn a_freeze_denies_with_its_reason_until_it_ends() {
        cluster(json!({}));
        Spi::run("SELECT goahead.freeze('web', 'black friday')").expect("it runs");
        let denied = request("web1.example.org", "2h", None);
        assert_eq!(denied["message"], "Denied restart request as cluster web is frozen: black friday");
        assert!(denied.get("ask_again_in").is_none());
        Spi::run("SELECT goahead.thaw('web')").expect("it runs");
        assert_eq!(grant("web1.example.org")["go_ahead"], true);
        assert!(error_of("SELECT goahead.freeze('web', 'x', now() - interval '1 h')").starts_with("22023"));
        assert!(error_of("SELECT goahead.freeze('wbe', 'x')").starts_with("P0002"));
    }

    #[pg_test]
    fn a_rollout_counts_its_hosts_and_ends_by_itself() {
        cluster(json!({}));
        for host in ["web1.example.org", "web2.example.org"] {
            request(host, "2h", None);
        }
        let id = number("SELECT goahead.start_rollout('web', 'new kernel')");
        assert!(error_of("SELECT goahead.start_rollout('web', 'again')").starts_with("55000"));
        let reason = json("SELECT goahead.inquire_restart('web1.example.org', '2h')");
        assert_eq!(reason["message"], format!("YesInquireToRestart: rollout {id}: new kernel"));
        let progress = || text("SELECT concat_ws(' ', done, running, remaining) FROM goahead.rollouts");
        assert_eq!(progress(), "0 0 2");
        for host in ["web1.example.org", "web2.example.org"] {
            assert_eq!(grant(host)["go_ahead"], true);
            json(&format!("SELECT goahead.inquire_restart('{host}', '1s')"));
        }
        assert_eq!(progress(), "2 0 0");
        assert_eq!(json("SELECT goahead.inquire_restart('web1.example.org', '2h')")["message"], "No reason to restart");
        Spi::run("DELETE FROM goahead._housekeeping").expect("it runs");
        json("SELECT goahead.sweep()");
        assert_eq!(text("SELECT outcome FROM goahead.rollouts"), "done");
    }

    #[pg_test]
    fn a_fleetlock_id_in_two_groups_is_ended_by_its_cluster() {
        cluster(json!({}));
        Spi::run(r#"SELECT goahead.set_cluster('db', '{"name_pattern": "^db", "allowed_parallel_restarts": 1}')"#)
            .expect("valid");
        text(
            r#"SELECT goahead.judge_restarts('[{"op":"lock","group":"web","id":"a"},{"op":"lock","group":"db","id":"a"}]')"#,
        );
        assert!(error_of("SELECT goahead.complete_restart('a', 'done')").starts_with("55000"));
        Spi::run("SELECT goahead.complete_restart('a', 'done', 'db')").expect("it runs");
        Spi::run("SELECT goahead.complete_restart('a', 'done')").expect("one is left");
        assert_eq!(number("SELECT count(*) FROM goahead.restarts WHERE ended_at IS NULL"), 0);
    }

    #[pg_test]
    fn a_scrapped_host_is_forgotten_once_it_holds_nothing() {
        cluster(json!({}));
        grant("web1.example.org");
        assert!(error_of("SELECT goahead.forget_host('web1.example.org')").starts_with("55000"));
        Spi::run("SELECT goahead.fail_restart('web1.example.org', 'scrapped')").expect("it runs");
        assert_eq!(text("SELECT goahead.forget_host('WEB1.example.org.')::text"), "true");
        assert_eq!(number("SELECT count(*) FROM goahead.hosts"), 0);
        assert_eq!(text("SELECT subject FROM goahead.events WHERE kind = 'host_forgotten'"), "web1.example.org");
        assert_eq!(text("SELECT goahead.forget_host('web1.example.org')::text"), "false");
        assert_eq!(number("SELECT count(*) FROM goahead.restarts"), 1);
    }

    #[pg_test]
    fn old_restarts_are_dropped_but_for_the_newest_of_a_cluster() {
        cluster(json!({}));
        for host in ["web1.example.org", "web2.example.org"] {
            grant(host);
            Spi::run(&format!("SELECT goahead.complete_restart('{host}', 'done')")).expect("it runs");
        }
        json("SELECT goahead.sweep()");
        assert_eq!(number("SELECT count(*) FROM goahead.restarts"), 2);
        Spi::run(
            "UPDATE goahead._restart SET ended_at = ended_at - interval '366 days'; DELETE FROM goahead._housekeeping",
        )
        .expect("it runs");
        json("SELECT goahead.sweep()");
        assert_eq!(text("SELECT string_agg(host, ' ') FROM goahead.restarts"), "web2.example.org");
    }

    #[pg_test]
    fn what_an_operator_says_is_in_the_event_and_silence_is_an_error() {
        cluster(json!({}));
        grant("web1.example.org");
        Spi::run("SELECT goahead.complete_restart('web1.example.org', 'seen at its desk')").expect("it runs");
        assert_eq!(text("SELECT detail ->> 'note' FROM goahead.events WHERE kind = 'completed'"), "seen at its desk");
        for silent in [
            "request_restart(NULL, '2h')",
            "request_restart('a.b', NULL)",
            "inquire_restart('a.b', NULL)",
            "explain_restart(NULL)",
            "create_token(NULL)",
            "forget_host(NULL)",
            "name_fleetlock_id(NULL, 'a.b')",
        ] {
            let error = error_of(&format!("SELECT goahead.{silent}"));
            assert!(error.starts_with("22023") && error.ends_with("is empty"), "{silent}: {error}");
        }
    }
}
