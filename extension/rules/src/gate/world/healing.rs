//! What a world must come to when nothing fails any more.

use super::{Laws, NODES, TICK, World};

/// Ticks.
const FOR_LONG: i64 = 1_000_000;

impl World {
    /// Everybody hears everybody again: whether the right doors open in the end. Nothing is promised to namesakes but
    /// that they exclude each other.
    pub fn heals(&self, laws: &Laws) -> bool {
        let mut world = self.clone();
        world.settle(laws);
        let leaders = world.leaders();
        let open = |world: &Self| (0..NODES).filter(|n| world.nodes[*n].open).collect::<Vec<_>>();
        let ordered = (0..NODES).filter(|n| world.is_ordered(laws, *n)).collect::<Vec<_>>();
        if world.broken.is_some() {
            return false;
        }
        if laws.has_namesakes() || (self.operated && leaders.len() > 1) {
            return open(&world).len() <= 1;
        }
        match (ordered.as_slice(), leaders.as_slice()) {
            ([], [_]) => open(&world) == leaders,
            ([], [first, ..]) => {
                // Closed until an operator chooses, and then open.
                let both_closed = open(&world).is_empty();
                world.order(laws, *first, FOR_LONG);
                world.settle(laws);
                let one_open = open(&world) == [*first];
                world.clear(*first);
                world.settle(laws);
                both_closed && one_open && open(&world) == [*first]
            }
            _ => open(&world).len() <= 1,
        }
    }

    fn settle(&mut self, laws: &Laws) {
        let ticks = 3 * i64::try_from(laws.settings[0].hold_down.as_micros()).expect("small") / TICK;
        for _ in 0..ticks {
            for node in 0..NODES {
                self.nodes[node].late.clear();
                self.nodes[node].mail = None;
                self.round(laws, node, self.everybody(laws, node));
            }
            self.pass(laws);
        }
    }
}
