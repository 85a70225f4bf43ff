//! Each check finds what it is for, and nothing in a history that is right.

use super::checks::{dead_tokens, exclusion, liveness, no_early_end, order, tokens};
use super::{Answer, Op, Record};

const ASK: Op = Op::Acquire { claims: false };
const CLAIM: Op = Op::Acquire { claims: true };
const TTL: u64 = 1_000;

fn call(op: Op, holder: &str, token: i64, (invoked, returned): (u64, u64), answer: Answer) -> Record {
    let token = (token > 0).then_some(token);
    Record { op, lock: "one", holder: holder.to_owned(), token, ttl: TTL, invoked, returned, answer }
}

fn grant(holder: &str, token: i64, at: (u64, u64)) -> Record {
    call(ASK, holder, token, at, Answer::Granted)
}

fn resize(slots: usize, at: (u64, u64), answer: Answer) -> Record {
    call(Op::Resize { slots }, "", 0, at, answer)
}

fn all(records: &[Record]) -> Vec<String> {
    let mut found = exclusion(records);
    found.extend(no_early_end(records));
    found.extend(tokens(records));
    found.extend(dead_tokens(records, &["one"]));
    found.extend(order(records, &["one"]).0);
    found.extend(liveness(records, 0, 10_000));
    found
}

/// `a` holds and gives back, `b` waits and is granted, loses its hold by time, and its late renewal is refused.
fn good() -> Vec<Record> {
    vec![
        grant("a", 5, (0, 10)),
        call(CLAIM, "b", 0, (20, 30), Answer::Queued),
        call(Op::Renew, "a", 5, (400, 410), Answer::Done),
        call(CLAIM, "b", 6, (500, 1_250), Answer::Provisional),
        call(Op::Release, "a", 5, (1_200, 1_210), Answer::Done),
        call(Op::Renew, "b", 6, (1_260, 1_270), Answer::Done),
        grant("c", 7, (2_300, 2_310)),
        call(Op::Write, "b", 6, (2_320, 2_330), Answer::Refused),
        call(Op::Renew, "b", 6, (2_330, 2_340), Answer::Refused),
    ]
}

#[test]
fn a_history_that_is_right_passes() {
    assert_eq!(all(&good()), [""; 0]);
    assert_eq!(order(&good(), &["one"]).1, 1);
}

#[test]
fn two_who_rely_on_one_slot_are_found() {
    assert_eq!(exclusion(&[grant("a", 5, (0, 10)), grant("b", 6, (500, 510))]).len(), 1);
    // A renewal prolongs what is relied on.
    let renewed = call(Op::Renew, "a", 5, (900, 910), Answer::Done);
    assert_eq!(exclusion(&[grant("a", 5, (0, 10)), renewed.clone(), grant("b", 6, (1_100, 1_110))]).len(), 1);
    // A renewal without an answer does not, and neither does one of another token.
    let unknown = Record { answer: Answer::Unknown, ..renewed.clone() };
    assert_eq!(exclusion(&[grant("a", 5, (0, 10)), unknown, grant("b", 6, (1_100, 1_110))]), [""; 0]);
    // Whoever is being broken may lose it from then on.
    let broken = call(Op::Break, "a", 0, (300, 700), Answer::Unknown);
    assert_eq!(exclusion(&[grant("a", 5, (0, 10)), broken, grant("b", 6, (500, 510))]), [""; 0]);
}

#[test]
fn a_grant_that_was_not_confirmed_is_not_relied_on() {
    let provisional = call(ASK, "a", 5, (0, 10), Answer::Provisional);
    assert_eq!(exclusion(&[provisional.clone(), grant("b", 6, (500, 510))]), [""; 0]);
    let confirmed = call(Op::Renew, "a", 5, (20, 30), Answer::Done);
    assert_eq!(exclusion(&[provisional, confirmed, grant("b", 6, (500, 510))]).len(), 1);
    // Nobody knows when the time began of a grant that may have come earlier.
    let lost = call(ASK, "a", 0, (0, 10), Answer::Unknown);
    assert_eq!(exclusion(&[lost, grant("a", 5, (500, 510)), grant("b", 6, (1_200, 1_210))]), [""; 0]);
}

#[test]
fn slots_count_as_they_were_when_the_last_was_granted() {
    let two = [grant("a", 5, (100, 110)), grant("b", 6, (200, 210))];
    let with = |resizes: &[Record]| {
        let mut records = [resizes, &two].concat();
        records.sort_by_key(|record| record.invoked);
        exclusion(&records).len()
    };
    assert_eq!(with(&[resize(2, (0, 10), Answer::Done)]), 0);
    assert_eq!(
        with(&[resize(2, (0, 10), Answer::Done), resize(1, (300, 310), Answer::Done)]),
        0,
        "nobody is thrown out"
    );
    assert_eq!(with(&[resize(2, (0, 10), Answer::Done), resize(1, (20, 30), Answer::Done)]), 1);
    assert_eq!(with(&[resize(2, (0, 10), Answer::Unknown), resize(1, (20, 30), Answer::Done)]), 0, "it may be late");
    assert_eq!(with(&[resize(2, (300, 310), Answer::Done)]), 1);
}

#[test]
fn a_hold_that_ends_early_is_found() {
    let lost = |at| call(Op::Renew, "a", 5, at, Answer::Refused);
    assert_eq!(no_early_end(&[grant("a", 5, (0, 10)), lost((500, 510))]).len(), 1);
    assert_eq!(no_early_end(&[grant("a", 5, (0, 10)), lost((990, 1_010))]), [""; 0]);
    let broken = call(Op::Break, "a", 0, (300, 310), Answer::Done);
    assert_eq!(no_early_end(&[grant("a", 5, (0, 10)), broken, lost((500, 510))]), [""; 0]);
}

#[test]
fn tokens_that_repeat_or_fall_are_found() {
    let ended = call(Op::Release, "a", 5, (20, 30), Answer::Done);
    assert_eq!(tokens(&[grant("a", 5, (0, 10)), ended.clone(), grant("b", 5, (40, 50))]).len(), 2);
    assert_eq!(tokens(&[grant("a", 5, (0, 10)), ended.clone(), grant("b", 4, (40, 50))]).len(), 1);
    // Granted at once, in either order; given again to the same.
    assert_eq!(tokens(&[grant("a", 5, (0, 100)), grant("b", 4, (50, 60)), grant("a", 5, (200, 210))]), [""; 0]);
    // The lower one may be of the earlier call, whose answer was lost.
    let lost = call(ASK, "b", 0, (0, 5), Answer::Unknown);
    assert_eq!(tokens(&[lost, grant("a", 5, (0, 10)), ended, grant("b", 4, (40, 50))]), [""; 0]);
}

#[test]
fn dead_tokens_that_work_are_found() {
    let found = |records: &[Record]| dead_tokens(records, &["one"]).len();
    let ended = call(Op::Release, "a", 5, (20, 30), Answer::Done);
    let renewed = call(Op::Renew, "a", 5, (40, 50), Answer::Done);
    assert_eq!(found(&[grant("a", 5, (0, 10)), ended, renewed.clone()]), 1);
    let broken = call(Op::Break, "a", 0, (20, 30), Answer::Done);
    assert_eq!(found(&[grant("a", 5, (0, 10)), broken, renewed]), 1);
    // A write after another was granted the lock; not one that was under way.
    let write = |at| call(Op::Write, "a", 5, at, Answer::Done);
    assert_eq!(found(&[grant("a", 5, (0, 10)), grant("b", 6, (1_100, 1_110)), write((1_120, 1_130))]), 1);
    assert_eq!(found(&[grant("a", 5, (0, 10)), write((900, 1_130)), grant("b", 6, (1_100, 1_110))]), 0);
}

#[test]
fn overtaking_is_found() {
    let found = |records: &[Record]| order(records, &["one"]).0.len();
    let queued = call(CLAIM, "a", 0, (0, 10), Answer::Queued);
    let granted = |token| call(CLAIM, "a", token, (20, 400), Answer::Provisional);
    assert_eq!(found(&[queued.clone(), granted(6), grant("b", 5, (30, 40))]), 1);
    assert_eq!(found(&[queued.clone(), granted(5), grant("b", 6, (30, 40))]), 0);
    // Who never gets it is overtaken too, but not who has left.
    let still = call(CLAIM, "a", 0, (50, 60), Answer::Queued);
    assert_eq!(found(&[queued.clone(), grant("b", 5, (30, 40)), still]), 1);
    let left = call(Op::Withdraw, "a", 0, (12, 14), Answer::Done);
    assert_eq!(found(&[queued.clone(), left, grant("b", 5, (30, 40))]), 0);
    // Whose call was lost may have lost its turn; so may who does not claim, or comes late.
    let lost = call(CLAIM, "a", 0, (12, 14), Answer::Unknown);
    assert_eq!(found(&[queued.clone(), lost, granted(6), grant("b", 5, (30, 40))]), 0);
    let unclaimed = call(ASK, "a", 0, (0, 10), Answer::Queued);
    assert_eq!(found(&[unclaimed, call(ASK, "a", 6, (20, 90), Answer::Provisional), grant("b", 5, (30, 40))]), 0);
    let late = call(CLAIM, "a", 6, (4_000_000, 4_000_010), Answer::Granted);
    assert_eq!(found(&[queued, grant("b", 5, (30, 40)), late]), 0);
}

#[test]
fn who_is_not_served_is_found() {
    let queued = |holder, at| call(ASK, holder, 0, at, Answer::Queued);
    assert_eq!(liveness(&[queued("a", (100, 110))], 50, 1_000).len(), 1);
    assert_eq!(liveness(&[queued("a", (100, 110))], 200, 1_000), [""; 0], "before it was healed");
    let slow = grant("a", 5, (1_000, 1_200));
    assert_eq!(liveness(&[queued("a", (100, 110)), slow.clone()], 50, 1_000).len(), 1);
    assert_eq!(liveness(&[queued("a", (100, 110)), slow], 50, 2_000), [""; 0]);
    let left = call(Op::Withdraw, "a", 0, (120, 130), Answer::Done);
    assert_eq!(liveness(&[queued("a", (100, 110)), left], 50, 1_000), [""; 0]);
}
