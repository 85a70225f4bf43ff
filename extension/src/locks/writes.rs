//! Writes what was decided about locks: each kind of row with one statement, however many calls there were.

use super::facts::{Facts, LockRow};
use crate::events::{self, Event};
use crate::store::Store;
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
    save(store, UPDATE, &old);
    save(store, INSERT, &new);
    write_locks(store, locks);
    for facts in locks.values_mut() {
        tell(store, facts, notes, clock);
    }
}

fn delete(store: &mut Store<'_, '_>, ended: &[(i32, String, bool)]) {
    if ended.is_empty() {
        return;
    }
    store.run(
        "DELETE FROM goahead._lock_request r USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS n (id, holder)
          WHERE r.lock_id = n.id AND r.holder = n.holder",
        &[
            ended.iter().map(|(id, ..)| *id).collect::<Vec<_>>().into(),
            ended.iter().map(|(_, holder, _)| holder.clone()).collect::<Vec<_>>().into(),
        ],
    );
}

const NEW: &str = "unnest($1::int[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::boolean[], $9::bigint[],
        $10::bigint[], $11::int[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::boolean[], $18::bigint[], $19::text[], $20::bigint[], $21::int[])
    AS n (lock_id, holder, ttl_us, place_us, claim_us, asked_epoch, asked_us, waited, offered_epoch, offered_us, slot, token,
          granted_epoch, granted_us, renewed_epoch, renewed_us, provisional, ticket, metadata, requested_us, rank)";

const INSERT: &str = const_format::concatcp!(
    "INSERT INTO goahead._lock_request (lock_id, holder, ttl_us, place_us, claim_us, asked_epoch, asked_us, waited, offered_epoch, offered_us,
         slot, token, granted_epoch, granted_us, renewed_epoch, renewed_us, provisional, rank, ticket, metadata, requested_at, granted_at)
     SELECT n.lock_id, n.holder, n.ttl_us, n.place_us, n.claim_us, n.asked_epoch, n.asked_us, n.waited, n.offered_epoch, n.offered_us,
         n.slot, n.token, n.granted_epoch, n.granted_us, n.renewed_epoch, n.renewed_us, n.provisional, n.rank, n.ticket, n.metadata::jsonb,
         pg_catalog.to_timestamp(0) + n.requested_us * interval '1 microsecond',
         CASE WHEN n.slot IS NOT NULL THEN pg_catalog.clock_timestamp() END
       FROM ",
    NEW
);

const UPDATE: &str = const_format::concatcp!(
    "UPDATE goahead._lock_request AS r
        SET ttl_us = n.ttl_us, place_us = n.place_us, claim_us = n.claim_us, asked_epoch = n.asked_epoch, asked_us = n.asked_us,
            waited = n.waited, offered_epoch = n.offered_epoch, offered_us = n.offered_us, slot = n.slot, token = n.token,
            granted_epoch = n.granted_epoch, granted_us = n.granted_us, renewed_epoch = n.renewed_epoch, renewed_us = n.renewed_us,
            provisional = n.provisional,
            granted_at = CASE WHEN n.slot IS NOT NULL THEN coalesce(r.granted_at, pg_catalog.clock_timestamp()) END
       FROM ",
    NEW,
    " WHERE r.lock_id = n.lock_id AND r.holder = n.holder AND r.ticket = n.ticket"
);

fn save(store: &mut Store<'_, '_>, sql: &'static str, requests: &[(i32, &Request)]) {
    if requests.is_empty() {
        return;
    }
    let hold = |make: &dyn Fn(&Hold) -> i64| {
        requests.iter().map(|(_, request)| request.hold.as_ref().map(make)).collect::<Vec<_>>()
    };
    let number = |make: &dyn Fn(&Request) -> i64| requests.iter().map(|(_, request)| make(request)).collect::<Vec<_>>();
    let offered = |make: &dyn Fn(Instant) -> i64| {
        requests.iter().map(|(_, request)| request.offered.map(make)).collect::<Vec<_>>()
    };
    let ttl = |request: &Request| request.hold.as_ref().map_or(request.ttl, |hold| hold.ttl).map(|ttl| ttl.as_micros());
    store.run(
        sql,
        &[
            requests.iter().map(|(id, _)| *id).collect::<Vec<_>>().into(),
            requests.iter().map(|(_, request)| request.holder.clone()).collect::<Vec<_>>().into(),
            requests.iter().map(|(_, request)| ttl(request)).collect::<Vec<_>>().into(),
            number(&|request| request.place.as_micros()).into(),
            number(&|request| request.claim.as_micros()).into(),
            number(&|request| request.asked.epoch).into(),
            number(&|request| request.asked.us).into(),
            requests.iter().map(|(_, request)| request.waited).collect::<Vec<_>>().into(),
            offered(&|at| at.epoch).into(),
            offered(&|at| at.us).into(),
            requests.iter().map(|(_, request)| request.hold.as_ref().map(|hold| hold.slot)).collect::<Vec<_>>().into(),
            hold(&|hold| hold.token).into(),
            hold(&|hold| hold.granted.epoch).into(),
            hold(&|hold| hold.granted.us).into(),
            hold(&|hold| hold.renewed.epoch).into(),
            hold(&|hold| hold.renewed.us).into(),
            requests
                .iter()
                .map(|(_, request)| request.hold.as_ref().is_some_and(|hold| hold.provisional))
                .collect::<Vec<_>>()
                .into(),
            number(&|request| request.ticket).into(),
            requests.iter().map(|(_, request)| request.metadata.clone()).collect::<Vec<_>>().into(),
            number(&|request| request.requested_at).into(),
            requests.iter().map(|(_, request)| request.rank).collect::<Vec<_>>().into(),
        ],
    );
}

fn write_locks(store: &mut Store<'_, '_>, locks: &mut BTreeMap<i32, Facts>) {
    let changed: Vec<(i32, LockRow)> =
        locks.values().filter(|facts| facts.row != facts.row_now()).map(|facts| (facts.id, facts.row_now())).collect();
    if changed.is_empty() {
        return;
    }
    store.begin();
    let array = |row: &LockRow, make: &dyn Fn(&(i32, Instant)) -> i64| {
        let numbers: Vec<String> = row.resting.iter().map(|resting| make(resting).to_string()).collect();
        format!("{{{}}}", numbers.join(","))
    };
    let arrays =
        |make: &dyn Fn(&(i32, Instant)) -> i64| changed.iter().map(|(_, row)| array(row, make)).collect::<Vec<_>>();
    store.run(
        "UPDATE goahead._lock AS l
            SET last_ticket = n.last_ticket, last_token = n.last_token, policy_error = n.policy_error, halted = n.halted,
                resting_slots = n.slots::int[], resting_epochs = n.epochs::bigint[], resting_us = n.us::bigint[],
                used_at = pg_catalog.clock_timestamp()
           FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
                AS n (id, last_ticket, last_token, policy_error, slots, epochs, us, halted)
          WHERE l.id = n.id",
        &[
            changed.iter().map(|(id, _)| *id).collect::<Vec<_>>().into(),
            changed.iter().map(|(_, row)| row.last_ticket).collect::<Vec<_>>().into(),
            changed.iter().map(|(_, row)| row.last_token).collect::<Vec<_>>().into(),
            changed.iter().map(|(_, row)| row.policy_error.clone()).collect::<Vec<_>>().into(),
            arrays(&|(slot, _)| i64::from(*slot)).into(),
            arrays(&|(_, since)| since.epoch).into(),
            arrays(&|(_, since)| since.us).into(),
            changed.iter().map(|(_, row)| row.halted.clone()).collect::<Vec<_>>().into(),
        ],
    );
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
