//! Operations in a real backend.

#[pgrx::pg_schema]
mod tests {
    use crate::tests::support::locks::*;
    use crate::tests::support::*;
    use pgrx::JsonB;
    use pgrx::prelude::*;
    use serde_json::{Value, json};

    fn request(lock: &str, unit: &str, action: &str, context: Value, max_retry: Option<i32>) -> i64 {
        Spi::get_one_with_args(
            "SELECT goahead.request_operation($1, $2, $3, '{web.service}', $4, $5)",
            &[lock.into(), unit.into(), action.into(), JsonB(context).into(), max_retry.into()],
        )
        .expect("it runs")
        .expect("an id")
    }

    fn restart(unit: &str) -> i64 {
        request("restart", unit, "restart", json!({}), None)
    }

    /// What next_operation gives, as an object.
    fn next(unit: &str) -> Value {
        json(&format!("SELECT to_jsonb(n) FROM goahead.next_operation('{unit}') AS n"))
    }

    /// Token of an operation that is granted.
    fn begin(unit: &str, id: i64) -> i64 {
        let next = next(unit);
        assert_eq!((&next["outcome"], &next["id"]), (&json!("granted"), &json!(id)), "{next}");
        next["token"].as_i64().expect("a token")
    }

    fn finish(id: i64, unit: &str, token: i64, outcome: &str) -> String {
        text(&format!("SELECT goahead.finish_operation({id}, '{unit}', {token}, '{outcome}', 'said so')"))
    }

    fn events(kind: &str) -> i64 {
        number(&format!("SELECT count(*) FROM goahead.events WHERE kind = '{kind}'"))
    }

    fn state(id: i64) -> String {
        text(&format!("SELECT state FROM goahead.operations WHERE id = {id}"))
    }

    #[pg_test]
    fn a_unit_does_one_thing_after_another_and_others_wait() {
        let one = request("restart", "a", "restart", json!({ "version": 1 }), None);
        let two = request("restart", "a", "restart", json!({ "version": 2 }), None);
        assert_eq!(request("restart", "a", "restart", json!({ "version": 2 }), None), two);
        let other = restart("b");
        let first = next("a");
        assert_eq!(first["services"], json!(["web.service"]));
        assert_eq!((&first["context"], &first["attempt"]), (&json!({ "version": 1 }), &json!(1)));
        let token = first["token"].as_i64().expect("a token");
        assert_eq!(begin("a", one), token, "a lost reply costs nothing");
        assert_eq!((&next("b")["outcome"], &next("b")["position"]), (&json!("queued"), &json!(1)));
        assert_eq!(finish(two, "a", token, "release"), "lost");
        assert_eq!(finish(one, "b", token, "release"), "unknown");
        assert_eq!(finish(one, "a", token, "release"), "done");
        assert_eq!(finish(one, "a", token, "release"), "done", "a lost reply costs nothing");
        assert_eq!(finish(one, "a", token, "failed"), "lost");
        assert_eq!(json("SELECT applied_context FROM goahead.units WHERE name = 'a'"), json!({ "version": 1 }));
        // The older request is a's second, although b has asked for its turn before a did.
        assert_eq!(next("a")["outcome"], "granted");
        assert_eq!(next("b")["outcome"], "queued");
        let token = begin("a", two);
        assert_eq!(finish(two, "a", token, "release"), "done");
        assert_eq!(next("a")["outcome"], "nothing");
        let token = begin("b", other);
        assert_eq!(finish(other, "b", token, "release"), "done");
        assert_eq!(events("operation_done"), 3);
    }

    #[pg_test]
    fn what_has_begun_is_not_joined() {
        let one = restart("a");
        assert_eq!(restart("a"), one);
        begin("a", one);
        let two = restart("a");
        assert_ne!(two, one);
        assert_eq!(restart("a"), two);
        assert_ne!(request("other", "a", "restart", json!({}), None), two);
        assert_ne!(restart("a"), two, "only the last one is joined");
    }

    #[pg_test]
    fn a_kept_hold_goes_before_first_requests_and_these_before_retries() {
        let (a, b) = (restart("a"), restart("b"));
        let token = begin("a", a);
        assert_eq!(next("b")["outcome"], "queued");
        assert_eq!(finish(a, "a", token, "retry_hold"), "hold");
        assert_eq!(finish(a, "a", token, "retry_hold"), "hold");
        assert_eq!(next("b")["outcome"], "queued");
        assert_eq!(state(a), "held");
        let again = next("a");
        assert_eq!((&again["token"], &again["attempt"]), (&json!(token), &json!(2)));
        assert_eq!(finish(a, "a", token, "retry_release"), "retry");
        assert_eq!(finish(a, "a", token, "retry_release"), "retry");
        // c asks for the first time, and later than a did.
        let c = restart("c");
        assert_eq!(next("a")["outcome"], "queued");
        assert_eq!(next("c")["outcome"], "queued");
        let token = begin("b", b);
        assert_eq!(finish(b, "b", token, "retry_release"), "retry");
        assert_eq!(next("b")["position"], 3);
        assert_eq!(next("a")["position"], 2);
        let token = begin("c", c);
        assert_eq!(finish(c, "c", token, "release"), "done");
        // Of retries the one comes first whose attempt ended first.
        assert_eq!(next("b")["outcome"], "queued");
        let token = begin("a", a);
        assert!(finish(a, "a", token - 1, "release") == "lost" && state(a) == "running");
        assert_eq!(finish(a, "a", token, "release"), "done");
        begin("b", b);
        assert_eq!(number(&format!("SELECT attempt FROM goahead.operations WHERE id = {b}")), 2);
        assert_eq!(events("operation_retried"), 2);
    }

    #[pg_test]
    fn the_last_retry_is_a_failure_and_blocks_the_unit_until_it_is_resumed() {
        let failing = request("restart", "a", "restart", json!({ "version": 1 }), Some(1));
        let after = request("restart", "a", "reload", json!({}), None);
        let token = begin("a", failing);
        assert_eq!(finish(failing, "a", token, "retry_release"), "retry");
        let token = begin("a", failing);
        assert_eq!(finish(failing, "a", token, "retry_hold"), "failed");
        assert_eq!(finish(failing, "a", token, "retry_hold"), "failed", "a lost reply costs nothing");
        assert_eq!(number("SELECT held FROM goahead.locks WHERE name = 'restart'"), 0);
        assert_eq!(next("a")["outcome"], "blocked");
        assert_eq!(number("SELECT blocked_by FROM goahead.units WHERE name = 'a'"), failing);
        assert_eq!(text("SELECT blocked_detail FROM goahead.units WHERE name = 'a'"), "said so");
        assert_eq!((events("operation_failed"), events("unit_blocked"), events("lock_halted")), (1, 1, 0));
        assert_eq!(number("SELECT (goahead.stats() ->> 'units_blocked')::bigint"), 1);
        let other = restart("b");
        begin("b", other);
        assert!(error_of("SELECT goahead.resume_unit('a', ' ')").starts_with("22023"));
        assert_eq!(text("SELECT goahead.resume_unit('a', 'disk replaced')"), "resumed");
        assert_eq!(text("SELECT goahead.resume_unit('a', 'disk replaced')"), "not_blocked");
        assert_eq!(text("SELECT goahead.resume_unit('z', 'disk replaced')"), "unknown");
        assert_eq!(text("SELECT detail ->> 'note' FROM goahead.events WHERE kind = 'unit_resumed'"), "disk replaced");
        assert_eq!((&next("a")["outcome"], &next("a")["id"]), (&json!("queued"), &json!(after)));
        assert_eq!(
            Spi::get_one::<JsonB>("SELECT applied_context FROM goahead.units WHERE name = 'a'")
                .expect("it runs")
                .map(|json| json.0),
            None
        );
    }

    #[pg_test]
    fn a_failure_halts_a_lock_that_is_set_so_until_an_operator_says_go_on() {
        Spi::run("SELECT goahead.set_lock('restart', 2, on_failure => 'halt')").expect("it runs");
        assert!(error_of("SELECT goahead.set_lock('restart', on_failure => 'stop')").starts_with("22023"));
        let (a, b, c) = (restart("a"), restart("b"), restart("c"));
        let (of_a, of_b) = (begin("a", a), begin("b", b));
        assert_eq!(next("c")["outcome"], "queued");
        assert_eq!(finish(a, "a", of_a, "failed"), "failed");
        let halted = next("c");
        assert_eq!(halted["outcome"], "queued");
        assert_eq!(halted["halted"], json!(format!("operation {a} of a failed")));
        assert_eq!(acquire("restart", "somebody"), ("queued".to_owned(), None));
        // What runs ends as it would.
        assert_eq!(finish(b, "b", of_b, "failed"), "failed");
        assert_eq!(events("lock_halted"), 1);
        assert_eq!(text("SELECT goahead.resume_unit('a', 'repaired')"), "resumed");
        assert_eq!(next("c")["outcome"], "queued", "b is blocked still");
        assert_eq!(text("SELECT goahead.resume_unit('b', 'repaired')"), "resumed");
        assert_eq!(events("lock_resumed"), 1);
        let of_c = begin("c", c);
        assert_eq!(finish(c, "c", of_c, "failed"), "failed");
        assert_eq!(text("SELECT goahead.resume_lock('restart', 'without c')"), "resumed");
        assert_eq!(text("SELECT goahead.resume_lock('restart', 'without c')"), "not_halted");
        assert_eq!(text("SELECT goahead.resume_lock('none', 'without c')"), "unknown");
        assert_eq!(next("c")["outcome"], "blocked");
        let a = restart("a");
        begin("a", a);
    }

    #[pg_test]
    fn a_hold_that_was_lost_is_a_retry_and_a_late_report_is_refused() {
        let (a, b) = (request("restart", "a", "restart", json!({}), Some(1)), restart("b"));
        let token = begin("a", a);
        assert_eq!(next("b")["outcome"], "queued");
        pass(299);
        assert_eq!(begin("a", a), token, "asking keeps the hold");
        pass(300);
        let of_b = begin("b", b);
        assert_eq!(state(a), "lost");
        assert_eq!(finish(a, "a", token, "release"), "lost");
        assert_eq!(finish(b, "b", of_b, "release"), "done");
        assert_eq!(
            (state(a), number(&format!("SELECT attempt FROM goahead.operations WHERE id = {a}"))),
            ("queued".to_owned(), 1)
        );
        let token = begin("a", a);
        pass(300);
        assert_eq!(next("a")["outcome"], "blocked", "that was its last retry");
        assert_eq!(finish(a, "a", token, "release"), "lost");
        assert_eq!(state(a), "failed");
    }

    #[pg_test]
    fn a_grant_that_nobody_took_is_no_attempt() {
        let woken = |unit: &str| {
            json(&format!(
                "SELECT to_jsonb(n) FROM goahead.next_operation('{unit}', waits => true, waited => true) AS n"
            ))
        };
        let (a, b) = (request("restart", "a", "restart", json!({}), Some(0)), restart("b"));
        let gone = woken("a");
        assert_eq!((&gone["outcome"], &gone["attempt"]), (&json!("granted"), &json!(0)));
        assert!(gone["confirm_by"].is_string(), "{gone}");
        pass(10);
        let token = begin("b", b);
        assert_eq!(finish(b, "b", token, "release"), "done");
        // It comes back, and takes what it is granted by asking once more.
        let granted = woken("a");
        let again = next("a");
        assert_eq!(
            (&again["token"], &again["attempt"], &again["confirm_by"]),
            (&granted["token"], &json!(1), &Value::Null)
        );
        pass(10);
        assert_eq!(finish(a, "a", granted["token"].as_i64().expect("a token"), "release"), "done");
        // A report shows that it got it as well.
        let b = restart("b");
        let token = woken("b")["token"].as_i64().expect("a token");
        assert_eq!(finish(b, "b", token, "release"), "done");
        assert_eq!(number(&format!("SELECT attempt FROM goahead.operations WHERE id = {b}")), 1);
    }

    #[pg_test]
    fn an_operator_drops_what_waits_and_what_runs() {
        let (a, b) = (restart("a"), restart("b"));
        let later = request("restart", "a", "reload", json!({}), None);
        let token = begin("a", a);
        assert_eq!(next("b")["outcome"], "queued");
        let drop = |id: i64| text(&format!("SELECT goahead.drop_operation({id}, 'not needed')"));
        assert_eq!(drop(later), "dropped");
        assert_eq!(drop(later), "ended");
        assert_eq!(drop(a), "dropped");
        assert_eq!(drop(0), "unknown");
        assert_eq!(finish(a, "a", token, "release"), "lost");
        assert_eq!(text("SELECT detail ->> 'reason' FROM goahead.events WHERE kind = 'lock_broken'"), "not needed");
        assert_eq!(drop(b), "dropped");
        assert_eq!(number("SELECT queued FROM goahead.locks WHERE name = 'restart'"), 0);
        let a = restart("a");
        begin("a", a);
        assert_eq!(number("SELECT goahead.forget_holder('a')"), 1);
        assert_eq!((state(a), events("operations_dropped")), ("dropped".to_owned(), 1));
    }

    #[pg_test]
    fn who_waits_for_work_is_told_what_wakes_it() {
        let ask =
            |unit: &str| json(&format!("SELECT to_jsonb(n) FROM goahead.next_operation('{unit}', waits => true) AS n"));
        assert_eq!(ask("a")["outcome"], "nothing");
        let unit = number("SELECT id FROM goahead._unit WHERE name = 'a' AND waited");
        assert_eq!(ask("a")["wake"], json!(format!("unit:{unit}")));
        restart("a");
        assert_eq!(number("SELECT count(*) FROM goahead._unit WHERE waited"), 0);
        let b = restart("b");
        begin("b", b);
        let queued = ask("a");
        let request = text("SELECT lock_id || ':' || ticket FROM goahead._lock_request WHERE holder = 'a'");
        assert_eq!(queued["wake"], json!(request));
        assert_eq!(next("nobody")["wake"], Value::Null);
        assert_eq!(number("SELECT count(*) FROM goahead._unit WHERE name = 'nobody'"), 0);
    }

    #[pg_test]
    fn a_lock_is_kept_while_operations_wait_for_it() {
        let id = restart("a");
        let old = "UPDATE goahead._lock SET used_at = used_at - interval '2 days'; DELETE FROM goahead._housekeeping";
        Spi::run(old).expect("it runs");
        json("SELECT goahead.sweep()");
        assert_eq!(number("SELECT count(*) FROM goahead.locks"), 1);
        assert!(error_of("SELECT goahead.drop_lock('restart')").starts_with("55000"));
        let token = begin("a", id);
        assert_eq!(finish(id, "a", token, "release"), "done");
        Spi::run(old).expect("it runs");
        Spi::run("UPDATE goahead._operation SET ended_at = ended_at - interval '91 days'").expect("it runs");
        json("SELECT goahead.sweep()");
        assert_eq!(number("SELECT count(*) FROM goahead.locks"), 0);
        assert_eq!(number("SELECT count(*) FROM goahead.operations"), 0);
    }

    #[pg_test]
    fn wrong_arguments_change_nothing() {
        for wrong in [
            "request_operation(NULL, 'a')",
            "request_operation('restart', '')",
            "request_operation('restart', 'a', NULL)",
            "request_operation('restart', 'a', services => '{NULL}')",
            "request_operation('restart', 'a', services => '{--root=/}')",
            "request_operation('restart', 'a', max_retry => -1)",
            "next_operation(NULL)",
            "next_operation('a', '0 s')",
            "finish_operation(NULL, 'a', 1, 'release')",
            "finish_operation(1, NULL, 1, 'release')",
            "finish_operation(1, 'a', NULL, 'release')",
            "finish_operation(1, 'a', 1, NULL)",
            "finish_operation(1, 'a', 1, 'done')",
            "resume_unit('a', NULL)",
            "resume_lock('restart', '')",
            "drop_operation(NULL, 'x')",
            "drop_operation(1, NULL)",
        ] {
            let error = error_of(&format!("SELECT goahead.{wrong}"));
            assert!(error.starts_with("22023"), "{wrong}: {error}");
        }
        assert_eq!(text("SELECT goahead.finish_operation(1, 'a', 1, 'release')"), "unknown");
        assert_eq!(number("SELECT count(*) FROM goahead._unit"), 0);
        assert_eq!(number("SELECT count(*) FROM goahead.locks"), 0);
    }

    #[pg_test]
    fn lists_show_what_views_have() {
        let a = restart("a");
        restart("b");
        begin("a", a);
        let list = json("SELECT goahead.list_operations(1)");
        assert_eq!((&list["items"][0]["unit"], &list["next"]), (&json!("b"), &json!(a + 1)));
        assert_eq!(json(&format!("SELECT goahead.list_operations(10, {})", a + 1))["items"][0]["id"], json!(a));
        assert_eq!(json("SELECT goahead.list_operations(unit => 'a')")["items"].as_array().map(Vec::len), Some(1));
        let unit = json("SELECT goahead.get_unit('a')");
        assert_eq!((&unit["running"], &unit["operations"][0]["state"]), (&json!(a), &json!("running")));
    }
}
