//! What a batch changes: first in memory, so that the next call of the batch is judged by it, then in the tables.

use super::wire::{Ask, Wants};
use super::world::{HostRow, World};
use super::writes::{self, Granted, Slots, Step};
use crate::events::{self, Event};
use crate::jobs::{self, Job};
use crate::store::Store;
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
    slots: Slots,
    jobs: Vec<Job>,
    events: Vec<Event>,
    forget_requests: Vec<String>,
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
        self.slots.granted(Granted {
            cluster_id,
            cluster: cluster.name.clone(),
            open: open.clone(),
            uptime: ask.uptime_text.clone(),
            reason: ask.reason.clone(),
        });
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
            Contact::Complete => self.complete(world, cluster_id, open, None),
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

    /// A restart is complete: its slot is free, its completion actions are queued. The note is an operator's.
    pub fn complete(&mut self, world: &mut World, cluster_id: i32, open: &Open, note: Option<&str>) {
        let Some(cluster) = world.clusters.get_mut(&cluster_id) else { return };
        cluster.open.retain(|held| held.id != open.id);
        for command in &cluster.settings.reboot_completion_actions {
            self.jobs.push(Job::of(open, cluster_id, &cluster.name, "completion_action", command, &cluster.settings));
        }
        let mut detail = json!({ "slot": open.slot });
        if let Some(note) = note {
            detail["note"] = note.into();
        }
        self.event("completed", &cluster.name, open, detail);
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
            self.complete(world, cluster_id, &open, None);
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
        self.slots.step(Step {
            id: open.id,
            rebooted: open.rebooted,
            checking: open.checking,
            completed,
            panics: i64::from(open.panics),
        });
    }

    fn event(&mut self, kind: &'static str, cluster: &str, open: &Open, mut detail: serde_json::Value) {
        detail["restart"] = open.id.into();
        self.events.push(Event { kind, cluster: Some(cluster.to_owned()), subject: Some(open.holder.clone()), detail });
    }

    /// Writes everything. What changes who holds a slot commits durably.
    pub fn write(self, store: &mut Store<'_, '_>, world: &World) {
        if !self.slots.is_empty() {
            store.begin();
            store.durable();
        }
        writes::hosts(store, world);
        self.slots.write(store);
        jobs::queue(store, world.clock, &self.jobs);
        events::write(store, &self.events);
        writes::forget_requests(store, &self.forget_requests);
    }
}
