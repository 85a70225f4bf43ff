//! Judges a batch of calls one after another against facts in memory, in one transaction.
//!
//! First the facts are read without any lock, and the rules say which calls would change who holds a slot.
//! Only then the clusters of those are locked (in order of their ids), their facts read again, and every
//! call judged for good. Who does not wait for locks gets calls whose cluster is busy back as `busy`, so that
//! one transaction that was left open stalls only its own cluster.

mod judging;

use super::clusters::{self, Patterns};
use super::effects::{self, Effects};
use super::wire::{self, Ask, Outcome, Wants};
use super::world::World;
use crate::clock;
use crate::sets::Invalid;
use crate::store::{self, Store};
use goahead_rules::pattern::Match;
use goahead_rules::restart::{self, Contact, Open};
use std::collections::BTreeSet;
use std::rc::Rc;

/// How often a batch that waits starts over because what it locked was not what it needed.
const ATTEMPTS: usize = 5;

/// Which locks a batch takes. What it would need another for comes back as `busy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locks {
    /// Those of hosts that are free, none of clusters: nothing changes who holds a slot.
    None,
    /// Those that are free.
    Free,
    /// All that it needs; only such a batch asks blockers, which may take their time.
    Wait,
}

/// Judges calls; the answers are in their order.
pub fn run(store: &mut Store<'_, '_>, asks: Vec<Result<Ask, Invalid>>, locks: Locks) -> Vec<Outcome> {
    let mut locked = BTreeSet::new();
    for attempt in 1.. {
        let mut batch = Batch::read(store, &asks);
        if locks != Locks::None {
            let wanted: BTreeSet<i32> = batch.wanted_locks(&asks).difference(&locked).copied().collect();
            let taken = batch.lock(store, &wanted, locks);
            if !taken.is_empty() {
                locked.extend(taken);
                batch = Batch::read(store, &asks);
            }
        }
        batch.locked = locked.clone();
        batch.lock_hosts(store, &asks, locks);
        batch.read_open(store, &asks);
        let outcomes = batch.judge(store, &asks, locks);
        if attempt < ATTEMPTS && locks == Locks::Wait && outcomes.iter().any(|outcome| outcome.outcome == "busy") {
            continue;
        }
        batch.effects.write(store, &batch.world);
        wire::remember_unknown(store, std::mem::take(&mut batch.unknown));
        return outcomes;
    }
    unreachable!("the loop above ends by returning")
}

/// Where a call belongs.
enum Place {
    Cluster(i32),
    Blacklisted(String),
    Nowhere,
}

struct Batch {
    world: World,
    patterns: Rc<Patterns>,
    locked: BTreeSet<i32>,
    locked_hosts: BTreeSet<String>,
    effects: Effects,
    unknown: Vec<(String, Option<String>)>,
}

impl Batch {
    /// Reads the facts that all calls need.
    fn read(store: &mut Store<'_, '_>, asks: &[Result<Ask, Invalid>]) -> Self {
        let clock = clock::settled(store);
        let patterns = clusters::patterns(store);
        let mut world = World::new(clock);
        let hosts: BTreeSet<&str> = asks
            .iter()
            .flatten()
            .filter(|ask| matches!(ask.wants, Wants::Restart | Wants::Reason))
            .map(|ask| ask.holder.as_str())
            .collect();
        world.load_hosts(store, hosts.into_iter().map(str::to_owned).collect());
        let mut batch = Self {
            world,
            patterns,
            locked: BTreeSet::new(),
            locked_hosts: BTreeSet::new(),
            effects: Effects::default(),
            unknown: Vec::new(),
        };
        let mut ids = BTreeSet::new();
        for ask in asks.iter().flatten() {
            if let Place::Cluster(id) = batch.place(ask) {
                ids.insert(id);
            }
            if let Some((id, _)) = batch.world.hosts.get(&ask.holder).and_then(|host| host.mine.as_ref()) {
                ids.insert(*id);
            }
        }
        batch.world.load_clusters(store, &ids.into_iter().collect::<Vec<_>>());
        batch
    }

    /// Reads who holds slots, of the clusters where that matters.
    fn read_open(&mut self, store: &mut Store<'_, '_>, asks: &[Result<Ask, Invalid>]) {
        let mut ids = self.locked.clone();
        for ask in asks.iter().flatten() {
            if (ask.request_id.is_some() || matches!(ask.wants, Wants::Lock | Wants::Unlock))
                && let Place::Cluster(id) = self.place(ask)
            {
                ids.insert(id);
            }
        }
        self.world.load_open(store, &ids.into_iter().collect::<Vec<_>>());
    }

    fn place(&self, ask: &Ask) -> Place {
        if matches!(ask.wants, Wants::Lock | Wants::Unlock) {
            return self.patterns.id(&ask.group).map_or(Place::Nowhere, Place::Cluster);
        }
        let remembered = self.world.hosts.get(&ask.holder).and_then(|host| host.remembered);
        if let Some((cluster, version)) = remembered
            && version == self.patterns.version
        {
            return Place::Cluster(cluster);
        }
        match self.patterns.find(&ask.holder) {
            Match::Cluster(id) => Place::Cluster(id),
            Match::Blacklisted { pattern, .. } => Place::Blacklisted(pattern),
            Match::None => Place::Nowhere,
        }
    }

    /// The clusters whose holders would change if the facts stay as they are.
    fn wanted_locks(&mut self, asks: &[Result<Ask, Invalid>]) -> BTreeSet<i32> {
        let mut ids = BTreeSet::new();
        for ask in asks.iter().flatten() {
            let place = self.place(ask);
            let mine = self.world.hosts.get(&ask.holder).and_then(|host| host.mine.clone());
            if let Some((id, open)) = &mine
                && self.contact(*id, open, ask) != Contact::Nothing
            {
                ids.insert(*id);
            }
            // A second call may be granted; whether it is, is judged under the lock only.
            let may_change = match ask.wants {
                Wants::Lock | Wants::Unlock => true,
                Wants::Restart => {
                    let handed_out = self.world.hosts.get(&ask.holder).and_then(|host| host.facts.request.as_ref());
                    mine.is_none()
                        && ask.request_id.is_some()
                        && handed_out.map(|(id, _)| id) == ask.request_id.as_ref()
                }
                Wants::Reason => false,
            };
            if may_change && let Place::Cluster(id) = place {
                ids.insert(id);
            }
        }
        ids
    }

    fn lock(&self, store: &mut Store<'_, '_>, wanted: &BTreeSet<i32>, locks: Locks) -> Vec<i32> {
        let mut locked = Vec::new();
        for id in wanted {
            let foldable = self.world.clusters.get(id).is_none_or(|cluster| cluster.settings.blocker.is_none());
            if locks == Locks::Wait {
                store.lock(store::CLUSTER_LOCK, *id);
                locked.push(*id);
            } else if foldable && store.try_lock(store::CLUSTER_LOCK, *id) {
                locked.push(*id);
            }
        }
        locked
    }

    /// Locks the hosts whose rows the calls may write, in the order of their keys.
    fn lock_hosts(&mut self, store: &mut Store<'_, '_>, asks: &[Result<Ask, Invalid>], locks: Locks) {
        let mut wanted = BTreeSet::new();
        for ask in asks.iter().flatten() {
            if !self.places_nowhere(ask) && self.may_write(ask) {
                wanted.insert((store::name_key(&ask.holder), ask.holder.clone()));
            }
        }
        for (key, name) in wanted {
            if locks == Locks::Wait {
                store.lock(store::HOST_LOCK, key);
            } else if !store.try_lock(store::HOST_LOCK, key) {
                continue;
            }
            self.locked_hosts.insert(name);
        }
    }

    fn places_nowhere(&self, ask: &Ask) -> bool {
        !matches!(self.place(ask), Place::Cluster(_))
            && self.world.hosts.get(&ask.holder).is_none_or(|host| host.mine.is_none())
    }

    fn may_write(&self, ask: &Ask) -> bool {
        let host = self.world.hosts.get(&ask.holder);
        host.is_some_and(|host| effects::may_write(host, ask, self.patterns.version))
    }

    fn contact(&self, cluster: i32, open: &Open, ask: &Ask) -> Contact {
        let Some(cluster) = self.world.clusters.get(&cluster) else { return Contact::Nothing };
        restart::on_contact(open, ask.uptime, ask.boot_id.as_deref(), &cluster.settings, self.world.clock)
    }
}

/// A call as the rules take it.
pub fn rules_ask<'a>(ask: &'a Ask, blocked: &'a Option<Option<String>>) -> restart::Ask<'a> {
    restart::Ask {
        holder: &ask.holder,
        uptime_text: &ask.uptime_text,
        uptime: ask.uptime,
        boot_id: ask.boot_id.as_deref(),
        request_id: ask.request_id.as_deref(),
        fresh_id: &ask.fresh_id,
        blocker: blocked.as_ref().map(Option::as_deref),
    }
}

/// What a cluster's blocker says of a host.
pub fn ask_blocker(store: &mut Store<'_, '_>, world: &World, id: i32, holder: &str) -> Option<String> {
    let cluster = &world.clusters[&id];
    let function = cluster.settings.blocker.clone()?;
    store.first(
        "SELECT goahead._ask_blocker($1, $2, $3)",
        &[function.into(), cluster.name.clone().into(), holder.into()],
        |row| row.opt(1),
    )?
}
