//! Locks between their rows and the rules: what decisions about some of them need, read in a few statements.

use crate::clock;
use crate::store::{ForRows, Row, Store, column};
use const_format::concatcp;
use goahead_rules::duration::GoDuration;
use goahead_rules::lease::{Clock, Instant};
use goahead_rules::lock::{Hold, Lock, Request};
use goahead_rules::operation::OnFailure;
use std::collections::{BTreeMap, BTreeSet};

/// Queued requests that a decision looks at beyond the number of slots: those that are alive, in order.
const AHEAD: i32 = 16;

/// Requests of a lock that are read whether they matter or not.
const FEW: i64 = 32;

/// A lock whose advisory lock is held.
pub struct Facts {
    /// Its row.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// What the rules know of it.
    pub lock: Lock,
    /// The signature of its policy.
    pub policy: Option<String>,
    /// How the policy failed last.
    pub policy_error: Option<String>,
    /// What a failed operation means for the others.
    pub on_failure: OnFailure,
    /// Why it is halted, as `lock` says that it is.
    pub halted: Option<String>,
    /// What its row says.
    pub row: LockRow,
}

/// The part of a lock's row that decisions change.
#[derive(Clone, PartialEq, Eq)]
pub struct LockRow {
    /// The highest ticket that was drawn.
    pub last_ticket: i64,
    /// The highest token that was drawn.
    pub last_token: i64,
    /// Slots that rest, and since when.
    pub resting: Vec<(i32, Instant)>,
    /// How the policy failed last.
    pub policy_error: Option<String>,
    /// Why it is halted.
    pub halted: Option<String>,
}

impl Facts {
    /// Halts it for this reason, or lets it go on.
    pub fn halt(&mut self, reason: Option<String>) {
        self.lock.halted = reason.is_some();
        self.halted = reason;
    }

    /// The row as it should be now.
    pub fn row_now(&self) -> LockRow {
        LockRow {
            last_ticket: self.lock.last_ticket,
            last_token: self.lock.last_token,
            resting: self.lock.resting.clone(),
            policy_error: self.policy_error.clone(),
            halted: self.halted.clone(),
        }
    }

    /// The request of a holder, if it stands.
    pub fn of(&self, holder: &str) -> Option<&Request> {
        self.lock.requests.iter().find(|request| request.holder == holder)
    }

    fn add(&mut self, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            if self.of(&request.holder).is_none() {
                self.lock.requests.push(request);
            }
        }
        self.lock.requests.sort_unstable_by_key(Request::place_in_line);
    }
}

/// Reads locks whose advisory locks are held, with their holders, with the requests of `callers` (lock and holder), and
/// with those of the queue who are alive and next. Those of `wanted` (lock and slots) that are not there are made; any
/// other is missing.
pub fn read(
    store: &mut Store<'_, '_>,
    names: &BTreeSet<&str>,
    callers: &[(&str, &str)],
    wanted: &BTreeMap<&str, i32>,
) -> BTreeMap<i32, Facts> {
    if names.is_empty() {
        return BTreeMap::new();
    }
    let mut locks = read_locks(store, names);
    if create(store, names, &locks, wanted) {
        locks = read_locks(store, names);
    }
    let by_name: BTreeMap<&str, i32> = locks.values().map(|facts| (facts.name.as_str(), facts.id)).collect();
    let callers: Vec<(i32, String)> =
        callers.iter().filter_map(|(name, holder)| Some((*by_name.get(name)?, (*holder).to_owned()))).collect();
    let requests = read_requests(store, &locks, callers);
    add(&mut locks, requests);
    locks
}

/// Makes the locks that are asked for and not there; whether there were any.
fn create(
    store: &mut Store<'_, '_>,
    names: &BTreeSet<&str>,
    locks: &BTreeMap<i32, Facts>,
    wanted: &BTreeMap<&str, i32>,
) -> bool {
    let missing: Vec<(&str, i32)> = wanted
        .iter()
        .filter(|(name, _)| names.contains(*name) && locks.values().all(|facts| facts.name != **name))
        .map(|(name, slots)| (*name, *slots))
        .collect();
    if missing.is_empty() {
        return false;
    }
    store.begin();
    store.run(
        "INSERT INTO goahead._lock (name, slots, last_token)
         SELECT n.name, n.slots, coalesce((SELECT f.token FROM goahead._lock_floor f), 0) FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS n (name, slots)",
        &[
            missing.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>().into(),
            missing.iter().map(|(_, slots)| *slots).collect::<Vec<_>>().into(),
        ],
    );
    true
}

fn read_requests(
    store: &mut Store<'_, '_>,
    locks: &BTreeMap<i32, Facts>,
    callers: Vec<(i32, String)>,
) -> Vec<(i32, Request)> {
    if locks.is_empty() {
        return Vec::new();
    }
    // Most locks have a handful of requests, and then the simplest statement reads them all.
    let few = FEW * i64::try_from(locks.len()).unwrap_or(i64::MAX);
    let all = store.rows(
        concatcp!("SELECT ", COLUMNS, " FROM goahead._lock_request r WHERE r.lock_id = ANY ($1) LIMIT $2"),
        &[locks.keys().copied().collect::<Vec<_>>().into(), few.into()],
        request,
    );
    if i64::try_from(all.len()).is_ok_and(|count| count < few) {
        return all;
    }
    // A policy is told of everybody.
    let everybody: Vec<bool> = locks.values().map(|facts| facts.policy.is_some()).collect();
    let most: Vec<i64> = locks
        .values()
        .map(|facts| if facts.policy.is_some() { i64::MAX } else { i64::from(facts.lock.slots.saturating_add(AHEAD)) })
        .collect();
    store.rows(
        concatcp!(
            "SELECT ", COLUMNS, " FROM pg_catalog.unnest($1) AS n (id) JOIN goahead._lock_request r ON r.lock_id = n.id AND r.slot IS NOT NULL
             UNION ALL
             SELECT ", COLUMNS, " FROM ROWS FROM (pg_catalog.unnest($4), pg_catalog.unnest($5)) AS n (id, holder)
               JOIN goahead._lock_request r ON r.lock_id = n.id AND r.holder = n.holder AND r.slot IS NULL
             UNION ALL
             SELECT ", COLUMNS, " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS n (id, most, everybody)
              CROSS JOIN LATERAL (SELECT q.* FROM goahead._lock_request q
                                   WHERE q.lock_id = n.id AND q.slot IS NULL AND (q.waited OR q.claim_us > 0 OR n.everybody)
                                   ORDER BY q.rank, q.ticket LIMIT n.most) r"
        ),
        &[
            locks.keys().copied().collect::<Vec<_>>().into(),
            most.into(),
            everybody.into(),
            callers.iter().map(|(id, _)| *id).collect::<Vec<_>>().into(),
            callers.into_iter().map(|(_, holder)| holder).collect::<Vec<_>>().into(),
        ],
        request,
    )
}

/// Reads those of the queues, too, whose place may be lost: which are, the rules say.
pub fn read_lapsed(store: &mut Store<'_, '_>, locks: &mut BTreeMap<i32, Facts>, clock: Clock) {
    let ids: Vec<i32> = locks.keys().copied().collect();
    let requests = store.rows(
        concatcp!(
            "SELECT ", COLUMNS, " FROM goahead._lock_request r
              WHERE r.lock_id = ANY ($1) AND r.slot IS NULL AND (r.asked_epoch <> $2 OR r.asked_us + r.place_us <= $3) LIMIT 10000"
        ),
        &[ids.into(), clock.now.epoch.into(), clock.now.us.into()],
        request,
    );
    add(locks, requests);
}

fn add(locks: &mut BTreeMap<i32, Facts>, requests: Vec<(i32, Request)>) {
    let mut of: BTreeMap<i32, Vec<Request>> = BTreeMap::new();
    for (id, request) in requests {
        of.entry(id).or_default().push(request);
    }
    for (id, requests) in of {
        if let Some(facts) = locks.get_mut(&id) {
            facts.add(requests);
        }
    }
}

fn read_locks(store: &mut Store<'_, '_>, names: &BTreeSet<&str>) -> BTreeMap<i32, Facts> {
    let timeline = clock::timeline(store);
    let rows = store.rows(
        "SELECT l.id, l.name, l.slots, l.delay_us, l.policy, l.policy_error, l.halted, l.last_ticket, l.last_token, l.on_failure
           FROM goahead._lock l WHERE l.name = ANY ($1)",
        &[names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().into()],
        |row| {
            let lock = Lock {
                delay: GoDuration::from_micros(row.get(4)),
                halted: row.opt::<String>(7).is_some(),
                last_ticket: row.get(8),
                last_token: row.get(9),
                token_floor: timeline << 32,
                ..Lock::new(row.get(3))
            };
            let row_was = LockRow {
                last_ticket: lock.last_ticket,
                last_token: lock.last_token,
                resting: Vec::new(),
                policy_error: row.opt(6),
                halted: row.opt(7),
            };
            Facts {
                id: row.get(1),
                name: row.get(2),
                lock,
                policy: row.opt(5),
                policy_error: row.opt(6),
                on_failure: row.get::<String>(10).parse().expect("the schema knows the same words"),
                halted: row.opt(7),
                row: row_was,
            }
        },
    );
    let mut locks: BTreeMap<i32, Facts> = rows.into_iter().map(|facts| (facts.id, facts)).collect();
    read_resting(store, &mut locks);
    locks
}

/// Reads which slots rest, of locks that let them.
fn read_resting(store: &mut Store<'_, '_>, locks: &mut BTreeMap<i32, Facts>) {
    let delayed = |facts: &&Facts| facts.lock.delay > GoDuration(0);
    let ids: Vec<i32> = locks.values().filter(delayed).map(|facts| facts.id).collect();
    if ids.is_empty() {
        return;
    }
    let resting = store.rows(
        "SELECT s.lock_id, s.slot, s.since_epoch, s.since_us FROM goahead._lock_rest s WHERE s.lock_id = ANY ($1) ORDER BY s.lock_id, s.slot",
        &[ids.into()],
        |row| (row.get::<i32>(1), (row.get::<i32>(2), Instant { epoch: row.get(3), us: row.get(4) })),
    );
    for (id, rest) in resting {
        if let Some(facts) = locks.get_mut(&id) {
            facts.lock.resting.push(rest);
            facts.row.resting.push(rest);
        }
    }
}

/// Notes which holds may not end now, of those that time or a caller ends: a transaction has locked the row for
/// `check_fence`.
pub fn note_guarded(
    store: &mut Store<'_, '_>,
    locks: &mut BTreeMap<i32, Facts>,
    enders: &[(&str, &str)],
    clock: Clock,
) {
    let mut ending: BTreeSet<(i32, String)> = BTreeSet::new();
    for facts in locks.values() {
        for request in &facts.lock.requests {
            let ends = || enders.iter().any(|(name, holder)| *name == facts.name && *holder == request.holder);
            if request.hold.as_ref().is_some_and(|hold| hold.is_over(clock) || ends()) {
                ending.insert((facts.id, request.holder.clone()));
            }
        }
    }
    if ending.is_empty() {
        return;
    }
    const FREE: ForRows = ForRows {
        one: "SELECT r.lock_id, r.holder FROM goahead._lock_request r WHERE r.lock_id = $1 AND r.holder = $2 FOR UPDATE SKIP LOCKED",
        many: "SELECT r.lock_id, r.holder FROM goahead._lock_request r
                WHERE (r.lock_id, r.holder) IN (SELECT n.id, n.holder FROM unnest($1::int[], $2::text[]) AS n (id, holder))
                  FOR UPDATE OF r SKIP LOCKED",
    };
    let asked: Vec<&(i32, String)> = ending.iter().collect();
    let free = store.rows(
        FREE.text(asked.len()),
        &[column(&asked, |(id, _)| *id), column(&asked, |(_, holder)| holder.clone())],
        |row| (row.get::<i32>(1), row.get::<String>(2)),
    );
    for key in free {
        ending.remove(&key);
    }
    for (id, holder) in ending {
        let requests = locks.get_mut(&id).map(|facts| &mut facts.lock.requests);
        let request = requests.and_then(|requests| requests.iter_mut().find(|request| request.holder == holder));
        if let Some(hold) = request.and_then(|request| request.hold.as_mut()) {
            hold.guarded = true;
        }
    }
}

/// The hold of a token, its row locked so that it cannot end before this transaction does; a renewal still can be
/// written.
pub fn fence(store: &mut Store<'_, '_>, name: &str, token: i64) -> Option<Hold> {
    store.begin();
    let id = store.first("SELECT id FROM goahead._lock WHERE name = $1", &[name.into()], |row| row.get::<i32>(1))?;
    let rows = store.rows(
        concatcp!(
            "SELECT ", COLUMNS, " FROM goahead._lock_request r WHERE r.lock_id = $1 AND r.slot IS NOT NULL AND r.token = $2 FOR KEY SHARE OF r"
        ),
        &[id.into(), token.into()],
        request,
    );
    rows.into_iter().find_map(|(_, request)| request.hold)
}

const COLUMNS: &str = "r.lock_id, r.holder, r.ticket, r.ttl_us, r.place_us, r.claim_us, r.asked_epoch, r.asked_us, r.waited,
    r.offered_epoch, r.offered_us, r.slot, r.token, r.granted_epoch, r.granted_us, r.renewed_epoch, r.renewed_us, r.provisional,
    (extract(epoch FROM r.requested_at) * 1000000)::bigint, r.rank";

fn request(row: &Row<'_>) -> (i32, Request) {
    let ttl = row.opt(4).map(GoDuration::from_micros);
    let request = Request {
        new: false,
        holder: row.get(2),
        rank: row.get(20),
        ticket: row.get(3),
        ttl,
        place: GoDuration::from_micros(row.get(5)),
        claim: GoDuration::from_micros(row.get(6)),
        asked: Instant { epoch: row.get(7), us: row.get(8) },
        waited: row.get(9),
        offered: row.opt(10).map(|epoch| Instant { epoch, us: row.get(11) }),
        hold: row.opt(12).map(|slot| Hold {
            slot,
            token: row.get(13),
            granted: Instant { epoch: row.get(14), us: row.get(15) },
            renewed: Instant { epoch: row.get(16), us: row.get(17) },
            ttl,
            provisional: row.get(18),
            guarded: false,
        }),
        changed: false,
        metadata: String::new(),
        requested_at: row.get(19),
    };
    (row.get(1), request)
}
