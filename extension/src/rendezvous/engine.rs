//! Judges a batch of calls one after another, in one transaction.

use super::barriers::Barriers;
use super::points::Points;
use super::wire::{Call, Op, Outcome};
use crate::clock;
use crate::sets::Invalid;
use crate::store::{self, Store};
use goahead_rules::rendezvous::Arrived;
use std::collections::BTreeSet;

/// Judges calls; the answers are in their order. A batch that does not wait gives calls back as `busy` whose key
/// somebody else is deciding about.
pub fn run(store: &mut Store<'_, '_>, calls: &[Result<Call, Invalid>], wait: bool) -> Vec<Outcome> {
    let clock = clock::settled(store);
    let valid = || calls.iter().flatten();
    let deciding: BTreeSet<&str> =
        valid().filter(|call| !matches!(call.op, Op::Read)).map(|call| call.key.as_str()).collect();
    let taken = store.take(store::RENDEZVOUS_LOCK, &deciding, wait);
    let keys = |barrier: bool| {
        valid().filter(move |call| call.is_of_a_barrier() == barrier).map(|call| call.key.as_str()).collect()
    };
    let mut points = Points::read(store, &keys(false), clock);
    let mut barriers = Barriers::read(store, &keys(true), clock);
    let outcomes = calls
        .iter()
        .map(|call| match call {
            Ok(call) if matches!(call.op, Op::Read) || taken.contains(call.key.as_str()) => {
                judge(&mut points, &mut barriers, call)
            }
            Ok(call) => Outcome::busy(call),
            Err(invalid) => Outcome::invalid(invalid.clone()),
        })
        .collect();
    points.write(store);
    barriers.write(store);
    outcomes
}

fn judge(points: &mut Points, barriers: &mut Barriers, call: &Call) -> Outcome {
    let key = call.key.as_str();
    match &call.op {
        Op::Signal(payload, ttl) => {
            points.signal(key, payload.clone(), *ttl);
            Outcome::plain("signalled")
        }
        Op::Unsignal if points.unsignal(key) => Outcome::plain("unsignalled"),
        Op::Unsignal => Outcome::plain("not_signalled"),
        Op::Read => points.signalled(key).unwrap_or_else(|| Outcome::plain("not_signalled")),
        Op::Watch(watch) => points.watch(key, watch).unwrap_or_else(|| Outcome::plain("not_signalled")),
        Op::Leave(service, timed_out) => {
            points.leave(key, service, *timed_out);
            Outcome::plain("left")
        }
        Op::Arrive { parties, member, generation } => match barriers.arrive(key, member, *generation, *parties) {
            Arrived::Released(generation) => {
                Outcome { generation: Some(generation), parties: Some(*parties), ..Outcome::plain("released") }
            }
            Arrived::Waiting(generation, arrived) => Outcome {
                generation: Some(generation),
                arrived: Some(arrived),
                parties: Some(*parties),
                ..Outcome::plain("arrived")
            },
            Arrived::OtherParties(others) => Outcome::invalid(Invalid {
                message: format!("those who are at barrier {key} expect {others} parties, not {parties}"),
                hint: "all members must name the same number",
            }),
        },
        Op::Depart(member) if barriers.depart(key, member) => Outcome::plain("departed"),
        Op::Depart(_) => Outcome::plain("not_here"),
    }
}
