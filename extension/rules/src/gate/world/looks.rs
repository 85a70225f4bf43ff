//! What must hold in a world, looked at from outside.

use super::super::{Micros, Rw};
use super::{Laws, NODES, World};

/// How many votes decide, of three and of two; reckoned apart from the rules.
const MAJORITY: usize = 2;

impl World {
    /// What must hold of every verdict that counts.
    pub(super) fn look(&mut self, laws: &Laws) {
        for node in 0..NODES {
            let now = self.clock(laws, node);
            let Some(verdict) = self.nodes[node].verdict.as_ref().filter(|verdict| verdict.rw_open(now)) else {
                continue;
            };
            let lease = Micros::try_from(laws.settings[node].lease.as_micros()).expect("small");
            let bound = |voter: &usize| self.promises[*voter][node] > self.clock(laws, *voter);
            let broken = match verdict.rw {
                Rw::Lease if (0..NODES).filter(bound).count() < MAJORITY => "a lease that a majority is not bound by",
                Rw::KeptBySync if !laws.sync => "kept open by a standby that is not synchronous",
                Rw::KeptBySync if !bound(&node) => "kept open without its own vote",
                Rw::KeptBySync if self.left.is_some_and(|left| now >= left + lease) => "kept open by no standby",
                Rw::Operator if !self.is_ordered(laws, node) => "an operator's open outlived its order",
                _ => continue,
            };
            self.broken = Some(broken);
        }
    }

    /// Nodes with a live verdict that lets writes in.
    pub fn leases(&self, laws: &Laws) -> Vec<usize> {
        let live = |node: &usize| {
            let now = self.clock(laws, *node);
            let verdict = self.nodes[*node].verdict.as_ref();
            verdict.is_some_and(|verdict| verdict.rw_open(now) && verdict.rw != Rw::Operator)
        };
        (0..NODES).filter(live).collect()
    }

    /// Primaries of the highest timeline.
    pub fn leaders(&self) -> Vec<usize> {
        let highest = self.nodes.iter().map(|node| node.timeline).max().unwrap_or(0);
        (0..NODES).filter(|n| self.nodes[*n].primary && self.nodes[*n].timeline == highest).collect()
    }
}
