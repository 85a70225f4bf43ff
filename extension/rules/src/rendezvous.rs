//! Points that callers reach: a key that somebody signals, a barrier at which a number of parties meet.
//!
//! A barrier works in generations, as a cyclic one does (java.util.concurrent.CyclicBarrier, Curator's DoubleBarrier):
//! when the last party has arrived, its generation is released as a whole and the next begins. An arrival is kept until
//! its member was told, so that a generation that was released reaches all of its members and nobody of the next.

use crate::duration::GoDuration;
use crate::lease::{Clock, Instant};

/// How long an arrival counts, and a waiter of another session is believed in, without being repeated.
pub const PLACE: GoDuration = GoDuration(60_000_000_000);
/// How long a member that was released may take to come for the news, or repeat that it lost the answer.
pub const TOLD: GoDuration = GoDuration(3_600_000_000_000);
/// Most parties of a barrier.
pub const MOST_PARTIES: i32 = 10_000;

/// Whether a signal that was given `since` is over.
pub fn is_over(since: Instant, ttl: Option<GoDuration>, clock: Clock) -> bool {
    ttl.is_some_and(|ttl| clock.passed(since, ttl))
}

/// A member at a barrier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arrival {
    /// Who.
    pub member: String,
    /// The generation that it is counted in.
    pub generation: i64,
    /// When it said so last.
    pub heard: Instant,
    /// It was told that its generation is released.
    pub told: bool,
}

/// A barrier and those who stand at it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Barrier {
    /// How many release a generation.
    pub parties: i32,
    /// The generation that is gathering, from 1.
    pub generation: i64,
    /// Those of the gathering generation, and those of released ones that may still ask.
    pub arrivals: Vec<Arrival>,
}

/// What an arriving member is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// All parties of this generation have arrived.
    Released(i64),
    /// Others are missing: the generation, and how many are there.
    Waiting(i64, usize),
    /// Those who are there expect another number of parties.
    OtherParties(i32),
}

impl Barrier {
    /// A barrier that nobody has come to yet.
    pub fn new(parties: i32) -> Self {
        Self { parties, generation: 1, arrivals: Vec::new() }
    }

    /// A member arrives, or says again that it is there: `generation` is the one that it was told before.
    pub fn arrive(&mut self, member: &str, generation: Option<i64>, parties: i32, clock: Clock) -> Arrived {
        self.pass_time(clock);
        let gathering = self.generation;
        if let Some(arrival) = self.arrivals.iter_mut().find(|arrival| arrival.member == member) {
            let released = arrival.generation < gathering;
            let means_it = match generation {
                Some(generation) => generation == arrival.generation,
                // Who was told and comes without a generation comes for the next one.
                None => !arrival.told,
            };
            if released && means_it {
                arrival.told = true;
                arrival.heard = clock.now;
                return Arrived::Released(arrival.generation);
            }
        }
        let others = self.gathered().filter(|arrival| arrival.member != member).count();
        if others == 0 {
            self.parties = parties;
        } else if self.parties != parties {
            return Arrived::OtherParties(self.parties);
        }
        self.arrivals.retain(|arrival| arrival.member != member);
        let here = Arrival { member: member.to_owned(), generation: gathering, heard: clock.now, told: false };
        self.arrivals.push(here);
        if i32::try_from(others + 1).is_ok_and(|count| count < self.parties) {
            return Arrived::Waiting(gathering, others + 1);
        }
        self.generation += 1;
        if let Some(last) = self.arrivals.last_mut() {
            last.told = true;
        }
        Arrived::Released(gathering)
    }

    /// A member goes away before the release; whether it was there. One that was released stays counted.
    pub fn depart(&mut self, member: &str, clock: Clock) -> bool {
        self.pass_time(clock);
        let (before, gathering) = (self.arrivals.len(), self.generation);
        self.arrivals.retain(|arrival| arrival.member != member || arrival.generation < gathering);
        self.arrivals.len() < before
    }

    /// Forgets those who have not been heard of for too long.
    pub fn pass_time(&mut self, clock: Clock) {
        let gathering = self.generation;
        self.arrivals.retain(|arrival| {
            let patience = if arrival.generation < gathering { TOLD } else { PLACE };
            !clock.passed(arrival.heard, patience)
        });
    }

    /// Those of the generation that is gathering.
    pub fn gathered(&self) -> impl Iterator<Item = &Arrival> {
        self.arrivals.iter().filter(|arrival| arrival.generation == self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn at(seconds: i64) -> Clock {
        Clock { now: Instant { epoch: 1, us: seconds * 1_000_000 }, epoch_start: 0 }
    }

    #[test]
    fn a_signal_without_ttl_stays() {
        let since = Instant { epoch: 1, us: 0 };
        assert!(!is_over(since, None, at(1_000_000)));
        assert!(!is_over(since, Some(PLACE), at(59)));
        assert!(is_over(since, Some(PLACE), at(60)));
    }

    #[test]
    fn the_last_of_three_releases_all() {
        let mut barrier = Barrier::new(3);
        assert_eq!(barrier.arrive("a", None, 3, at(0)), Arrived::Waiting(1, 1));
        assert_eq!(barrier.arrive("b", None, 3, at(1)), Arrived::Waiting(1, 2));
        assert_eq!(barrier.arrive("a", Some(1), 3, at(2)), Arrived::Waiting(1, 2), "it is counted once");
        assert_eq!(barrier.arrive("c", None, 3, at(3)), Arrived::Released(1));
        assert_eq!(barrier.arrive("b", Some(1), 3, at(4)), Arrived::Released(1));
        assert_eq!(barrier.arrive("a", None, 3, at(5)), Arrived::Released(1), "it has not been told yet");
    }

    #[test]
    fn who_was_told_comes_for_the_next_generation_unless_it_says_otherwise() {
        let mut barrier = Barrier::new(2);
        barrier.arrive("a", None, 2, at(0));
        assert_eq!(barrier.arrive("b", None, 2, at(1)), Arrived::Released(1));
        assert_eq!(barrier.arrive("b", Some(1), 2, at(2)), Arrived::Released(1), "its answer was lost");
        assert_eq!(barrier.arrive("b", None, 2, at(3)), Arrived::Waiting(2, 1));
        assert_eq!(barrier.arrive("a", None, 2, at(4)), Arrived::Released(1), "the slow one of the first generation");
        assert_eq!(barrier.arrive("a", None, 2, at(5)), Arrived::Released(2));
    }

    #[test]
    fn who_is_gone_does_not_count() {
        let mut barrier = Barrier::new(3);
        barrier.arrive("dead", None, 3, at(0));
        barrier.arrive("left", None, 3, at(0));
        assert!(barrier.depart("left", at(1)));
        assert!(!barrier.depart("left", at(1)));
        assert_eq!(barrier.arrive("a", None, 3, at(59)), Arrived::Waiting(1, 2));
        assert_eq!(
            barrier.arrive("b", None, 3, at(61)),
            Arrived::Waiting(1, 2),
            "nothing was heard of one for a minute"
        );
        assert_eq!(barrier.arrive("c", None, 3, at(62)), Arrived::Released(1));
        assert!(!barrier.depart("a", at(63)), "what is released stays so");
        assert_eq!(barrier.arrive("a", Some(1), 3, at(64)), Arrived::Released(1));
        // Not a member of the generation that it names: it is of the one that gathers now.
        assert_eq!(barrier.arrive("dead", Some(1), 3, at(65)), Arrived::Waiting(2, 1));
    }

    #[test]
    fn all_must_expect_the_same_number() {
        let mut barrier = Barrier::new(3);
        barrier.arrive("a", None, 3, at(0));
        assert_eq!(barrier.arrive("b", None, 2, at(1)), Arrived::OtherParties(3));
        assert_eq!(barrier.arrive("a", Some(1), 2, at(2)), Arrived::Waiting(1, 1), "alone it may say otherwise");
        assert_eq!(barrier.arrive("b", None, 2, at(3)), Arrived::Released(1));
        assert_eq!(Barrier::new(1).arrive("a", None, 1, at(0)), Arrived::Released(1));
    }

    proptest! {
        /// Whoever comes in whatever order, with lost answers: each generation is released to exactly its parties.
        #[test]
        fn a_generation_is_released_to_exactly_its_parties(steps in prop::collection::vec((0..6_u8, 0..4_i64, prop::bool::ANY), 1..120)) {
            let mut barrier = Barrier::new(3);
            let mut waiting: BTreeMap<u8, i64> = BTreeMap::new();
            let mut released: BTreeMap<i64, std::collections::BTreeSet<u8>> = BTreeMap::new();
            let mut now = 0;
            for (member, pause, lost) in steps {
                now += pause;
                let name = member.to_string();
                let known = waiting.get(&member).copied();
                match barrier.arrive(&name, known, 3, at(now)) {
                    Arrived::Released(generation) => {
                        prop_assert!(known.is_none_or(|known| known == generation));
                        prop_assert!(generation < barrier.generation);
                        released.entry(generation).or_default().insert(member);
                        if lost { waiting.insert(member, generation); } else { waiting.remove(&member); }
                    }
                    Arrived::Waiting(generation, count) => {
                        prop_assert_eq!(generation, barrier.generation);
                        prop_assert!(count < 3);
                        waiting.insert(member, generation);
                    }
                    Arrived::OtherParties(_) => prop_assert!(false, "all say three"),
                }
                prop_assert!(barrier.gathered().count() < 3);
            }
            for members in released.values() {
                prop_assert!(members.len() <= 3);
            }
        }
    }
}
