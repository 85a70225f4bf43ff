//! What time brings about: signals that are over, waiters that are gone, barriers that nobody uses.

use crate::store::{self, Store};
use goahead_rules::duration::GoDuration;
use goahead_rules::lease::{Clock, Instant};
use goahead_rules::rendezvous::is_over;
use std::collections::BTreeSet;

/// Rows that one sweep looks at.
const AT_ONCE: i64 = 1_000;

/// Deletes signals that are over; a key that is busy is looked at the next time. Gives how many.
pub fn sweep(store: &mut Store<'_, '_>, clock: Clock) -> usize {
    // Whether one is over the rules say; this is only where to look.
    let ends = |store: &mut Store<'_, '_>| {
        let rows = store.rows(
            "SELECT s.key, s.since_epoch, s.since_us, s.ttl_us FROM goahead._signal s
              WHERE s.ttl_us IS NOT NULL AND (s.since_epoch, s.since_us + s.ttl_us) <= ($1, $2)
              ORDER BY s.since_epoch, s.since_us + s.ttl_us LIMIT $3",
            &[clock.now.epoch.into(), clock.now.us.into(), AT_ONCE.into()],
            |row| {
                let since = Instant { epoch: row.get(2), us: row.get(3) };
                (row.get::<String>(1), since, row.opt(4).map(GoDuration::from_micros))
            },
        );
        rows.into_iter()
            .filter(|(_, since, ttl)| is_over(*since, *ttl, clock))
            .map(|(key, ..)| key)
            .collect::<Vec<String>>()
    };
    let due = ends(store);
    let due: BTreeSet<&str> = due.iter().map(String::as_str).collect();
    let taken = store.take(store::RENDEZVOUS_LOCK, &due, false);
    if taken.is_empty() {
        return 0;
    }
    // Somebody may have signalled it again meanwhile.
    let over: Vec<String> = ends(store).into_iter().filter(|key| taken.contains(key.as_str())).collect();
    store.run("DELETE FROM goahead._signal s WHERE s.key = ANY ($1)", &[over.clone().into()]);
    over.len()
}

/// Forgets who has not been heard of, and what has not been used, for a day. Gives how many rows.
pub fn housekeeping(store: &mut Store<'_, '_>) -> usize {
    store.begin();
    let waits = store.run(
        "DELETE FROM goahead._wait w
          WHERE greatest(w.since, w.timed_out_at) < pg_catalog.clock_timestamp() - interval '1 day'
             OR w.timed_out_at IS NOT NULL AND w.timed_out_at < (SELECT x.timed_out_at FROM goahead._wait x WHERE x.timed_out_at IS NOT NULL
                                                                   ORDER BY x.timed_out_at DESC OFFSET 10000 LIMIT 1)
      RETURNING w.key",
        &[],
    );
    let barriers = store.run(
        "DELETE FROM goahead._barrier b
          WHERE b.ctid = ANY (ARRAY(SELECT x.ctid FROM goahead._barrier x WHERE x.used_at < pg_catalog.clock_timestamp() - interval '1 day'
                                       FOR UPDATE SKIP LOCKED LIMIT 1000))
      RETURNING b.key",
        &[],
    );
    waits + barriers
}
