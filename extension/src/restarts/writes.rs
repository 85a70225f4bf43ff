//! Writes what a batch has changed: each kind of row with one statement, however many calls there were.

use super::world::{HostRow, World};
use crate::jobs;
use crate::store::{self, Store};
use goahead_rules::restart::{Kind, Open};

/// Changes of who holds which slot. In order: a slot that one call frees may be another's in the same batch.
#[derive(Default)]
pub struct Slots(Vec<Change>);

enum Change {
    Grants(Vec<Granted>),
    Steps(Vec<Step>),
}

/// A go-ahead.
pub struct Granted {
    /// The cluster of the slot.
    pub cluster_id: i32,
    /// Its name.
    pub cluster: String,
    /// What the rules know of it.
    pub open: Open,
    /// Uptime as it was sent.
    pub uptime: String,
    /// Why the host restarts.
    pub reason: Option<String>,
}

/// What a restart that was granted before has come to.
pub struct Step {
    /// The restart.
    pub id: i64,
    /// It has rebooted.
    pub rebooted: bool,
    /// Completion checks are running.
    pub checking: bool,
    /// It has ended, and its slot is free.
    pub completed: bool,
    /// Thresholds of overdue that have passed.
    pub panics: i64,
}

impl Slots {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A slot was taken.
    pub fn granted(&mut self, granted: Granted) {
        match self.0.last_mut() {
            Some(Change::Grants(grants)) => grants.push(granted),
            _ => self.0.push(Change::Grants(vec![granted])),
        }
    }

    /// A restart went on. A later step says all that an earlier one said.
    pub fn step(&mut self, step: Step) {
        match self.0.last_mut() {
            Some(Change::Steps(steps)) => match steps.iter_mut().find(|earlier| earlier.id == step.id) {
                Some(earlier) => *earlier = step,
                None => steps.push(step),
            },
            _ => self.0.push(Change::Steps(vec![step])),
        }
    }

    /// Writes all of it.
    pub fn write(&self, store: &mut Store<'_, '_>) {
        for change in &self.0 {
            match change {
                Change::Grants(grants) => write_grants(store, grants),
                Change::Steps(steps) => write_steps(store, steps),
            }
        }
    }
}

fn column<T, U>(rows: &[T], make: impl Fn(&T) -> U) -> Vec<U> {
    rows.iter().map(make).collect()
}

fn write_grants(store: &mut Store<'_, '_>, grants: &[Granted]) {
    store.run(
        "INSERT INTO goahead._restart (id, cluster_id, cluster, kind, holder, slot, state, reason, uptime,
                                       granted_at, granted_epoch, granted_us, granted_uptime, granted_boot_id)
         SELECT n.id, n.cluster_id, n.cluster, n.kind, n.holder, n.slot, 'granted', n.reason, n.uptime,
                pg_catalog.clock_timestamp(), n.epoch, n.us, n.granted_uptime, n.boot_id
           FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::text[],
                       $9::bigint[], $10::bigint[], $11::bigint[], $12::text[])
                AS n (id, cluster_id, cluster, kind, holder, slot, reason, uptime, epoch, us, granted_uptime, boot_id)",
        &[
            column(grants, |grant| grant.open.id).into(),
            column(grants, |grant| grant.cluster_id).into(),
            column(grants, |grant| grant.cluster.clone()).into(),
            column(grants, |grant| if grant.open.kind == Kind::Goahead { "goahead" } else { "fleetlock" }).into(),
            column(grants, |grant| grant.open.holder.clone()).into(),
            column(grants, |grant| grant.open.slot).into(),
            column(grants, |grant| grant.reason.clone()).into(),
            column(grants, |grant| grant.uptime.clone()).into(),
            column(grants, |grant| grant.open.granted.epoch).into(),
            column(grants, |grant| grant.open.granted.us).into(),
            column(grants, |grant| grant.open.granted_uptime).into(),
            column(grants, |grant| grant.open.granted_boot_id.clone()).into(),
        ],
    );
}

fn write_steps(store: &mut Store<'_, '_>, steps: &[Step]) {
    store.run(
        "UPDATE goahead._restart AS r
            SET state = CASE WHEN n.completed THEN 'completed' WHEN n.rebooted THEN 'rebooted' ELSE r.state END,
                rebooted_at = CASE WHEN n.rebooted THEN coalesce(r.rebooted_at, pg_catalog.clock_timestamp()) ELSE r.rebooted_at END,
                checking = n.checking AND NOT n.completed,
                ended_at = CASE WHEN n.completed THEN pg_catalog.clock_timestamp() END,
                overdue_at = CASE WHEN n.panics > 0 THEN coalesce(r.overdue_at, pg_catalog.clock_timestamp()) END,
                panics = n.panics
           FROM unnest($1::bigint[], $2::boolean[], $3::boolean[], $4::boolean[], $5::bigint[])
                AS n (id, rebooted, checking, completed, panics)
          WHERE r.id = n.id AND r.ended_at IS NULL",
        &[
            column(steps, |step| step.id).into(),
            column(steps, |step| step.rebooted).into(),
            column(steps, |step| step.checking).into(),
            column(steps, |step| step.completed).into(),
            column(steps, |step| step.panics).into(),
        ],
    );
    let ended: Vec<i64> = steps.iter().filter(|step| step.completed).map(|step| step.id).collect();
    jobs::drop_checks(store, &ended);
}

/// Forgets the request_ids of hosts whose restart has ended.
pub fn forget_requests(store: &mut Store<'_, '_>, fqdns: &[String]) {
    if fqdns.is_empty() {
        return;
    }
    for fqdn in fqdns {
        store.lock(store::HOST_LOCK, store::name_key(fqdn));
    }
    store.run(
        "UPDATE goahead._host SET request_id = NULL, request_epoch = NULL, request_us = NULL, request_at = NULL
          WHERE fqdn = ANY ($1) AND request_id IS NOT NULL",
        &[fqdns.to_vec().into()],
    );
}

/// Writes the rows of hosts that are to be written, in the order of their names so that two batches never
/// wait for each other in a circle.
pub fn hosts(store: &mut Store<'_, '_>, world: &World) {
    let mut dirty: Vec<(&String, &HostRow)> =
        world.hosts.iter().filter(|(_, host)| host.dirty && host.remembered.is_some()).collect();
    if dirty.is_empty() {
        return;
    }
    dirty.sort_unstable_by_key(|(fqdn, _)| *fqdn);
    let column = |make: &dyn Fn(&HostRow) -> Option<i64>| dirty.iter().map(|(_, host)| make(host)).collect::<Vec<_>>();
    let texts =
        |make: &dyn Fn(&HostRow) -> Option<String>| dirty.iter().map(|(_, host)| make(host)).collect::<Vec<_>>();
    let request = |host: &HostRow| host.facts.request.clone().filter(|_| host.new_request);
    store.begin();
    store.run(
        "INSERT INTO goahead._host AS h (fqdn, cluster_id, patterns_version, first_seen, last_seen, uptime_us, boot_id,
                                         request_id, request_epoch, request_us, request_at, last_restart, denial, denial_detail, denied_at)
         SELECT n.fqdn, n.cluster_id, n.version, pg_catalog.clock_timestamp(), pg_catalog.clock_timestamp(), n.uptime, n.boot_id,
                n.request_id, n.request_epoch, n.request_us,
                CASE WHEN n.request_id IS NOT NULL THEN pg_catalog.clock_timestamp() END, n.last_restart, n.denial, n.detail,
                CASE WHEN n.denial <> '' THEN pg_catalog.clock_timestamp() END
           FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bigint[],
                                  $8::bigint[], $9::bigint[], $10::text[], $11::text[])
                AS n (fqdn, cluster_id, version, uptime, boot_id, request_id, request_epoch, request_us, last_restart, denial, detail)
         ON CONFLICT (fqdn) DO UPDATE
            SET cluster_id = EXCLUDED.cluster_id, patterns_version = EXCLUDED.patterns_version,
                last_seen = EXCLUDED.last_seen, uptime_us = EXCLUDED.uptime_us,
                boot_id = coalesce(EXCLUDED.boot_id, h.boot_id),
                request_id = coalesce(EXCLUDED.request_id, h.request_id),
                request_epoch = coalesce(EXCLUDED.request_epoch, h.request_epoch),
                request_us = coalesce(EXCLUDED.request_us, h.request_us),
                request_at = coalesce(EXCLUDED.request_at, h.request_at),
                last_restart = greatest(EXCLUDED.last_restart, h.last_restart),
                denial = CASE WHEN EXCLUDED.denial IS NULL THEN h.denial ELSE nullif(EXCLUDED.denial, '') END,
                denial_detail = CASE WHEN EXCLUDED.denial IS NULL THEN h.denial_detail ELSE nullif(EXCLUDED.denial_detail, '') END,
                denied_at = coalesce(EXCLUDED.denied_at, h.denied_at)",
        &[
            dirty.iter().map(|(fqdn, _)| (*fqdn).clone()).collect::<Vec<_>>().into(),
            column(&|host| host.remembered.map(|(id, _)| i64::from(id))).into(),
            column(&|host| host.remembered.map(|(_, version)| version)).into(),
            column(&|host| Some(host.uptime)).into(),
            texts(&|host| host.boot_id.clone()).into(),
            texts(&|host| request(host).map(|(id, _)| id)).into(),
            column(&|host| request(host).map(|(_, at)| at.epoch)).into(),
            column(&|host| request(host).map(|(_, at)| at.us)).into(),
            column(&|host| host.facts.last_restart).into(),
            texts(&|host| host.new_denial.clone().map(|(condition, _)| condition)).into(),
            texts(&|host| host.new_denial.clone().map(|(_, detail)| detail)).into(),
        ],
    );
}
