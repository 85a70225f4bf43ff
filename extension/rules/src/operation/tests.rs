//! One promise each, and a unit's life at random beside a lock.

use super::*;
use crate::duration::GoDuration;
use crate::lease::{Clock, Instant};
use crate::lock::{Answer, Ask, Lock, PLACE, Settled, next_in_line};
use proptest::prelude::*;
use serde_json::json;

fn work(action: &str, max_retry: Option<i32>) -> Work {
    Work {
        lock: "restart".to_owned(),
        action: action.to_owned(),
        services: vec!["web.service".to_owned()],
        context: json!({ "version": 1 }),
        max_retry,
    }
}

fn running(max_retry: Option<i32>) -> Operation {
    let mut operation = Operation::new(1, work("restart", max_retry));
    operation.begin(7);
    operation
}

#[test]
fn only_an_equal_last_request_that_waits_is_joined() {
    let mut last = Operation::new(1, work("reload", None));
    assert!(joins(&last, &work("reload", None)));
    assert!(!joins(&last, &work("restart", None)));
    assert!(!joins(&last, &work("reload", Some(1))));
    assert!(!joins(&last, &Work { context: json!({ "version": 2 }), ..work("reload", None) }));
    assert!(!joins(&last, &Work { services: Vec::new(), ..work("reload", None) }));
    last.begin(7);
    assert!(!joins(&last, &work("reload", None)), "what has begun may have read the old configuration");
    assert_eq!(last.finish(7, Report::RetryRelease, true), Finish::Ended(Verdict::Retry));
    assert!(joins(&last, &work("reload", None)));
}

#[test]
fn each_report_has_its_verdict_and_the_last_retry_is_a_failure() {
    for (report, verdict) in [
        (Report::Release, Verdict::Done),
        (Report::RetryRelease, Verdict::Retry),
        (Report::RetryHold, Verdict::Hold),
        (Report::Failed, Verdict::Failed),
    ] {
        assert_eq!(running(None).finish(7, report, true), Finish::Ended(verdict));
        assert_eq!(running(Some(1)).finish(7, report, true), Finish::Ended(verdict));
        let exhausted = if verdict == Verdict::Done { Verdict::Done } else { Verdict::Failed };
        assert_eq!(running(Some(0)).finish(7, report, true), Finish::Ended(exhausted));
        assert_eq!(report.as_str().parse(), Ok(report));
    }
    assert!("done".parse::<Report>().is_err());
    assert_eq!(("halt".parse(), "continue".parse()), (Ok(OnFailure::Halt), Ok(OnFailure::Continue)));
    assert!("stop".parse::<OnFailure>().is_err());
}

#[test]
fn a_report_counts_once_and_only_with_the_token_of_a_hold_in_force() {
    let mut operation = running(None);
    assert_eq!(operation.finish(6, Report::Release, true), Finish::Lost(None));
    assert_eq!(operation.finish(7, Report::RetryHold, true), Finish::Ended(Verdict::Hold));
    assert_eq!(operation.finish(7, Report::RetryHold, true), Finish::Repeated(Verdict::Hold));
    assert_eq!(operation.finish(7, Report::Release, true), Finish::Lost(None));
    operation.begin(7);
    operation.begin(7);
    assert_eq!((operation.attempt, operation.rank), (2, FIRST));
    assert_eq!(operation.finish(7, Report::RetryRelease, true), Finish::Ended(Verdict::Retry));
    assert_eq!(operation.finish(7, Report::RetryRelease, false), Finish::Repeated(Verdict::Retry));
    assert_eq!((operation.state, operation.rank), (State::Queued, RETRY));
    operation.begin(8);
    assert_eq!(operation.finish(7, Report::Release, false), Finish::Lost(None));
    assert_eq!(operation.state, State::Running);
}

#[test]
fn a_report_is_what_an_unconfirmed_attempt_begins_with() {
    let mut operation = Operation::new(1, work("restart", Some(0)));
    assert_eq!(operation.finish(7, Report::Release, false), Finish::Lost(None));
    assert_eq!(operation.attempt, 0, "a grant that nobody has taken is no attempt");
    assert_eq!(operation.finish(8, Report::Release, true), Finish::Ended(Verdict::Done));
    assert_eq!(operation.attempt, 1);
}

#[test]
fn a_lost_hold_is_a_retry_and_the_last_one_a_failure() {
    let mut operation = running(Some(1));
    assert_eq!(operation.finish(7, Report::Release, false), Finish::Lost(Some(Verdict::Retry)));
    assert_eq!(operation.lose(), None);
    operation.begin(8);
    assert_eq!(operation.lose(), Some(Verdict::Failed));

    let mut operation = running(Some(1));
    operation.finish(7, Report::RetryHold, true);
    assert_eq!(operation.lose(), Some(Verdict::Retry));
    assert_eq!(operation.attempt, 1);
}

#[test]
fn what_cannot_be_work_is_refused() {
    assert_eq!(work("restart", Some(0)).check(), Ok(()));
    let good = || work("restart", None);
    for wrong in [
        Work { action: String::new(), ..good() },
        Work { lock: "a\nb".to_owned(), ..good() },
        Work { services: vec![String::new()], ..good() },
        Work { services: vec!["--root=/".to_owned()], ..good() },
        Work { services: vec!["x".to_owned(); SERVICES + 1], ..good() },
        Work { max_retry: Some(-1), ..good() },
        Work { context: Value::String("x".repeat(CONTEXT)), ..good() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}

/// One thing that happens to unit 0, 1 or 2.
#[derive(Clone, Debug)]
enum Step {
    Request(usize, u8),
    Next(usize),
    Finish(usize, u8),
    Resume(usize),
    /// So many seconds pass.
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let unit = 0_usize..3;
    prop_oneof![
        2 => (unit.clone(), 0_u8..3).prop_map(|(unit, work)| Step::Request(unit, work)),
        4 => unit.clone().prop_map(Step::Next),
        3 => (unit.clone(), 0_u8..4).prop_map(|(unit, report)| Step::Finish(unit, report)),
        1 => unit.prop_map(Step::Resume),
        1 => (1_u8..40).prop_map(Step::Pass),
    ]
}

#[derive(Default)]
struct Unit {
    open: Vec<(Operation, i64)>,
    blocked: bool,
    /// The token that it was told last.
    token: i64,
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const TTL: GoDuration = GoDuration(30_000_000_000);

proptest! {
    #[test]
    fn units_work_one_at_a_time_first_requests_first(steps in proptest::collection::vec(step(), 1..80)) {
        let mut lock = Lock::new(1);
        let mut units: [Unit; 3] = Default::default();
        let (mut us, mut ids) = (0_i64, 0);
        let mut applied: Vec<(usize, i64)> = Vec::new();
        for step in steps {
            let clock = Clock { now: Instant { epoch: 1, us }, epoch_start: 0 };
            match step {
                Step::Pass(seconds) => us += i64::from(seconds) * 1_000_000,
                Step::Resume(unit) => units[unit].blocked = false,
                Step::Request(unit, kind) => {
                    let work = work(["restart", "reload", "rotate"][usize::from(kind)], Some(2));
                    if !units[unit].open.last().is_some_and(|(last, _)| joins(last, &work)) {
                        ids += 1;
                        let ticket = lock.draw();
                        units[unit].open.push((Operation::new(ids, work), ticket));
                    }
                }
                Step::Next(unit) => {
                    let Unit { open, blocked, token } = &mut units[unit];
                    let Some((operation, ticket)) = open.first_mut().filter(|_| !*blocked) else { continue };
                    let held = operation.token.filter(|token| lock.is_held_by(NAMES[unit], *token, clock));
                    if held.is_none() {
                        match operation.lose() {
                            Some(Verdict::Failed) => {
                                *blocked = true;
                                open.remove(0);
                                continue;
                            }
                            Some(_) => *ticket = lock.draw(),
                            None => {}
                        }
                        let ask = Ask {
                            holder: NAMES[unit], rank: operation.rank, ticket: Some(*ticket), ttl: Some(TTL), place: PLACE,
                            claim: GoDuration(0), waits: false, provisional: false, metadata: "{}", wall: 0,
                        };
                        if lock.acquire(&ask, &mut next_in_line, clock) == Answer::Queued {
                            continue;
                        }
                        let hold = lock.holders().find(|request| request.holder == NAMES[unit]).and_then(|r| r.hold.clone());
                        *token = hold.expect("it was granted").token;
                    }
                    operation.begin(*token);
                    prop_assert!(operation.attempt <= 3, "one attempt and two retries");
                }
                Step::Finish(unit, report) => {
                    let report = [Report::Release, Report::RetryRelease, Report::RetryHold, Report::Failed][usize::from(report)];
                    let Unit { open, blocked, token } = &mut units[unit];
                    let Some((operation, ticket)) = open.first_mut() else { continue };
                    let holds = lock.is_held_by(NAMES[unit], *token, clock);
                    let was_running = operation.state == State::Running && operation.token == Some(*token);
                    match operation.finish(*token, report, holds) {
                        Finish::Ended(verdict) => {
                            prop_assert!(holds && was_running);
                            match verdict {
                                Verdict::Hold => continue,
                                Verdict::Retry => *ticket = lock.draw(),
                                Verdict::Done => applied.push((unit, open.remove(0).0.id)),
                                Verdict::Failed => {
                                    *blocked = true;
                                    open.remove(0);
                                }
                            }
                            prop_assert_eq!(lock.release(NAMES[unit], *token, &mut next_in_line, clock), Settled::Done);
                        }
                        Finish::Lost(Some(Verdict::Failed)) => {
                            *blocked = true;
                            open.remove(0);
                        }
                        Finish::Lost(Some(_)) => *ticket = lock.draw(),
                        Finish::Lost(None) | Finish::Repeated(_) => {}
                    }
                }
            }
            let clock = Clock { now: Instant { epoch: 1, us }, epoch_start: 0 };
            let at_work = units.iter().zip(NAMES).filter(|(unit, name)| {
                unit.open.iter().any(|(operation, _)| {
                    operation.state != State::Queued && operation.token.is_some_and(|token| lock.is_held_by(name, token, clock))
                })
            });
            prop_assert!(at_work.count() <= 1, "one unit at a time");
            for unit in &units {
                prop_assert!(unit.open.iter().skip(1).all(|(operation, _)| operation.attempt == 0), "one after another");
            }
            prop_assert!(lock.requests.is_sorted_by_key(|request| (request.rank, request.ticket)));
        }
        for unit in 0..3 {
            let done: Vec<i64> = applied.iter().filter(|(of, _)| *of == unit).map(|(_, id)| *id).collect();
            prop_assert!(done.is_sorted(), "in the order of requests");
        }
    }
}
