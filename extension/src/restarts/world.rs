//! The facts of a batch in memory: the clusters and hosts that it touches, read in a few statements.

use super::clusters;
use crate::store::Store;
use goahead_rules::lease::{Clock, Instant};
use goahead_rules::restart::{Cluster, Host, Kind, Open, Rollout};
use goahead_rules::settings::Settings;
use goahead_rules::window::{LocalTime, Weekday};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A cluster and what it holds.
pub struct ClusterRow {
    /// Its row.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: Rc<Settings>,
    frozen: Option<String>,
    known_hosts: u32,
    rollout: Option<(i64, String, Instant, i64)>,
    local: Rc<Vec<(String, LocalTime)>>,
    /// The restarts that hold its slots, oldest first.
    pub open: Vec<Open>,
    /// When it last granted.
    pub last_grant: Option<Instant>,
}

impl ClusterRow {
    /// The facts as the rules take them.
    pub fn facts(&self) -> Cluster<'_> {
        Cluster {
            name: &self.name,
            settings: &self.settings,
            frozen: self.frozen.as_deref(),
            known_hosts: self.known_hosts,
            open: &self.open,
            last_grant: self.last_grant,
            local: &self.local,
            rollout: self.rollout.as_ref().map(|(id, reason, started, boundary)| Rollout {
                id: *id,
                reason,
                started: *started,
                boundary: *boundary,
            }),
        }
    }
}

/// A host, whether it has a row yet or not.
#[derive(Default)]
pub struct HostRow {
    /// The cluster that its row remembers, and the version of the patterns that chose it.
    pub remembered: Option<(i32, i64)>,
    /// Microseconds since its row was written for a sign of life.
    pub seen_ago: i64,
    /// Boot id of its row.
    pub boot_id: Option<String>,
    /// What the rules know of it.
    pub facts: Host,
    /// The condition that denied it last.
    pub denial: Option<String>,
    /// Microseconds since that denial was written.
    pub denied_ago: i64,
    /// The restart that it holds, and the cluster whose slot that is.
    pub mine: Option<(i32, Open)>,
    /// Uptime in microseconds at its last written sign of life.
    pub last_uptime: Option<i64>,
    /// Uptime that it reports now, in microseconds.
    pub uptime: i64,
    /// Its row is to be written.
    pub dirty: bool,
    /// A request_id was handed out.
    pub new_request: bool,
    /// A denial to write: its condition and sentence; an empty condition clears the last one.
    pub new_denial: Option<(String, String)>,
}

/// All facts of a batch.
pub struct World {
    /// The clock, read once.
    pub clock: Clock,
    /// Clusters by id.
    pub clusters: BTreeMap<i32, ClusterRow>,
    /// Hosts by FQDN.
    pub hosts: HashMap<String, HostRow>,
}

const OPEN: &str = "r.id, r.holder, r.kind, r.slot, r.granted_epoch, r.granted_us, r.granted_uptime, r.granted_boot_id, r.state, r.checking, r.panics";

fn open(row: &crate::store::Row<'_>, from: usize) -> Option<Open> {
    Some(Open {
        id: row.opt(from)?,
        holder: row.get(from + 1),
        kind: if row.get::<String>(from + 2) == "goahead" { Kind::Goahead } else { Kind::FleetLock },
        slot: row.get(from + 3),
        granted: Instant { epoch: row.get(from + 4), us: row.get(from + 5) },
        granted_uptime: row.get(from + 6),
        granted_boot_id: row.opt(from + 7),
        rebooted: row.get::<String>(from + 8) == "rebooted",
        checking: row.get(from + 9),
        panics: u32::try_from(row.get::<i64>(from + 10)).unwrap_or(u32::MAX),
    })
}

impl World {
    /// A world without facts.
    pub fn new(clock: Clock) -> Self {
        Self { clock, clusters: BTreeMap::new(), hosts: HashMap::new() }
    }

    /// Reads (again) what is known of hosts.
    pub fn load_hosts(&mut self, store: &mut Store<'_, '_>, fqdns: Vec<String>) {
        if fqdns.is_empty() {
            return;
        }
        for fqdn in &fqdns {
            self.hosts.insert(fqdn.clone(), HostRow::default());
        }
        let rows = store.rows(
            const_format::concatcp!(
                "SELECT n.fqdn, h.cluster_id, h.patterns_version,
                        (extract(epoch FROM pg_catalog.clock_timestamp() - h.last_seen) * 1000000)::bigint,
                        h.boot_id, h.request_id, h.request_epoch, h.request_us, h.last_restart, h.denial,
                        (extract(epoch FROM pg_catalog.clock_timestamp() - h.denied_at) * 1000000)::bigint,
                        h.uptime_us, r.cluster_id, ",
                OPEN,
                " FROM pg_catalog.unnest($1) AS n (fqdn)
                  LEFT JOIN goahead._host h ON h.fqdn = n.fqdn
                  LEFT JOIN goahead._restart r ON r.holder = n.fqdn AND r.kind = 'goahead' AND r.ended_at IS NULL"
            ),
            &[fqdns.into()],
            |row| {
                let host = HostRow {
                    remembered: row.opt(2).map(|cluster: i32| (cluster, row.get(3))),
                    seen_ago: row.opt(4).unwrap_or(i64::MAX),
                    boot_id: row.opt(5),
                    facts: Host {
                        request: row.opt(6).map(|id: String| (id, Instant { epoch: row.get(7), us: row.get(8) })),
                        last_restart: row.opt(9),
                    },
                    denial: row.opt(10),
                    denied_ago: row.opt(11).unwrap_or(i64::MAX),
                    last_uptime: row.opt(12),
                    mine: open(row, 14).map(|open| (row.get(13), open)),
                    ..HostRow::default()
                };
                (row.get::<String>(1), host)
            },
        );
        self.hosts.extend(rows);
    }

    /// Reads (again) clusters; one that is gone is forgotten. Their open restarts are read with `load_open`.
    pub fn load_clusters(&mut self, store: &mut Store<'_, '_>, ids: &[i32]) {
        if ids.is_empty() {
            return;
        }
        for id in ids {
            self.clusters.remove(id);
        }
        let rows = store.rows(
            "SELECT c.id, c.name, c.version,
                    CASE WHEN c.frozen_until IS NULL OR c.frozen_until > pg_catalog.clock_timestamp() THEN
                        c.frozen_reason || coalesce(pg_catalog.to_char(c.frozen_until AT TIME ZONE 'UTC', ' (\"until\" YYYY-MM-DD HH24:MI \"UTC)\"'), '') END,
                    c.known_hosts, o.id, o.reason, o.started_epoch, o.started_us, o.boundary
               FROM goahead._cluster c
               LEFT JOIN goahead._rollout o ON o.cluster_id = c.id AND o.ended_at IS NULL
              WHERE c.id = ANY ($1)",
            &[ids.to_vec().into()],
            |row| {
                let rollout = row
                    .opt(6)
                    .map(|id: i64| (id, row.get(7), Instant { epoch: row.get(8), us: row.get(9) }, row.get(10)));
                (row.get::<i32>(1), row.get::<String>(2), row.get::<i64>(3), row.opt::<String>(4), row.get::<i32>(5), rollout)
            },
        );
        let settings = clusters::settings(store, rows.iter().map(|row| (row.0, row.2)).collect());
        for (id, name, _, frozen, known_hosts, rollout) in rows {
            let Some(settings) = settings.get(&id).cloned() else { continue };
            let local = Rc::new(local_times(store, &settings));
            let known_hosts = u32::try_from(known_hosts).unwrap_or(0);
            let row = ClusterRow {
                id,
                name,
                settings,
                frozen,
                known_hosts,
                rollout,
                local,
                open: Vec::new(),
                last_grant: None,
            };
            self.clusters.insert(id, row);
        }
    }

    /// Reads (again) who holds the slots of clusters, and when these last granted.
    pub fn load_open(&mut self, store: &mut Store<'_, '_>, ids: &[i32]) {
        if ids.is_empty() {
            return;
        }
        for id in ids {
            if let Some(cluster) = self.clusters.get_mut(id) {
                cluster.open.clear();
                cluster.last_grant = None;
            }
        }
        let held = store.rows(
            const_format::concatcp!(
                "SELECT r.cluster_id, ",
                OPEN,
                " FROM goahead._restart r WHERE r.cluster_id = ANY ($1) AND r.ended_at IS NULL ORDER BY r.id"
            ),
            &[ids.to_vec().into()],
            |row| (row.get::<i32>(1), open(row, 2)),
        );
        for (id, open) in held {
            if let Some(cluster) = self.clusters.get_mut(&id) {
                cluster.open.extend(open);
            }
        }
        let paced: Vec<i32> = ids
            .iter()
            .filter(|id| self.clusters.get(id).is_some_and(|cluster| cluster.settings.minimum_interval.0 > 0))
            .copied()
            .collect();
        if paced.is_empty() {
            return;
        }
        let grants = store.rows(
            "SELECT c.id, l.granted_epoch, l.granted_us FROM pg_catalog.unnest($1) AS c (id)
             CROSS JOIN LATERAL (SELECT r.granted_epoch, r.granted_us FROM goahead._restart r
                                  WHERE r.cluster_id = c.id ORDER BY r.id DESC LIMIT 1) l",
            &[paced.into()],
            |row| (row.get::<i32>(1), Instant { epoch: row.get(2), us: row.get(3) }),
        );
        for (id, last) in grants {
            if let Some(cluster) = self.clusters.get_mut(&id) {
                cluster.last_grant = Some(last);
            }
        }
    }
}

fn local_times(store: &mut Store<'_, '_>, settings: &Settings) -> Vec<(String, LocalTime)> {
    if settings.restart_windows.is_empty() {
        return Vec::new();
    }
    let zones: Vec<String> = settings.restart_windows.iter().map(|window| window.time_zone.clone()).collect();
    store.rows(
        "SELECT z.name, extract(isodow FROM t.local)::int, (extract(hour FROM t.local) * 60 + extract(minute FROM t.local))::int
           FROM (SELECT DISTINCT n FROM pg_catalog.unnest($1) AS u (n)) AS z (name)
          CROSS JOIN LATERAL (SELECT pg_catalog.clock_timestamp() AT TIME ZONE z.name) AS t (local)",
        &[zones.into()],
        |row| {
            let weekday = Weekday::from_isodow(row.get(2)).expect("isodow is 1 to 7");
            let minute_of_day = u16::try_from(row.get::<i32>(3)).expect("a day has 1440 minutes");
            (row.get(1), LocalTime { weekday, minute_of_day })
        },
    )
}
