//! Rules of pg_hba.conf as rows, texts judged, what gates report. What touches the file is tried end to end.

#[pgrx::pg_schema]
mod tests {
    use crate::tests::support::*;
    use pgrx::prelude::*;
    use serde_json::json;

    const RW: &str = r#"SELECT goahead.hba_set('harw', 'host', '"harw"', '"harw"', '10.0.0.5/32', 'scram-sha-256', applies => 'primary')::text"#;

    #[pg_test]
    fn rules_are_set_changed_ordered_and_dropped() {
        assert_eq!(text(RW), "true");
        assert_eq!(text(RW), "false", "nothing new");
        assert_eq!(
            text("SELECT goahead.hba_set('app', 'hostssl', 'all', 'all', '10.0.0.0/8', 'scram-sha-256')::text"),
            "true"
        );
        assert_eq!(text("SELECT string_agg(name, ',' ORDER BY position) FROM goahead.hba_desired"), "harw,app");
        assert_eq!(
            text(
                "SELECT goahead.hba_set('app', 'hostssl', 'all', 'all', '10.0.0.0/8', 'scram-sha-256', place => 0)::text"
            ),
            "true"
        );
        assert_eq!(text("SELECT string_agg(name, ',' ORDER BY position) FROM goahead.hba_desired"), "app,harw");
        assert_eq!(text("SELECT goahead.hba_drop('app')::text"), "true");
        assert_eq!(text("SELECT goahead.hba_drop('app')::text"), "false");
        assert_eq!(
            text(
                "SELECT string_agg(kind || ' ' || subject, ',' ORDER BY id) FROM goahead.events WHERE kind LIKE 'hba%'"
            ),
            "hba_set harw,hba_set app,hba_set app,hba_drop app"
        );
        assert_eq!(
            text("SELECT DISTINCT actor FROM goahead.events WHERE kind LIKE 'hba%'"),
            text("SELECT session_user::text")
        );
    }

    #[pg_test]
    fn secrets_of_options_stay_out_of_the_history() {
        Spi::run(
            "SELECT goahead.hba_set('l', 'host', 'all', 'all', '10.0.0.5/32', 'ldap', 'ldapserver=l ldapbinddn=x ldapbindpasswd=hush ldapbasedn=y')",
        )
        .expect("it runs");
        assert_eq!(number("SELECT count(*) FROM goahead._event WHERE detail::text LIKE '%hush%'"), 0);
        assert_eq!(number("SELECT count(*) FROM goahead.hba_desired WHERE options LIKE '%hush%'"), 1);
    }

    #[pg_test]
    fn a_bad_rule_names_itself_its_field_and_the_mend() {
        let tries = [
            ("'x y', 'host', 'all', 'all', '10.0.0.5/32', 'md5'", "name"),
            ("'x', 'HOST', 'all', 'all', '10.0.0.5/32', 'md5'", "type"),
            ("'x', 'host', '', 'all', '10.0.0.5/32', 'md5'", "database"),
            ("'x', 'host', 'all', '@users', '10.0.0.5/32', 'md5'", "user"),
            ("'x', 'host', 'all', 'all', '10.0.0.5/33', 'md5'", "address"),
            ("'x', 'host', 'all', 'all', NULL, 'md5'", "address"),
            ("'x', 'local', 'all', 'all', '10.0.0.5/32', 'md5'", "address"),
            ("'x', 'host', 'all', 'all', '10.0.0.5/32', 'peer'", "method"),
            ("'x', 'host', 'all', 'all', '10.0.0.5/32', NULL", "method"),
            ("'x', 'host', 'all', 'all', '10.0.0.5/32', 'md5', 'foo=bar'", "options"),
            (
                "'x', 'host', 'all', 'all', '10.0.0.5/32', 'md5', applies => 'primary', otherwise => 'trust'",
                "otherwise",
            ),
            ("'x', 'host', E'all\\nlocal all all trust', 'all', '10.0.0.5/32', 'md5'", "database"),
        ];
        for (arguments, field) in tries {
            let error = error_of(&format!("SELECT goahead.hba_set({arguments})"));
            assert!(error.starts_with("22023") && error.contains(field), "{arguments}: {error}");
        }
        let error =
            error_of("SELECT goahead.hba_set('x', 'host', 'all', 'all', '10.0.0.5/32', 'md5', applies => 'never')");
        assert!(error.starts_with("22023"), "{error}");
        assert_eq!(number("SELECT count(*) FROM goahead._hba_rule"), 0);
    }

    #[pg_test]
    fn only_a_superuser_sets_a_rule_that_believes_its_author() {
        Spi::run("CREATE ROLE keeper; GRANT goahead_hba TO keeper; SET SESSION AUTHORIZATION keeper").expect("it runs");
        for method in ["trust", "ident"] {
            let error =
                error_of(&format!("SELECT goahead.hba_set('x', 'host', 'all', 'all', '10.0.0.5/32', '{method}')"));
            assert!(error.starts_with("42501"), "{method}: {error}");
        }
        assert_eq!(
            error_of("SELECT goahead.hba_set('x', 'host', 'all', 'all', '10.0.0.5/32', 'scram-sha-256')"),
            "none"
        );
        Spi::run("RESET SESSION AUTHORIZATION").expect("it runs");
        assert_eq!(error_of("SELECT goahead.hba_set('x', 'host', 'all', 'all', '10.0.0.5/32', 'trust')"), "none");
    }

    #[pg_test]
    fn the_preview_opens_what_the_state_opens() {
        Spi::run(RW).expect("it runs");
        Spi::run(r#"SELECT goahead.hba_set('haro', 'host', '"haro"', '"haro"', '10.0.0.5/32', 'scram-sha-256', applies => 'standby')"#)
            .expect("it runs");
        Spi::run("SELECT goahead.hba_set('app', 'host', 'all', 'app', '10.0.0.0/8', 'scram-sha-256')")
            .expect("it runs");
        let methods = |state: &str| {
            let sql = format!(
                "SELECT string_agg(rule || ' ' || auth_method, ', ' ORDER BY line) FROM goahead.hba_check(goahead.hba_preview({state}))"
            );
            text(&sql)
        };
        let (open, shut) = ("scram-sha-256", "reject");
        assert_eq!(methods("NULL"), format!("harw {shut}, haro {shut}, app {open}"));
        assert_eq!(methods("'closed'"), format!("harw {shut}, haro {shut}, app {open}"));
        assert_eq!(methods("'primary'"), format!("harw {open}, haro {shut}, app {open}"));
        assert_eq!(methods("'standby'"), format!("harw {shut}, haro {open}, app {open}"));
        assert_eq!(methods("'both'"), format!("harw {open}, haro {open}, app {open}"));
        assert!(error_of("SELECT goahead.hba_preview('open')").starts_with("22023"));
    }

    #[pg_test]
    fn a_text_is_judged_for_each_major_and_reads_nothing_outside() {
        let line = "host /^db[ all 10.0.0.1/32 md5";
        assert_eq!(text(&format!("SELECT coalesce(type, 'bad') FROM goahead.hba_check('{line}', 15)")), "host");
        assert_eq!(text(&format!("SELECT coalesce(type, 'bad') FROM goahead.hba_check('{line}', 16)")), "bad");
        assert!(error_of("SELECT * FROM goahead.hba_check('', 13)").starts_with("22023"));
        let bad = text(
            "SELECT concat_ws('|', line, error, hint) FROM goahead.hba_check(E'# one\\nhost all all 10.0.0.1/33 md5')",
        );
        assert!(bad.starts_with("2|") && bad.matches('|').count() == 2, "{bad}");
        for outside in ["/etc/hostname", "../../etc/hostname", "../no_such_file"] {
            let error = text(&format!("SELECT error FROM goahead.hba_check('local @{outside} all trust')"));
            assert!(error.contains("outside"), "{outside}: {error}");
        }
    }

    #[pg_test]
    fn the_file_is_shown_as_the_server_reads_it() {
        assert_eq!(
            text(
                "SELECT string_agg(concat_ws('|', line, type, database, user_name, address, netmask, auth_method), E'\\n' ORDER BY line) FROM goahead.hba_rules()"
            ),
            text(
                "SELECT string_agg(concat_ws('|', line_number, type, database, user_name, address, netmask, auth_method), E'\\n' ORDER BY line_number) FROM pg_hba_file_rules"
            )
        );
    }

    #[pg_test]
    fn a_transaction_that_has_written_does_not_touch_the_file() {
        Spi::run("CREATE TEMP TABLE t ()").expect("it runs");
        for call in ["hba_apply()", "hba_apply('closed')", "hba_restore(1)"] {
            let error = error_of(&format!("SELECT goahead.{call}"));
            assert!(error.starts_with("25001"), "{call}: {error}");
        }
        assert!(error_of("SELECT goahead.hba_apply('ajar')").starts_with("22023"));
    }

    #[pg_test]
    fn a_node_tells_its_state_in_one_call() {
        let state = json("SELECT goahead.node_state()");
        assert_eq!(state["in_recovery"], json!(false));
        assert_eq!(state["system_identifier"], text("SELECT system_identifier::text FROM pg_control_system()"));
        assert_eq!(state["timeline"], json!(1));
        assert_eq!(state["hba_file"], text("SHOW hba_file"));
        assert_eq!(state["data_directory"], text("SHOW data_directory"));
        assert_eq!((&state["wal_receiver"], &state["replication"]), (&json!(null), &json!([])));
        assert_eq!(state["extension"]["gate"], json!(false));
        let topology = json("SELECT goahead.topology()");
        assert_eq!(
            (&topology["role"], &topology["gate"], &topology["open_rules"]),
            (&json!("primary"), &json!(null), &json!([]))
        );
    }

    #[pg_test]
    fn a_report_counts_once_and_makes_switchovers() {
        let record = |entries: &str| number(&format!("SELECT goahead.record_gate('{entries}')"));
        let verdict = |id: i32, node: &str, at: &str, rw: bool| {
            format!(
                r#"{{"id": "{node}-{id}", "node": "{node}", "at": "2026-01-01T{at}Z", "kind": "gate_verdict", "rw": {rw}, "ro": false, "reasons": ["r{id}"]}}"#
            )
        };
        let first = format!("[{}, {}]", verdict(1, "a", "10:00:00", true), verdict(2, "a", "11:00:00", false));
        assert_eq!(record(&first), 2);
        assert_eq!(record(&first), 0, "sent again");
        assert_eq!(record(&verdict(3, "a", "10:30:00", true)), 1, "still open, late");
        assert_eq!(record(&verdict(1, "b", "11:00:05", true)), 1);
        let by = r#"{"id": "a-9", "node": "a", "at": "2026-01-01T12:00:00Z", "kind": "gate_override", "rw": true, "actor": "alice"}"#;
        assert_eq!(record(by), 1);
        assert_eq!(
            text(
                "SELECT string_agg(concat_ws(' ', node, to_char(opened_at AT TIME ZONE 'UTC', 'HH24:MI:SS'), to_char(closed_at AT TIME ZONE 'UTC', 'HH24:MI:SS'), opened_for ->> 0, closed_for ->> 0), '; ') FROM goahead.switchovers"
            ),
            "b 11:00:05 r1; a 10:00:00 11:00:00 r1 r2"
        );
        assert_eq!(number("SELECT count(*) FROM goahead.events WHERE kind = 'gate_verdict'"), 4);
        assert_eq!(text("SELECT detail ->> 'actor' FROM goahead.events WHERE kind = 'gate_override'"), "alice");
        for bad in [
            "[1]",
            "\"x\"",
            r#"{"id": "x", "node": "n", "at": "2026-01-01", "kind": "granted"}"#,
            r#"{"node": "n", "at": "2026-01-01", "kind": "gate_verdict"}"#,
        ] {
            assert!(error_of(&format!("SELECT goahead.record_gate('{bad}')")).starts_with("22023"), "{bad}");
        }
        Spi::run("DELETE FROM goahead._housekeeping").expect("it runs");
        Spi::run("UPDATE goahead._gate_entry SET at = at - interval '200 years'").expect("it runs");
        Spi::run("SELECT goahead.sweep()").expect("it runs");
        assert_eq!(
            text("SELECT string_agg(id, ',' ORDER BY id) FROM goahead._gate_entry"),
            "a-2,a-9,b-1",
            "the newest verdict stays"
        );
    }

    #[pg_test]
    fn the_file_is_for_its_two_roles_alone() {
        Spi::run(
            "CREATE OR REPLACE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
             BEGIN EXECUTE statement; RETURN 'none'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM; END $$;
             GRANT EXECUTE ON FUNCTION pg_temp.try(text) TO PUBLIC",
        )
        .expect("a function in pg_temp");
        let calls = [
            ("SELECT * FROM goahead.hba_rules()", "hg"),
            ("SELECT goahead.hba_preview()", "hg"),
            ("SELECT goahead.hba_apply()", "hg"),
            ("SELECT goahead.node_state()", "hg"),
            ("SELECT goahead.topology()", "hg"),
            ("SELECT * FROM goahead.hba_desired", "hg"),
            ("SELECT * FROM goahead.hba_check('')", "h"),
            ("SELECT goahead.hba_set('x', 'host', 'all', 'all', '10.0.0.5/32', 'md5')", "h"),
            ("SELECT goahead.hba_drop('x')", "h"),
            ("SELECT * FROM goahead.hba_versions()", "h"),
            ("SELECT goahead.hba_version(1)", "h"),
            ("SELECT goahead.hba_restore(1)", "h"),
            ("SELECT goahead.record_gate('[]')", "g"),
            ("SELECT * FROM goahead._hba_lines(NULL, NULL)", ""),
            ("SELECT * FROM goahead._hba_rule", ""),
        ];
        let roles = [
            ("goahead_hba", "h"),
            ("goahead_gate", "g"),
            ("goahead_service", "-"),
            ("goahead_admin", "-"),
            ("goahead_operator", "-"),
            ("goahead_client", "-"),
            ("goahead_reader", "-"),
        ];
        for (role, letter) in roles {
            for (call, allowed) in calls {
                Spi::run(&format!("SET ROLE {role}")).expect("it runs");
                let error = text(&format!("SELECT pg_temp.try({})", spi::quote_literal(call)));
                Spi::run("RESET ROLE").expect("it runs");
                assert_eq!(!error.starts_with("42501"), allowed.contains(letter), "{role}: {call}: {error}");
            }
        }
        assert_eq!(text("SELECT pg_has_role('goahead_service', 'goahead_hba', 'MEMBER')::text"), "false");
        assert_eq!(text("SELECT pg_has_role('goahead_service', 'goahead_gate', 'MEMBER')::text"), "false");
        let gained = "SELECT count(*) FROM pg_roles r WHERE pg_has_role('goahead_owner', r.oid, 'MEMBER') AND r.rolname <> 'goahead_owner'";
        assert_eq!(number(gained), 0, "the owner has no other right");
        assert_eq!(text("SELECT has_table_privilege('goahead_owner', 'pg_hba_file_rules', 'SELECT')::text"), "false");
    }
}
