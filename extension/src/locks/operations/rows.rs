//! Units and operations between their rows and the rules.

use crate::clock;
use crate::config;
use crate::store::{self, Row, Store};
use goahead_rules::lease::Clock;
use goahead_rules::operation::{Operation, Report, State, Work};
use pgrx::JsonB;

/// The channel on which a unit hears that there may be something for it to do; the payload is `unit:id`.
const CHANNEL: &str = "goahead_lock";
/// Rows of a history that one sweep drops.
const AT_ONCE: i64 = 10_000;

/// A unit.
pub struct Unit {
    /// Its row.
    pub id: i32,
    /// The failed operation that blocks it.
    pub blocked_by: Option<i64>,
    /// Somebody waits for something to do.
    waited: bool,
}

/// An operation that has not ended.
#[derive(Clone)]
pub struct Entry {
    /// What the rules know of it.
    pub operation: Operation,
    /// Its place in the lock's queue, among those of its rank.
    pub ticket: i64,
}

/// Begins a decision about a unit: nobody else decides about it until the transaction ends. The clock is read before
/// anything is waited for, since a new epoch is noted under a lock too.
pub fn enter(store: &mut Store<'_, '_>, unit: &str) -> Clock {
    let clock = clock::settled(store);
    store.lock(store::UNIT_LOCK, store::name_key(unit));
    clock
}

/// A unit by its name.
pub fn unit(store: &mut Store<'_, '_>, name: &str) -> Option<Unit> {
    store.first("SELECT id, blocked_by, waited FROM goahead._unit WHERE name = $1", &[name.into()], |row| Unit {
        id: row.get(1),
        blocked_by: row.opt(2),
        waited: row.get(3),
    })
}

/// A unit by its name, made if it is not there.
pub fn made_unit(store: &mut Store<'_, '_>, name: &str) -> Unit {
    if let Some(unit) = unit(store, name) {
        return unit;
    }
    store.begin();
    store.run("INSERT INTO goahead._unit (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", &[name.into()]);
    unit(store, name).expect("it was made under the unit's lock")
}

/// Notes that the unit is to be woken when there may be something for it to do.
pub fn note_waiter(store: &mut Store<'_, '_>, unit: &Unit) {
    if !unit.waited {
        store.run("UPDATE goahead._unit SET waited = true WHERE id = $1", &[unit.id.into()]);
    }
}

/// Wakes the unit if it waits.
pub fn wake(store: &mut Store<'_, '_>, unit: &Unit) {
    if unit.waited {
        store.run("UPDATE goahead._unit SET waited = false WHERE id = $1", &[unit.id.into()]);
        store.run("SELECT pg_catalog.pg_notify($1, $2)", &[CHANNEL.into(), wake_key(unit).into()]);
    }
}

/// What wakes the unit.
pub fn wake_key(unit: &Unit) -> String {
    format!("unit:{}", unit.id)
}

/// Blocks the unit, or lets it go on.
pub fn block(store: &mut Store<'_, '_>, name: &str, by: Option<i64>) {
    store.run(
        "UPDATE goahead._unit SET blocked_by = $2, blocked_at = CASE WHEN $2 IS NOT NULL THEN pg_catalog.clock_timestamp() END WHERE name = $1",
        &[name.into(), by.into()],
    );
}

/// The context of this operation is what the unit runs with now.
pub fn apply(store: &mut Store<'_, '_>, name: &str, operation: &Operation) {
    store.run(
        "UPDATE goahead._unit SET applied = $2, applied_by = $3, applied_at = pg_catalog.clock_timestamp() WHERE name = $1",
        &[name.into(), JsonB(operation.work.context.clone()).into(), operation.id.into()],
    );
}

const COLUMNS: &str = "o.id, o.lock, o.action, o.services, o.context, o.max_retry, o.state, o.rank, o.ticket, o.attempt, o.token, o.outcome";

fn entry(row: &Row<'_>) -> Entry {
    let state = match row.get::<String>(7).as_str() {
        "running" => State::Running,
        "held" => State::Held,
        _ => State::Queued,
    };
    let report = row.opt::<String>(12).map(|text| text.parse::<Report>().expect("the schema knows the same words"));
    let work = Work {
        lock: row.get(2),
        action: row.get(3),
        services: row.get(4),
        context: row.get::<JsonB>(5).0,
        max_retry: row.opt(6),
    };
    let operation =
        Operation { id: row.get(1), work, state, rank: row.get(8), attempt: row.get(10), token: row.opt(11), report };
    Entry { operation, ticket: row.get(9) }
}

/// The unit's operation that is next.
pub fn first(store: &mut Store<'_, '_>, unit: &str) -> Option<Entry> {
    store.first(
        const_format::concatcp!(
            "SELECT ", COLUMNS, " FROM goahead._operation o WHERE o.unit = $1 AND o.state IN ('queued', 'running', 'held') ORDER BY o.id LIMIT 1"
        ),
        &[unit.into()],
        entry,
    )
}

/// The unit's operation that was requested last, if it has not ended.
pub fn last(store: &mut Store<'_, '_>, unit: &str) -> Option<Entry> {
    store.first(
        const_format::concatcp!(
            "SELECT ", COLUMNS, " FROM goahead._operation o WHERE o.unit = $1 AND o.state IN ('queued', 'running', 'held') ORDER BY o.id DESC LIMIT 1"
        ),
        &[unit.into()],
        entry,
    )
}

/// An operation that has not ended, by its number.
pub fn open(store: &mut Store<'_, '_>, id: i64) -> Option<Entry> {
    store.first(
        const_format::concatcp!(
            "SELECT ",
            COLUMNS,
            " FROM goahead._operation o WHERE o.id = $1 AND o.state IN ('queued', 'running', 'held')"
        ),
        &[id.into()],
        entry,
    )
}

/// The unit of an operation, whatever has become of it.
pub fn unit_of(store: &mut Store<'_, '_>, id: i64) -> Option<String> {
    store.first("SELECT unit FROM goahead._operation WHERE id = $1", &[id.into()], |row| row.get(1))
}

/// How an operation ended whose last attempt had this token and was reported so; none for any other.
pub fn ended_as(store: &mut Store<'_, '_>, id: i64, token: i64, report: Report) -> Option<String> {
    store.first(
        "SELECT state FROM goahead._operation WHERE id = $1 AND token = $2 AND outcome = $3 AND state IN ('done', 'failed')",
        &[id.into(), token.into(), report.as_str().into()],
        |row| row.get(1),
    )
}

/// The lock of an operation, whatever has become of it.
pub fn lock_of(store: &mut Store<'_, '_>, id: i64) -> Option<String> {
    store.first("SELECT lock FROM goahead._operation WHERE id = $1", &[id.into()], |row| row.get(1))
}

/// Whether another unit is blocked by a failure under this lock.
pub fn is_another_blocked(store: &mut Store<'_, '_>, lock: &str, unit: &str) -> bool {
    store
        .first(
            "SELECT true FROM goahead._unit u JOIN goahead._operation o ON o.id = u.blocked_by
              WHERE o.lock = $1 AND u.name <> $2 LIMIT 1",
            &[lock.into(), unit.into()],
            |_| (),
        )
        .is_some()
}

/// Adds an operation to the unit's queue; gives its number.
pub fn insert(store: &mut Store<'_, '_>, unit: &str, work: &Work, ticket: i64) -> i64 {
    store
        .first(
            "INSERT INTO goahead._operation (unit, lock, action, services, context, max_retry, ticket)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
            &[
                unit.into(),
                work.lock.as_str().into(),
                work.action.as_str().into(),
                work.services.clone().into(),
                JsonB(work.context.clone()).into(),
                work.max_retry.into(),
                ticket.into(),
            ],
            |row| row.get(1),
        )
        .expect("INSERT RETURNING gives its row")
}

/// Writes where an operation stands. `ended`: it is `done`, `failed` or `dropped`.
pub fn save(store: &mut Store<'_, '_>, entry: &Entry, ended: Option<&'static str>, detail: Option<&str>) {
    let operation = &entry.operation;
    let state = ended.unwrap_or(match operation.state {
        State::Queued => "queued",
        State::Running => "running",
        State::Held => "held",
    });
    store.begin();
    store.durable();
    store.run(
        "UPDATE goahead._operation
            SET state = $2, rank = $3, ticket = $4, attempt = $5, token = $6, outcome = $7, detail = coalesce($8, detail),
                started_at = CASE WHEN $5 > attempt THEN pg_catalog.clock_timestamp() ELSE started_at END,
                ended_at = CASE WHEN $9 THEN pg_catalog.clock_timestamp() END
          WHERE id = $1",
        &[
            operation.id.into(),
            state.into(),
            operation.rank.into(),
            entry.ticket.into(),
            operation.attempt.into(),
            operation.token.into(),
            operation.report.map(Report::as_str).into(),
            detail.into(),
            ended.is_some().into(),
        ],
    );
}

/// Drops all that the unit has not done, and what is known of it; gives how many operations that were.
pub fn forget(store: &mut Store<'_, '_>, unit: &str) -> usize {
    let dropped = store.run(
        "UPDATE goahead._operation SET state = 'dropped', detail = 'the unit is gone', ended_at = pg_catalog.clock_timestamp()
          WHERE unit = $1 AND state IN ('queued', 'running', 'held')",
        &[unit.into()],
    );
    store.run("DELETE FROM goahead._unit WHERE name = $1", &[unit.into()]);
    dropped
}

/// Whether operations wait for a lock or run under it.
pub fn wait_for(store: &mut Store<'_, '_>, lock: &str) -> bool {
    store
        .first(
            "SELECT true FROM goahead._operation WHERE lock = $1 AND state IN ('queued', 'running', 'held') LIMIT 1",
            &[lock.into()],
            |_| (),
        )
        .is_some()
}

/// Drops operations that ended longer ago than events are kept, and units of which nothing is left.
pub fn trim(store: &mut Store<'_, '_>) -> usize {
    let dropped = store.run(
        "DELETE FROM goahead._operation WHERE id IN (
             SELECT o.id FROM goahead._operation o
              WHERE o.ended_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(mins => $1)
                AND NOT EXISTS (SELECT FROM goahead._unit u WHERE u.blocked_by = o.id)
              ORDER BY o.ended_at LIMIT $2)",
        &[config::event_retention().into(), AT_ONCE.into()],
    );
    // Names that only asked whether there was something for them.
    dropped
        + store.run(
            "DELETE FROM goahead._unit u
              WHERE u.blocked_by IS NULL AND u.applied_at IS NULL AND u.created_at < pg_catalog.clock_timestamp() - interval '1 day'
                AND NOT EXISTS (SELECT FROM goahead._operation o WHERE o.unit = u.name)",
            &[],
        )
}
