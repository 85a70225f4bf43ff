//! The sweep: what time brings about while nobody calls, in every room.

use crate::clock;
use crate::store::{self, Store};
use crate::{gate, locks, rendezvous, restarts};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn sweep() -> JsonB {
    store::decide(|store| {
        // Notes a new epoch in a transaction that is short, before one that somebody left open has to.
        let clock = clock::settled(store);
        let clusters = restarts::deadlines(store, clock);
        let locks = locks::sweep(store, clock);
        let signals = rendezvous::sweep(store, clock);
        let trimmed = if is_housekeeper(store) {
            restarts::housekeeping(store)
                + locks::prune(store)
                + rendezvous::housekeeping(store)
                + gate::housekeeping(store)
        } else {
            0
        };
        JsonB(json!({ "clusters": clusters, "locks": locks, "signals": signals, "trimmed": trimmed, "next_ms": 1_000 }))
    })
}

/// Once a minute, for one sweep at a time.
fn is_housekeeper(store: &mut Store<'_, '_>) -> bool {
    let done = store.first(
        "SELECT true FROM goahead._housekeeping WHERE at > pg_catalog.clock_timestamp() - interval '60 s'",
        &[],
        |_| (),
    );
    if done.is_some() || !store.try_lock(store::SINGLE_LOCK, store::SWEEP) {
        return false;
    }
    store.run(
        "INSERT INTO goahead._housekeeping (at) VALUES (pg_catalog.clock_timestamp()) ON CONFLICT (singleton) DO UPDATE SET at = EXCLUDED.at",
        &[],
    );
    true
}
