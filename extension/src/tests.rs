//! The SQL functions in a real backend: privileges, errors, what is written.

#[pgrx::pg_schema]
mod tests {
    use pgrx::JsonB;
    use pgrx::prelude::*;
    use serde_json::{Value, json};

    fn text(sql: &str) -> String {
        Spi::get_one::<String>(sql).expect("the statement runs").expect("a value")
    }

    fn number(sql: &str) -> i64 {
        Spi::get_one::<i64>(sql).expect("the statement runs").expect("a value")
    }

    fn json(sql: &str) -> Value {
        Spi::get_one::<JsonB>(sql).expect("the statement runs").expect("a value").0
    }

    /// Runs a statement in a subtransaction; gives SQLSTATE and message of its error.
    fn error_of(sql: &str) -> String {
        Spi::run(
            "CREATE OR REPLACE FUNCTION pg_temp.error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
             BEGIN EXECUTE statement; RETURN 'none'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM; END $$",
        )
        .expect("a function in pg_temp");
        Spi::get_one_with_args("SELECT pg_temp.error_of($1)", &[sql.into()]).expect("it runs").expect("a value")
    }

    fn cluster(extra: Value) {
        let mut settings = json!({ "name_pattern": "^web[0-9]+[.]example[.]org$", "allowed_parallel_restarts": 1 });
        for (key, value) in extra.as_object().expect("an object") {
            settings[key] = value.clone();
        }
        Spi::run_with_args("SELECT goahead.set_cluster('web', $1)", &[JsonB(settings).into()]).expect("valid settings");
    }

    fn request(host: &str, uptime: &str, id: Option<&str>) -> Value {
        Spi::get_one_with_args::<JsonB>(
            "SELECT goahead.request_restart($1, $2, $3)",
            &[host.into(), uptime.into(), id.into()],
        )
        .expect("it runs")
        .expect("an answer")
        .0
    }

    fn grant(host: &str) -> Value {
        let first = request(host, "2h", None);
        request(host, "2h", Some(first["request_id"].as_str().expect("a request_id")))
    }

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
            .map(|n| json!({ "fqdn": format!("web{n}.example.org"), "uptime": "2h", "request_id": ids[n - 1] }))
            .chain([json!({ "fqdn": "no such name", "uptime": "2h" }), json!(7)])
            .collect();
        let answers: String =
            Spi::get_one_with_args("SELECT goahead.request_restarts($1)", &[Value::from(asks).to_string().into()])
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
    fn a_slot_freed_in_a_set_may_be_granted_in_the_same_set() {
        cluster(json!({}));
        let set = |asks: Value| -> Vec<String> {
            let answers: String = Spi::get_one_with_args("SELECT goahead.fleetlock($1)", &[asks.to_string().into()])
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
            r#"SELECT goahead.fleetlock('[{"op":"lock","group":"web","id":"a"},{"op":"lock","group":"db","id":"a"}]')"#,
        );
        assert!(error_of("SELECT goahead.complete_restart('a', 'done')").starts_with("55000"));
        Spi::run("SELECT goahead.complete_restart('a', 'done', 'db')").expect("it runs");
        Spi::run("SELECT goahead.complete_restart('a', 'done')").expect("one is left");
        assert_eq!(number("SELECT count(*) FROM goahead.restarts WHERE ended_at IS NULL"), 0);
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

    #[pg_test]
    fn tokens_are_known_by_their_secret_until_revoked() {
        let secret = text("SELECT goahead.create_token('operator', ARRAY['ops'], 'test')");
        let known = json(&format!("SELECT goahead.check_token('{secret}')"));
        assert_eq!((&known["role"], &known["names"]), (&json!("operator"), &json!(["ops"])));
        assert_eq!(number("SELECT count(*) FROM goahead._token WHERE encode(hash, 'hex') LIKE '%goahead%'"), 0);
        assert!(!text("SELECT goahead.list_tokens()::text").contains(&secret));
        Spi::run(&format!("SELECT goahead.revoke_token({})", known["id"])).expect("it runs");
        assert_eq!(
            Spi::get_one::<JsonB>(&format!("SELECT goahead.check_token('{secret}')")).expect("it runs").map(|j| j.0),
            None
        );
    }

    #[pg_test]
    fn nothing_is_open_to_public_and_definers_are_pinned() {
        let open = "SELECT coalesce(string_agg(p.oid::regprocedure::text, ', '), 'none') FROM pg_proc p
                     WHERE p.pronamespace = 'goahead'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')";
        assert_eq!(text(open), "none");
        let unpinned = "SELECT coalesce(string_agg(p.oid::regprocedure::text, ', '), 'none') FROM pg_proc p
                         WHERE p.pronamespace = 'goahead'::regnamespace AND p.prosecdef
                           AND NOT coalesce(p.proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false)";
        assert_eq!(text(unpinned), "none");
        let owned = "SELECT coalesce(string_agg(DISTINCT o.rolname, ', '), 'none') FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
                      WHERE p.pronamespace = 'goahead'::regnamespace";
        assert_eq!(text(owned), "goahead_owner, goahead_policy");
        let undescribed = "SELECT coalesce(string_agg(p.oid::regprocedure::text, ', '), 'none') FROM pg_proc p
                            WHERE p.pronamespace = 'goahead'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL";
        assert_eq!(text(undescribed), "none");
    }

    #[pg_test]
    fn each_role_may_do_its_part_and_no_more() {
        cluster(json!({}));
        let tries = [
            ("goahead_client", "SELECT goahead.request_restart('web1.example.org', '2h')", true),
            ("goahead_client", "SELECT goahead.freeze('web', 'x')", false),
            ("goahead_client", "SELECT * FROM goahead.hosts", false),
            ("goahead_reader", "SELECT * FROM goahead.hosts", true),
            ("goahead_reader", "SELECT * FROM goahead._host", false),
            ("goahead_reader", "SELECT goahead.thaw('web')", false),
            ("goahead_operator", "SELECT goahead.freeze('web', 'x')", true),
            ("goahead_operator", "SELECT goahead.drop_cluster('web')", false),
            ("goahead_operator", "SELECT goahead.claim_jobs('x')", false),
            ("goahead_service", "SELECT goahead.claim_jobs('x')", true),
            ("goahead_service", "SELECT * FROM goahead._token", false),
            ("goahead_admin", "SELECT goahead.drop_cluster('web')", true),
        ];
        for (role, statement, allowed) in tries {
            Spi::run(&format!("SET ROLE {role}")).expect("it runs");
            let error = {
                let call = format!("SELECT pg_temp.try({})", spi::quote_literal(statement));
                Spi::run("RESET ROLE").expect("it runs");
                Spi::run(
                    "CREATE OR REPLACE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
                     BEGIN EXECUTE statement; RETURN 'none'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM; END $$;
                     GRANT EXECUTE ON FUNCTION pg_temp.try(text) TO PUBLIC",
                )
                .expect("a function in pg_temp");
                Spi::run(&format!("SET ROLE {role}")).expect("it runs");
                let error = text(&call);
                Spi::run("RESET ROLE").expect("it runs");
                error
            };
            assert_eq!(error == "none", allowed, "{role}: {statement}: {error}");
            assert!(allowed || error.starts_with("42501"), "{role}: {statement}: {error}");
        }
    }

    #[pg_test]
    fn the_actor_is_the_session_or_what_the_service_says() {
        cluster(json!({}));
        Spi::run("SELECT set_config('goahead.actor', 'alice', true)").expect("it runs");
        Spi::run("SELECT goahead.freeze('web', 'x')").expect("it runs");
        assert_eq!(text("SELECT actor FROM goahead.events WHERE kind = 'frozen'"), "alice");
    }
}
