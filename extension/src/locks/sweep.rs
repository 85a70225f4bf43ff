//! What time brings about while nobody calls: holds that end, places that are lost, idle locks that are dropped.

use super::{engine, facts, operations, settings, writes};
use crate::store::{self, Store};
use goahead_rules::lease::Clock;
use std::collections::{BTreeMap, BTreeSet};

/// Locks that one sweep looks at.
const AT_ONCE: i64 = 1_000;

/// Judges the locks where something may be due; one that is busy is judged by whoever holds it. Gives how many changed.
pub fn sweep(store: &mut Store<'_, '_>, clock: Clock) -> usize {
    // Whether something is due the rules say; this is only where to look.
    let names = store.rows(
        "SELECT DISTINCT l.name FROM goahead._lock_request r JOIN goahead._lock l ON l.id = r.lock_id
          WHERE r.asked_epoch <> $1 OR r.slot IS NULL AND (r.asked_us + r.place_us <= $2 OR r.offered_us IS NOT NULL)
             OR r.slot IS NOT NULL AND (r.provisional OR r.renewed_epoch <> $1 OR r.renewed_us + r.ttl_us <= $2)
          ORDER BY l.name LIMIT $3",
        &[clock.now.epoch.into(), clock.now.us.into(), AT_ONCE.into()],
        |row| row.get::<String>(1),
    );
    let resting = store.rows(
        "SELECT DISTINCT l.name FROM goahead._lock_rest s JOIN goahead._lock l ON l.id = s.lock_id ORDER BY l.name LIMIT $1",
        &[AT_ONCE.into()],
        |row| row.get::<String>(1),
    );
    let wanted: BTreeSet<&str> = names.iter().chain(&resting).map(String::as_str).collect();
    let taken = store.take(store::LOCK_LOCK, &wanted, false);
    tick(store, &taken, clock)
}

/// Judges locks whose advisory locks are held, without a call. Gives how many changed.
pub fn tick(store: &mut Store<'_, '_>, names: &BTreeSet<&str>, clock: Clock) -> usize {
    let mut locks = facts::read(store, names, &[], &BTreeMap::new());
    facts::read_lapsed(store, &mut locks, clock);
    facts::note_guarded(store, &mut locks, &[], clock);
    locks.retain(|_, facts| facts.lock.is_due(clock) || facts.lock.has_room());
    for facts in locks.values_mut() {
        engine::decide(store, facts, clock, |lock, policy, clock| lock.tick(policy, clock));
    }
    writes::write(store, &mut locks, &BTreeMap::new(), clock);
    locks.len()
}

/// Drops locks that nobody configured and nobody has used for a day, and operations that ended long ago.
pub fn prune(store: &mut Store<'_, '_>) -> usize {
    let idle = store.rows(
        "SELECT l.id, l.name FROM goahead._lock l
          WHERE NOT l.configured AND l.used_at < pg_catalog.clock_timestamp() - interval '1 day'
            AND NOT EXISTS (SELECT FROM goahead._lock_request r WHERE r.lock_id = l.id)
            AND NOT EXISTS (SELECT FROM goahead._operation o WHERE o.lock = l.name AND o.state IN ('queued', 'running', 'held'))
          ORDER BY l.id LIMIT $1",
        &[AT_ONCE.into()],
        |row| (row.get::<i32>(1), row.get::<String>(2)),
    );
    let mut pruned = 0;
    for (id, name) in idle {
        if !store.try_lock(store::LOCK_LOCK, store::name_key(&name)) {
            continue;
        }
        // Somebody may have come for it meanwhile.
        let used =
            store.first("SELECT true FROM goahead._lock_request WHERE lock_id = $1 LIMIT 1", &[id.into()], |_| ());
        if used.is_none() && !operations::wait_for(store, &name) {
            settings::forget(store, id);
            pruned += 1;
        }
    }
    pruned + operations::trim(store)
}
