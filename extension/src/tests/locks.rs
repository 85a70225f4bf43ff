//! Locks in a real backend. The numbers are those of the coordinator's test vectors that a promise comes from.

#[pgrx::pg_schema]
mod tests {
    use crate::tests::support::locks::*;
    use crate::tests::support::*;
    use pgrx::prelude::*;

    // 5, 8, 9, 27
    #[pg_test]
    fn a_lock_is_granted_in_the_order_of_asking() {
        let first = granted("etl", "a");
        queued("etl", "b");
        queued("etl", "c");
        let asked = "SELECT requested_at::text FROM goahead.lock_queue WHERE holder = 'c'";
        let before = text(asked);
        queued("etl", "b");
        queued("etl", "c");
        assert_eq!(text(asked), before);
        assert_eq!(number("SELECT position FROM goahead.lock_queue WHERE holder = 'c'"), 2);
        assert_eq!(number("SELECT position FROM goahead.acquire('etl', 'c')"), 2);
        assert_eq!(release("etl", "a", first), "released");
        let second = granted("etl", "b");
        assert!(second > first);
        assert_eq!(granted("etl", "b"), second);
        queued("etl", "c");
        queued("etl", "a");
        assert_eq!(text("SELECT holders::text || queued FROM goahead.locks"), "{b}2");
    }

    // 7, 11, A6
    #[pg_test]
    fn a_grant_belongs_to_its_request_and_an_old_token_opens_nothing() {
        let first = granted("etl", "a");
        assert_eq!(release("etl", "a", first), "released");
        let second = granted("etl", "a");
        assert_eq!(release("etl", "a", first), "other_token");
        assert_eq!(text(&format!("SELECT outcome FROM goahead.renew('etl', 'a', {first})")), "other_token");
        assert_eq!(text(&format!("SELECT outcome FROM goahead.renew('etl', 'a', {second})")), "renewed");
        assert_eq!(release("etl", "a", second), "released");
        assert_eq!(release("etl", "a", second), "lost");
        assert_eq!(release("no such lock", "a", 1), "lost");
    }

    // 14
    #[pg_test]
    fn a_hold_that_is_not_renewed_expires_and_says_so() {
        let first = granted("etl", "a");
        queued("etl", "b");
        pass(59);
        queued("etl", "b");
        pass(1);
        let second = granted("etl", "b");
        assert!(second > first);
        assert_eq!(text(&format!("SELECT outcome FROM goahead.renew('etl', 'a', {first})")), "lost");
        assert_eq!(
            text("SELECT kind || subject || (detail ->> 'lock') || (detail ->> 'token') FROM goahead.events"),
            format!("lock_expiredaetl{first}")
        );
        assert_eq!(
            text(
                "SELECT (expires_at - clock_timestamp() BETWEEN '59 s' AND '60 s')::text FROM goahead.acquire('etl', 'b')"
            ),
            "true"
        );
    }

    #[pg_test]
    fn the_sweep_ends_what_nobody_asks_for_and_wakes_the_next() {
        granted("etl", "a");
        Spi::run("SELECT goahead.acquire('etl', 'b', waits => true)").expect("it runs");
        queued("etl", "gone");
        pass(30);
        Spi::run("SELECT goahead.acquire('etl', 'b', waits => true)").expect("it runs");
        pass(30);
        json("SELECT goahead.sweep()");
        assert_eq!(text("SELECT string_agg(holder || state, ' ') FROM goahead.lock_queue"), "bqueued");
        assert_eq!(number("SELECT count(*) FROM goahead._lock_request WHERE offered_us IS NOT NULL"), 1);
        granted("etl", "b");
    }

    // 13, 6
    #[pg_test]
    fn a_policy_decides_and_one_that_fails_denies_and_is_reported() {
        Spi::run(
            "CREATE FUNCTION public.odd(lock text, holder text, granted text[], queue text[]) RETURNS boolean LANGUAGE sql
                 AS $$ SELECT holder <> 'b' AND (holder <> 'bad' OR 1 / cardinality(granted[9:]) = 1) $$;
             SELECT goahead.set_lock('etl', 3, policy => 'public.odd(text, text, text[], text[])')",
        )
        .expect("it runs");
        granted("etl", "a");
        queued("etl", "b");
        granted("etl", "c");
        assert_eq!(number("SELECT count(*) FROM goahead.events WHERE kind = 'policy_failed'"), 0);
        queued("etl", "bad");
        queued("etl", "bad");
        assert_eq!(number("SELECT count(*) FROM goahead.events WHERE kind = 'policy_failed'"), 1);
        assert!(text("SELECT policy_error FROM goahead.locks").contains("division by zero"));
        assert!(error_of("SELECT goahead.set_lock('x', policy => 'public.none(text)')").starts_with("22023"));
        Spi::run("SELECT goahead.set_lock('etl', policy => '')").expect("it runs");
        granted("etl", "b");
    }

    #[pg_test]
    fn a_fence_is_true_for_a_live_hold_only() {
        let first = granted("etl", "a");
        let fence = |token: i64| text(&format!("SELECT goahead.check_fence('etl', {token})::text"));
        assert_eq!(fence(first), "true");
        assert_eq!(fence(first + 1), "false");
        assert_eq!(text("SELECT goahead.break_lock('etl', 'a', 'it hangs')"), "broken");
        assert_eq!(fence(first), "false");
        let event = "SELECT (detail ->> 'reason') || subject FROM goahead.events WHERE kind = 'lock_broken'";
        assert_eq!(text(event), "it hangsa");
        let second = granted("etl", "a");
        assert!(second > first);
        pass(60);
        assert_eq!(fence(second), "false");
    }

    // 25, A3
    #[pg_test]
    fn a_holder_that_is_gone_frees_all_that_it_had() {
        granted("one", "a");
        granted("two", "b");
        queued("two", "a");
        queued("one", "c");
        assert_eq!(number("SELECT goahead.forget_holder('a')"), 2);
        granted("one", "c");
        assert_eq!(text("SELECT string_agg(holder || lock, ' ' ORDER BY lock) FROM goahead.lock_queue"), "cone btwo");
        assert_eq!(text("SELECT goahead.withdraw('two', 'b')"), "held");
        queued("two", "c");
        assert_eq!(text("SELECT goahead.withdraw('two', 'c')"), "withdrawn");
        assert_eq!(text("SELECT goahead.withdraw('two', 'c')"), "not_queued");
    }

    #[pg_test]
    fn slots_are_set_once_and_changed_on_purpose() {
        assert_eq!(text("SELECT outcome FROM goahead.acquire('etl', 'a', slots => 2)"), "granted");
        assert!(error_of("SELECT goahead.acquire('etl', 'b', slots => 3)").starts_with("22023"));
        assert_eq!(text("SELECT outcome FROM goahead.acquire('etl', 'b', slots => 2)"), "granted");
        queued("etl", "c");
        Spi::run("SELECT goahead.set_lock('etl', 3)").expect("it runs");
        granted("etl", "c");
        for wrong in [
            "acquire('', 'a')",
            "acquire('etl', NULL)",
            "acquire('etl', E'a\\nb')",
            "acquire('etl', 'a', '-1 s')",
            "acquire('etl', 'a', '0 s')",
            "acquire('new', 'a', slots => 0)",
            "release('etl', 'a', NULL)",
            "set_lock('etl', 0)",
            "break_lock('etl', 'a', ' ')",
        ] {
            let error = error_of(&format!("SELECT goahead.{wrong}"));
            assert!(error.starts_with("22023"), "{wrong}: {error}");
        }
        assert_eq!(number("SELECT count(*) FROM goahead.locks"), 1);
    }

    #[pg_test]
    fn a_lock_that_was_dropped_never_draws_a_token_again() {
        let first = granted("etl", "a");
        assert!(error_of("SELECT goahead.drop_lock('etl')").starts_with("55000"));
        release("etl", "a", first);
        Spi::run("UPDATE goahead._lock SET used_at = used_at - interval '2 days'; DELETE FROM goahead._housekeeping")
            .expect("it runs");
        json("SELECT goahead.sweep()");
        assert_eq!(number("SELECT count(*) FROM goahead.locks"), 0);
        assert!(granted("etl", "a") > first);
    }

    #[pg_test]
    fn a_lost_slot_rests_for_the_lock_delay() {
        Spi::run("SELECT goahead.set_lock('etl', lock_delay => '15 s')").expect("it runs");
        granted("etl", "a");
        Spi::run("SELECT goahead.break_lock('etl', 'a', 'it hangs')").expect("it runs");
        queued("etl", "b");
        pass(14);
        queued("etl", "b");
        pass(1);
        granted("etl", "b");
    }

    #[pg_test]
    fn a_grant_after_a_wait_is_confirmed_by_renewing() {
        let ask = |holder: &str| {
            let call = format!("SELECT token FROM goahead.acquire('etl', '{holder}', waits => true, waited => true)");
            Spi::get_one::<i64>(&call).expect("it runs")
        };
        let first = ask("a").expect("granted");
        assert_eq!(text("SELECT (confirm_by IS NOT NULL)::text FROM goahead.acquire('etl', 'a')"), "true");
        pass(10);
        let second = ask("b").expect("granted");
        assert!(second > first);
        Spi::run(&format!("SELECT goahead.renew('etl', 'b', {second})")).expect("it runs");
        pass(10);
        assert_eq!(ask("c"), None);
        assert_eq!(number("SELECT count(*) FROM goahead.events WHERE kind = 'lock_unconfirmed'"), 1);
    }

    #[pg_test]
    fn a_circle_of_waiters_is_shown_and_an_order_avoids_it() {
        let circle = "SELECT coalesce(string_agg(waiter || lock || holder, ' ' ORDER BY waiter), 'none') FROM goahead.lock_waits WHERE deadlock";
        granted("one", "a");
        granted("two", "b");
        queued("two", "a");
        queued("two", "c");
        assert_eq!(text(circle), "none");
        queued("one", "b");
        assert_eq!(text(circle), "atwob bonea");
        assert_eq!(number("SELECT count(*) FROM goahead.lock_waits"), 3);

        let all = |holder: &str, locks: &str| {
            text(&format!(
                "SELECT string_agg(lock || ' ' || outcome, ', ') FROM goahead.acquire_all('{locks}', '{holder}')"
            ))
        };
        assert_eq!(all("x", "{y,z,y}"), "y granted, z granted");
        assert_eq!(all("w", "{z,y}"), "y queued");
        assert_eq!(all("x", "{y,z}"), "y granted, z granted");
        assert!(error_of("SELECT * FROM goahead.acquire_all('{NULL}', 'x')").starts_with("22023"));
    }
}
