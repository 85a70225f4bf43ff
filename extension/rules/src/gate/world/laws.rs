//! What does not change in one world: settings, clocks, names.

use super::super::{Isolated, Member, Settings};
use super::{NODES, TICK};
use std::time::Duration;

/// The nodes of most worlds.
const NAMES: [&str; NODES] = ["a", "b", "c"];

/// What does not change in one world.
#[derive(Clone, Debug)]
pub struct Laws {
    pub settings: [Settings; NODES],
    /// What each clock makes of a tick.
    pub rates: [i64; NODES],
    /// In ticks: how late the watchdog may be, and how long the proxy may go on sending to a closed door.
    pub watchdog: i64,
    pub detection: i64,
    /// Standbys of the primary stream synchronously.
    pub sync: bool,
    /// Whom each node can ever reach, as a mask.
    pub reachable: [u8; NODES],
    /// A round reaches all of those or nobody.
    pub whole: bool,
}

impl Laws {
    /// In ticks; the third node is a witness or has data.
    pub fn new(lease: u32, round: u32, watchdog: u32, detection: u32, witness: bool, rates: [i64; NODES]) -> Self {
        let tick = Duration::from_micros(TICK.unsigned_abs());
        let member = |index: usize| Member { name: NAMES[index].to_owned(), witness: witness && index == 2 };
        let of = |index: usize| Settings {
            round: tick * round,
            lease: tick * lease,
            deadline: tick * round * 4 / 5,
            watchdog: tick * watchdog,
            detection: tick * detection,
            hold_down: tick * (lease + watchdog + detection),
            // Clocks are 1 % off the truth at most, so 2 % from each other.
            skew: tick * lease / 40,
            ..Settings::new(NAMES[index], vec![member(0), member(1), member(2)])
        };
        Self {
            settings: [of(0), of(1), of(2)],
            rates,
            watchdog: i64::from(watchdog),
            detection: i64::from(detection),
            sync: false,
            reachable: [0b111; NODES],
            whole: false,
        }
    }

    /// Clocks that come apart as far as settings may allow for: a fifth.
    pub fn drifting(mut self) -> Self {
        for settings in &mut self.settings {
            settings.skew = settings.lease / 5;
        }
        self
    }

    /// Two nodes without a witness, of which the primary stays open while its standby streams synchronously.
    pub fn pair(mut self, sync: bool) -> Self {
        for settings in &mut self.settings {
            settings.members.truncate(2);
            settings.isolated = Isolated::KeepIfSync;
        }
        Self { sync, ..self }
    }

    /// The second machine goes by the name of the first, as a clone of it does.
    pub fn namesakes(mut self) -> Self {
        self.settings[1].node = NAMES[0].to_owned();
        self
    }

    /// One gate has been given twice the lease of the others.
    pub fn with_a_longer_lease(mut self, node: usize) -> Self {
        self.settings[node].lease *= 2;
        self.settings[node].hold_down += self.settings[node].lease;
        self
    }

    pub fn name(&self, node: usize) -> &str {
        &self.settings[node].node
    }

    /// Two machines share a name.
    pub fn has_namesakes(&self) -> bool {
        self.name(0) == self.name(1)
    }

    pub fn is_pair(&self) -> bool {
        self.settings[0].members.len() == 2
    }

    pub fn is_data(&self, node: usize) -> bool {
        self.settings[0].members.get(node).is_some_and(|member| !member.witness)
    }

    /// The voters that a node asks beside its own: a name leads to one machine only.
    pub fn peers(&self, node: usize) -> impl Iterator<Item = usize> {
        let known = move |peer: &usize| *peer != node && self.name(*peer) != self.name(node);
        (0..self.settings[node].members.len()).filter(known)
    }

    /// Those of them that it can reach, as a mask.
    pub fn reach(&self, node: usize) -> u8 {
        self.peers(node).map(|peer| 1 << peer).sum::<u8>() & self.reachable[node]
    }
}
