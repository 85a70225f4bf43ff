//! One example for each rule of the protocol; histories are explored in the model.

use super::*;
use crate::duration::GoDuration;
use crate::settings::{self, Limit, Source};
use serde_json::{Value, json};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const NOW: i64 = 1_000 * HOUR;

fn clock(us: i64) -> Clock {
    Clock { now: Instant { epoch: 1, us }, epoch_start: 0 }
}

fn settings(extra: Value) -> Settings {
    let mut value = json!({ "name_pattern": "^web", "allowed_parallel_restarts": 2, "minimum_uptime": "30m" });
    for (key, entry) in extra.as_object().expect("an object") {
        value[key] = entry.clone();
    }
    settings::read(&value, Source::Sql).expect("valid settings").settings
}

fn cluster<'a>(settings: &'a Settings, open: &'a [Open]) -> Cluster<'a> {
    Cluster { name: "web", settings, frozen: None, known_hosts: 0, open, last_grant: None, local: &[], rollout: None }
}

fn ask<'a>(holder: &'a str, request_id: Option<&'a str>) -> Ask<'a> {
    Ask {
        holder,
        uptime_text: "2h31m",
        uptime: 2 * HOUR + 31 * MINUTE,
        boot_id: None,
        request_id,
        fresh_id: "freshfre",
        blocker: None,
    }
}

fn open(id: i64, holder: &str, slot: i32) -> Open {
    Open {
        id,
        holder: holder.to_owned(),
        kind: Kind::Goahead,
        slot,
        granted: Instant { epoch: 1, us: NOW - MINUTE },
        granted_uptime: 2 * HOUR,
        granted_boot_id: None,
        rebooted: false,
        checking: false,
        panics: 0,
    }
}

fn handed_out(id: &str, at: i64) -> Host {
    Host { request: Some((id.to_owned(), Instant { epoch: 1, us: at })), last_restart: None }
}

fn denied(verdict: Verdict) -> (Condition, String, bool) {
    match verdict {
        Verdict::Denied { condition, message, at_second_step } => (condition, message, at_second_step),
        other => panic!("expected a denial, got {other:?}"),
    }
}

#[test]
fn first_contact_hands_out_a_request_id() {
    let settings = settings(json!({}));
    let verdict = request(&cluster(&settings, &[]), &Host::default(), None, &ask("web1", None), clock(NOW));
    assert_eq!(verdict, Verdict::Handshake { request_id: "freshfre".into(), remember: true });
}

#[test]
fn another_first_contact_does_not_spoil_a_handshake_under_way() {
    let settings = settings(json!({}));
    let host = handed_out("abcdefgh", NOW - MINUTE);
    let verdict = request(&cluster(&settings, &[]), &host, None, &ask("web1", None), clock(NOW));
    assert_eq!(verdict, Verdict::Handshake { request_id: "abcdefgh".into(), remember: false });
}

#[test]
fn second_call_with_the_id_is_granted_the_lowest_free_slot() {
    let settings = settings(json!({ "allowed_parallel_restarts": 3 }));
    let held = [open(7, "web2", 1), open(8, "web3", 3)];
    let verdict = request(
        &cluster(&settings, &held),
        &handed_out("abcdefgh", NOW),
        None,
        &ask("web1", Some("abcdefgh")),
        clock(NOW),
    );
    assert_eq!(verdict, Verdict::Granted { slot: 2 });
}

#[test]
fn a_wrong_id_is_a_mismatch_that_names_both() {
    let settings = settings(json!({}));
    let verdict =
        request(&cluster(&settings, &[]), &handed_out("abcdefgh", NOW), None, &ask("web1", Some("nope")), clock(NOW));
    let (condition, message, at_second_step) = denied(verdict);
    assert_eq!(condition, Condition::RequestId);
    assert_eq!(message, "Found mismatching request_id in request: nope and found on middle-ware: abcdefgh");
    assert!(at_second_step);
}

#[test]
fn an_expired_or_unknown_id_begins_the_handshake_anew() {
    let settings = settings(json!({ "request_timeout": "10m" }));
    for host in [handed_out("abcdefgh", NOW - 10 * MINUTE), Host::default()] {
        let verdict = request(&cluster(&settings, &[]), &host, None, &ask("web1", Some("abcdefgh")), clock(NOW));
        assert_eq!(verdict, Verdict::Handshake { request_id: "freshfre".into(), remember: true });
    }
}

#[test]
fn the_limit_denies_with_the_originals_words() {
    let settings = settings(json!({}));
    let held = [open(7, "web2", 1), open(8, "web3", 2)];
    let verdict = request(
        &cluster(&settings, &held),
        &handed_out("abcdefgh", NOW),
        None,
        &ask("web1", Some("abcdefgh")),
        clock(NOW),
    );
    let (condition, message, at_second_step) = denied(verdict);
    assert_eq!(condition, Condition::Limit);
    assert_eq!(
        message,
        "Denied restart request as the current_ongoing_restarts of cluster web is larger than the allowed_parallel_restarts: 2 >= 2 Currently restarting hosts: web2,web3"
    );
    assert!(at_second_step);
}

#[test]
fn limit_zero_means_nobody_and_percent_rounds_down_to_at_least_one() {
    let none = settings(json!({ "allowed_parallel_restarts": 0 }));
    let verdict =
        request(&cluster(&none, &[]), &handed_out("abcdefgh", NOW), None, &ask("web1", Some("abcdefgh")), clock(NOW));
    assert_eq!(denied(verdict).0, Condition::Limit);
    assert_eq!(Limit::Percent(10).slots(99), 9);
    assert_eq!(Limit::Percent(10).slots(3), 1);
    assert_eq!(Limit::Percent(0).slots(1_000), 0);
}

#[test]
fn a_granted_host_keeps_its_go_ahead_whatever_has_changed_since() {
    let settings = settings(json!({ "allowed_parallel_restarts": 0, "request_timeout": "1m" }));
    let held = [open(7, "web1", 1)];
    let mut cluster = cluster(&settings, &held);
    cluster.frozen = Some("holidays");
    let host = handed_out("abcdefgh", NOW - HOUR);
    let verdict = request(&cluster, &host, Some(&held[0]), &ask("web1", Some("abcdefgh")), clock(NOW));
    assert_eq!(verdict, Verdict::AlreadyGranted);
    let again = request(&cluster, &host, Some(&held[0]), &ask("web1", None), clock(NOW));
    assert!(matches!(again, Verdict::Handshake { .. }), "{again:?}");
}

#[test]
fn a_host_that_rebooted_is_not_granted_again_before_it_is_complete() {
    let settings = settings(json!({ "reboot_completion_check": "/bin/true" }));
    let held = [Open { rebooted: true, ..open(7, "web1", 1) }];
    let verdict = request(
        &cluster(&settings, &held),
        &handed_out("abcdefgh", NOW),
        Some(&held[0]),
        &ask("web1", Some("abcdefgh")),
        clock(NOW),
    );
    assert_eq!(denied(verdict).0, Condition::Completion);
}

#[test]
fn conditions_of_the_first_step_end_the_call_without_a_request_id() {
    let young = settings(json!({ "minimum_uptime": "3h" }));
    let (condition, message, at_second_step) =
        denied(request(&cluster(&young, &[]), &Host::default(), None, &ask("web1", None), clock(NOW)));
    assert_eq!((condition, at_second_step), (Condition::MinimumUptime, false));
    assert_eq!(message, "Configured minimum uptime for cluster: 3h0m0s was not reached by client's uptime: 2h31m");

    let plain = settings(json!({}));
    let frozen = Cluster { frozen: Some("holidays"), ..cluster(&plain, &[]) };
    let verdict = request(&frozen, &handed_out("abcdefgh", NOW), None, &ask("web1", Some("abcdefgh")), clock(NOW));
    assert_eq!(denied(verdict).0, Condition::Frozen);
}

#[test]
fn a_window_is_judged_by_its_zones_local_time() {
    use crate::window::Weekday;
    let settings = settings(
        json!({ "restart_windows": [{ "days": ["mon"], "start": "22:00", "length": "6h", "time_zone": "Europe/Berlin" }] }),
    );
    let at = |weekday, minute_of_day| vec![("Europe/Berlin".to_owned(), LocalTime { weekday, minute_of_day })];
    let judged = |local: &[(String, LocalTime)]| {
        judge(Condition::Window, &Cluster { local, ..cluster(&settings, &[]) }, &ask("web1", None), clock(NOW)).passed
    };
    assert!(judged(&at(Weekday::Mon, 23 * 60)));
    assert!(judged(&at(Weekday::Tue, 3 * 60 + 59)), "a window belongs to the day it starts on");
    assert!(!judged(&at(Weekday::Tue, 4 * 60)));
    assert!(!judged(&at(Weekday::Tue, 23 * 60)));
    assert!(!judged(&[]), "a zone without a time is not open");
}

#[test]
fn a_minimum_interval_paces_go_aheads() {
    let settings = settings(json!({ "minimum_interval": "10m" }));
    let paced = |ago| Cluster { last_grant: Some(Instant { epoch: 1, us: NOW - ago }), ..cluster(&settings, &[]) };
    let host = handed_out("abcdefgh", NOW);
    let early = request(&paced(9 * MINUTE), &host, None, &ask("web1", Some("abcdefgh")), clock(NOW));
    assert_eq!(denied(early).0, Condition::MinimumInterval);
    let late = request(&paced(10 * MINUTE), &host, None, &ask("web1", Some("abcdefgh")), clock(NOW));
    assert_eq!(late, Verdict::Granted { slot: 1 });
}

#[test]
fn the_blocker_is_asked_last_and_its_reason_denies() {
    let settings = settings(json!({ "blocker": "ops.no_alerts(text,text)" }));
    let host = handed_out("abcdefgh", NOW);
    let first = ask("web1", Some("abcdefgh"));
    assert_eq!(request(&cluster(&settings, &[]), &host, None, &first, clock(NOW)), Verdict::AskBlocker);
    let blocked = Ask { blocker: Some(Some("3 alerts fire")), ..first.clone() };
    let (condition, message, _) = denied(request(&cluster(&settings, &[]), &host, None, &blocked, clock(NOW)));
    assert_eq!(condition, Condition::Blocker);
    assert!(message.ends_with("3 alerts fire"), "{message}");
    let free = Ask { blocker: Some(None), ..first };
    assert_eq!(request(&cluster(&settings, &[]), &host, None, &free, clock(NOW)), Verdict::Granted { slot: 1 });
}

#[test]
fn an_overdue_restart_stops_the_others_and_never_frees_itself() {
    let settings = settings(json!({ "reboot_completion_panic_threshold": "1h" }));
    let held = [Open { granted: Instant { epoch: 1, us: NOW - HOUR }, ..open(7, "web2", 1) }];
    let verdict = request(
        &cluster(&settings, &held),
        &handed_out("abcdefgh", NOW),
        None,
        &ask("web1", Some("abcdefgh")),
        clock(NOW),
    );
    let (condition, message, _) = denied(verdict);
    assert_eq!(condition, Condition::Overdue);
    assert!(message.contains("panic threshold met") && message.contains("web2"), "{message}");
}

#[test]
fn panic_comes_once_per_threshold_and_never_when_unset() {
    let unset = settings(json!({}));
    let hourly = settings(json!({ "reboot_completion_panic_threshold": "1h" }));
    let since = |us, panics| Open { granted: Instant { epoch: 1, us: NOW - us }, panics, ..open(7, "web2", 1) };
    assert_eq!(deadline(&since(99 * HOUR, 0), &unset, clock(NOW)).panic, None);
    assert_eq!(deadline(&since(HOUR - 1, 0), &hourly, clock(NOW)).panic, None);
    assert_eq!(deadline(&since(HOUR, 0), &hourly, clock(NOW)).panic, Some(1));
    assert_eq!(deadline(&since(HOUR, 1), &hourly, clock(NOW)).panic, None);
    assert_eq!(deadline(&since(5 * HOUR, 1), &hourly, clock(NOW)).panic, Some(5), "missed thresholds panic once");
}

#[test]
fn the_offset_starts_checks_without_a_contact_but_not_without_a_check() {
    let checked = settings(json!({ "reboot_completion_check": "/bin/true", "reboot_completion_check_offset": "15m" }));
    let unchecked = settings(json!({ "reboot_completion_check_offset": "15m" }));
    let since = |us, checking| Open { granted: Instant { epoch: 1, us: NOW - us }, checking, ..open(7, "web2", 1) };
    assert!(!deadline(&since(14 * MINUTE, false), &checked, clock(NOW)).start_checks);
    assert!(deadline(&since(15 * MINUTE, false), &checked, clock(NOW)).start_checks);
    assert!(!deadline(&since(15 * MINUTE, true), &checked, clock(NOW)).start_checks);
    assert!(!deadline(&since(15 * MINUTE, false), &unchecked, clock(NOW)).start_checks);
}

#[test]
fn a_reboot_shows_in_an_uptime_shorter_than_expected_by_over_a_minute() {
    let settings = settings(json!({ "reboot_completion_check": "/bin/true" }));
    // Granted at an uptime of 1 h, 70 minutes ago: without a reboot it would be up for 130 minutes now.
    let held =
        Open { granted_uptime: HOUR, granted: Instant { epoch: 1, us: NOW - 70 * MINUTE }, ..open(7, "web1", 1) };
    let contact = |uptime| on_contact(&held, uptime, None, &settings, clock(NOW));
    assert_eq!(contact(130 * MINUTE), Contact::Nothing);
    assert_eq!(contact(129 * MINUTE), Contact::Nothing, "a minute is within the margin");
    assert_eq!(contact(129 * MINUTE - 1), Contact::RebootedStartChecks);
    assert_eq!(contact(65 * MINUTE), Contact::RebootedStartChecks, "longer than at the go-ahead, yet a reboot");
    assert_eq!(on_contact(&Open { checking: true, ..held.clone() }, 0, None, &settings, clock(NOW)), Contact::Rebooted);
    assert_eq!(on_contact(&Open { rebooted: true, ..held }, 0, None, &settings, clock(NOW)), Contact::Nothing);
}

#[test]
fn two_boot_ids_decide_alone() {
    let settings = settings(json!({}));
    let held = Open { granted_boot_id: Some("a".into()), ..open(7, "web1", 1) };
    assert_eq!(on_contact(&held, 0, Some("a"), &settings, clock(NOW)), Contact::Nothing, "a stepped clock on the host");
    assert_eq!(on_contact(&held, 999 * HOUR, Some("b"), &settings, clock(NOW)), Contact::Complete);
    assert_eq!(on_contact(&held, 0, None, &settings, clock(NOW)), Contact::Complete, "one id alone says nothing");
}

#[test]
fn across_a_failover_a_doubt_keeps_the_slot() {
    let settings = settings(json!({}));
    let held = Open { granted: Instant { epoch: 1, us: 999 * HOUR }, granted_uptime: HOUR, ..open(7, "web1", 1) };
    let later = Clock { now: Instant { epoch: 2, us: 2 * HOUR }, epoch_start: 2 * HOUR - MINUTE };
    assert_eq!(on_contact(&held, 2 * HOUR, None, &settings, later), Contact::Nothing);
    assert_eq!(on_contact(&held, 5 * MINUTE, None, &settings, later), Contact::Complete);
}

#[test]
fn checks_complete_after_consecutive_successes_only() {
    let settings = settings(
        json!({ "reboot_completion_check_consecutive_successes": 3, "reboot_completion_check_interval": "0s" }),
    );
    assert_eq!(after_check(0, true, &settings), CheckStep::Again { successes: 1, after: GoDuration(0) });
    assert_eq!(after_check(2, true, &settings), CheckStep::Complete);
    let CheckStep::Again { successes, after } = after_check(2, false, &settings) else {
        panic!("a failure completes nothing")
    };
    assert_eq!(successes, 0);
    assert!(after.0 >= 1_000_000_000, "a failing check with interval 0 must not spin");
}

#[test]
fn inquiries_say_yes_for_a_rollout_until_the_host_has_restarted() {
    let settings = settings(json!({}));
    let rollout = Rollout { id: 4, reason: "new kernel", started: Instant { epoch: 1, us: NOW - HOUR }, boundary: 100 };
    let running = Cluster { rollout: Some(rollout), ..cluster(&settings, &[]) };
    let due = inquiry(&running, &Host::default(), None, &ask("web1", None), None, clock(NOW));
    assert_eq!(due, Inquiry::Yes("YesInquireToRestart: rollout 4: new kernel".into()));
    let restarted = Host { last_restart: Some(101), ..Host::default() };
    assert_eq!(inquiry(&running, &restarted, None, &ask("web1", None), None, clock(NOW)), Inquiry::No);
    let by_itself = Ask { uptime: 59 * MINUTE, ..ask("web1", None) };
    assert_eq!(inquiry(&running, &Host::default(), None, &by_itself, None, clock(NOW)), Inquiry::No);
    let frozen = Cluster { frozen: Some("holidays"), ..running };
    assert_eq!(inquiry(&frozen, &Host::default(), None, &ask("web1", None), None, clock(NOW)), Inquiry::No);
}

#[test]
fn an_inquiry_check_says_yes_only_by_its_exit_code() {
    let settings = settings(
        json!({ "reboot_goahead_checks": ["/opt/check {:%fqdn%:}"], "reboot_goahead_checks_exit_code_for_reboot": 0 }),
    );
    let judged = |checked: Option<&[Checked]>| {
        inquiry(&cluster(&settings, &[]), &Host::default(), None, &ask("web1", None), checked, clock(NOW))
    };
    let result = |exit_code| [Checked { command: "/opt/check web1".into(), exit_code }];
    assert_eq!(judged(None), Inquiry::RunChecks);
    assert_eq!(
        judged(Some(&result(Some(0)))),
        Inquiry::Yes("YesInquireToRestart: goahead check result of /opt/check web1 is 0".into())
    );
    assert_eq!(judged(Some(&result(Some(1)))), Inquiry::No);
    assert_eq!(judged(Some(&result(None))), Inquiry::No, "a check that was not run is no reason");
    assert_eq!(judged(Some(&[])), Inquiry::No);
}

#[test]
fn fleetlock_skips_handshake_and_uptime_and_nothing_else() {
    let plain = settings(json!({ "minimum_uptime": "99h", "allowed_parallel_restarts": 1 }));
    let id = Ask { uptime_text: "", uptime: 0, ..ask("0123abcd", None) };
    assert_eq!(lock(&cluster(&plain, &[]), &id, clock(NOW)), Verdict::Granted { slot: 1 });
    let held = [Open { kind: Kind::FleetLock, ..open(7, "0123abcd", 1) }];
    assert_eq!(lock(&cluster(&plain, &held), &id, clock(NOW)), Verdict::AlreadyGranted);
    let other = Ask { holder: "0123ABCD", ..id.clone() };
    assert_eq!(denied(lock(&cluster(&plain, &held), &other, clock(NOW))).0, Condition::Limit, "ids are byte for byte");
    let frozen = Cluster { frozen: Some("holidays"), ..cluster(&plain, &[]) };
    assert_eq!(denied(lock(&frozen, &id, clock(NOW))).0, Condition::Frozen);
}

#[test]
fn every_failed_condition_is_explained() {
    let settings = settings(json!({ "minimum_uptime": "9h", "allowed_parallel_restarts": 0 }));
    let frozen = Cluster { frozen: Some("holidays"), ..cluster(&settings, &[]) };
    let failed: Vec<Condition> = explain(&frozen, None, &ask("web1", None), clock(NOW))
        .into_iter()
        .filter(|judgement| !judgement.passed)
        .map(|judgement| judgement.condition)
        .collect();
    assert_eq!(failed, [Condition::Frozen, Condition::MinimumUptime, Condition::Limit]);
}
