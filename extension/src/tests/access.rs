//! Who may call what, and what is written of whom.

#[pgrx::pg_schema]
mod tests {
    use crate::tests::support::*;
    use pgrx::JsonB;
    use pgrx::prelude::*;
    use serde_json::json;

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
