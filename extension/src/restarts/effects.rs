//! What a batch changes: first in memory, so that the next call of the batch is judged by it, then in the tables.

use super::wire::{Ask, Wants};
use super::world::{HostRow, World};
use crate::events::{self, Event};
use crate::jobs::{self, Job};
use crate::store::{self, Store};
use goahead_rules::restart::{self, Condition, Contact, Kind, Open};
use serde_json::json;

/// How old a sign of life may be before it is written again, in microseconds: 5 minutes.
const SEEN: i64 = 300_000_000;
/// How old a repeated denial may be before it is written again, in microseconds: 1 minute.
const DENIED: i64 = 60_000_000;

fn is_new_boot(host: &HostRow, ask: &Ask) -> bool {
    ask.boot_id.is_some() && ask.boot_id != host.boot_id
}

/// Whether a call may write the host's row; `current` is the version of the patterns.
pub fn may_write(host: &HostRow, ask: &Ask, current: i64) -> bool {
    ask.wants == Wants::Restart
        || host.mine.is_some()
        || host.seen_ago >= SEEN
        || host.remembered.is_none_or(|(_, version)| version != current)
        || is_new_boot(host, ask)
}

/// Changes that are not yet in the tables. Those of hosts are in the world's rows.
#[derive(Default)]
pub struct Effects {
    writes: Vec<Write>,
    jobs: Vec<Job>,
    events: Vec<Event>,
    forget_requests: Vec<String>,
}

/// A change of who holds a slot. In order: a slot that one call frees may be another's in the same batch.
enum Write {
    Grant(Box<Granted>),
    Step(Step),
}

struct Granted {
    cluster_id: i32,
    cluster: String,
    open: Open,
    uptime: String,
    reason: Option<String>,
}

/// A change of a restart that was granted before.
struct Step {
    id: i64,
    rebooted: bool,
    checking: bool,
    completed: bool,
    panics: i64,
}

impl Effects {
    /// A sign of life of a host that belongs to a cluster.
    pub fn seen(&mut self, world: &mut World, cluster_id: i32, version: i64, ask: &Ask) {
        let Some(host) = world.hosts.get_mut(&ask.holder) else { return };
        let new_boot = is_new_boot(host, ask);
        if host.remembered != Some((cluster_id, version)) || host.seen_ago >= SEEN || new_boot {
            host.dirty = true;
        }
        host.remembered = Some((cluster_id, version));
        host.seen_ago = 0;
        host.uptime = ask.uptime;
        if new_boot {
            host.boot_id.clone_from(&ask.boot_id);
        }
    }

    /// A request_id was handed out.
    pub fn remember_request(&mut self, world: &mut World, fqdn: &str, request_id: &str) {
        let now = world.clock.now;
        let Some(host) = world.hosts.get_mut(fqdn) else { return };
        host.facts.request = Some((request_id.to_owned(), now));
        host.new_request = true;
        host.dirty = true;
    }

    /// A request was denied.
    pub fn denied(&mut self, world: &mut World, fqdn: &str, condition: Condition, message: &str) {
        let Some(host) = world.hosts.get_mut(fqdn) else { return };
        if host.denial.as_deref() != Some(condition.name()) || host.denied_ago >= DENIED {
            host.denial = Some(condition.name().to_owned());
            host.denied_ago = 0;
            host.new_denial = Some((condition.name().to_owned(), message.to_owned()));
            host.dirty = true;
        }
    }

    /// A go-ahead: the holder takes the slot, its actions are queued.
    pub fn grant(&mut self, store: &mut Store<'_, '_>, world: &mut World, cluster_id: i32, slot: i32, ask: &Ask) {
        let id = store
            .first("SELECT pg_catalog.nextval('goahead._restart_id_seq')", &[], |row| row.get(1))
            .expect("nextval gives a number");
        let now = world.clock.now;
        let Some(cluster) = world.clusters.get_mut(&cluster_id) else { return };
        let kind = if ask.wants == Wants::Lock { Kind::FleetLock } else { Kind::Goahead };
        let open = Open {
            id,
            holder: ask.holder.clone(),
            kind,
            slot,
            granted: now,
            granted_uptime: ask.uptime,
            granted_boot_id: ask.boot_id.clone(),
            rebooted: false,
            checking: false,
            panics: 0,
        };
        cluster.open.push(open.clone());
        cluster.last_grant = Some(now);
        for command in &cluster.settings.reboot_goahead_actions {
            self.jobs.push(Job::of(&open, cluster_id, &cluster.name, "action", command, &cluster.settings));
        }
        self.event(
            "granted",
            &cluster.name,
            &open,
            json!({ "slot": slot, "uptime": ask.uptime_text, "reason": ask.reason }),
        );
        self.writes.push(Write::Grant(Box::new(Granted {
            cluster_id,
            cluster: cluster.name.clone(),
            open: open.clone(),
            uptime: ask.uptime_text.clone(),
            reason: ask.reason.clone(),
        })));
        if kind == Kind::Goahead
            && let Some(host) = world.hosts.get_mut(&ask.holder)
        {
            host.mine = Some((cluster_id, open));
            host.denial = None;
            host.new_denial = Some((String::new(), String::new()));
            host.dirty = true;
        }
    }

    /// A contact showed that a host has rebooted.
    pub fn contact(&mut self, world: &mut World, cluster_id: i32, open: &Open, contact: Contact) {
        let fqdn = open.holder.clone();
        match contact {
            Contact::Nothing => return,
            Contact::Complete => self.complete(world, cluster_id, open),
            Contact::Rebooted | Contact::RebootedStartChecks => {
                let Some(cluster) = world.clusters.get_mut(&cluster_id) else { return };
                let start = contact == Contact::RebootedStartChecks;
                let now = Open { rebooted: true, checking: open.checking || start, ..open.clone() };
                self.event("rebooted", &cluster.name, &now, json!({ "slot": now.slot }));
                if start && let Some(check) = &cluster.settings.reboot_completion_check {
                    self.jobs.push(Job::of(&now, cluster_id, &cluster.name, "check", check, &cluster.settings));
                }
                self.step(&now, false);
                if let Some(held) = cluster.open.iter_mut().find(|held| held.id == now.id) {
                    *held = now.clone();
                }
                if let Some(host) = world.hosts.get_mut(&fqdn) {
                    host.mine = Some((cluster_id, now));
                }
            }
        }
        if let Some(host) = world.hosts.get_mut(&fqdn) {
            host.facts.last_restart = Some(open.id);
            host.dirty = true;
        }
    }

    /// A restart is complete: its slot is free, its completion actions are queued.
    pub fn complete(&mut self, world: &mut World, cluster_id: i32, open: &Open) {
        let Some(cluster) = world.clusters.get_mut(&cluster_id) else { return };
        cluster.open.retain(|held| held.id != open.id);
        for command in &cluster.settings.reboot_completion_actions {
            self.jobs.push(Job::of(open, cluster_id, &cluster.name, "completion_action", command, &cluster.settings));
        }
        self.event("completed", &cluster.name, open, json!({ "slot": open.slot }));
        self.step(&Open { rebooted: true, ..open.clone() }, true);
        if open.kind == Kind::Goahead {
            self.forget_requests.push(open.holder.clone());
            if let Some(host) = world.hosts.get_mut(&open.holder) {
                host.mine = None;
                host.facts.request = None;
                host.new_request = false;
            }
        }
    }

    /// FleetLock's steady-state: complete at once, if held at all.
    pub fn unlock(&mut self, world: &mut World, cluster_id: i32, holder: &str) {
        let held = world.clusters.get(&cluster_id).and_then(|cluster| {
            cluster.open.iter().find(|open| open.kind == Kind::FleetLock && open.holder == holder).cloned()
        });
        if let Some(open) = held {
            self.complete(world, cluster_id, &open);
        }
    }

    /// Judges the deadlines of a locked cluster.
    pub fn deadlines(&mut self, world: &mut World, cluster_id: i32) {
        let clock = world.clock;
        let Some(cluster) = world.clusters.get_mut(&cluster_id) else { return };
        let settings = std::rc::Rc::clone(&cluster.settings);
        for held in &mut cluster.open {
            let due = restart::deadline(held, &settings, clock);
            if let Some(panics) = due.panic {
                held.panics = panics;
                self.event("overdue", &cluster.name, held, json!({ "slot": held.slot, "thresholds": panics }));
                for command in &settings.panic_scripts {
                    self.jobs.push(Job::of(held, cluster_id, &cluster.name, "panic", command, &settings));
                }
            }
            if due.start_checks
                && let Some(check) = &settings.reboot_completion_check
            {
                held.checking = true;
                self.jobs.push(Job::of(held, cluster_id, &cluster.name, "check", check, &settings));
            }
            if due.panic.is_some() || due.start_checks {
                self.step(held, false);
            }
        }
        // The hosts' own view of their restarts is the same rows.
        for open in &cluster.open {
            if let Some(HostRow { mine: Some((_, mine)), .. }) = world.hosts.get_mut(&open.holder)
                && mine.id == open.id
            {
                mine.clone_from(open);
            }
        }
    }

    fn step(&mut self, open: &Open, completed: bool) {
        self.writes.push(Write::Step(Step {
            id: open.id,
            rebooted: open.rebooted,
            checking: open.checking,
            completed,
            panics: i64::from(open.panics),
        }));
    }

    fn event(&mut self, kind: &'static str, cluster: &str, open: &Open, mut detail: serde_json::Value) {
        detail["restart"] = open.id.into();
        self.events.push(Event { kind, cluster: Some(cluster.to_owned()), subject: Some(open.holder.clone()), detail });
    }

    /// Writes everything. What changes who holds a slot commits durably.
    pub fn write(self, store: &mut Store<'_, '_>, world: &World) {
        if !self.writes.is_empty() {
            store.begin();
            store.durable();
        }
        write_hosts(store, world);
        for write in &self.writes {
            match write {
                Write::Grant(granted) => granted.write(store),
                Write::Step(step) => step.write(store),
            }
        }
        jobs::queue(store, world.clock, &self.jobs);
        events::write(store, &self.events);
        if !self.forget_requests.is_empty() {
            for fqdn in &self.forget_requests {
                store.lock(store::HOST_LOCK, store::host_key(fqdn));
            }
            store.run(
                "UPDATE goahead._host SET request_id = NULL, request_epoch = NULL, request_us = NULL, request_at = NULL
                  WHERE fqdn = ANY ($1) AND request_id IS NOT NULL",
                &[self.forget_requests.into()],
            );
        }
    }
}

impl Granted {
    fn write(&self, store: &mut Store<'_, '_>) {
        let open = &self.open;
        store.run(
            "INSERT INTO goahead._restart (id, cluster_id, cluster, kind, holder, slot, state, reason, uptime,
                                           granted_at, granted_epoch, granted_us, granted_uptime, granted_boot_id)
             VALUES ($1, $2, $3, $4, $5, $6, 'granted', $7, $8, pg_catalog.clock_timestamp(), $9, $10, $11, $12)",
            &[
                open.id.into(),
                self.cluster_id.into(),
                self.cluster.as_str().into(),
                if open.kind == Kind::Goahead { "goahead" } else { "fleetlock" }.into(),
                open.holder.as_str().into(),
                open.slot.into(),
                self.reason.as_deref().into(),
                self.uptime.as_str().into(),
                open.granted.epoch.into(),
                open.granted.us.into(),
                open.granted_uptime.into(),
                open.granted_boot_id.as_deref().into(),
            ],
        );
    }
}

impl Step {
    fn write(&self, store: &mut Store<'_, '_>) {
        store.run(
            "UPDATE goahead._restart
                SET state = CASE WHEN $4 THEN 'completed' WHEN $2 THEN 'rebooted' ELSE state END,
                    rebooted_at = CASE WHEN $2 THEN coalesce(rebooted_at, pg_catalog.clock_timestamp()) ELSE rebooted_at END,
                    checking = $3 AND NOT $4,
                    ended_at = CASE WHEN $4 THEN pg_catalog.clock_timestamp() END,
                    overdue_at = CASE WHEN $5 > 0 THEN coalesce(overdue_at, pg_catalog.clock_timestamp()) END,
                    panics = $5
              WHERE id = $1 AND ended_at IS NULL",
            &[self.id.into(), self.rebooted.into(), self.checking.into(), self.completed.into(), self.panics.into()],
        );
        if self.completed {
            jobs::drop_check(store, self.id);
        }
    }
}

/// Writes the rows of hosts that are to be written, in the order of their names so that two batches never
/// wait for each other in a circle.
fn write_hosts(store: &mut Store<'_, '_>, world: &World) {
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
