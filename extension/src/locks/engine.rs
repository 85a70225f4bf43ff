//! Judges a batch of calls about locks one after another against facts in memory, in one transaction.

use super::facts::{self, Facts};
use super::wire::{Call, Op, Outcome};
use super::writes;
use crate::clock;
use crate::sets::Invalid;
use crate::store::{self, Store};
use goahead_rules::lease::Clock;
use goahead_rules::lock::{Answer, Ask, End, FIRST, Lock, Policy, Settled, next_in_line};
use std::collections::{BTreeMap, BTreeSet};

/// Judges calls; the answers are in their order. A batch that does not wait gives calls back as `busy` whose lock
/// somebody else is deciding about, or which has a policy, which may take its time.
pub fn run(store: &mut Store<'_, '_>, calls: &[Result<Call, Invalid>], wait: bool) -> Vec<Outcome> {
    let clock = clock::settled(store);
    let mut batch = Batch::read(store, calls, wait, clock);
    let outcomes = calls
        .iter()
        .map(|call| match call {
            Ok(call) => batch.judge(store, call, wait),
            Err(invalid) => Outcome::invalid(invalid.clone()),
        })
        .collect();
    writes::write(store, &mut batch.locks, &batch.notes, clock);
    positions(store, outcomes)
}

struct Batch<'a> {
    clock: Clock,
    taken: BTreeSet<&'a str>,
    ids: BTreeMap<String, i32>,
    locks: BTreeMap<i32, Facts>,
    notes: BTreeMap<(i32, String), String>,
}

impl<'a> Batch<'a> {
    fn read(store: &mut Store<'_, '_>, calls: &'a [Result<Call, Invalid>], wait: bool, clock: Clock) -> Self {
        let names: BTreeSet<&str> = calls.iter().flatten().map(|call| call.lock.as_str()).collect();
        let taken = store.take(store::LOCK_LOCK, &names, wait);
        let about = |call: &'a Call| (call.lock.as_str(), call.holder.as_str());
        let callers: Vec<(&str, &str)> = calls.iter().flatten().map(about).collect();
        let enders: Vec<(&str, &str)> = calls
            .iter()
            .flatten()
            .filter(|call| matches!(call.op, Op::Release | Op::Break | Op::Forget))
            .map(about)
            .collect();
        let mut wanted: BTreeMap<&str, i32> = BTreeMap::new();
        for call in calls.iter().flatten().filter(|call| call.op == Op::Acquire) {
            wanted.entry(&call.lock).or_insert(call.slots.unwrap_or(1));
        }
        let mut locks = facts::read(store, &taken, &callers, &wanted);
        facts::note_guarded(store, &mut locks, &enders, clock);
        let ids = locks.values().map(|facts| (facts.name.clone(), facts.id)).collect();
        Self { clock, taken, ids, locks, notes: BTreeMap::new() }
    }

    fn judge(&mut self, store: &mut Store<'_, '_>, call: &Call, wait: bool) -> Outcome {
        if !self.taken.contains(call.lock.as_str()) {
            return Outcome::busy(call);
        }
        let Some(id) = self.ids.get(&call.lock) else {
            return match call.op {
                Op::Withdraw => Outcome::plain("not_queued"),
                _ => Outcome::plain("lost"),
            };
        };
        let Some(facts) = self.locks.get_mut(id) else { return Outcome::busy(call) };
        if !wait && facts.policy.is_some() {
            return Outcome { condition: Some("policy"), ..Outcome::busy(call) };
        }
        if let Some(slots) = call.slots.filter(|slots| *slots != facts.lock.slots) {
            return Outcome::invalid(Invalid {
                message: format!("lock {} has {} slots, not {slots}", facts.name, facts.lock.slots),
                hint: "leave slots out, or change the lock with goahead.set_lock",
            });
        }
        if let Some(reason) = &call.reason {
            self.notes.insert((facts.id, call.holder.clone()), reason.clone());
        }
        let outcome = decide(store, facts, self.clock, |lock, policy, clock| carry_out(lock, call, policy, clock));
        let request = facts.of(&call.holder).filter(|_| matches!(outcome, "granted" | "queued" | "renewed"));
        Outcome::of(outcome, facts.id, request, self.clock)
    }
}

fn carry_out(lock: &mut Lock, call: &Call, policy: Policy<'_>, clock: Clock) -> &'static str {
    let holder = call.holder.as_str();
    let settled = |settled, done| match settled {
        Settled::Done => done,
        Settled::OtherToken => "other_token",
        Settled::NotHeld => "lost",
        Settled::Guarded => "guarded",
    };
    match call.op {
        Op::Acquire => {
            let ask = Ask {
                holder,
                rank: FIRST,
                ticket: None,
                ttl: call.ttl,
                place: call.place,
                claim: call.claim,
                waits: call.waits,
                provisional: call.waited,
                metadata: &call.metadata,
                wall: call.wall,
            };
            match lock.acquire(&ask, policy, clock) {
                Answer::Granted => "granted",
                Answer::Queued => "queued",
            }
        }
        Op::Renew => settled(lock.renew(holder, call.token, call.ttl, clock), "renewed"),
        Op::Release => settled(lock.release(holder, call.token, policy, clock), "released"),
        Op::Withdraw => match lock.withdraw(holder, policy, clock) {
            Settled::Done => "withdrawn",
            Settled::NotHeld => "not_queued",
            Settled::OtherToken | Settled::Guarded => "held",
        },
        Op::Break => settled(lock.take_away(holder, End::Broken, policy, clock), "broken"),
        Op::Forget => settled(lock.take_away(holder, End::Forgotten, policy, clock), "forgotten"),
    }
}

/// Decides by the lock's policy, or in the order of the queue.
pub fn decide<T>(
    store: &mut Store<'_, '_>,
    facts: &mut Facts,
    clock: Clock,
    decide: impl FnOnce(&mut Lock, Policy<'_>, Clock) -> T,
) -> T {
    let Some(function) = facts.policy.clone() else { return decide(&mut facts.lock, &mut next_in_line, clock) };
    let mut asked = false;
    let mut problem = None;
    let mut ask = |holder: &str, granted: &[&str], queue: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (permits, wrong) = store
            .first(
                "SELECT p.permits, p.problem FROM goahead._ask_policy($1, $2, $3, $4, $5) AS p",
                &[
                    function.as_str().into(),
                    facts.name.as_str().into(),
                    holder.into(),
                    names(granted).into(),
                    names(queue).into(),
                ],
                |row| (row.get::<bool>(1), row.opt::<String>(2)),
            )
            .expect("a function with OUT arguments gives one row");
        asked = true;
        problem = wrong.or(problem.take());
        permits
    };
    let result = decide(&mut facts.lock, &mut ask, clock);
    if asked {
        facts.policy_error = problem;
    }
    result
}

/// Tells those who wait how many are before them.
pub fn positions(store: &mut Store<'_, '_>, mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let queued: Vec<usize> =
        outcomes.iter().enumerate().filter(|(_, outcome)| outcome.ticket.is_some()).map(|(index, _)| index).collect();
    if queued.is_empty() {
        return outcomes;
    }
    let positions = store.rows(
        "SELECT p.before FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) WITH ORDINALITY AS n (id, ticket, rank, place)
          CROSS JOIN LATERAL (SELECT count(*) AS before FROM goahead._lock_request r
                               WHERE r.lock_id = n.id AND r.slot IS NULL AND (r.rank, r.ticket) < (n.rank, n.ticket)) p
          ORDER BY n.place",
        &[
            queued.iter().map(|index| outcomes[*index].lock_id).collect::<Vec<_>>().into(),
            queued.iter().filter_map(|index| outcomes[*index].ticket).collect::<Vec<_>>().into(),
            queued.iter().map(|index| outcomes[*index].rank).collect::<Vec<_>>().into(),
        ],
        |row| row.get::<i64>(1),
    );
    for (index, before) in queued.into_iter().zip(positions) {
        outcomes[index].position = Some(before + 1);
    }
    outcomes
}
