//! What the set form takes and gives: one JSON object per call.

use crate::sets::{self, Invalid, Wall, invalid, time};
use goahead_rules::duration::GoDuration;
use goahead_rules::lease::Clock;
use goahead_rules::lock::{self, Request};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Ask for a slot.
    Acquire,
    /// Keep it, confirm it.
    Renew,
    /// Give it back.
    Release,
    /// Leave the queue.
    Withdraw,
    /// Take it away.
    Break,
    /// Its holder is gone.
    Forget,
}

/// One call as it came.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    op: Op,
    lock: String,
    holder: String,
    token: Option<i64>,
    #[serde(default = "usual_ttl")]
    ttl: Option<String>,
    slots: Option<i32>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    request_ttl: Option<String>,
    claim_within: Option<String>,
    #[serde(default)]
    waits: bool,
    #[serde(default)]
    waited: bool,
    reason: Option<String>,
}

fn usual_ttl() -> Option<String> {
    Some("60s".to_owned())
}

/// One call, validated.
pub struct Call {
    /// What is to be done.
    pub op: Op,
    /// Name of the lock.
    pub lock: String,
    /// Who calls, or whose hold it is about.
    pub holder: String,
    /// The token of the hold; 0 where none is needed.
    pub token: i64,
    /// TTL of the hold; none: until released.
    pub ttl: Option<GoDuration>,
    /// See [`Request::place`].
    pub place: GoDuration,
    /// See [`Request::claim`].
    pub claim: GoDuration,
    /// Slots that the lock is to have, if it is made by this call.
    pub slots: Option<i32>,
    /// What others may see, a JSON object.
    pub metadata: String,
    /// The caller is to be woken.
    pub waits: bool,
    /// The caller has waited.
    pub waited: bool,
    /// Why an operator does this.
    pub reason: Option<String>,
    /// The wall clock in microseconds since 1970.
    pub wall: i64,
}

/// Longest metadata, in bytes.
const METADATA: usize = 4_096;

impl Call {
    /// A call with everything as usual.
    pub fn new(op: Op, lock: &str, holder: &str) -> Self {
        Self {
            op,
            lock: lock.to_owned(),
            holder: holder.to_owned(),
            token: 0,
            ttl: Some(lock::PLACE),
            place: lock::PLACE,
            claim: GoDuration(0),
            slots: None,
            metadata: "{}".to_owned(),
            waits: false,
            waited: false,
            reason: None,
            wall: sets::wall(),
        }
    }

    /// Reads a call of a set.
    pub fn read(json: &RawValue) -> Result<Self, Invalid> {
        let raw: Raw<'_> = serde_json::from_str(json.get()).map_err(|problem| Invalid {
            message: format!("the call cannot be read: {problem}"),
            hint: "give op (acquire, renew, release, withdraw, break or forget), lock and holder",
        })?;
        let ttl = raw.ttl.as_deref().map(|text| time("ttl", text)).transpose()?;
        let place = raw.request_ttl.as_deref().map(|text| time("request_ttl", text)).transpose()?;
        let claim = raw.claim_within.as_deref().map(|text| time("claim_within", text)).transpose()?;
        let needs_token = matches!(raw.op, Op::Renew | Op::Release);
        let Some(token) = raw.token.or(if needs_token { None } else { Some(0) }) else {
            return invalid("the token is missing", "give the token that came with the grant");
        };
        Self {
            token,
            ttl,
            place: place.or(ttl).unwrap_or(lock::PLACE),
            claim: claim.unwrap_or(GoDuration(0)),
            slots: raw.slots,
            metadata: raw.metadata.map_or("{}", RawValue::get).to_owned(),
            waits: raw.waits,
            waited: raw.waited,
            reason: raw.reason,
            ..Self::new(raw.op, &raw.lock, &raw.holder)
        }
        .check()
    }

    /// Judges the names and numbers of a call.
    pub fn check(self) -> Result<Self, Invalid> {
        for (what, name) in [("lock", &self.lock), ("holder", &self.holder)] {
            sets::check_name(what, name)?;
        }
        if self.slots.is_some_and(|slots| !(1..=1_000_000).contains(&slots)) {
            return invalid("slots is out of range", "a lock has 1 to 1000000 slots");
        }
        if self.metadata.len() > METADATA || !self.metadata.starts_with('{') {
            return invalid("metadata is no JSON object of at most 4096 bytes", "give an object such as {\"pid\": 17}");
        }
        if self.op == Op::Break && self.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
            return invalid(
                "the reason is empty",
                "say in a few words why the lock is taken away; it is kept as an event",
            );
        }
        Ok(self)
    }
}

/// What became of one call.
#[derive(Serialize)]
pub struct Outcome {
    /// One of the outcomes of the interface, see the comment on the function.
    pub outcome: &'static str,
    /// Whether the caller holds a slot.
    pub granted: bool,
    /// The fencing token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<i64>,
    /// The place in the queue, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    /// When the request was first made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Wall>,
    /// When it was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<Wall>,
    /// When the hold ends unless it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
    /// When the grant goes to the next unless it is confirmed by renewing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<Wall>,
    /// Why the call cannot be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
    /// The lock of a call that is busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// `policy`: only who waits is judged, because the lock's policy may take its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<&'static str>,
    /// Row of the lock and ticket of a queued request: with these its waiter is woken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<i64>,
    /// See `ticket`.
    pub lock_id: i32,
    /// See [`Request::rank`].
    #[serde(skip)]
    pub rank: i32,
}

impl Outcome {
    /// An outcome without particulars.
    pub fn plain(outcome: &'static str) -> Self {
        Self {
            outcome,
            granted: false,
            token: None,
            position: None,
            requested_at: None,
            granted_at: None,
            expires_at: None,
            confirm_by: None,
            message: None,
            hint: None,
            group: None,
            condition: None,
            ticket: None,
            lock_id: 0,
            rank: lock::FIRST,
        }
    }

    /// A call that is to be made again, by somebody who waits.
    pub fn busy(call: &Call) -> Self {
        Self { group: Some(call.lock.clone()), ..Self::plain("busy") }
    }

    /// A call that cannot be judged.
    pub fn invalid(invalid: Invalid) -> Self {
        Self { message: Some(invalid.message), hint: Some(invalid.hint), ..Self::plain("invalid") }
    }

    /// An outcome with what the request has.
    pub fn of(outcome: &'static str, lock_id: i32, request: Option<&Request>, clock: Clock) -> Self {
        let Some(request) = request else { return Self { lock_id, ..Self::plain(outcome) } };
        let requested_at = Some(Wall(request.requested_at));
        let Some(hold) = &request.hold else {
            let (rank, ticket) = request.place_in_line();
            return Self { requested_at, ticket: Some(ticket), rank, lock_id, ..Self::plain(outcome) };
        };
        let now = sets::wall();
        let until =
            |since, span: GoDuration| Wall(now.saturating_add(span.as_micros()).saturating_sub(clock.since(since)));
        Self {
            granted: true,
            token: Some(hold.token),
            requested_at,
            granted_at: Some(Wall(now.saturating_sub(clock.since(hold.granted)))),
            expires_at: hold.ttl.map(|ttl| until(hold.renewed, ttl)),
            confirm_by: hold.provisional.then(|| until(hold.granted, lock::CONFIRM)),
            lock_id,
            ..Self::plain(outcome)
        }
    }
}
