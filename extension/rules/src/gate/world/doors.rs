//! The doors of a world: what a verdict does to them, and what a proxy may see.

use super::super::Rw;
use super::{Laws, NODES, World};

impl World {
    /// Brings the door into the state of the verdict, unless it is too late for that.
    pub fn apply(&mut self, laws: &Laws, node: usize) {
        let now = self.clock(laws, node);
        let Some(verdict) = self.nodes[node].verdict.clone() else { return };
        if !verdict.rw_open(now) {
            self.close(laws, node);
        } else if self.nodes[node].open || verdict.may_begin(now) {
            if !self.nodes[node].open {
                self.open(laws, node, verdict.rw);
            }
            self.nodes[node].stamp = verdict.expires;
            self.nodes[node].by_order = verdict.rw == Rw::Operator;
        }
    }

    fn open(&mut self, laws: &Laws, node: usize, rw: Rw) {
        if rw == Rw::KeptBySync {
            self.broken = Some("a standby opened a door that it may only keep open");
        }
        for other in (0..NODES).filter(|other| *other != node && rw == Rw::Lease) {
            let it = &self.nodes[other];
            let by_operator = it.verdict.as_ref().is_some_and(|verdict| verdict.rw == Rw::Operator);
            if it.open && !it.by_order && !by_operator && !self.is_ordered(laws, other) {
                self.broken = Some("a door opened while another was open");
            } else if !it.open && !self.operated && self.tick < it.closed + laws.detection {
                self.broken = Some("a door opened before the proxy noticed that another had closed");
            }
        }
        self.nodes[node].open = true;
    }

    pub(super) fn close(&mut self, laws: &Laws, node: usize) {
        if self.nodes[node].open {
            let now = self.clock(laws, node);
            let (tick, it) = (self.tick, &mut self.nodes[node]);
            (it.open, it.by_order, it.closed, it.seen_closed) = (false, false, tick, now);
        }
    }
}
