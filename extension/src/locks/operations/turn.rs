//! The lock under an operation: taken for one decision about one unit.

use crate::locks::facts::{self, Facts};
use crate::locks::wire::Outcome;
use crate::locks::{engine, writes};
use crate::sets;
use crate::store::{LOCK_LOCK, Store};
use goahead_rules::duration::GoDuration;
use goahead_rules::lease::Clock;
use goahead_rules::lock::{Answer, Ask, End, Hold, Lock, Policy};
use std::collections::{BTreeMap, BTreeSet};

/// A lock whose advisory lock is held until the transaction ends.
pub struct Turn {
    locks: BTreeMap<i32, Facts>,
    id: i32,
    clock: Clock,
    notes: BTreeMap<(i32, String), String>,
}

/// How a unit asks for its next operation.
pub struct Terms {
    /// The TTL of the hold; none: until the attempt is reported.
    pub ttl: Option<GoDuration>,
    /// How long the place lasts without being repeated.
    pub place: GoDuration,
    /// How long a slot is kept for the unit while it does not wait.
    pub claim: GoDuration,
    /// It is to be woken.
    pub waits: bool,
    /// It has waited, and is to confirm a grant.
    pub waited: bool,
}

impl Turn {
    /// Waits for the lock on a lock; makes it, with one slot, if it is not there. `ends`: the unit's hold may end by this.
    pub fn take(store: &mut Store<'_, '_>, clock: Clock, lock: &str, unit: &str, ends: bool) -> Self {
        let names = BTreeSet::from([lock]);
        store.take(LOCK_LOCK, &names, true);
        let callers = [(lock, unit)];
        let mut locks = facts::read(store, &names, &callers, &BTreeMap::from([(lock, 1)]));
        facts::note_guarded(store, &mut locks, if ends { &callers } else { &[] }, clock);
        let id = *locks.keys().next().expect("it was made if it was not there");
        Self { locks, id, clock, notes: BTreeMap::new() }
    }

    /// The lock.
    pub fn facts(&mut self) -> &mut Facts {
        self.locks.get_mut(&self.id).expect("it was read")
    }

    /// Why nobody is granted it now.
    pub fn halted(&self) -> Option<String> {
        self.locks.get(&self.id)?.halted.clone()
    }

    /// Whether the unit's hold of this token is in force.
    pub fn holds(&self, unit: &str, token: i64) -> bool {
        self.locks.values().any(|facts| facts.lock.is_held_by(unit, token, self.clock))
    }

    /// The token of the unit's hold in force.
    pub fn token_of(&self, unit: &str) -> Option<i64> {
        let token = self.locks.get(&self.id)?.of(unit)?.hold.as_ref()?.token;
        self.holds(unit, token).then_some(token)
    }

    /// Whether a transaction relies on what the unit holds.
    pub fn is_guarded(&self, unit: &str) -> bool {
        let guarded = |hold: &Hold| hold.guarded;
        self.locks.values().any(|facts| facts.of(unit).and_then(|r| r.hold.as_ref()).is_some_and(guarded))
    }

    /// A new ticket, behind all of its rank.
    pub fn draw(&mut self) -> i64 {
        self.facts().lock.draw()
    }

    /// Asks for the lock with a place in the queue.
    pub fn ask(&mut self, store: &mut Store<'_, '_>, unit: &str, place: (i32, i64), terms: &Terms) -> Outcome {
        let ask = Ask {
            holder: unit,
            rank: place.0,
            ticket: Some(place.1),
            ttl: terms.ttl,
            place: terms.place,
            claim: terms.claim,
            waits: terms.waits,
            provisional: terms.waited,
            metadata: "{}",
            wall: sets::wall(),
        };
        let answer = self.decide(store, |lock, policy, clock| lock.acquire(&ask, policy, clock));
        self.outcome(unit, if answer == Answer::Granted { "granted" } else { "queued" })
    }

    /// Keeps the unit's hold for another TTL.
    pub fn renew(&mut self, store: &mut Store<'_, '_>, unit: &str, token: i64, terms: &Terms) -> Outcome {
        self.decide(store, |lock, _, clock| lock.renew(unit, token, terms.ttl, clock));
        self.outcome(unit, "granted")
    }

    /// Gives back what the unit holds.
    pub fn release(&mut self, store: &mut Store<'_, '_>, unit: &str, token: i64) {
        self.decide(store, |lock, policy, clock| lock.release(unit, token, policy, clock));
    }

    /// Takes away what the unit holds.
    pub fn take_away(&mut self, store: &mut Store<'_, '_>, unit: &str, reason: &str) {
        self.notes.insert((self.id, unit.to_owned()), reason.to_owned());
        self.decide(store, |lock, policy, clock| lock.take_away(unit, End::Broken, policy, clock));
    }

    /// Leaves the queue.
    pub fn withdraw(&mut self, store: &mut Store<'_, '_>, unit: &str) {
        self.decide(store, |lock, policy, clock| lock.withdraw(unit, policy, clock));
    }

    /// Lets those who wait go on after the lock was halted.
    pub fn resume(&mut self, store: &mut Store<'_, '_>) {
        self.facts().halt(None);
        self.decide(store, |lock, policy, clock| lock.tick(policy, clock));
    }

    /// Writes what was decided.
    pub fn write(mut self, store: &mut Store<'_, '_>) {
        writes::write(store, &mut self.locks, &self.notes, self.clock);
    }

    fn decide<T>(&mut self, store: &mut Store<'_, '_>, decide: impl FnOnce(&mut Lock, Policy<'_>, Clock) -> T) -> T {
        let clock = self.clock;
        engine::decide(store, self.facts(), clock, decide)
    }

    fn outcome(&mut self, unit: &str, outcome: &'static str) -> Outcome {
        let (id, clock) = (self.id, self.clock);
        Outcome::of(outcome, id, self.facts().of(unit), clock)
    }
}
