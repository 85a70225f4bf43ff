//! Writes what was decided about locks: each kind of row with one statement, however many calls there were.

use super::facts::{Facts, LockRow};
use crate::events::{self, Event};
use crate::store::{ForRows, Store, column};
use const_format::concatcp;
use goahead_rules::lease::{self, Clock, Instant};
use goahead_rules::lock::{End, Hold, Request};
use serde_json::json;
use std::collections::BTreeMap;

/// The channel on which a waiter hears that it is its turn; the payload is `lock id:ticket`.
const CHANNEL: &str = "goahead_lock";

/// Writes everything. What changes who holds a slot commits durably. `notes` are the reasons of operators, by lock and
/// holder.
pub fn write(
    store: &mut Store<'_, '_>,
    locks: &mut BTreeMap<i32, Facts>,
    notes: &BTreeMap<(i32, String), String>,
    clock: Clock,
) {
    let ended: Vec<(i32, String, bool)> = locks
        .values()
        .flat_map(|facts| {
            facts.lock.ended.iter().map(|(request, _)| (facts.id, request.holder.clone(), request.hold.is_some()))
        })
        .collect();
    let changed: Vec<(i32, &Request)> = locks
        .values()
        .flat_map(|facts| {
            facts.lock.requests.iter().filter(|request| request.changed).map(|request| (facts.id, request))
        })
        .collect();
    if !ended.is_empty() || !changed.is_empty() {
        store.begin();
    }
    if ended.iter().any(|(_, _, held)| *held) || changed.iter().any(|(_, request)| request.hold.is_some()) {
        store.durable();
    }
    delete(store, &ended);
    let (new, old): (Vec<_>, Vec<_>) = changed.into_iter().partition(|(_, request)| request.new);
    save(store, &UPDATE, &old);
    save(store, &INSERT, &new);
    write_locks(store, locks);
    for facts in locks.values_mut() {
        tell(store, facts, notes, clock);
    }
}

fn delete(store: &mut Store<'_, '_>, ended: &[(i32, String, bool)]) {
    const DELETE: ForRows = ForRows {
        one: "DELETE FROM goahead._lock_request r WHERE r.lock_id = $1 AND r.holder = $2",
        many: "DELETE FROM goahead._lock_request r USING unnest($1::int[], $2::text[]) AS n (id, holder)
                WHERE r.lock_id = n.id AND r.holder = n.holder",
    };
    if !ended.is_empty() {
        let rows = [column(ended, |(id, ..)| *id), column(ended, |(_, holder, _)| holder.clone())];
        store.run(DELETE.text(ended.len()), &rows);
    }
}

const ONE: &str = "(SELECT $1::int AS lock_id, $2::text AS holder, $3::bigint AS ttl_us, $4::bigint AS place_us, $5::bigint AS claim_us,
        $6::bigint AS asked_epoch, $7::bigint AS asked_us, $8::boolean AS waited, $9::bigint AS offered_epoch, $10::bigint AS offered_us,
        $11::int AS slot, $12::bigint AS token, $13::bigint AS granted_epoch, $14::bigint AS granted_us, $15::bigint AS renewed_epoch,
        $16::bigint AS renewed_us, $17::boolean AS provisional, $18::bigint AS ticket, $19::text AS metadata, $20::bigint AS requested_us,
        $21::int AS rank) AS n";
const MANY: &str = "unnest($1::int[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::boolean[], $9::bigint[],
        $10::bigint[], $11::int[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::boolean[], $18::bigint[],
        $19::text[], $20::bigint[], $21::int[])
    AS n (lock_id, holder, ttl_us, place_us, claim_us, asked_epoch, asked_us, waited, offered_epoch, offered_us, slot, token,
          granted_epoch, granted_us, renewed_epoch, renewed_us, provisional, ticket, metadata, requested_us, rank)";
const INTO: &str = "INSERT INTO goahead._lock_request (lock_id, holder, ttl_us, place_us, claim_us, asked_epoch, asked_us, waited, offered_epoch, offered_us,
         slot, token, granted_epoch, granted_us, renewed_epoch, renewed_us, provisional, rank, ticket, metadata, requested_at, granted_at)
     SELECT n.lock_id, n.holder, n.ttl_us, n.place_us, n.claim_us, n.asked_epoch, n.asked_us, n.waited, n.offered_epoch, n.offered_us,
         n.slot, n.token, n.granted_epoch, n.granted_us, n.renewed_epoch, n.renewed_us, n.provisional, n.rank, n.ticket, n.metadata::jsonb,
         pg_catalog.to_timestamp(0) + n.requested_us * interval '1 microsecond',
         CASE WHEN n.slot IS NOT NULL THEN pg_catalog.clock_timestamp() END
       FROM ";
const SET: &str = "UPDATE goahead._lock_request AS r
        SET ttl_us = n.ttl_us, place_us = n.place_us, claim_us = n.claim_us, asked_epoch = n.asked_epoch, asked_us = n.asked_us,
            waited = n.waited, offered_epoch = n.offered_epoch, offered_us = n.offered_us, slot = n.slot, token = n.token,
            granted_epoch = n.granted_epoch, granted_us = n.granted_us, renewed_epoch = n.renewed_epoch, renewed_us = n.renewed_us,
            provisional = n.provisional,
            granted_at = CASE WHEN n.slot IS NOT NULL THEN coalesce(r.granted_at, pg_catalog.clock_timestamp()) END
       FROM ";
const WHERE: &str = " WHERE r.lock_id = n.lock_id AND r.holder = n.holder AND r.ticket = n.ticket";

const INSERT: ForRows = ForRows { one: concatcp!(INTO, ONE), many: concatcp!(INTO, MANY) };
const UPDATE: ForRows = ForRows { one: concatcp!(SET, ONE, WHERE), many: concatcp!(SET, MANY, WHERE) };

fn save(store: &mut Store<'_, '_>, sql: &ForRows, requests: &[(i32, &Request)]) {
    if requests.is_empty() {
        return;
    }
    let hold = |make: &dyn Fn(&Hold) -> i64| column(requests, |(_, request)| request.hold.as_ref().map(make));
    let number = |make: &dyn Fn(&Request) -> i64| column(requests, |(_, request)| make(request));
    let offered = |make: &dyn Fn(Instant) -> i64| column(requests, |(_, request)| request.offered.map(make));
    let ttl = |request: &Request| request.hold.as_ref().map_or(request.ttl, |hold| hold.ttl).map(|ttl| ttl.as_micros());
    let rows = [
        column(requests, |(id, _)| *id),
        column(requests, |(_, request)| request.holder.clone()),
        column(requests, |(_, request)| ttl(request)),
        number(&|request| request.place.as_micros()),
        number(&|request| request.claim.as_micros()),
        number(&|request| request.asked.epoch),
        number(&|request| request.asked.us),
        column(requests, |(_, request)| request.waited),
        offered(&|at| at.epoch),
        offered(&|at| at.us),
        column(requests, |(_, request)| request.hold.as_ref().map(|hold| hold.slot)),
        hold(&|hold| hold.token),
        hold(&|hold| hold.granted.epoch),
        hold(&|hold| hold.granted.us),
        hold(&|hold| hold.renewed.epoch),
        hold(&|hold| hold.renewed.us),
        column(requests, |(_, request)| request.hold.as_ref().is_some_and(|hold| hold.provisional)),
        number(&|request| request.ticket),
        column(requests, |(_, request)| request.metadata.clone()),
        number(&|request| request.requested_at),
        column(requests, |(_, request)| request.rank),
    ];
    store.run(sql.text(requests.len()), &rows);
}

fn write_locks(store: &mut Store<'_, '_>, locks: &BTreeMap<i32, Facts>) {
    const SET: &str = "UPDATE goahead._lock AS l
        SET last_ticket = n.last_ticket, last_token = n.last_token, policy_error = n.policy_error, halted = n.halted,
            used_at = pg_catalog.clock_timestamp() FROM ";
    const SAVE: ForRows = ForRows {
        one: concatcp!(
            SET,
            "(SELECT $1::int AS id, $2::bigint AS last_ticket, $3::bigint AS last_token, $4::text AS policy_error, $5::text AS halted) AS n",
            " WHERE l.id = n.id"
        ),
        many: concatcp!(
            SET,
            "unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]) AS n (id, last_ticket, last_token, policy_error, halted)",
            " WHERE l.id = n.id"
        ),
    };
    let changed: Vec<(&Facts, LockRow)> =
        locks.values().map(|facts| (facts, facts.row_now())).filter(|(facts, now)| facts.row != *now).collect();
    if changed.is_empty() {
        return;
    }
    store.begin();
    let rows = [
        column(&changed, |(facts, _)| facts.id),
        column(&changed, |(_, row)| row.last_ticket),
        column(&changed, |(_, row)| row.last_token),
        column(&changed, |(_, row)| row.policy_error.clone()),
        column(&changed, |(_, row)| row.halted.clone()),
    ];
    store.run(SAVE.text(changed.len()), &rows);
    for (facts, row) in changed.iter().filter(|(facts, row)| facts.row.resting != row.resting) {
        rest(store, facts.id, &row.resting);
    }
}

/// Writes which slots of a lock rest.
fn rest(store: &mut Store<'_, '_>, id: i32, resting: &[(i32, Instant)]) {
    store.run("DELETE FROM goahead._lock_rest WHERE lock_id = $1", &[id.into()]);
    for (slot, since) in resting {
        store.run(
            "INSERT INTO goahead._lock_rest (lock_id, slot, since_epoch, since_us) VALUES ($1, $2, $3, $4)",
            &[id.into(), (*slot).into(), since.epoch.into(), since.us.into()],
        );
    }
}

/// Wakes those whose turn it is, and writes what an operator would want to know later.
fn tell(store: &mut Store<'_, '_>, facts: &mut Facts, notes: &BTreeMap<(i32, String), String>, clock: Clock) {
    for holder in std::mem::take(&mut facts.lock.woken) {
        if let Some(ticket) = facts.of(&holder).map(|request| request.ticket) {
            let payload = format!("{}:{ticket}", facts.id);
            store.run("SELECT pg_catalog.pg_notify($1, $2)", &[CHANNEL.into(), payload.into()]);
        }
    }
    let mut told: Vec<Event> = std::mem::take(&mut facts.lock.ended)
        .into_iter()
        .filter_map(|(request, why)| {
            let kind = match why {
                End::Expired => "lock_expired",
                End::Unconfirmed => "lock_unconfirmed",
                End::Forgotten => "lock_forgotten",
                End::Broken => "lock_broken",
                End::Released | End::Withdrawn | End::PlaceLost => return None,
            };
            let mut detail = json!({ "lock": facts.name, "token": request.hold.as_ref().map(|hold| hold.token) });
            if let Some(hold) = &request.hold {
                detail["held"] = lease::whole_seconds(clock.since(hold.granted)).to_string().into();
            }
            if let Some(note) = notes.get(&(facts.id, request.holder.clone())) {
                detail["reason"] = note.as_str().into();
            }
            Some(Event { kind, cluster: None, subject: Some(request.holder), detail })
        })
        .collect();
    if facts.policy_error.is_some() && facts.policy_error != facts.row.policy_error {
        let detail = json!({ "policy": facts.policy, "problem": facts.policy_error });
        told.push(Event { kind: "policy_failed", cluster: None, subject: Some(facts.name.clone()), detail });
    }
    events::write(store, &told);
}
