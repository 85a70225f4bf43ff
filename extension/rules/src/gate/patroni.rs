//! Patroni's health paths, with its exact codes (Patroni 4.1, `patroni/api.py`): which of 200 and 503 a proxy sees.

use std::collections::BTreeMap;
use std::time::Duration;

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET, and whatever is answered like it.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

/// What an answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// The status document ([`Status`](super::Status)), whatever the code.
    Status,
    /// `/cluster`.
    Cluster,
    /// `/history`.
    History,
    /// `/config`.
    Config,
    /// `/metrics`.
    Metrics,
}

/// What the paths are judged by: the cached verdict and facts, taken at the time of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The verdict is live; an old one makes every health path 503.
    pub live: bool,
    /// Its read-write door is open: this node holds the lease.
    pub rw_open: bool,
    /// Its read-only door is open.
    pub ro_open: bool,
    /// The local database answers.
    pub running: bool,
    /// In recovery; none: unknown.
    pub in_recovery: Option<bool>,
    /// The WAL receiver streams (or `in archive recovery`), as Patroni's `replication_state` says it.
    pub replication_state: Option<String>,
    /// Bytes behind the primary by replayed WAL; none: unknown, which counts as no lag.
    pub replay_lag: Option<u64>,
    /// Bytes behind the primary by received WAL.
    pub receive_lag: Option<u64>,
    /// The primary lists this standby as synchronous.
    pub sync: bool,
    /// The primary lists it as a member of the quorum.
    pub quorum: bool,
    /// Lag that `/readiness` accepts where no `lag=` is given, in bytes.
    pub readiness_lag: u64,
    /// Tags of this node, as text.
    pub tags: BTreeMap<String, String>,
    /// An operator's order is in force (Patroni: paused).
    pub paused: bool,
    /// Since the last round was decided; none: never.
    pub loop_age: Option<Duration>,
    /// The lease (Patroni: ttl).
    pub ttl: Duration,
}

/// Answers that are always 200 to GET, by the first part of their path.
const ALWAYS: [(&str, Body); 5] = [
    ("patroni", Body::Status),
    ("cluster", Body::Cluster),
    ("history", Body::History),
    ("config", Body::Config),
    ("metrics", Body::Metrics),
];

/// The status of a path, and what its body is. `path` and `query` are as sent, not decoded.
///
/// GET routes by the first part of the path; what that does not know, and every HEAD and OPTIONS, is matched by substring,
/// in Patroni's order, so `/replica-health` is a replica's path. Nothing here is 404.
pub fn patroni(method: Method, path: &str, query: &str, snapshot: &Snapshot) -> (u16, Body) {
    let query = Query::read(query);
    if method == Method::Get {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        if let Some((_, body)) = ALWAYS.iter().find(|(name, _)| *name == first) {
            return (200, *body);
        }
        match first {
            "liveness" => return (code(snapshot.is_alive()), Body::Empty),
            "readiness" => return (code(snapshot.is_ready(&query)), Body::Empty),
            _ => {}
        }
    }
    let path = if path == "/" { "/primary" } else { path };
    let body = if method == Method::Get { Body::Status } else { Body::Empty };
    (code(snapshot.is_healthy(path, &query)), body)
}

fn code(healthy: bool) -> u16 {
    if healthy { 200 } else { 503 }
}

impl Snapshot {
    fn is_healthy(&self, path: &str, query: &Query) -> bool {
        let has = |word: &str| path.contains(word);
        let (primary, replica) = (self.is_leader(), self.is_replica(query));
        // There are no standby clusters here, and tags do not matter for a leader.
        if has("standby_leader") || has("standby-leader") {
            return false;
        }
        if has("leader") || has("master") || has("primary") || has("read-write") {
            return primary;
        }
        let healthy = if has("replica") {
            replica
        } else if has("read-only") && !has("sync") && !has("quorum") {
            primary || replica
        } else if has("health") {
            self.live && self.running
        } else {
            match path {
                "/sync" | "/synchronous" => replica && self.sync,
                "/quorum" => replica && self.quorum,
                "/async" | "/asynchronous" => replica && !self.sync && !self.quorum,
                "/read-only-quorum" => primary || (replica && self.quorum),
                "/read-only-sync" | "/read-only-synchronous" => primary || (replica && self.sync),
                _ => false,
            }
        };
        healthy && self.has_tags(query)
    }

    fn is_leader(&self) -> bool {
        self.live && self.rw_open
    }

    fn is_replica(&self, query: &Query) -> bool {
        let no_load_balance = self.tags.get("noloadbalance").is_some_and(|value| value == "true");
        let limit = query.bytes("lag").unwrap_or(u64::MAX);
        let state = query.first("replication_state");
        self.live
            && self.ro_open
            && self.running
            && self.in_recovery == Some(true)
            && !no_load_balance
            && self.replay_lag.unwrap_or(0) <= limit
            && state.is_none_or(|wanted| self.replication_state.as_deref() == Some(wanted))
    }

    fn has_tags(&self, query: &Query) -> bool {
        query
            .0
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("tag_")?, value)))
            .all(|(tag, wanted)| self.tags.get(tag) == Some(wanted))
    }

    /// The gate's loop turns: within a lease on a primary, within two elsewhere.
    fn is_alive(&self) -> bool {
        let primary = self.running && self.in_recovery == Some(false);
        let limit = if primary { self.ttl } else { self.ttl * 2 };
        self.paused || self.loop_age.is_some_and(|age| age < limit)
    }

    fn is_ready(&self, query: &Query) -> bool {
        let streaming = self.replication_state.as_deref() == Some("streaming");
        let lag = if query.first("mode") == Some("write") { self.receive_lag } else { self.replay_lag };
        let limit = query.bytes("lag").unwrap_or(self.readiness_lag);
        // Unlike /replica, an unknown lag is not ready here.
        self.is_leader() || (self.live && self.running && streaming && lag.is_some_and(|lag| lag <= limit))
    }
}

/// The first value of each key; empty ones do not count.
struct Query(BTreeMap<String, String>);

impl Query {
    fn read(query: &str) -> Self {
        let mut pairs = BTreeMap::new();
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if !value.is_empty() {
                pairs.entry(decoded(key)).or_insert_with(|| decoded(value));
            }
        }
        Self(pairs)
    }

    fn first(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn bytes(&self, key: &str) -> Option<u64> {
        self.first(key).and_then(bytes)
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// A number of bytes as Patroni reads it: a whole or decimal number, then nothing, B, kB, MB, GB or TB. None: no such
/// thing, and then the parameter does not count.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic() || c.is_whitespace()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: f64 = match unit.trim() {
        "" | "B" => 1.0,
        "kB" => 1024.0,
        "MB" => 1_048_576.0,
        "GB" => 1_073_741_824.0,
        "TB" => 1_099_511_627_776.0,
        _ => return None,
    };
    let whole = number.parse::<u64>().ok().filter(|_| factor == 1.0);
    // A negative number saturates to 0, which only a standby without any lag meets.
    whole.or_else(|| number.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| (n * factor).round() as u64))
}
