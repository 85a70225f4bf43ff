//! What is due when, for every TTL and grace that can be asked for.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const START: Moment = Duration::from_secs(1000);

fn lease(seconds: f64) -> Lease {
    Lease { sent: START, ttl: Duration::from_secs_f64(seconds) }
}

fn watch(seconds: f64, grace: u64, on_lost: OnLost) -> Watch {
    Watch::new(lease(seconds), Duration::from_secs(grace), on_lost)
}

/// Runs a watch in which every renewal fails after `delay`, by its own timetable, and tells what was due when.
fn alone(mut watch: Watch, delay: Duration) -> Vec<(Duration, Due)> {
    let mut now = watch.lease().sent;
    let mut all = Vec::new();
    let mut answer: Option<Moment> = None;
    while let Some(next) = watch.next().into_iter().chain(answer).min() {
        now = now.max(next);
        if answer.is_some_and(|at| at <= now) {
            answer = None;
            watch.failed(now);
        }
        while let Some(due) = watch.due(now) {
            all.push((now - START, due));
            if let Due::Renew(limit) = due {
                answer = Some(now + delay.min(limit));
            }
        }
        if now > START + Duration::from_secs(120) {
            break;
        }
    }
    all
}

#[test]
fn the_usual_hold_is_renewed_after_a_third_and_its_command_ended_before_the_end() {
    let lease = lease(15.0);
    assert_eq!(lease.renew_at() - START, 5 * SECOND);
    assert_eq!(lease.ask_at(5 * SECOND) - START, 9 * SECOND);
    assert_eq!(lease.kill_at() - START, 14 * SECOND);
    assert_eq!(lease.end() - START, 15 * SECOND);
}

#[test]
fn for_every_ttl_the_steps_come_in_their_order() {
    for ttl in [1.0, 1.5, 2.0, 3.0, 10.0, 15.0, 60.0, 3600.0] {
        for grace in [0, 1, 5, 600] {
            let lease = lease(ttl);
            let grace = Duration::from_secs(grace);
            assert!(lease.sent < lease.renew_at(), "{ttl} {grace:?}");
            assert!(lease.renew_at() < lease.ask_at(grace), "{ttl} {grace:?}");
            assert!(lease.ask_at(grace) <= lease.kill_at(), "{ttl} {grace:?}");
            assert!(lease.kill_at() + Duration::from_millis(100) <= lease.end(), "{ttl} {grace:?}");
            assert!(lease.kill_at() < lease.guard_at() && lease.guard_at() < lease.end(), "{ttl} {grace:?}");
        }
    }
}

#[test]
fn while_nobody_answers_it_tries_again_and_again_and_kills_before_the_end() {
    for ttl in [1.0, 2.0, 3.0, 15.0, 60.0] {
        for delay in [Duration::ZERO, Duration::from_secs(60)] {
            let all = alone(watch(ttl, 5, OnLost::Kill), delay);
            let of = |wanted: Due| all.iter().filter(move |(_, due)| *due == wanted).collect::<Vec<_>>();
            let (asks, kills) = (of(Due::Ask), of(Due::Kill));
            assert_eq!((asks.len(), kills.len()), (1, 1), "{all:?}");
            assert!(kills[0].0 < Duration::from_secs_f64(ttl), "{all:?}");
            let tries = all.iter().filter(|(at, due)| matches!(due, Due::Renew(_)) && *at < asks[0].0).count();
            assert!(tries >= 2 || ttl < 3.0 && tries >= 1, "{ttl}: {all:?}");
        }
    }
}

#[test]
fn a_renewal_counts_from_before_it_was_sent() {
    let mut watch = watch(15.0, 5, OnLost::Kill);
    assert_eq!(watch.due(START + 5 * SECOND), Some(Due::Renew(2 * SECOND)));
    assert_eq!(watch.due(START + 5 * SECOND), None, "one is under way");
    watch.renewed(START + 5 * SECOND);
    assert_eq!(watch.lease().end() - START, 20 * SECOND);
    assert_eq!(watch.next(), Some(START + 10 * SECOND));
    watch.renewed(START + 4 * SECOND);
    assert_eq!(watch.lease().end() - START, 20 * SECOND, "an older answer changes nothing");
}

#[test]
fn what_the_service_calls_lost_is_ended_with_a_grace_within_the_ttl() {
    let mut early = watch(15.0, 5, OnLost::Kill);
    early.told();
    assert_eq!(early.due(START + SECOND), Some(Due::Ask));
    assert_eq!(early.next(), Some(START + 6 * SECOND), "no renewal is due any more");
    assert_eq!(early.due(START + 6 * SECOND), Some(Due::Kill));
    assert_eq!((early.due(START + 60 * SECOND), early.next()), (None, None));

    let mut late = watch(15.0, 600, OnLost::Kill);
    late.told();
    assert_eq!(late.due(START + 8 * SECOND), Some(Due::Ask));
    assert_eq!(late.next(), Some(START + 14 * SECOND), "grace ends with the hold");
}

#[test]
fn who_wakes_after_the_end_kills_at_once() {
    let mut late = watch(15.0, 5, OnLost::Kill);
    assert_eq!(late.due(START + 3600 * SECOND), Some(Due::Kill));
    assert!(late.is_lost() && !late.is_told());
    let mut asked = watch(15.0, 5, OnLost::Kill);
    assert_eq!(asked.due(START + 10 * SECOND), Some(Due::Ask));
    assert_eq!(asked.due(START + 3600 * SECOND), Some(Due::Kill));
}

#[test]
fn signal_only_asks_and_goes_on_renewing() {
    let mut asked = watch(15.0, 5, OnLost::Signal);
    assert_eq!(asked.due(START + 9 * SECOND), Some(Due::Ask));
    assert!(matches!(asked.due(START + 9 * SECOND), Some(Due::Renew(_))));
    asked.renewed(START + 9 * SECOND);
    assert!(asked.is_lost(), "it was asked to end");
    assert_eq!(asked.due(START + 13 * SECOND), None);
    assert!(alone(watch(15.0, 5, OnLost::Signal), SECOND).iter().all(|(_, due)| *due != Due::Kill));
}

#[test]
fn ignore_only_tells_and_not_before_the_end() {
    let told: Vec<_> = alone(watch(15.0, 5, OnLost::Ignore), SECOND)
        .into_iter()
        .filter(|(_, due)| !matches!(due, Due::Renew(_)))
        .collect();
    assert_eq!(told, [(15 * SECOND, Due::Tell)]);
}
