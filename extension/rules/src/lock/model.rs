//! Every short history of a lock with one slot and of one with two: lost replies, repeated and late calls, crashes,
//! silence. The rules themselves are run, not a copy of them.

use super::*;
use stateright::{Checker, Model, Property};

const HOLDERS: usize = 3;
const NAMES: [&str; HOLDERS] = ["a", "b", "c"];
const SECOND: i64 = 1_000_000;
const STEPS: u8 = 7;
const TTL: GoDuration = GoDuration(3_000_000_000);
const PLACE: GoDuration = GoDuration(4_000_000_000);

/// What a holder's process knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Process {
    /// The token that it was told last, also after it gave that back.
    token: Option<i64>,
    /// Until when it believes that it holds the lock, in seconds.
    sure_until: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    steps: u8,
    seconds: u8,
    lock: Lock,
    processes: [Process; HOLDERS],
    /// The highest token that was granted.
    highest: i64,
    /// What must never happen has happened.
    broken: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Asks, as one who waits or not, after a wait or not; the answer arrives or is lost.
    Acquire { holder: usize, waits: bool, waited: bool, reply: bool },
    /// Renews with the token that it knows.
    Renew { holder: usize },
    /// Gives back with the token that it knows, perhaps once more.
    Release { holder: usize },
    /// Loses its memory.
    Crash { holder: usize },
    /// Two seconds pass.
    Wait,
}

struct Protocol {
    slots: i32,
}

fn clock(seconds: u8) -> Clock {
    Clock { now: Instant { epoch: 1, us: i64::from(seconds) * SECOND }, epoch_start: 0 }
}

fn ask(holder: usize, waits: bool, waited: bool) -> Ask<'static> {
    Ask {
        holder: NAMES[holder],
        // The last one always retries.
        rank: if holder + 1 == HOLDERS { RETRY } else { FIRST },
        ticket: None,
        ttl: Some(TTL),
        place: PLACE,
        claim: GoDuration(0),
        waits,
        provisional: waited,
        metadata: "{}",
        wall: 0,
    }
}

impl State {
    fn now(&self) -> Clock {
        clock(self.seconds)
    }

    fn acquire(&mut self, holder: usize, waits: bool, waited: bool, reply: bool) {
        let now = self.now();
        let answer = self.lock.acquire(&ask(holder, waits, waited), &mut next_in_line, now);
        if answer == Answer::Queued {
            return;
        }
        let Some(hold) = self.lock.holders().find(|r| r.holder == NAMES[holder]).and_then(|r| r.hold.clone()) else {
            self.broken = Some("granted without a hold");
            return;
        };
        if hold.granted == now.now && hold.token > self.highest {
            self.highest = hold.token;
        } else if hold.token > self.highest {
            self.broken = Some("a token that nobody was granted");
        }
        if reply {
            let process = &mut self.processes[holder];
            process.token = Some(hold.token);
            // An answer that was repeated tells nothing of how long the lease still lasts: that began before.
            let since = u8::try_from((now.now.us - hold.renewed.us) / SECOND).unwrap_or(u8::MAX);
            process.sure_until = if hold.provisional { None } else { Some(self.seconds + 3 - since.min(3)) };
        }
    }

    fn renew(&mut self, holder: usize) {
        let Some(token) = self.processes[holder].token else { return };
        let now = self.now();
        if self.lock.renew(NAMES[holder], token, Some(TTL), now) == Settled::Done {
            self.processes[holder].sure_until = Some(self.seconds + 3);
        } else {
            self.processes[holder].sure_until = None;
        }
    }

    fn release(&mut self, holder: usize) {
        let Some(token) = self.processes[holder].token else { return };
        let now = self.now();
        self.processes[holder].sure_until = None;
        self.lock.release(NAMES[holder], token, &mut next_in_line, now);
        if self
            .lock
            .ended
            .iter()
            .any(|(request, why)| *why == End::Released && request.hold.as_ref().is_none_or(|hold| hold.token != token))
        {
            self.broken = Some("a token gave back what it did not open");
        }
    }

    /// With everybody else dead, a process that keeps asking is granted within a bounded time.
    fn serves(&self, holder: usize) -> bool {
        let mut state = self.clone();
        for _ in 0..20 {
            state.seconds += 2;
            let now = state.now();
            if state.lock.acquire(&ask(holder, true, false), &mut next_in_line, now) == Answer::Granted {
                return true;
            }
        }
        false
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let lock = Lock { delay: GoDuration(1_000_000_000), ..Lock::new(self.slots) };
        vec![State { steps: 0, seconds: 0, lock, processes: Default::default(), highest: 0, broken: None }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.steps >= STEPS {
            return;
        }
        steps.push(Step::Wait);
        for holder in 0..HOLDERS {
            for reply in [true, false] {
                steps.push(Step::Acquire { holder, waits: false, waited: false, reply });
                steps.push(Step::Acquire { holder, waits: true, waited: true, reply });
            }
            if state.processes[holder].token.is_some() {
                steps.extend([Step::Renew { holder }, Step::Release { holder }, Step::Crash { holder }]);
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        state.steps += 1;
        state.lock.ended.clear();
        state.lock.woken.clear();
        match step {
            Step::Acquire { holder, waits, waited, reply } => state.acquire(holder, waits, waited, reply),
            Step::Renew { holder } => state.renew(holder),
            Step::Release { holder } => state.release(holder),
            Step::Crash { holder } => state.processes[holder] = Process::default(),
            Step::Wait => {
                state.seconds += 2;
                let now = state.now();
                state.lock.tick(&mut next_in_line, now);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no slot has two holders, and none is beyond the last", |model, state: &State| {
                let mut slots: Vec<i32> = state.lock.holders().filter_map(|r| Some(r.hold.as_ref()?.slot)).collect();
                slots.extend(state.lock.resting.iter().map(|(slot, _)| *slot));
                slots.sort_unstable();
                let count = slots.len();
                slots.dedup();
                count == slots.len() && slots.iter().all(|slot| (1..=model.slots).contains(slot))
            }),
            Property::always("no more processes than slots are sure that they hold it", |model, state: &State| {
                let sure = |process: &&Process| process.sure_until.is_some_and(|until| state.seconds < until);
                i32::try_from(state.processes.iter().filter(sure).count()).is_ok_and(|sure| sure <= model.slots)
            }),
            Property::always("whoever is sure of it does hold it", |_, state: &State| {
                state.processes.iter().zip(NAMES).all(|(process, name)| {
                    let sure = process.sure_until.is_some_and(|until| state.seconds < until);
                    let token = process.token;
                    !sure || state.lock.holders().any(|r| r.holder == name && r.hold.as_ref().map(|h| h.token) == token)
                })
            }),
            Property::always("no more slots are held and kept than there are", |model, state: &State| {
                let kept = state.lock.requests.iter().filter(|r| r.hold.is_none() && r.is_kept_a_slot(state.now()));
                i32::try_from(kept.count() + state.lock.holders().count()).is_ok_and(|count| count <= model.slots)
            }),
            Property::always("no retry stands before a first request", |_, state: &State| {
                state.lock.requests.is_sorted_by_key(Request::place_in_line)
            }),
            Property::always("tokens of holds are drawn, and the newest is the highest", |_, state: &State| {
                state.broken.is_none() && state.highest <= state.lock.last_token
            }),
            Property::always("nobody blocks the queue for ever", |_, state: &State| {
                (0..HOLDERS).all(|holder| state.serves(holder))
            }),
            Property::sometimes("a hold expires", |_, state: &State| {
                state.lock.ended.iter().any(|(_, why)| *why == End::Expired)
            }),
        ]
    }
}

#[test]
fn every_short_history_keeps_the_promises() {
    for slots in [1, 2] {
        let checker = Protocol { slots }.checker().threads(2).spawn_bfs().join();
        checker.assert_no_discovery("no slot has two holders, and none is beyond the last");
        checker.assert_no_discovery("no more processes than slots are sure that they hold it");
        checker.assert_no_discovery("whoever is sure of it does hold it");
        checker.assert_no_discovery("no more slots are held and kept than there are");
        checker.assert_no_discovery("no retry stands before a first request");
        checker.assert_no_discovery("tokens of holds are drawn, and the newest is the highest");
        checker.assert_no_discovery("nobody blocks the queue for ever");
        checker.assert_any_discovery("a hold expires");
        assert!(checker.unique_state_count() > 10_000, "{}", checker.unique_state_count());
    }
}
