//! Barriers between their rows and the rules.

use super::points::wake;
use crate::store::Store;
use goahead_rules::lease::{Clock, Instant};
use goahead_rules::rendezvous::{Arrival, Arrived, Barrier};
use std::collections::{BTreeMap, BTreeSet};

struct Facts {
    barrier: Barrier,
    /// As the rows have it; none: there is no row.
    was: Option<Barrier>,
}

/// The barriers of a batch.
pub struct Barriers {
    clock: Clock,
    barriers: BTreeMap<String, Facts>,
}

impl Barriers {
    /// Reads barriers with those who stand at them.
    pub fn read(store: &mut Store<'_, '_>, keys: &BTreeSet<&str>, clock: Clock) -> Self {
        let mut barriers = BTreeMap::new();
        if keys.is_empty() {
            return Self { clock, barriers };
        }
        let names: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let mut found: BTreeMap<String, Barrier> = store
            .rows(
                "SELECT b.key, b.parties, b.generation FROM goahead._barrier b WHERE b.key = ANY ($1)",
                &[names.clone().into()],
                |row| (row.get(1), Barrier { parties: row.get(2), generation: row.get(3), arrivals: Vec::new() }),
            )
            .into_iter()
            .collect();
        let arrivals = store.rows(
            "SELECT a.key, a.member, a.generation, a.heard_epoch, a.heard_us, a.told FROM goahead._arrival a WHERE a.key = ANY ($1) ORDER BY a.member",
            &[names.clone().into()],
            |row| {
                let heard = Instant { epoch: row.get(4), us: row.get(5) };
                (row.get::<String>(1), Arrival { member: row.get(2), generation: row.get(3), heard, told: row.get(6) })
            },
        );
        for (key, arrival) in arrivals {
            if let Some(barrier) = found.get_mut(&key) {
                barrier.arrivals.push(arrival);
            }
        }
        for key in names {
            let was = found.remove(&key);
            barriers.insert(key, Facts { barrier: was.clone().unwrap_or_else(|| Barrier::new(1)), was });
        }
        Self { clock, barriers }
    }

    /// See [`Barrier::arrive`].
    pub fn arrive(&mut self, key: &str, member: &str, generation: Option<i64>, parties: i32) -> Arrived {
        let clock = self.clock;
        self.of(key).arrive(member, generation, parties, clock)
    }

    /// See [`Barrier::depart`].
    pub fn depart(&mut self, key: &str, member: &str) -> bool {
        let clock = self.clock;
        self.of(key).depart(member, clock)
    }

    fn of(&mut self, key: &str) -> &mut Barrier {
        &mut self.barriers.get_mut(key).expect("every barrier of the batch was read").barrier
    }

    /// Writes what has changed. A release commits durably and wakes those who wait.
    pub fn write(&self, store: &mut Store<'_, '_>) {
        let changed = || self.barriers.iter().filter(|(_, facts)| facts.was.as_ref() != Some(&facts.barrier));
        if changed().next().is_none() {
            return;
        }
        store.begin();
        let released = |facts: &Facts| facts.was.as_ref().map_or(1, |was| was.generation) < facts.barrier.generation;
        if changed().any(|(_, facts)| released(facts)) {
            store.durable();
        }
        for (key, facts) in changed() {
            store.run(
                "INSERT INTO goahead._barrier (key, parties, generation) VALUES ($1, $2, $3)
                 ON CONFLICT (key) DO UPDATE SET parties = EXCLUDED.parties, generation = EXCLUDED.generation, used_at = pg_catalog.clock_timestamp()",
                &[key.as_str().into(), facts.barrier.parties.into(), facts.barrier.generation.into()],
            );
            write_arrivals(store, key, facts);
            if released(facts) {
                wake(store, key);
            }
        }
    }
}

fn write_arrivals(store: &mut Store<'_, '_>, key: &str, facts: &Facts) {
    let known = facts.was.as_ref().map_or(&[][..], |was| &was.arrivals);
    let before: BTreeMap<&str, &Arrival> = known.iter().map(|arrival| (arrival.member.as_str(), arrival)).collect();
    let now: BTreeSet<&str> = facts.barrier.arrivals.iter().map(|arrival| arrival.member.as_str()).collect();
    let gone: Vec<String> =
        before.keys().filter(|member| !now.contains(*member)).map(|member| (*member).to_owned()).collect();
    if !gone.is_empty() {
        let sql = "DELETE FROM goahead._arrival a WHERE a.key = $1 AND a.member = ANY ($2)";
        store.run(sql, &[key.into(), gone.into()]);
    }
    let written: Vec<&Arrival> = facts
        .barrier
        .arrivals
        .iter()
        .filter(|arrival| before.get(arrival.member.as_str()).is_none_or(|before| before != arrival))
        .collect();
    if written.is_empty() {
        return;
    }
    store.run(
        "INSERT INTO goahead._arrival (key, member, generation, heard_epoch, heard_us, told)
         SELECT $1, n.member, n.generation, n.epoch, n.us, n.told
           FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::boolean[]) AS n (member, generation, epoch, us, told)
         ON CONFLICT (key, member) DO UPDATE SET generation = EXCLUDED.generation, heard_epoch = EXCLUDED.heard_epoch,
                heard_us = EXCLUDED.heard_us, told = EXCLUDED.told",
        &[
            key.into(),
            written.iter().map(|arrival| arrival.member.clone()).collect::<Vec<_>>().into(),
            written.iter().map(|arrival| arrival.generation).collect::<Vec<_>>().into(),
            written.iter().map(|arrival| arrival.heard.epoch).collect::<Vec<_>>().into(),
            written.iter().map(|arrival| arrival.heard.us).collect::<Vec<_>>().into(),
            written.iter().map(|arrival| arrival.told).collect::<Vec<_>>().into(),
        ],
    );
}
