//! How far behind a standby is in time, measured where it happens.

use super::wire::Micros;
use std::collections::VecDeque;
use std::time::Duration;

/// Samples of what was received when. `pg_last_xact_replay_timestamp` would show an idle primary as lag; this shows how
/// long the WAL that is to be replayed next has been waiting, on this node's own clock.
#[derive(Clone, Debug, Default)]
pub struct ReplayLag {
    received: VecDeque<(Micros, u64)>,
}

/// As many samples as an hour of rounds has; the oldest go first, which makes the lag look smaller than it is.
const SAMPLES: usize = 3600;

impl ReplayLag {
    /// Takes note of a pair of positions (bytes of WAL) at `now`, which must not go back; returns how long the oldest WAL that is not replayed yet has been there.
    pub fn observe(&mut self, received: u64, replayed: u64, now: Micros) -> Duration {
        if self.received.back().is_none_or(|(_, last)| received > *last) {
            self.received.push_back((now, received));
        } else if self.received.back().is_some_and(|(_, last)| received < *last) {
            // Another history: a new primary, or a rewind.
            self.received.clear();
            self.received.push_back((now, received));
        }
        while self.received.len() > SAMPLES || self.received.front().is_some_and(|(_, there)| *there <= replayed) {
            self.received.pop_front();
        }
        let since = self.received.front().map_or(now, |(since, _)| *since);
        Duration::from_micros(u64::try_from(now - since).unwrap_or(0))
    }
}
