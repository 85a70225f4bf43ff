//! One promise each, in the order of a lock's life.

use super::*;
use proptest::prelude::*;

const SECOND: i64 = 1_000_000;

fn at(seconds: i64) -> Clock {
    Clock { now: Instant { epoch: 1, us: seconds * SECOND }, epoch_start: 0 }
}

fn seconds(count: i64) -> GoDuration {
    GoDuration(count * 1_000_000_000)
}

fn ask(holder: &str) -> Ask<'_> {
    Ask {
        holder,
        rank: FIRST,
        ticket: None,
        ttl: Some(seconds(30)),
        place: PLACE,
        claim: seconds(0),
        waits: false,
        provisional: false,
        metadata: "{}",
        wall: 0,
    }
}

fn waiting(holder: &str) -> Ask<'_> {
    Ask { waits: true, ..ask(holder) }
}

fn acquire(lock: &mut Lock, ask: &Ask<'_>, clock: Clock) -> Answer {
    lock.acquire(ask, &mut next_in_line, clock)
}

fn token(lock: &Lock, holder: &str) -> i64 {
    lock.holders()
        .find(|request| request.holder == holder)
        .and_then(|request| request.hold.as_ref())
        .expect("it holds")
        .token
}

fn held(lock: &Lock) -> Vec<&str> {
    lock.holders().map(|request| request.holder.as_str()).collect()
}

#[test]
fn the_first_is_granted_and_the_second_waits_its_turn() {
    let mut lock = Lock::new(1);
    assert_eq!(acquire(&mut lock, &ask("a"), at(0)), Answer::Granted);
    assert_eq!(acquire(&mut lock, &waiting("b"), at(0)), Answer::Queued);
    assert_eq!(acquire(&mut lock, &waiting("c"), at(0)), Answer::Queued);
    let first = token(&lock, "a");
    assert_eq!(lock.release("a", first, &mut next_in_line, at(1)), Settled::Done);
    assert_eq!(lock.woken, ["b"]);
    // The slot is kept for b: c comes too early, though it comes first.
    assert_eq!(acquire(&mut lock, &waiting("c"), at(1)), Answer::Queued);
    assert_eq!(acquire(&mut lock, &waiting("b"), at(1)), Answer::Granted);
    assert!(token(&lock, "b") > first);
}

#[test]
fn a_repeated_request_keeps_its_place_and_a_repeated_grant_its_token() {
    let mut lock = Lock::new(1);
    acquire(&mut lock, &ask("a"), at(0));
    acquire(&mut lock, &ask("b"), at(0));
    acquire(&mut lock, &ask("c"), at(0));
    acquire(&mut lock, &ask("b"), at(1));
    assert_eq!(lock.requests.iter().map(|request| request.holder.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let first = token(&lock, "a");
    assert_eq!(acquire(&mut lock, &ask("a"), at(2)), Answer::Granted);
    assert_eq!(token(&lock, "a"), first);
}

#[test]
fn a_waiter_that_died_delays_the_queue_by_one_offer_and_no_more() {
    let mut lock = Lock::new(1);
    acquire(&mut lock, &ask("a"), at(0));
    acquire(&mut lock, &waiting("dead"), at(0));
    acquire(&mut lock, &waiting("c"), at(0));
    lock.release("a", token(&lock, "a"), &mut next_in_line, at(1));
    lock.woken.clear();
    assert!(!lock.is_due(at(2)));
    assert!(lock.is_due(at(3)));
    lock.tick(&mut next_in_line, at(3));
    assert_eq!(lock.woken, ["c"]);
    assert_eq!(acquire(&mut lock, &waiting("c"), at(3)), Answer::Granted);
    // It has its place still, should it come back.
    lock.release("c", token(&lock, "c"), &mut next_in_line, at(4));
    assert_eq!(acquire(&mut lock, &waiting("dead"), at(4)), Answer::Granted);
}

#[test]
fn who_asks_and_goes_away_is_kept_a_slot_for_as_long_as_it_said() {
    let mut lock = Lock::new(1);
    let hook = Ask { place: seconds(3600), claim: seconds(600), ..ask("hook") };
    acquire(&mut lock, &ask("a"), at(0));
    acquire(&mut lock, &hook, at(0));
    acquire(&mut lock, &waiting("c"), at(0));
    lock.release("a", token(&lock, "a"), &mut next_in_line, at(10));
    assert_eq!(lock.woken, [""; 0]);
    acquire(&mut lock, &waiting("c"), at(50));
    assert_eq!(held(&lock), [""; 0]);
    assert_eq!(acquire(&mut lock, &hook, at(600)), Answer::Granted);
}

#[test]
fn without_a_claim_nothing_is_kept_for_who_is_not_there() {
    let mut lock = Lock::new(1);
    acquire(&mut lock, &ask("a"), at(0));
    acquire(&mut lock, &ask("asks now and then"), at(0));
    lock.release("a", token(&lock, "a"), &mut next_in_line, at(1));
    assert_eq!(acquire(&mut lock, &ask("c"), at(1)), Answer::Granted);
}

#[test]
fn a_place_that_is_not_repeated_is_lost() {
    let mut lock = Lock::new(1);
    acquire(&mut lock, &Ask { ttl: None, ..ask("a") }, at(0));
    acquire(&mut lock, &ask("b"), at(0));
    acquire(&mut lock, &ask("b"), at(59));
    lock.tick(&mut next_in_line, at(118));
    assert_eq!(lock.ended, []);
    lock.tick(&mut next_in_line, at(119));
    assert_eq!(
        lock.ended.iter().map(|(request, why)| (request.holder.as_str(), *why)).collect::<Vec<_>>(),
        [("b", End::PlaceLost)]
    );
}

#[test]
fn a_hold_lasts_its_ttl_from_the_last_renewal_and_an_old_token_opens_nothing() {
    let mut lock = Lock::new(1);
    acquire(&mut lock, &ask("a"), at(0));
    let old = token(&lock, "a");
    assert_eq!(lock.renew("a", old, Some(seconds(30)), at(29)), Settled::Done);
    assert_eq!(acquire(&mut lock, &waiting("b"), at(58)), Answer::Queued);
    assert_eq!(acquire(&mut lock, &waiting("b"), at(59)), Answer::Granted);
    assert_eq!(lock.renew("a", old, Some(seconds(30)), at(59)), Settled::NotHeld);
    assert_eq!(lock.release("b", old, &mut next_in_line, at(59)), Settled::OtherToken);
    assert_eq!(held(&lock), ["b"]);
}

#[test]
fn a_grant_that_ended_a_wait_is_confirmed_or_goes_to_the_next() {
    for confirmed in [true, false] {
        let mut lock = Lock::new(1);
        let came_back = Ask { provisional: true, ttl: None, ..waiting("b") };
        assert_eq!(acquire(&mut lock, &came_back, at(0)), Answer::Granted);
        acquire(&mut lock, &waiting("c"), at(1));
        if confirmed {
            assert_eq!(lock.renew("b", token(&lock, "b"), None, at(9)), Settled::Done);
        }
        lock.tick(&mut next_in_line, at(10));
        assert_eq!(lock.woken.is_empty(), confirmed);
        assert_eq!(held(&lock).is_empty(), !confirmed);
    }
}

#[test]
fn a_slot_that_was_lost_rests_and_one_that_was_given_back_does_not() {
    let mut lock = Lock::new(1);
    lock.delay = seconds(15);
    acquire(&mut lock, &ask("a"), at(0));
    lock.release("a", token(&lock, "a"), &mut next_in_line, at(1));
    assert_eq!(acquire(&mut lock, &ask("b"), at(1)), Answer::Granted);
    assert_eq!(acquire(&mut lock, &ask("c"), at(31)), Answer::Queued);
    assert_eq!(acquire(&mut lock, &ask("c"), at(45)), Answer::Queued);
    assert_eq!(acquire(&mut lock, &ask("c"), at(46)), Answer::Granted);
}

#[test]
fn what_relies_on_a_token_keeps_its_hold_from_ending() {
    let mut lock = Lock::new(1);
    acquire(&mut lock, &ask("a"), at(0));
    for request in &mut lock.requests {
        request.hold.as_mut().expect("held").guarded = true;
    }
    assert_eq!(acquire(&mut lock, &ask("b"), at(500)), Answer::Queued);
    assert_eq!(lock.take_away("a", End::Broken, &mut next_in_line, at(500)), Settled::Guarded);
    assert_eq!(held(&lock), ["a"]);
}

#[test]
fn tokens_are_above_the_floor_and_never_repeat() {
    let mut lock = Lock::new(1);
    lock.token_floor = 7 << 32;
    acquire(&mut lock, &ask("a"), at(0));
    assert_eq!(token(&lock, "a"), (7 << 32) + 1);
    lock.token_floor = 3;
    lock.take_away("a", End::Broken, &mut next_in_line, at(1));
    acquire(&mut lock, &ask("a"), at(2));
    assert_eq!(token(&lock, "a"), (7 << 32) + 2);
}

#[test]
fn a_lock_that_shrinks_takes_nothing_away_and_grants_when_it_fits() {
    let mut lock = Lock::new(3);
    for holder in ["a", "b", "c"] {
        acquire(&mut lock, &ask(holder), at(0));
    }
    lock.slots = 1;
    acquire(&mut lock, &waiting("d"), at(0));
    lock.release("b", token(&lock, "b"), &mut next_in_line, at(1));
    assert_eq!((held(&lock), lock.woken.len()), (vec!["a", "c"], 0));
    lock.release("a", token(&lock, "a"), &mut next_in_line, at(1));
    // c sits on a slot beyond the last; the first is free.
    assert_eq!(held(&lock), ["c"]);
    assert_eq!(acquire(&mut lock, &waiting("d"), at(1)), Answer::Queued);
    lock.release("c", token(&lock, "c"), &mut next_in_line, at(1));
    assert_eq!(acquire(&mut lock, &waiting("d"), at(1)), Answer::Granted);
}

#[test]
fn a_policy_sees_holder_granted_and_queue_and_has_the_last_word_within_the_slots() {
    let mut lock = Lock::new(2);
    let mut asked = Vec::new();
    let mut says = [false, true].into_iter();
    let mut policy = |holder: &str, granted: &[&str], queue: &[&str]| {
        asked.push(format!("{holder} {granted:?} {queue:?}"));
        says.next().unwrap_or(true)
    };
    assert_eq!(lock.acquire(&ask("a"), &mut policy, at(0)), Answer::Queued);
    assert_eq!(lock.acquire(&ask("a"), &mut policy, at(1)), Answer::Granted);
    assert_eq!(lock.acquire(&ask("a"), &mut policy, at(2)), Answer::Granted);
    assert_eq!(lock.acquire(&ask("b"), &mut policy, at(3)), Answer::Granted);
    assert_eq!(lock.acquire(&ask("c"), &mut policy, at(3)), Answer::Queued);
    assert_eq!(asked, [r#"a [] ["a"]"#, r#"a [] ["a"]"#, r#"b ["a"] ["b"]"#]);
}

#[test]
fn a_halted_lock_grants_nothing_and_lets_go_of_what_is_given_back() {
    let mut lock = Lock::new(2);
    acquire(&mut lock, &ask("a"), at(0));
    lock.halted = true;
    assert_eq!(acquire(&mut lock, &ask("b"), at(0)), Answer::Queued);
    assert_eq!(lock.release("a", token(&lock, "a"), &mut next_in_line, at(1)), Settled::Done);
    assert_eq!(held(&lock), [""; 0]);
    lock.halted = false;
    assert_eq!(acquire(&mut lock, &ask("b"), at(1)), Answer::Granted);
}

#[test]
fn who_came_first_and_comes_back_goes_before_a_waiter_that_was_woken() {
    let mut lock = Lock::new(1);
    acquire(&mut lock, &ask("a"), at(0));
    acquire(&mut lock, &ask("asks now and then"), at(0));
    acquire(&mut lock, &waiting("c"), at(0));
    lock.release("a", token(&lock, "a"), &mut next_in_line, at(1));
    assert_eq!(lock.woken, ["c"]);
    assert_eq!(acquire(&mut lock, &ask("asks now and then"), at(1)), Answer::Granted);
    assert_eq!(acquire(&mut lock, &waiting("c"), at(1)), Answer::Queued);
    lock.woken.clear();
    lock.release("asks now and then", token(&lock, "asks now and then"), &mut next_in_line, at(2));
    assert_eq!(lock.woken, ["c"]);
}

#[test]
fn a_retry_waits_until_nobody_asks_for_the_first_time() {
    let mut lock = Lock::new(1);
    acquire(&mut lock, &ask("a"), at(0));
    acquire(&mut lock, &Ask { rank: RETRY, ..waiting("failed once") }, at(0));
    acquire(&mut lock, &Ask { rank: RETRY, ..waiting("failed later") }, at(0));
    acquire(&mut lock, &waiting("new"), at(1));
    for next in ["new", "failed once", "failed later"] {
        let holder = held(&lock)[0].to_owned();
        lock.release(&holder, token(&lock, &holder), &mut next_in_line, at(1));
        assert_eq!(lock.woken, [next]);
        lock.woken.clear();
        assert_eq!(acquire(&mut lock, &waiting(next), at(1)), Answer::Granted);
    }
}

#[test]
fn a_ticket_that_was_drawn_before_keeps_its_place_for_who_comes_later() {
    let mut lock = Lock::new(1);
    acquire(&mut lock, &ask("a"), at(0));
    let early = lock.draw();
    acquire(&mut lock, &waiting("b"), at(0));
    assert_eq!(acquire(&mut lock, &Ask { ticket: Some(early), ..waiting("early") }, at(9)), Answer::Queued);
    lock.release("a", token(&lock, "a"), &mut next_in_line, at(9));
    assert_eq!(lock.woken, ["early"]);
}

proptest! {
    #[test]
    fn who_waits_is_granted_by_rank_and_then_by_ticket(asks in proptest::collection::vec((0_i32..2, any::<bool>()), 1..20)) {
        let mut lock = Lock::new(1);
        acquire(&mut lock, &Ask { ttl: None, ..ask("first") }, at(0));
        let early: Vec<i64> = asks.iter().map(|_| lock.draw()).collect();
        let names: Vec<String> = (0..asks.len()).map(|number| number.to_string()).collect();
        let mut expected = Vec::new();
        // They come in the reverse order of the tickets that some of them have.
        for (index, (rank, drawn)) in asks.iter().enumerate().rev() {
            let ticket = drawn.then_some(early[index]);
            acquire(&mut lock, &Ask { rank: *rank, ticket, ..waiting(&names[index]) }, at(0));
            expected.push((*rank, ticket.unwrap_or(lock.last_ticket), names[index].clone()));
        }
        expected.sort();
        let mut holder = "first".to_owned();
        for (_, _, next) in expected {
            lock.release(&holder, token(&lock, &holder), &mut next_in_line, at(1));
            prop_assert_eq!(std::mem::take(&mut lock.woken), [next.as_str()]);
            acquire(&mut lock, &waiting(&next), at(1));
            prop_assert_eq!(held(&lock), [next.as_str()]);
            holder = next;
        }
    }
}
