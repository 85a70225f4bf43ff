//! Rendezvous in a real backend.

#[pgrx::pg_schema]
mod tests {
    use crate::tests::support::*;
    use pgrx::JsonB;
    use pgrx::prelude::*;
    use serde_json::{Value, json};

    /// What a set of calls answers.
    fn judge(calls: Value) -> Vec<Value> {
        let text = Spi::get_one_with_args::<String>("SELECT goahead.judge_rendezvous($1)", &[calls.to_string().into()])
            .expect("it runs")
            .expect("an answer");
        serde_json::from_str(&text).expect("an array")
    }

    fn outcomes(calls: Value) -> Vec<String> {
        judge(calls).iter().map(|answer| answer["outcome"].as_str().expect("an outcome").to_owned()).collect()
    }

    fn watch(key: &str, service: &str, waiting: i32) -> Value {
        json!({ "op": "watch", "key": key, "service": service, "waiting": waiting, "who": ["10.0.0.7:1"] })
    }

    fn signalled(key: &str) -> (bool, Option<Value>) {
        let sql = "SELECT ok, payload FROM goahead.is_signalled($1)";
        let (ok, payload) = Spi::get_two_with_args::<bool, JsonB>(sql, &[key.into()]).expect("it runs");
        (ok.expect("a value"), payload.map(|json| json.0))
    }

    fn state(key: &str) -> String {
        text(&format!("SELECT coalesce((SELECT state FROM goahead.rendezvous WHERE key = '{key}'), 'none')"))
    }

    /// Lets `seconds` pass for everything that the rendezvous remembers.
    fn pass(seconds: i64) {
        let us = seconds * 1_000_000;
        for sql in [
            format!("UPDATE goahead._signal SET since_us = since_us - {us}"),
            format!("UPDATE goahead._wait SET heard_us = heard_us - {us}"),
            format!("UPDATE goahead._arrival SET heard_us = heard_us - {us}"),
        ] {
            Spi::run(&sql).expect("it runs");
        }
    }

    #[pg_test]
    fn a_key_is_signalled_until_it_is_reset() {
        assert_eq!(signalled("db_ready"), (false, None));
        Spi::run("SELECT goahead.signal('db_ready')").expect("it runs");
        assert_eq!(signalled("db_ready"), (true, None));
        Spi::run(r#"SELECT goahead.signal('db_ready', '{"port": 5432}')"#).expect("it runs");
        assert_eq!(signalled("db_ready"), (true, Some(json!({ "port": 5432 }))));
        assert_eq!(state("db_ready"), "signalled");
        assert_eq!(text("SELECT goahead.unsignal('db_ready')::text"), "true");
        assert_eq!(text("SELECT goahead.unsignal('db_ready')::text"), "false");
        assert_eq!(signalled("db_ready"), (false, None));
    }

    #[pg_test]
    fn a_signal_ends_with_its_ttl() {
        Spi::run("SELECT goahead.signal('short', NULL, '60 s'), goahead.signal('long', NULL, '90 s'), goahead.signal('ever')")
            .expect("it runs");
        pass(59);
        assert!(signalled("short").0);
        pass(1);
        assert!(!signalled("short").0);
        assert_eq!(state("short"), "none");
        assert_eq!(text("SELECT goahead.unsignal('short')::text"), "false");
        Spi::run("SELECT goahead.signal('short', NULL, '60 s')").expect("it runs");
        pass(60);
        Spi::run("SELECT goahead.sweep()").expect("it runs");
        assert_eq!(text("SELECT string_agg(key, ',' ORDER BY key) FROM goahead._signal"), "ever");
    }

    #[pg_test]
    fn waiters_are_shown_and_woken() {
        assert_eq!(outcomes(json!([watch("k", "one", 2), watch("k", "two", 1)])), ["not_signalled", "not_signalled"]);
        assert_eq!(state("k"), "waiting");
        assert_eq!(number("SELECT waiting FROM goahead.rendezvous WHERE key = 'k'"), 3);
        // A signal that was reset before anybody looked is not missed, and its payload is that of the signal.
        let pulse = json!([{ "op": "signal", "key": "k", "payload": [1] }, { "op": "unsignal", "key": "k" }]);
        assert_eq!(outcomes(pulse), ["signalled", "unsignalled"]);
        assert_eq!(state("k"), "none");
        let woken = judge(json!([watch("k", "one", 2), watch("k", "two", 1), watch("k", "late", 1)]));
        assert_eq!((&woken[0]["outcome"], &woken[0]["payload"]), (&json!("signalled"), &json!([1])));
        assert_eq!(woken[1]["outcome"], "signalled");
        assert_eq!(woken[2]["outcome"], "not_signalled", "who comes after the reset waits");
        assert_eq!(judge(json!([watch("k", "one", 2)]))[0]["outcome"], "not_signalled", "once");
    }

    #[pg_test]
    fn only_waiters_that_are_there_are_notified() {
        let wakes = |calls: Value| {
            let before = number("SELECT count(*) FROM goahead._wait WHERE woken");
            judge(calls);
            number("SELECT count(*) FROM goahead._wait WHERE woken") - before
        };
        let signal = json!([{ "op": "signal", "key": "k" }]);
        assert_eq!(wakes(signal.clone()), 0);
        judge(json!([{ "op": "unsignal", "key": "k" }, watch("k", "one", 1)]));
        pass(60);
        assert_eq!(wakes(signal.clone()), 0, "nothing was heard of it for a minute");
        judge(json!([{ "op": "unsignal", "key": "k" }, watch("k", "one", 1)]));
        assert_eq!(wakes(signal), 1);
    }

    #[pg_test]
    fn a_key_whose_last_waiter_gave_up_is_shown_until_it_is_signalled() {
        judge(json!([watch("k", "one", 1), { "op": "leave", "key": "k", "service": "one", "timed_out": true }]));
        assert_eq!(state("k"), "timed out");
        assert_eq!(json("SELECT goahead.rendezvous_keys()"), json!({ "waiting_and_failed": ["k"], "marked": [] }));
        judge(json!([{ "op": "signal", "key": "k" }]));
        assert_eq!(json("SELECT goahead.rendezvous_keys()"), json!({ "waiting_and_failed": [], "marked": ["k"] }));
        judge(json!([watch("other", "one", 1), { "op": "leave", "key": "other", "service": "one" }]));
        assert_eq!(state("other"), "none");
    }

    #[pg_test]
    fn a_barrier_releases_all_of_a_generation() {
        let arrive = |member: &str, generation: &str| {
            text(&format!("SELECT a::text FROM goahead.arrive('b', 3, '{member}', {generation}) a"))
        };
        assert_eq!(arrive("x", "NULL"), "(f,1,1)");
        assert_eq!(arrive("y", "NULL"), "(f,1,2)");
        assert_eq!(arrive("x", "1"), "(f,1,2)");
        assert_eq!(text("SELECT goahead.depart('b', 'y')::text"), "true");
        assert_eq!(arrive("z", "NULL"), "(f,1,2)");
        assert_eq!(number("SELECT arrived FROM goahead.barriers WHERE key = 'b'"), 2);
        assert_eq!(arrive("y", "NULL"), "(t,1,3)");
        assert_eq!(arrive("x", "1"), "(t,1,3)");
        assert_eq!(arrive("x", "NULL"), "(f,2,1)");
        assert_eq!(arrive("z", "1"), "(t,1,3)");
        assert!(error_of("SELECT goahead.arrive('b', 2, 'w')").contains("expect 3 parties"));
        pass(60);
        assert_eq!(text("SELECT a::text FROM goahead.arrive('b', 2, 'w') a"), "(f,2,1)");
        let members = text("SELECT string_agg(member, ',') FROM goahead._arrival WHERE key = 'b' AND generation = 2");
        assert_eq!(members, "w");
    }

    #[pg_test]
    fn what_cannot_be_judged_changes_nothing() {
        let long = "x".repeat(256);
        let big = "x".repeat(65_600);
        for (call, what) in [
            (json!({ "op": "signal", "key": "_port" }), "reserved"),
            (json!({ "op": "signal", "key": "" }), "key"),
            (json!({ "op": "signal", "key": long }), "255"),
            (json!({ "op": "signal", "key": "a\nb" }), "printable"),
            (json!({ "op": "signal", "key": "k", "ttl": "0s" }), "ttl"),
            (json!({ "op": "signal", "key": "k", "payload": big }), "64 KiB"),
            (json!({ "op": "signal", "key": "k", "payload": { "a": ["\u{0}"] } }), "U+0000"),
            (json!({ "op": "watch", "key": "k", "service": "s", "waiting": 0 }), "waiting"),
            (json!({ "op": "arrive", "key": "k", "parties": 0, "member": "m" }), "parties"),
            (json!({ "op": "arrive", "key": "k", "parties": 10_001, "member": "m" }), "parties"),
            (json!({ "op": "read", "key": "k", "more": 1 }), "more"),
            (json!({ "op": "stop", "key": "k" }), "stop"),
        ] {
            let answer = judge(json!([call.clone(), { "op": "read", "key": "k" }]));
            let message = answer[0]["message"].as_str().unwrap_or_default().to_owned();
            assert_eq!(
                (&answer[0]["outcome"], message.contains(what)),
                (&json!("invalid"), true),
                "{call}: {answer:?}"
            );
            assert_eq!(answer[1]["outcome"], "not_signalled");
        }
        assert_eq!(outcomes(json!([{ "op": "signal", "key": "_port/h/1", "probe": true }])), ["signalled"]);
        for sql in [
            "SELECT goahead.signal(NULL)",
            "SELECT goahead.signal('_x')",
            "SELECT goahead.signal('k', NULL, '-1 s')",
            "SELECT goahead.is_signalled(NULL)",
            "SELECT goahead.arrive('b', NULL, 'm')",
            "SELECT goahead.arrive('b', 2, NULL)",
            "SELECT goahead.judge_rendezvous('{}')",
        ] {
            assert_eq!(error_of(sql).get(..5), Some("22023"), "{sql}: {}", error_of(sql));
        }
    }

    #[pg_test]
    fn everything_can_be_forgotten_at_once() {
        Spi::run("SELECT goahead.signal('a'), goahead.arrive('b', 2, 'm')").expect("it runs");
        judge(json!([watch("k", "one", 1)]));
        assert_eq!(number("SELECT jsonb_array_length(goahead.list_rendezvous() -> 'items')"), 3);
        assert_eq!(number("SELECT goahead.forget_rendezvous()"), 3);
        assert_eq!(number("SELECT jsonb_array_length(goahead.list_rendezvous() -> 'items')"), 0);
        assert_eq!(number("SELECT count(*) FROM goahead.barriers"), 0);
    }
}
