//! What hosts and runners call.

#[pgrx::pg_schema]
mod tests {
    use crate::tests::support::*;
    use pgrx::prelude::*;
    use serde_json::{Value, json};

    #[pg_test]
    fn a_second_host_waits_for_the_first_to_complete() {
        cluster(json!({}));
        assert_eq!(grant("web1.example.org")["go_ahead"], true);
        let denied = grant("web2.example.org");
        assert_eq!(denied["go_ahead"], false);
        assert!(denied["message"].as_str().expect("a message").contains("web1.example.org"), "{denied}");
        assert_eq!(text("SELECT denied_by FROM goahead.requests WHERE fqdn = 'web2.example.org'"), "limit");
        // No check is configured: the first contact after the reboot completes.
        json("SELECT goahead.inquire_restart('web1.example.org', '1m')");
        assert_eq!(text("SELECT state FROM goahead.restarts WHERE host = 'web1.example.org'"), "completed");
        assert_eq!(grant("web2.example.org")["go_ahead"], true);
    }

    #[pg_test]
    fn the_tables_themselves_refuse_a_second_holder_of_a_slot() {
        cluster(json!({}));
        grant("web1.example.org");
        let copy = "INSERT INTO goahead._restart (cluster_id, cluster, kind, holder, slot, state, uptime, granted_at, granted_epoch, granted_us, granted_uptime)
                    SELECT cluster_id, cluster, kind, 'web9.example.org', slot, state, uptime, granted_at, granted_epoch, granted_us, granted_uptime FROM goahead._restart";
        assert!(error_of(copy).starts_with("23505"), "{}", error_of(copy));
    }

    #[pg_test]
    fn names_are_matched_in_lower_case_and_echoed_as_sent() {
        cluster(json!({}));
        let answer = request("WEB1.Example.ORG.", "2h", None);
        assert_eq!(answer["found_cluster"], "web");
        assert_eq!(answer["requesting_fqdn"], "WEB1.Example.ORG.");
        assert_eq!(number("SELECT count(*) FROM goahead.hosts WHERE fqdn = 'web1.example.org'"), 1);
    }

    #[pg_test]
    fn hostile_names_change_nothing() {
        cluster(json!({ "name_pattern": ".*" }));
        for name in ["../web1", "web1'; DROP SCHEMA goahead", "$(reboot)", "web 1", "-x", "web1..example"] {
            let error = error_of(&format!("SELECT goahead.request_restart({}, '2h')", spi::quote_literal(name)));
            assert!(error.starts_with("22023 fqdn is not a host name"), "{name}: {error}");
        }
        assert_eq!(number("SELECT count(*) FROM goahead.hosts"), 0);
        assert_eq!(number("SELECT count(*) FROM goahead.unknown_hosts"), 0);
    }

    #[pg_test]
    fn a_set_judges_each_call_against_those_before_it() {
        cluster(json!({}));
        let ids: Vec<Value> =
            (1..=3).map(|n| request(&format!("web{n}.example.org"), "2h", None)["request_id"].clone()).collect();
        let asks: Vec<Value> = (1..=3)
            .map(|n| json!({ "op": "request", "fqdn": format!("web{n}.example.org"), "uptime": "2h", "request_id": ids[n - 1] }))
            .chain([json!({ "op": "request", "fqdn": "no such name", "uptime": "2h" }), json!(7)])
            .collect();
        let answers: String =
            Spi::get_one_with_args("SELECT goahead.judge_restarts($1)", &[Value::from(asks).to_string().into()])
                .expect("it runs")
                .expect("answers");
        let answers: Value = serde_json::from_str(&answers).expect("JSON");
        let outcomes: Vec<&str> =
            answers.as_array().expect("an array").iter().map(|a| a["outcome"].as_str().expect("text")).collect();
        assert_eq!(outcomes, ["granted", "denied", "denied", "invalid", "invalid"]);
        assert_eq!(answers[1]["condition"], "limit");
        assert_eq!(number("SELECT count(*) FROM goahead.restarts WHERE ended_at IS NULL"), 1);
    }

    #[pg_test]
    fn a_set_that_locks_no_cluster_changes_no_holder() {
        cluster(json!({}));
        let id = request("web1.example.org", "2h", None)["request_id"].clone();
        let ask = json!([{ "op": "request", "fqdn": "web1.example.org", "uptime": "2h", "request_id": id }]);
        let outcome = |locks: &str| {
            let call = format!("SELECT goahead.judge_restarts($q${ask}$q$, '{locks}')::jsonb -> 0 ->> 'outcome'");
            text(&call)
        };
        assert_eq!(outcome("none"), "busy");
        assert_eq!(number("SELECT count(*) FROM goahead.restarts"), 0);
        assert_eq!(outcome("free"), "granted");
        assert_eq!(outcome("none"), "granted");
        // The return ends the restart, which takes the cluster's lock, whatever is asked.
        let back = r#"[{"op": "inquire", "fqdn": "web1.example.org", "uptime": "1m"}]"#;
        let back = |locks: &str| {
            text(&format!("SELECT goahead.judge_restarts('{back}', '{locks}')::jsonb -> 0 ->> 'outcome'"))
        };
        assert_eq!(back("none"), "busy");
        assert_eq!(number("SELECT count(*) FROM goahead.restarts WHERE ended_at IS NULL"), 1);
        assert_eq!(back("free"), "no");
        assert_eq!(number("SELECT count(*) FROM goahead.restarts WHERE ended_at IS NULL"), 0);
        assert!(error_of("SELECT goahead.judge_restarts('[]', 'all')").starts_with("22023"));
    }

    #[pg_test]
    fn a_slot_freed_in_a_set_may_be_granted_in_the_same_set() {
        cluster(json!({}));
        let set = |asks: Value| -> Vec<String> {
            let answers: String =
                Spi::get_one_with_args("SELECT goahead.judge_restarts($1)", &[asks.to_string().into()])
                    .expect("it runs")
                    .expect("answers");
            let answers: Vec<Value> = serde_json::from_str(&answers).expect("JSON");
            answers.iter().map(|answer| answer["outcome"].as_str().expect("text").to_owned()).collect()
        };
        let ask = |op: &str, id: &str| json!({ "op": op, "group": "web", "id": id });
        let outcomes = set(json!([
            ask("lock", "a"),
            ask("lock", "b"),
            ask("unlock", "a"),
            ask("lock", "b"),
            ask("unlock", "b"),
            ask("unlock", "b"),
            ask("lock", "c"),
            { "op": "lock", "group": "nosuch", "id": "c" },
        ]));
        let expected = ["granted", "denied", "released", "granted", "released", "released", "granted", "unknown_group"];
        assert_eq!(outcomes, expected);
        let history =
            text("SELECT string_agg(host || ' ' || state || ' ' || slot, ', ' ORDER BY id) FROM goahead.restarts");
        assert_eq!(history, "a completed 1, b completed 1, c granted 1");
    }

    #[pg_test]
    fn actions_run_once_per_go_ahead_and_checks_complete_it() {
        cluster(json!({
            "reboot_goahead_actions": ["/bin/drain {:%fqdn%:}"], "reboot_completion_check": "/bin/check",
            "reboot_completion_check_consecutive_successes": 2, "reboot_completion_actions": ["/bin/undrain"],
        }));
        let first = request("web1.example.org", "2h", None);
        let id = first["request_id"].as_str();
        for _ in 0..3 {
            assert_eq!(request("web1.example.org", "2h", id)["go_ahead"], true);
        }
        assert_eq!(number("SELECT count(*) FROM goahead.jobs WHERE kind = 'action'"), 1);
        json("SELECT goahead.inquire_restart('web1.example.org', '1m')");
        json("SELECT goahead.inquire_restart('web1.example.org', '2m')");
        assert_eq!(number("SELECT count(*) FROM goahead.jobs WHERE kind = 'check'"), 1);
        let run = |expected: &str| {
            let jobs = json("SELECT goahead.claim_jobs('r1', 10)");
            let check = jobs
                .as_array()
                .expect("an array")
                .iter()
                .find(|job| job["kind"] == "check")
                .expect("the check")
                .clone();
            assert_eq!(
                text(&format!("SELECT goahead.finish_job({}, {}, 'r1', 0)", check["id"], check["run"])),
                expected
            );
            check
        };
        let check = run("again");
        run("done");
        assert_eq!(
            text(&format!("SELECT goahead.finish_job({}, 1, 'r1', 0)", check["id"])),
            "lost",
            "a report of an old run"
        );
        assert_eq!(text("SELECT state FROM goahead.restarts"), "completed");
        assert_eq!(number("SELECT count(*) FROM goahead.jobs WHERE kind = 'completion_action'"), 1);
        let history = text("SELECT string_agg(kind, ' ' ORDER BY id) FROM goahead.events");
        assert_eq!(history, "settings_changed granted rebooted completed");
    }

    #[pg_test]
    fn a_job_is_claimed_by_one_runner_and_given_back() {
        cluster(json!({ "reboot_goahead_actions": ["/bin/true"] }));
        grant("web1.example.org");
        let mine = json("SELECT goahead.claim_jobs('r1', 10)");
        assert_eq!(mine.as_array().map(Vec::len), Some(1));
        assert_eq!(json("SELECT goahead.claim_jobs('r2', 10)"), json!([]));
        let id = &mine[0]["id"];
        assert_eq!(text(&format!("SELECT goahead.finish_job({id}, 1, 'r2', 0)")), "lost");
        assert_eq!(number("SELECT goahead.release_runner('r1')"), 1);
        let again = json("SELECT goahead.claim_jobs('r2', 10)");
        assert_eq!((&again[0]["id"], &again[0]["run"]), (id, &json!(2)));
        assert!(error_of(&format!("SELECT goahead.finish_job({id}, 2, 'r2', NULL)")).starts_with("22023"));
        assert_eq!(
            text(&format!("SELECT goahead.finish_job({id}, 2, 'r2', NULL, 'not started: no such file')")),
            "done"
        );
        assert_eq!(text("SELECT state || ' ' || failure FROM goahead.jobs"), "failed not started: no such file");
    }

    #[pg_test]
    fn a_job_of_another_server_waits_to_be_adopted() {
        cluster(json!({ "reboot_goahead_actions": ["/bin/true"] }));
        grant("web1.example.org");
        Spi::run("UPDATE goahead._job SET system_identifier = system_identifier + 1").expect("it runs");
        assert_eq!(json("SELECT goahead.claim_jobs('r1', 10)"), json!([]));
        assert!(text("SELECT goahead.adopt()").starts_with("1 unfinished jobs"));
        assert_eq!(json("SELECT goahead.claim_jobs('r1', 10)"), json!([]));
        text("SELECT goahead.adopt(confirm => true)");
        assert_eq!(json("SELECT goahead.claim_jobs('r1', 10)").as_array().map(Vec::len), Some(1));
    }

    #[pg_test]
    fn a_blocker_denies_by_its_reason_and_by_its_failure_and_gains_nothing() {
        Spi::run(
            "CREATE SCHEMA ops; GRANT USAGE ON SCHEMA ops TO goahead_policy;
             CREATE FUNCTION ops.says(cluster text, fqdn text) RETURNS text LANGUAGE sql AS $$ SELECT 'alerts of ' || cluster $$;
             CREATE FUNCTION ops.breaks(cluster text, fqdn text) RETURNS text LANGUAGE sql AS $$ SELECT (1 / (length(cluster) - 3))::text $$;
             CREATE FUNCTION ops.escapes(cluster text, fqdn text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN DELETE FROM goahead._restart; RETURN NULL; END $$;
             CREATE FUNCTION ops.silent(cluster text, fqdn text) RETURNS text LANGUAGE sql AS $$ SELECT NULL::text $$;",
        )
        .expect("functions");
        for (function, expected) in [
            ("says", "alerts of web"),
            ("breaks", "the blocker failed: division by zero (SQLSTATE 22012)"),
            ("escapes", "the blocker failed: permission denied for table _restart (SQLSTATE 42501)"),
        ] {
            cluster(json!({ "blocker": format!("ops.{function}(text,text)") }));
            let answer = grant("web1.example.org");
            assert_eq!(answer["go_ahead"], false, "{function}");
            assert!(answer["message"].as_str().expect("a message").ends_with(expected), "{answer}");
        }
        cluster(json!({ "blocker": "ops.silent(text,text)" }));
        assert_eq!(grant("web1.example.org")["go_ahead"], true);
    }
}
