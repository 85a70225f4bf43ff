//! Keys between their rows and the rules: what a batch is about, read at once, changed in memory, written at once.

use super::wire::{Outcome, Watch};
use crate::sets::{Wall, wall};
use crate::store::{Row, Store};
use goahead_rules::duration::GoDuration;
use goahead_rules::lease::{Clock, Instant};
use goahead_rules::rendezvous::{PLACE, is_over};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The channel on which waiters hear of a signal or a release; the payload is the key.
pub const CHANNEL: &str = "goahead_rendezvous";
/// How old a waiter's row may grow before it is written again although nothing has changed.
const STALE: GoDuration = GoDuration(20_000_000_000);

struct Signal {
    payload: Option<Value>,
    ttl: Option<GoDuration>,
    since: Instant,
    at: i64,
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Written,
    Deleted,
}

struct Wait {
    waiting: i32,
    who: Vec<String>,
    since: i64,
    heard: Instant,
    timed_out: Option<i64>,
    woken: bool,
    payload: Option<Value>,
    fate: Fate,
}

struct Point {
    signal: Option<Signal>,
    fate: Fate,
    waits: BTreeMap<String, Wait>,
    wakes: bool,
}

/// The keys of a batch.
pub struct Points {
    clock: Clock,
    points: BTreeMap<String, Point>,
}

impl Points {
    /// Reads keys with those who wait for them.
    pub fn read(store: &mut Store<'_, '_>, keys: &BTreeSet<&str>, clock: Clock) -> Self {
        let empty = |key: &&str| {
            let point = Point { signal: None, fate: Fate::Stays, waits: BTreeMap::new(), wakes: false };
            ((*key).to_owned(), point)
        };
        let mut points: BTreeMap<String, Point> = keys.iter().map(empty).collect();
        if keys.is_empty() {
            return Self { clock, points };
        }
        let names: Vec<String> = points.keys().cloned().collect();
        for (key, signal) in store.rows(SIGNALS, &[names.clone().into()], signal) {
            if let Some(point) = points.get_mut(&key) {
                point.signal = Some(signal);
            }
        }
        for (key, service, wait) in store.rows(WAITS, &[names.into()], wait_of) {
            if let Some(point) = points.get_mut(&key) {
                point.waits.insert(service, wait);
            }
        }
        Self { clock, points }
    }

    fn of(&mut self, key: &str) -> &mut Point {
        self.points.get_mut(key).expect("every key of the batch was read")
    }

    /// The key is reached: everybody who waits for it is woken.
    pub fn signal(&mut self, key: &str, payload: Option<Value>, ttl: Option<GoDuration>) {
        let clock = self.clock;
        let point = self.of(key);
        for wait in point.waits.values_mut() {
            if wait.waiting > 0 && !clock.passed(wait.heard, PLACE) {
                wait.woken = true;
                wait.payload.clone_from(&payload);
                wait.fate = Fate::Written;
                point.wakes = true;
            } else {
                wait.fate = Fate::Deleted;
            }
        }
        point.signal = Some(Signal { payload, ttl, since: clock.now, at: wall() });
        point.fate = Fate::Written;
    }

    /// The key is not reached any more; whether it was. Those who were woken stay so.
    pub fn unsignal(&mut self, key: &str) -> bool {
        let clock = self.clock;
        let point = self.of(key);
        match point.signal.take() {
            Some(signal) => {
                point.fate = Fate::Deleted;
                !is_over(signal.since, signal.ttl, clock)
            }
            None => false,
        }
    }

    /// What the signal of a key says, if there is one.
    pub fn signalled(&self, key: &str) -> Option<Outcome> {
        let signal = self.points.get(key)?.signal.as_ref()?;
        if is_over(signal.since, signal.ttl, self.clock) {
            return None;
        }
        let left = signal.ttl.map(|ttl| ttl.as_micros() - self.clock.since(signal.since));
        Some(Outcome {
            payload: signal.payload.clone(),
            signalled_at: Some(Wall(signal.at)),
            expires_at: left.map(|left| Wall(wall().saturating_add(left))),
            ..Outcome::plain("signalled")
        })
    }

    /// The same for those who wait. While it is not signalled, a signal will wake them.
    pub fn watch(&mut self, key: &str, watch: &Watch) -> Option<Outcome> {
        let clock = self.clock;
        let signalled = self.signalled(key);
        let point = self.of(key);
        let row = point.waits.get_mut(&watch.service).filter(|wait| wait.fate != Fate::Deleted);
        if let Some(outcome) = signalled {
            if let Some(row) = row {
                row.fate = Fate::Deleted;
            }
            return Some(outcome);
        }
        if let Some(row) = row {
            if row.woken && !clock.passed(row.heard, PLACE) {
                row.fate = Fate::Deleted;
                return Some(Outcome { payload: row.payload.take(), ..Outcome::plain("signalled") });
            }
            let known = row.waiting == watch.waiting && row.who == watch.who && !row.woken;
            if known && !clock.passed(row.heard, STALE) {
                return None;
            }
        }
        let wait = Wait {
            waiting: watch.waiting,
            who: watch.who.clone(),
            since: watch.since.unwrap_or_else(wall),
            heard: clock.now,
            timed_out: None,
            woken: false,
            payload: None,
            fate: Fate::Written,
        };
        point.waits.insert(watch.service.clone(), wait);
        None
    }

    /// Nobody of a service waits for the key any more.
    pub fn leave(&mut self, key: &str, service: &str, timed_out: bool) {
        let heard = self.clock.now;
        let failed = timed_out && self.signalled(key).is_none();
        let point = self.of(key);
        if failed {
            let now = wall();
            let wait = Wait {
                waiting: 0,
                who: Vec::new(),
                since: now,
                heard,
                timed_out: Some(now),
                woken: false,
                payload: None,
                fate: Fate::Written,
            };
            point.waits.insert(service.to_owned(), wait);
        } else if let Some(wait) = point.waits.get_mut(service) {
            wait.fate = Fate::Deleted;
        }
    }

    /// Writes what has changed. What is signalled or reset commits durably.
    pub fn write(&self, store: &mut Store<'_, '_>) {
        let signals = |fate: Fate| self.points.iter().filter(move |(_, point)| point.fate == fate);
        let waits = |fate: Fate| {
            self.points.iter().flat_map(move |(key, point)| {
                let rows = point.waits.iter().filter(move |(_, wait)| wait.fate == fate);
                rows.map(move |(service, wait)| (key, service, wait))
            })
        };
        if signals(Fate::Written).chain(signals(Fate::Deleted)).next().is_some() {
            store.durable();
        }
        write_signals(
            store,
            &signals(Fate::Written).filter_map(|(key, p)| Some((key, p.signal.as_ref()?))).collect::<Vec<_>>(),
        );
        delete_signals(store, signals(Fate::Deleted).map(|(key, _)| key.clone()).collect());
        write_waits(store, &waits(Fate::Written).collect::<Vec<_>>());
        delete_waits(store, &waits(Fate::Deleted).collect::<Vec<_>>());
        for (key, _) in self.points.iter().filter(|(_, point)| point.wakes) {
            wake(store, key);
        }
    }
}

/// Wakes those who wait for a key or at a barrier.
pub fn wake(store: &mut Store<'_, '_>, key: &str) {
    store.run("SELECT pg_catalog.pg_notify($1, $2)", &[CHANNEL.into(), key.into()]);
}

const SIGNALS: &str = "SELECT s.key, s.payload::text, s.ttl_us, s.since_epoch, s.since_us, (extract(epoch FROM s.signalled_at) * 1000000)::bigint
   FROM goahead._signal s WHERE s.key = ANY ($1)";
const WAITS: &str = "SELECT w.key, w.service, w.waiting, w.who, (extract(epoch FROM w.since) * 1000000)::bigint, w.heard_epoch, w.heard_us,
        (extract(epoch FROM w.timed_out_at) * 1000000)::bigint, w.woken, w.payload::text
   FROM goahead._wait w WHERE w.key = ANY ($1)";

fn json(row: &Row<'_>, column: usize) -> Option<Value> {
    row.opt::<String>(column).and_then(|text| serde_json::from_str(&text).ok())
}

fn signal(row: &Row<'_>) -> (String, Signal) {
    let since = Instant { epoch: row.get(4), us: row.get(5) };
    let signal = Signal { payload: json(row, 2), ttl: row.opt(3).map(GoDuration::from_micros), since, at: row.get(6) };
    (row.get(1), signal)
}

fn wait_of(row: &Row<'_>) -> (String, String, Wait) {
    let wait = Wait {
        waiting: row.get(3),
        who: row.get(4),
        since: row.get(5),
        heard: Instant { epoch: row.get(6), us: row.get(7) },
        timed_out: row.opt(8),
        woken: row.get(9),
        payload: json(row, 10),
        fate: Fate::Stays,
    };
    (row.get(1), row.get(2), wait)
}

fn write_signals(store: &mut Store<'_, '_>, signals: &[(&String, &Signal)]) {
    if signals.is_empty() {
        return;
    }
    store.run(
        "INSERT INTO goahead._signal (key, payload, ttl_us, since_epoch, since_us, signalled_at)
         SELECT n.key, n.payload::jsonb, n.ttl_us, n.epoch, n.us, pg_catalog.to_timestamp(0) + n.at * interval '1 microsecond'
           FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) AS n (key, payload, ttl_us, epoch, us, at)
         ON CONFLICT (key) DO UPDATE SET payload = EXCLUDED.payload, ttl_us = EXCLUDED.ttl_us, since_epoch = EXCLUDED.since_epoch,
                since_us = EXCLUDED.since_us, signalled_at = EXCLUDED.signalled_at",
        &[
            signals.iter().map(|(key, _)| (*key).clone()).collect::<Vec<_>>().into(),
            signals.iter().map(|(_, signal)| signal.payload.as_ref().map(Value::to_string)).collect::<Vec<_>>().into(),
            signals.iter().map(|(_, signal)| signal.ttl.map(GoDuration::as_micros)).collect::<Vec<_>>().into(),
            signals.iter().map(|(_, signal)| signal.since.epoch).collect::<Vec<_>>().into(),
            signals.iter().map(|(_, signal)| signal.since.us).collect::<Vec<_>>().into(),
            signals.iter().map(|(_, signal)| signal.at).collect::<Vec<_>>().into(),
        ],
    );
}

fn write_waits(store: &mut Store<'_, '_>, waits: &[(&String, &String, &Wait)]) {
    if waits.is_empty() {
        return;
    }
    store.begin();
    let who = |wait: &Wait| serde_json::to_string(&wait.who).expect("texts are plain data");
    store.run(
        "INSERT INTO goahead._wait (key, service, waiting, who, since, heard_epoch, heard_us, timed_out_at, woken, payload)
         SELECT n.key, n.service, n.waiting, ARRAY(SELECT pg_catalog.jsonb_array_elements_text(n.who::jsonb)),
                pg_catalog.to_timestamp(0) + n.since * interval '1 microsecond', n.epoch, n.us,
                pg_catalog.to_timestamp(0) + n.timed_out * interval '1 microsecond', n.woken, n.payload::jsonb
           FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::boolean[], $10::text[])
                AS n (key, service, waiting, who, since, epoch, us, timed_out, woken, payload)
         ON CONFLICT (key, service) DO UPDATE SET waiting = EXCLUDED.waiting, who = EXCLUDED.who, since = EXCLUDED.since,
                heard_epoch = EXCLUDED.heard_epoch, heard_us = EXCLUDED.heard_us, timed_out_at = EXCLUDED.timed_out_at,
                woken = EXCLUDED.woken, payload = EXCLUDED.payload",
        &[
            waits.iter().map(|(key, ..)| (*key).clone()).collect::<Vec<_>>().into(),
            waits.iter().map(|(_, service, _)| (*service).clone()).collect::<Vec<_>>().into(),
            waits.iter().map(|(.., wait)| wait.waiting).collect::<Vec<_>>().into(),
            waits.iter().map(|(.., wait)| who(wait)).collect::<Vec<_>>().into(),
            waits.iter().map(|(.., wait)| wait.since).collect::<Vec<_>>().into(),
            waits.iter().map(|(.., wait)| wait.heard.epoch).collect::<Vec<_>>().into(),
            waits.iter().map(|(.., wait)| wait.heard.us).collect::<Vec<_>>().into(),
            waits.iter().map(|(.., wait)| wait.timed_out).collect::<Vec<_>>().into(),
            waits.iter().map(|(.., wait)| wait.woken).collect::<Vec<_>>().into(),
            waits.iter().map(|(.., wait)| wait.payload.as_ref().map(Value::to_string)).collect::<Vec<_>>().into(),
        ],
    );
}

fn delete_signals(store: &mut Store<'_, '_>, keys: Vec<String>) {
    if !keys.is_empty() {
        store.run("DELETE FROM goahead._signal s WHERE s.key = ANY ($1)", &[keys.into()]);
    }
}

fn delete_waits(store: &mut Store<'_, '_>, waits: &[(&String, &String, &Wait)]) {
    if waits.is_empty() {
        return;
    }
    store.run(
        "DELETE FROM goahead._wait w
          USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS n (key, service) WHERE w.key = n.key AND w.service = n.service",
        &[
            waits.iter().map(|(key, ..)| (*key).clone()).collect::<Vec<_>>().into(),
            waits.iter().map(|(_, service, _)| (*service).clone()).collect::<Vec<_>>().into(),
        ],
    );
}
