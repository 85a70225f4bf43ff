//! What a holder has asked for, and what it holds: how long each lasts, and why it ends.

use super::{CONFIRM, OFFER};
use crate::duration::GoDuration;
use crate::lease::{Clock, Instant};

/// A slot in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// Its number, from 1.
    pub slot: i32,
    /// The fencing token.
    pub token: i64,
    /// When it was granted.
    pub granted: Instant,
    /// When its TTL began: at the grant, or at the last renewal.
    pub renewed: Instant,
    /// How long it lasts from then; none: until it is released.
    pub ttl: Option<GoDuration>,
    /// The holder has not confirmed yet that the grant reached it.
    pub provisional: bool,
    /// A transaction that relies on its token is open: it cannot end before that has.
    pub guarded: bool,
}

impl Hold {
    /// Whether its time is over; it ends with the next decision, unless a transaction relies on it.
    pub fn is_over(&self, clock: Clock) -> bool {
        self.end(clock).is_some()
    }

    pub(super) fn end(&self, clock: Clock) -> Option<End> {
        if self.guarded {
            None
        } else if self.ttl.is_some_and(|ttl| clock.passed(self.renewed, ttl)) {
            Some(End::Expired)
        } else if self.provisional && clock.passed(self.granted, CONFIRM) {
            Some(End::Unconfirmed)
        } else {
            None
        }
    }
}

/// What a holder has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// It has no row yet.
    pub new: bool,
    /// Who asks.
    pub holder: String,
    /// Lower ranks come first: [`FIRST`](super::FIRST) or [`RETRY`](super::RETRY).
    pub rank: i32,
    /// Its place among those of its rank: lower tickets come first.
    pub ticket: i64,
    /// The TTL that its hold will have.
    pub ttl: Option<GoDuration>,
    /// How long it keeps its place without being repeated.
    pub place: GoDuration,
    /// How long a slot is kept for it when its turn comes and nobody waits for it; 0: it is passed over.
    pub claim: GoDuration,
    /// When it was last asked.
    pub asked: Instant,
    /// Somebody waits for it and is to be woken.
    pub waited: bool,
    /// When it was told that it is its turn.
    pub offered: Option<Instant>,
    /// The slot that it holds; none while it is queued.
    pub hold: Option<Hold>,
    /// It differs from its row.
    pub changed: bool,
    /// What the caller wants others to see, a JSON object.
    pub metadata: String,
    /// The wall clock when it was first asked, in microseconds since 1970: for people, nothing is decided by it.
    pub requested_at: i64,
}

impl Request {
    /// What requests are ordered by.
    pub fn place_in_line(&self) -> (i32, i64) {
        (self.rank, self.ticket)
    }

    /// How long an offer to it stands.
    pub(super) fn offer(&self) -> GoDuration {
        if self.waited { self.claim.max(OFFER) } else { self.claim }
    }

    pub(super) fn is_kept_a_slot(&self, clock: Clock) -> bool {
        self.offered.is_some_and(|since| !clock.passed(since, self.offer()))
    }
}

/// Why a request is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Its holder gave the slot back.
    Released,
    /// Its holder left the queue.
    Withdrawn,
    /// It was not repeated in time.
    PlaceLost,
    /// Its TTL passed.
    Expired,
    /// The grant was not confirmed in time.
    Unconfirmed,
    /// An operator took the slot away.
    Broken,
    /// An operator, or a registry of machines, said that the holder is gone.
    Forgotten,
}

impl End {
    /// Whether the holder may still be at work, unaware.
    pub(super) fn is_sudden(self) -> bool {
        matches!(self, Self::Expired | Self::Broken | Self::Forgotten)
    }
}
