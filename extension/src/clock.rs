//! The monotonic clock of the database: boot id, CLOCK_BOOTTIME, epochs.
//!
//! An epoch is one boot of the server's host on one timeline. Its row is written by the first deciding call
//! in it; what was measured in an older epoch then counts from that point ([`goahead_rules::lease`]).

use crate::store::{self, Store};
use goahead_hba_file::boottime;
use goahead_rules::lease::{Clock, Instant};
use pgrx::prelude::*;
use std::sync::OnceLock;

/// Reads the clock for a decision. A new epoch is noted first, under a lock.
pub fn settled(store: &mut Store<'_, '_>) -> Clock {
    let here = Here::read(store);
    match latest(store).filter(|epoch| here.is_in(epoch)) {
        Some(epoch) => here.clock(epoch.id, epoch.boottime),
        None => {
            store.lock(store::SINGLE_LOCK, store::EPOCH);
            if let Some(epoch) = latest(store).filter(|epoch| here.is_in(epoch)) {
                return here.clock(epoch.id, epoch.boottime);
            }
            store.durable();
            let id = store
                .first(
                    "INSERT INTO goahead._epoch (boot_id, timeline, boottime) VALUES ($1, $2, $3) RETURNING id",
                    &[here.boot_id.into(), here.timeline.into(), here.boottime.into()],
                    |row| row.get(1),
                )
                .expect("INSERT RETURNING gives its row");
            here.clock(id, here.boottime)
        }
    }
}

/// Reads the clock without writing; in an epoch that nobody has noted yet, time begins now.
pub fn glimpsed(store: &mut Store<'_, '_>) -> Clock {
    let here = Here::read(store);
    match latest(store) {
        Some(epoch) if here.is_in(&epoch) => here.clock(epoch.id, epoch.boottime),
        Some(epoch) => here.clock(epoch.id + 1, here.boottime),
        None => here.clock(1, here.boottime),
    }
}

struct Epoch {
    id: i64,
    boot_id: String,
    timeline: i64,
    boottime: i64,
}

fn latest(store: &mut Store<'_, '_>) -> Option<Epoch> {
    store.first("SELECT id, boot_id, timeline, boottime FROM goahead._epoch ORDER BY id DESC LIMIT 1", &[], |row| {
        Epoch { id: row.get(1), boot_id: row.get(2), timeline: row.get(3), boottime: row.get(4) }
    })
}

struct Here {
    boot_id: &'static str,
    timeline: i64,
    boottime: i64,
}

impl Here {
    fn read(store: &mut Store<'_, '_>) -> Self {
        Self { boot_id: boot_id(), timeline: timeline(store), boottime: boottime() }
    }

    fn is_in(&self, epoch: &Epoch) -> bool {
        // A boottime that ran backwards means another machine with a copied boot id.
        epoch.boot_id == self.boot_id && epoch.timeline == self.timeline && epoch.boottime <= self.boottime
    }

    fn clock(&self, epoch: i64, epoch_start: i64) -> Clock {
        Clock { now: Instant { epoch, us: self.boottime }, epoch_start }
    }
}

fn boot_id() -> &'static str {
    goahead_hba_file::boot_id().unwrap_or_else(|problem| {
        store::fail(
            PgSqlErrorCode::ERRCODE_IO_ERROR,
            format!("cannot read /proc/sys/kernel/random/boot_id: {problem}"),
            "goahead measures time per boot of the host; mount /proc where PostgreSQL runs",
        )
    })
}

/// The timeline that this server writes. It does not change while a backend of a primary lives.
pub fn timeline(store: &mut Store<'_, '_>) -> i64 {
    static TIMELINE: OnceLock<i64> = OnceLock::new();
    // SAFETY: reads shared memory only.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return 0;
    }
    *TIMELINE.get_or_init(|| {
        let name: String = store
            .first("SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())", &[], |row| row.get(1))
            .expect("a SELECT without FROM gives one row");
        i64::from_str_radix(&name[..8], 16).expect("a WAL file's name begins with its timeline in hex")
    })
}
