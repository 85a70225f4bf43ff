//! Who holds a lock, and whose turn is next.
//!
//! A lock has slots. Whoever asks gets a ticket and with it a place in the queue; places are served in the order of
//! tickets, first requests before retries, and a hold belongs to the request that earned it, never to a name alone (ops-coordinator's rule: a grant
//! counts only while its request stands). Nobody is granted behind their back: when a slot is free, those who wait for
//! it are *offered* it, in order, and whoever asks again takes what is offered. A waiter that has died lets its offer
//! lapse and is passed over, so it delays the queue by that much and never blocks it.
//!
//! A hold with a TTL ends when it is not renewed; what it guarded is safe from the late holder by the fencing token, a
//! number that only grows (M. Kleppmann, "How to do distributed locking", 2016). A slot that was not given back
//! properly may rest for a while before it is granted again (Consul's lock-delay).

mod request;
mod turns;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use request::{End, Hold, Request};

use crate::duration::GoDuration;
use crate::lease::{Clock, Instant};

/// How long a place in the queue lasts without being repeated, unless the caller says otherwise.
pub const PLACE: GoDuration = GoDuration(60_000_000_000);
/// How long a slot is kept for a waiter that has been woken.
pub const OFFER: GoDuration = GoDuration(2_000_000_000);
/// How long a holder may take to confirm a grant that ended its wait.
pub const CONFIRM: GoDuration = GoDuration(10_000_000_000);

/// A lock with its holders and those of its queue that matter now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    /// How many may hold it at once.
    pub slots: i32,
    /// How long a slot rests that was not given back properly.
    pub delay: GoDuration,
    /// Nothing is granted until an operator says so.
    pub halted: bool,
    /// The highest ticket that was drawn.
    pub last_ticket: i64,
    /// The highest token that was drawn.
    pub last_token: i64,
    /// Tokens are higher than this: the timeline in the upper half, so that a token that an asynchronous failover has lost
    /// is never drawn again.
    pub token_floor: i64,
    /// Slots that rest, and since when.
    pub resting: Vec<(i32, Instant)>,
    /// Those that stand, in the order of their places.
    pub requests: Vec<Request>,
    /// Those that have ended in this decision.
    pub ended: Vec<(Request, End)>,
    /// Holders that are to be woken: a slot is kept for them.
    pub woken: Vec<String>,
}

/// The rank of who asks for the first time.
pub const FIRST: i32 = 0;
/// The rank of who held the lock and did not get its work done.
pub const RETRY: i32 = 1;

/// How a slot is asked for.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Who asks.
    pub holder: &'a str,
    /// See [`Request::rank`].
    pub rank: i32,
    /// A ticket that was drawn before, see [`Lock::draw`]; none: a new one.
    pub ticket: Option<i64>,
    /// The TTL of the hold; none: until released.
    pub ttl: Option<GoDuration>,
    /// See [`Request::place`].
    pub place: GoDuration,
    /// See [`Request::claim`].
    pub claim: GoDuration,
    /// The caller waits and is to be woken when its turn comes.
    pub waits: bool,
    /// The caller has waited, and may have gone away meanwhile: it is to confirm a grant.
    pub provisional: bool,
    /// See [`Request::metadata`].
    pub metadata: &'a str,
    /// The wall clock, see [`Request::requested_at`].
    pub wall: i64,
}

/// The answer to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The caller holds a slot.
    Granted,
    /// The caller has a place in the queue.
    Queued,
}

/// The answer to what a holder says of its hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is done.
    Done,
    /// Another request of this holder holds the lock, with another token.
    OtherToken,
    /// The holder holds nothing: never did, gave it back, or lost it.
    NotHeld,
    /// A transaction that relies on the hold is open.
    Guarded,
}

/// What a policy says of a request: the holder, those who hold the lock, the queue in order.
pub type Policy<'a> = &'a mut dyn FnMut(&str, &[&str], &[&str]) -> bool;

/// The policy of a lock that has none: whoever is next, while a slot is free.
pub fn next_in_line(_: &str, _: &[&str], _: &[&str]) -> bool {
    true
}

impl Lock {
    /// A lock that nobody has asked for yet.
    pub fn new(slots: i32) -> Self {
        Self {
            slots,
            delay: GoDuration(0),
            halted: false,
            last_ticket: 0,
            last_token: 0,
            token_floor: 0,
            resting: Vec::new(),
            requests: Vec::new(),
            ended: Vec::new(),
            woken: Vec::new(),
        }
    }

    /// Asks for a slot, or repeats that. Never waits.
    pub fn acquire(&mut self, ask: &Ask<'_>, policy: Policy<'_>, clock: Clock) -> Answer {
        self.pass_time(clock);
        match self.of(ask.holder) {
            Some(index) if self.requests[index].hold.is_some() => {}
            Some(index) => {
                let request = &mut self.requests[index];
                request.ttl = ask.ttl;
                request.place = ask.place;
                request.claim = ask.claim;
                request.asked = clock.now;
                request.waited = ask.waits;
                request.changed = true;
            }
            None => {
                let request = Request {
                    new: true,
                    holder: ask.holder.to_owned(),
                    rank: ask.rank,
                    ticket: ask.ticket.unwrap_or_else(|| self.draw()),
                    ttl: ask.ttl,
                    place: ask.place,
                    claim: ask.claim,
                    asked: clock.now,
                    waited: ask.waits,
                    offered: None,
                    hold: None,
                    changed: true,
                    metadata: ask.metadata.to_owned(),
                    requested_at: ask.wall,
                };
                let index = self.requests.partition_point(|other| other.place_in_line() < request.place_in_line());
                self.requests.insert(index, request);
            }
        }
        self.serve(Some(ask), policy, clock);
        let held = self.of(ask.holder).is_some_and(|index| self.requests[index].hold.is_some());
        if held { Answer::Granted } else { Answer::Queued }
    }

    /// Draws a ticket for a request that will be made later and then stands where it would have stood now.
    pub fn draw(&mut self) -> i64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Whether this token is of a hold of this holder that is in force.
    pub fn is_held_by(&self, holder: &str, token: i64, clock: Clock) -> bool {
        let held = |hold: &Hold| hold.token == token && !hold.is_over(clock);
        self.requests.iter().any(|request| request.holder == holder && request.hold.as_ref().is_some_and(held))
    }

    /// The holder is alive and keeps its slot for another TTL; this also confirms a provisional grant.
    pub fn renew(&mut self, holder: &str, token: i64, ttl: Option<GoDuration>, clock: Clock) -> Settled {
        self.pass_time(clock);
        match self.hold_of(holder, token) {
            Ok(index) => {
                let request = &mut self.requests[index];
                if let Some(hold) = &mut request.hold {
                    hold.renewed = clock.now;
                    hold.ttl = ttl;
                    hold.provisional = false;
                    request.changed = true;
                }
                Settled::Done
            }
            Err(settled) => settled,
        }
    }

    /// The holder gives its slot back. A token of an earlier hold gives nothing back.
    pub fn release(&mut self, holder: &str, token: i64, policy: Policy<'_>, clock: Clock) -> Settled {
        self.pass_time(clock);
        let settled = match self.hold_of(holder, token) {
            Ok(index) => self.end(index, End::Released, clock),
            Err(settled) => settled,
        };
        self.serve(None, policy, clock);
        settled
    }

    /// The holder leaves the queue. What it holds it keeps.
    pub fn withdraw(&mut self, holder: &str, policy: Policy<'_>, clock: Clock) -> Settled {
        self.pass_time(clock);
        let settled = match self.of(holder) {
            Some(index) if self.requests[index].hold.is_none() => self.end(index, End::Withdrawn, clock),
            Some(_) => Settled::OtherToken,
            None => Settled::NotHeld,
        };
        self.serve(None, policy, clock);
        settled
    }

    /// The holder is gone, or is to be: whatever it has of this lock ends for this reason.
    pub fn take_away(&mut self, holder: &str, why: End, policy: Policy<'_>, clock: Clock) -> Settled {
        self.pass_time(clock);
        let settled = match self.of(holder) {
            Some(index) => self.end(index, why, clock),
            None => Settled::NotHeld,
        };
        self.serve(None, policy, clock);
        settled
    }

    /// Nobody called: only time has passed.
    pub fn tick(&mut self, policy: Policy<'_>, clock: Clock) {
        self.pass_time(clock);
        self.serve(None, policy, clock);
    }

    /// Whether a hold or a place ends, an offer lapses or a slot is rested by now: a [`tick`](Self::tick) would change
    /// something.
    pub fn is_due(&self, clock: Clock) -> bool {
        let rested = self.resting.iter().any(|(_, since)| clock.passed(*since, self.delay));
        rested
            || self.requests.iter().any(|request| match &request.hold {
                Some(hold) => hold.end(clock).is_some(),
                None => {
                    clock.passed(request.asked, request.place)
                        || request.offered.is_some() && !request.is_kept_a_slot(clock)
                }
            })
    }

    /// Requests that hold a slot.
    pub fn holders(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.hold.is_some())
    }

    fn of(&self, holder: &str) -> Option<usize> {
        self.requests.iter().position(|request| request.holder == holder)
    }

    fn hold_of(&self, holder: &str, token: i64) -> Result<usize, Settled> {
        let index = self.of(holder).ok_or(Settled::NotHeld)?;
        match &self.requests[index].hold {
            Some(hold) if hold.token == token => Ok(index),
            Some(_) => Err(Settled::OtherToken),
            None => Err(Settled::NotHeld),
        }
    }

    fn end(&mut self, index: usize, why: End, clock: Clock) -> Settled {
        if self.requests[index].hold.as_ref().is_some_and(|hold| hold.guarded) {
            return Settled::Guarded;
        }
        let request = self.requests.remove(index);
        if let Some(hold) = &request.hold
            && why.is_sudden()
            && self.delay > GoDuration(0)
        {
            self.resting.push((hold.slot, clock.now));
        }
        self.ended.push((request, why));
        Settled::Done
    }

    /// Ends what time ends.
    fn pass_time(&mut self, clock: Clock) {
        self.resting.retain(|(_, since)| !clock.passed(*since, self.delay));
        for request in &mut self.requests {
            // Nobody came: until it is repeated, it is passed over.
            if request.offered.is_some() && !request.is_kept_a_slot(clock) {
                request.offered = None;
                request.waited = false;
                request.claim = GoDuration(0);
                request.changed = true;
            }
        }
        let mut index = 0;
        while let Some(request) = self.requests.get(index) {
            let why = match &request.hold {
                Some(hold) => hold.end(clock),
                None if clock.passed(request.asked, request.place) => Some(End::PlaceLost),
                None => None,
            };
            match why {
                Some(why) => {
                    self.end(index, why, clock);
                }
                None => index += 1,
            }
        }
    }
}
