//! The tests of charm-helpers' coordinator, which ops-coordinator is made of, as promises of the locks in SQL. Each is
//! named after its original; those that need more than one session, or the service, are among the end-to-end tests.

#[pgrx::pg_schema]
mod tests {
    use crate::tests::support::locks::*;
    use crate::tests::support::*;
    use pgrx::prelude::*;

    /// A policy whose answers are rows: the next one is taken by each call, and what it was asked is kept.
    fn policy(lock: &str, slots: i32, answers: &[bool]) {
        Spi::run(
            "CREATE SCHEMA IF NOT EXISTS test;
             CREATE TABLE IF NOT EXISTS test.answer (id serial, lock text, says boolean, asked text);
             CREATE OR REPLACE FUNCTION test.answers(lock text, holder text, granted text[], queue text[]) RETURNS boolean
             LANGUAGE sql SECURITY DEFINER AS $$
                 UPDATE test.answer a SET asked = holder || granted::text || queue::text
                  WHERE a.id = (SELECT min(n.id) FROM test.answer n WHERE n.lock = $1 AND n.asked IS NULL) RETURNING says $$;
             GRANT USAGE ON SCHEMA test TO goahead_policy",
        )
        .expect("it runs");
        for says in answers {
            Spi::run(&format!("INSERT INTO test.answer (lock, says) VALUES ('{lock}', {says})")).expect("it runs");
        }
        let set = "SELECT goahead.set_lock($1, $2, policy => 'test.answers(text, text, text[], text[])')";
        Spi::run_with_args(set, &[lock.into(), slots.into()]).expect("it runs");
    }

    /// What the policy was asked so far.
    fn asked(lock: &str) -> String {
        text(&format!("SELECT coalesce(string_agg(asked, ' ' ORDER BY id), '') FROM test.answer WHERE lock = '{lock}'"))
    }

    fn requested_at(holder: &str) -> String {
        text(&format!(
            "SELECT coalesce(max(requested_at)::text, 'never') FROM goahead.lock_queue WHERE holder = '{holder}'"
        ))
    }

    /// Who holds and who waits, in order.
    fn queue(lock: &str) -> String {
        text(&format!(
            "SELECT coalesce(string_agg(holder || ' ' || state, ', ' ORDER BY slot, position), '') FROM goahead.lock_queue WHERE lock = '{lock}'"
        ))
    }

    #[pg_test]
    fn v05_acquire() {
        policy("etl", 1, &[false, false, true]);
        queued("etl", "a");
        let at = requested_at("a");
        queued("etl", "a");
        assert_eq!((requested_at("a"), queue("etl")), (at, "a queued".to_owned()));
        granted("etl", "a");
    }

    // There is no leader; whoever asks gets the grant at once if it can be had.
    #[pg_test]
    fn v06_acquire_leader() {
        policy("etl", 1, &[false, true]);
        queued("etl", "a");
        let at = requested_at("a");
        let first = granted("etl", "a");
        assert_eq!((granted("etl", "a"), requested_at("a")), (first, at));
        assert_eq!(asked("etl"), "a{}{a} a{}{a}");
    }

    #[pg_test]
    fn v07_granted() {
        let other = granted("etl", "z");
        queued("etl", "a");
        assert_eq!(text("SELECT goahead.check_fence('etl', 1)::text"), "false");
        release("etl", "z", other);
        let first = granted("etl", "a");
        assert_eq!(release("etl", "a", first), "released");
        granted("etl", "z");
        queued("etl", "a");
        assert_eq!(text(&format!("SELECT goahead.check_fence('etl', {first})::text")), "false", "a new request");
        assert_eq!(text("SELECT goahead.break_lock('etl', 'z', 'test')"), "broken");
        let second = granted("etl", "a");
        assert_eq!(text(&format!("SELECT goahead.check_fence('etl', {second})::text")), "true");
    }

    #[pg_test]
    fn v08_requested() {
        granted("etl", "z");
        assert_eq!(requested_at("a"), "never");
        queued("etl", "a");
        assert_ne!(requested_at("a"), "never");
    }

    #[pg_test]
    fn v09_request_timestamp() {
        let told = text("SELECT requested_at::text FROM goahead.acquire('etl', 'a')");
        assert_eq!(requested_at("a"), told);
        assert_eq!(text("SELECT requested_at::text FROM goahead.acquire('etl', 'a')"), told);
        assert_eq!(
            text("SELECT (requested_at - clock_timestamp() BETWEEN '-1 min' AND '0')::text FROM goahead.lock_queue"),
            "true"
        );
    }

    #[pg_test]
    fn v11_handle() {
        policy("etl", 3, &[true, false, false, false, false, false]);
        let old = granted("etl", "b");
        release("etl", "b", old);
        for holder in ["a", "b", "c"] {
            queued("etl", holder);
        }
        assert_eq!(text(&format!("SELECT goahead.check_fence('etl', {old})::text")), "false", "of another request");
        // A pass decides about each once.
        Spi::run(
            "DELETE FROM test.answer; INSERT INTO test.answer (lock, says) SELECT 'etl', false FROM generate_series(1, 9);
             UPDATE goahead._lock_request SET waited = true",
        )
        .expect("it runs");
        Spi::run("SELECT goahead.set_lock('etl', 3)").expect("it runs");
        assert_eq!(asked("etl"), "a{}{a,b,c} b{}{a,b,c} c{}{a,b,c}");
        assert_eq!(queue("etl"), "a queued, b queued, c queued");
    }

    #[pg_test]
    fn v13_grant() {
        policy("mylock", 3, &[true, false, false, true, true]);
        policy("other", 1, &[true]);
        let first = granted("mylock", "a");
        queued("mylock", "b");
        queued("mylock", "c");
        assert_eq!(granted("mylock", "a"), first, "granted already");
        assert_eq!(queue("mylock"), "a held, b queued, c queued", "the policy says no");
        granted("mylock", "b");
        assert_eq!(queue("mylock"), "a held, b held, c queued");
        assert_eq!(asked("mylock"), "a{}{a} b{a}{b} c{a}{b,c} b{a}{b,c}");
        granted("other", "a");
        assert_eq!(asked("other"), "a{}{a}");
        // The policy would say yes; nobody asked.
        json("SELECT goahead.sweep()");
        assert_eq!(number("SELECT count(*) FROM goahead.lock_queue WHERE holder = 'd'"), 0);
    }

    #[pg_test]
    fn v14_released() {
        granted("etl", "a");
        Spi::run("UPDATE goahead._lock_request SET granted_at = granted_at - interval '1 min', granted_us = granted_us - 60000000").expect("it runs");
        Spi::run("SELECT goahead.break_lock('etl', 'a', 'test')").expect("it runs");
        assert_eq!(
            text(
                "SELECT string_agg(kind || subject || (detail ->> 'lock') || (detail ->> 'held'), ' ') FROM goahead.events"
            ),
            "lock_brokenaetl1m0s"
        );
    }

    // The level of a message is what its kind says; the policy's name and the lock's are in it.
    #[pg_test]
    fn v16_msg() {
        policy("etl", 1, &[]);
        queued("etl", "a");
        let told = json("SELECT to_jsonb(e) FROM goahead.events e WHERE kind = 'policy_failed'");
        assert_eq!(told["subject"], "etl");
        assert_eq!(told["detail"]["policy"], "test.answers(text, text, text[], text[])");
        assert!(told["detail"]["problem"].as_str().is_some_and(|problem| problem.contains("null")), "{told}");
    }

    // A coordinator is a lock's name, perhaps with a prefix.
    #[pg_test]
    fn v17_name() {
        let one = granted("Serial/etl", "a");
        granted("Other/etl", "b");
        assert_eq!(granted("Serial/etl", "a"), one);
        assert_eq!(text("SELECT string_agg(name, ' ' ORDER BY name) FROM goahead.locks"), "Other/etl Serial/etl");
    }

    #[pg_test]
    fn v19_emit_state() {
        granted("lock_a", "a");
        let stale = granted("lock_b", "a");
        release("lock_b", "a", stale);
        granted("lock_b", "z");
        queued("lock_b", "a");
        granted("lock_c", "z");
        queued("lock_c", "a");
        let state =
            "SELECT string_agg(lock || ' ' || state, ', ' ORDER BY lock) FROM goahead.lock_queue WHERE holder = 'a'";
        assert_eq!(text(state), "lock_a held, lock_b queued, lock_c queued");
    }

    #[pg_test]
    fn v21_load_peer_state() {
        for holder in ["a", "b", "c"] {
            acquire("etl", holder);
        }
        assert_eq!(queue("etl"), "a held, b queued, c queued");
    }

    #[pg_test]
    fn v25_release_granted() {
        let held = granted("lock1", "a");
        granted("lock2", "b");
        queued("lock2", "a");
        Spi::run("SELECT goahead.set_lock('lock1', 2)").expect("it runs");
        granted("lock1", "b");
        release("lock1", "a", held);
        assert_eq!((queue("lock1"), queue("lock2")), ("b held".to_owned(), "b held, a queued".to_owned()));
    }

    #[pg_test]
    fn v27_default_grant() {
        let first = granted("etl", "a");
        queued("etl", "b");
        queued("etl", "c");
        queued("etl", "b");
        // Both wait; the second does not go before the first.
        Spi::run("UPDATE goahead._lock_request SET waited = true").expect("it runs");
        release("etl", "a", first);
        queued("etl", "c");
        granted("etl", "b");
        queued("etl", "c");
    }

    // Tickets decide, so equal times are no tie: not even those of one statement, and 2 comes before 10.
    #[pg_test]
    fn a1_equal_timestamps() {
        granted("etl", "z");
        Spi::run("SELECT goahead.acquire('etl', 'foo/' || n) FROM unnest('{2,10,1}'::int[]) AS n").expect("it runs");
        Spi::run("UPDATE goahead._lock_request SET requested_at = '2026-01-01'").expect("it runs");
        let order = "SELECT string_agg(holder, ' ' ORDER BY position) FROM goahead.lock_queue WHERE state = 'queued'";
        assert_eq!(text(order), "foo/2 foo/10 foo/1");
    }

    #[pg_test]
    fn a3_holder_removed() {
        granted("etl", "a");
        queued("etl", "b");
        Spi::run("SELECT goahead.forget_holder('a')").expect("it runs");
        granted("etl", "b");
        // The last one goes, new ones come.
        Spi::run("SELECT goahead.forget_holder('b')").expect("it runs");
        let token = granted("etl", "c");
        queued("etl", "d");
        release("etl", "c", token);
        granted("etl", "d");
    }

    // A body that failed or was put off is reported as that, and the lock says so.
    #[pg_test]
    fn a4_body_deferred() {
        let id = number("SELECT goahead.request_operation('etl', 'a')");
        let token = number("SELECT token FROM goahead.next_operation('a')");
        let finish = format!("SELECT goahead.finish_operation({id}, 'a', {token}, 'retry_hold')");
        assert_eq!(text(&finish), "hold");
        assert_eq!((queue("etl"), acquire("etl", "b").0), ("a held".to_owned(), "queued".to_owned()));
        assert_eq!(text("SELECT state FROM goahead.operations"), "held");
    }

    #[pg_test]
    fn a6_release_with_old_token() {
        let old = granted("etl", "a");
        release("etl", "a", old);
        let new = granted("etl", "a");
        assert_eq!(release("etl", "a", old), "other_token");
        assert_eq!(text(&format!("SELECT goahead.check_fence('etl', {new})::text")), "true");
    }

    #[pg_test]
    fn a7_two_bodies_for_one_lock() {
        Spi::run(
            "SELECT goahead.request_operation('etl', 'a', 'rotate'), goahead.request_operation('etl', 'a', 'restart')",
        )
        .expect("it runs");
        for action in ["rotate", "restart"] {
            let (id, token) =
                Spi::get_two::<i64, i64>("SELECT id, token FROM goahead.next_operation('a')").expect("it runs");
            let (id, token) = (id.expect("an id"), token.expect("a token"));
            assert_eq!(text(&format!("SELECT action FROM goahead.operations WHERE id = {id}")), action);
            assert_eq!(text(&format!("SELECT goahead.finish_operation({id}, 'a', {token}, 'release')")), "done");
        }
    }
}
