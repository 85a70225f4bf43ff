//! The only way to the tables: two doors, [`read`] and [`decide`], over cached plans.
//!
//! `read` takes no lock and works on a standby. `decide` may lock and write: [`Store::begin`] assigns the
//! transaction id *before* any lock is waited for, and from then on every statement reads a fresh snapshot.
//! A statement run read-only would read the snapshot from before the wait, and a limit judged on it would
//! grant twice.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::pg_sys::{self, PgOid};
use pgrx::prelude::*;
use pgrx::spi::{OwnedPreparedStatement, SpiClient, SpiHeapTupleData};
use pgrx::{FromDatum, IntoDatum, direct_function_call_as_datum};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

/// Class of the advisory locks on clusters; the second key is the cluster's id.
pub const CLUSTER_LOCK: i32 = 0x6761_0001;
/// Class of the advisory locks on things there is one of; the second key says which.
pub const SINGLE_LOCK: i32 = 0x6761_0002;
/// Class of the advisory locks on host names; the second key is a hash of the name.
///
/// A host's row is written under it, so that a set can pass over a host whose row another transaction has
/// written and not yet committed, instead of waiting for that transaction with everybody else's calls. Taken
/// after the locks on clusters.
pub const HOST_LOCK: i32 = 0x6761_0003;
/// Class of the advisory locks on locks; the second key is a hash of the name, so that it can be taken before there is
/// a row, and nothing is read before.
pub const LOCK_LOCK: i32 = 0x6761_0004;
/// Class of the advisory locks on keys of the rendezvous and on barriers; the second key is a hash of the name.
pub const RENDEZVOUS_LOCK: i32 = 0x6761_0005;
/// Class of the advisory locks on units, whose operations are in a queue; the second key is a hash of the name. Taken
/// before the locks on locks.
pub const UNIT_LOCK: i32 = 0x6761_0006;
/// Settings are being changed.
pub const SETTINGS: i32 = 1;
/// A new epoch is being noted.
pub const EPOCH: i32 = 2;
/// The housekeeping of a sweep.
pub const SWEEP: i32 = 3;
/// The rules of pg_hba.conf are being changed.
pub const HBA: i32 = 4;

thread_local! {
    // Text of a statement to its plan; Postgres replans by itself when a table changes.
    static PLANS: RefCell<HashMap<&'static str, Rc<OwnedPreparedStatement>>> = RefCell::new(HashMap::new());
}

/// A statement that is given rows. With one row its parameters are scalars, which starts in a fraction of the time that
/// unnesting arrays takes; with several they are arrays.
pub struct ForRows {
    /// With `(SELECT $1::int AS a, …) AS n`.
    pub one: &'static str,
    /// With `unnest($1::int[], …) AS n (a, …)`.
    pub many: &'static str,
}

impl ForRows {
    /// The text for this number of rows.
    pub fn text(&self, rows: usize) -> &'static str {
        if rows == 1 { self.one } else { self.many }
    }
}

/// A parameter of a statement that is given `rows`: what `make` makes of them.
pub fn column<R, T>(rows: &[R], make: impl Fn(&R) -> T) -> DatumWithOid<'static>
where
    T: Into<DatumWithOid<'static>>,
    Vec<T>: Into<DatumWithOid<'static>>,
{
    match rows {
        [row] => make(row).into(),
        rows => rows.iter().map(make).collect::<Vec<T>>().into(),
    }
}

/// Statements over cached plans.
pub struct Store<'a, 'conn> {
    client: &'a mut SpiClient<'conn>,
}

/// Runs statements that take no lock and write nothing.
pub fn read<T>(work: impl FnOnce(&mut Store<'_, '_>) -> T) -> T {
    Spi::connect_mut(|client| work(&mut Store { client }))
}

/// Runs statements that may lock and write.
pub fn decide<T>(work: impl FnOnce(&mut Store<'_, '_>) -> T) -> T {
    // SAFETY: a plain global of this backend.
    if unsafe { pg_sys::XactIsoLevel } > pg_sys::XACT_READ_COMMITTED as i32 {
        fail(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "goahead decides only at isolation level READ COMMITTED",
            "it must see what the holder of a lock committed while it waited; use BEGIN ISOLATION LEVEL READ COMMITTED",
        );
    }
    // SAFETY: reads shared memory only.
    if unsafe { pg_sys::RecoveryInProgress() } {
        fail(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "goahead decides on the primary, this server is a standby",
            "connect to the primary; with several hosts in the URL, target_session_attrs=read-write finds it",
        );
    }
    read(work)
}

/// Key of the advisory lock on a name: its FNV-1a hash. Two names of one key only make each other wait.
pub fn name_key(name: &str) -> i32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.cast_signed()
}

/// Raises an ERROR with a hint: nothing has happened, and this is how to mend it.
pub fn fail(code: PgSqlErrorCode, message: impl Into<String>, hint: impl Into<String>) -> ! {
    ErrorReport::new(code, message.into(), "goahead").set_hint(hint.into()).report(PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

/// An argument that has to say something; null or blank is an error.
pub fn said<'a>(argument: Option<&'a str>, what: &str, hint: &str) -> &'a str {
    match argument.filter(|text| !text.trim().is_empty()) {
        Some(text) => text,
        None => fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, format!("{what} is empty"), hint),
    }
}

/// One row of a result.
pub struct Row<'conn>(SpiHeapTupleData<'conn>);

impl Row<'_> {
    /// The value of a column (from 1) that is never null.
    pub fn get<T: FromDatum + IntoDatum>(&self, column: usize) -> T {
        self.opt(column).expect("a column that the schema declares NOT NULL")
    }

    /// The value of a column (from 1), or None for null.
    pub fn opt<T: FromDatum + IntoDatum>(&self, column: usize) -> Option<T> {
        self.0.get(column).expect("a column of the type that the statement names")
    }
}

impl Store<'_, '_> {
    /// Assigns the transaction id, so that statements see what was committed up to their own start.
    pub fn begin(&mut self) {
        // SAFETY: raises an ERROR by itself where no id can be had.
        unsafe { pg_sys::GetCurrentTransactionId() };
    }

    /// Makes this transaction's commit durable although the session asked for less.
    pub fn durable(&mut self) {
        // SAFETY: a plain global of this backend.
        if unsafe { pg_sys::synchronous_commit } == pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32 {
            self.run("SELECT pg_catalog.set_config('synchronous_commit', 'on', true)", &[]);
        }
    }

    /// Waits for the advisory lock of `key`, held until the transaction ends.
    pub fn lock(&mut self, class: i32, key: i32) {
        self.begin();
        // SAFETY: a function of Postgres called with the arguments that it declares.
        unsafe {
            direct_function_call_as_datum(pg_sys::pg_advisory_xact_lock_int4, &[class.into_datum(), key.into_datum()])
        };
    }

    /// Takes the advisory lock of `key` if nobody else holds it.
    pub fn try_lock(&mut self, class: i32, key: i32) -> bool {
        self.begin();
        // SAFETY: a function of Postgres called with the arguments that it declares; it returns a boolean.
        unsafe {
            direct_function_call_as_datum(
                pg_sys::pg_try_advisory_xact_lock_int4,
                &[class.into_datum(), key.into_datum()],
            )
            .is_some_and(|datum| datum.value() != 0)
        }
    }

    /// Locks the advisory locks on names, in the order of their keys; gives the names of those that were had.
    pub fn take<'n>(&mut self, class: i32, names: &BTreeSet<&'n str>, wait: bool) -> BTreeSet<&'n str> {
        let keys: BTreeSet<(i32, &'n str)> = names.iter().map(|name| (name_key(name), *name)).collect();
        let mut taken = BTreeSet::new();
        for (key, name) in keys {
            if wait {
                self.lock(class, key);
                taken.insert(name);
            } else if self.try_lock(class, key) {
                taken.insert(name);
            }
        }
        taken
    }

    /// Runs a statement for its effect; returns how many rows it touched.
    pub fn run(&mut self, sql: &'static str, args: &[DatumWithOid<'_>]) -> usize {
        let plan = self.plan(sql, args);
        self.client.select(&*plan, None, args).map_or_else(|problem| unexpected(sql, &problem), |table| table.len())
    }

    /// Runs a statement and makes something of each row.
    pub fn rows<T>(
        &mut self,
        sql: &'static str,
        args: &[DatumWithOid<'_>],
        mut make: impl FnMut(&Row<'_>) -> T,
    ) -> Vec<T> {
        let plan = self.plan(sql, args);
        let table = self.client.select(&*plan, None, args).unwrap_or_else(|problem| unexpected(sql, &problem));
        table.map(|row| make(&Row(row))).collect()
    }

    /// Runs a statement and makes something of its first row, if there is one.
    pub fn first<T>(
        &mut self,
        sql: &'static str,
        args: &[DatumWithOid<'_>],
        make: impl FnMut(&Row<'_>) -> T,
    ) -> Option<T> {
        self.rows(sql, args, make).into_iter().next()
    }

    fn plan(&mut self, sql: &'static str, args: &[DatumWithOid<'_>]) -> Rc<OwnedPreparedStatement> {
        if let Some(plan) = PLANS.with_borrow(|plans| plans.get(sql).cloned()) {
            return plan;
        }
        let types: Vec<PgOid> = args.iter().map(|arg| PgOid::from(arg.oid())).collect();
        let plan = self.client.prepare(sql, &types).unwrap_or_else(|problem| unexpected(sql, &problem));
        let plan = Rc::new(plan.keep());
        PLANS.with_borrow_mut(|plans| plans.insert(sql, Rc::clone(&plan)));
        plan
    }
}

fn unexpected(sql: &str, problem: &spi::SpiError) -> ! {
    fail(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, format!("{problem} in: {sql}"), "this is a bug of goahead")
}

/// Who is acting: what the service says of its caller, else the session's user.
pub fn actor(store: &mut Store<'_, '_>) -> String {
    store
        .first(
            "SELECT CASE WHEN pg_catalog.pg_has_role(session_user, 'goahead_service', 'MEMBER')
                    THEN coalesce(nullif(pg_catalog.current_setting('goahead.actor', true), ''), session_user::pg_catalog.text)
                    ELSE session_user::pg_catalog.text END",
            &[],
            |row| row.get(1),
        )
        .expect("a SELECT without FROM gives one row")
}
