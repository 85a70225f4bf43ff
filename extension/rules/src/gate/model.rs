//! Every short history of three gates, explored: see [`super::world`].

use super::world::{Laws, NODES, World};
use stateright::{Checker, Model, Property};
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    world: World,
    /// Within a tick nodes act in their order: it makes no difference which of two independent steps is first.
    turn: usize,
    /// How many more of each kind of mishap may happen.
    slow: u8,
    restarts: u8,
    promotions: u8,
    orders: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// A round without a pause; `reach` are the peers that answer.
    Round { node: usize, reach: u8 },
    /// A round that is decided later, or never.
    Ask { node: usize, reach: u8 },
    /// An ask that was under way arrives.
    Deliver { node: usize, voter: usize },
    /// The decision of a round that was begun.
    Finish { node: usize },
    /// The door follows the verdict, long after it was decided perhaps.
    Apply { node: usize },
    /// A gate forgets everything.
    Restart { node: usize },
    /// A standby is promoted.
    Promote { node: usize },
    /// An operator opens a primary.
    Order { node: usize },
    /// A tick.
    Pass,
}

struct Histories {
    laws: Laws,
    ticks: i64,
    mishaps: State,
}

impl Histories {
    fn new(laws: Laws, promoted: bool, ticks: i64, [slow, restarts, promotions, orders]: [u8; 4]) -> Self {
        let mut world = World::steady(&laws);
        if promoted {
            world.promote(1);
        }
        Self { mishaps: State { world, turn: 0, slow, restarts, promotions, orders }, laws, ticks }
    }
}

impl Model for Histories {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.mishaps.clone()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let world = &state.world;
        if world.tick > self.ticks {
            return;
        }
        steps.push(Step::Pass);
        let now = u64::try_from(world.tick).expect("time goes on") + 1;
        for node in state.turn..NODES {
            let it = &world.nodes[node];
            let asked = |number: u64| number == now;
            let busy = it.flight.as_ref().is_some_and(|flight| asked(flight.number))
                || it.verdict.as_ref().is_some_and(|verdict| asked(verdict.round));
            if it.primary && !busy {
                for reach in (1..8_u8).filter(|reach| reach & (1 << node) == 0) {
                    steps.push(Step::Round { node, reach });
                    if state.slow > 0 && reach == 0b100 {
                        steps.push(Step::Ask { node, reach });
                    }
                }
                // The swing vote is the third node's: it is what matters late.
                if state.slow > 0 {
                    steps.push(Step::Ask { node, reach: 0 });
                }
            }
            for (voter, _) in &it.late {
                if state.slow > 0 || it.flight.is_some() {
                    steps.push(Step::Deliver { node, voter: *voter });
                }
            }
            if it.flight.is_some() {
                steps.push(Step::Finish { node });
            }
            let clock = world.clock(&self.laws, node);
            if it.verdict.as_ref().is_some_and(|verdict| verdict.rw_open(clock) != it.open) {
                steps.push(Step::Apply { node });
            }
            // A promoted node that forgets has only more to wait for.
            if state.restarts > 0 && node != 1 {
                steps.push(Step::Restart { node });
            }
            let data = !self.laws.settings[node].is_witness();
            if state.promotions > 0 && data && !it.primary {
                steps.push(Step::Promote { node });
            }
            if state.orders > 0 && it.primary && !it.order {
                steps.push(Step::Order { node });
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        let world = &mut state.world;
        state.turn = match step {
            Step::Round { node, reach } => {
                world.round(&self.laws, node, reach);
                world.nodes[node].late.clear();
                node
            }
            Step::Ask { node, reach } => {
                state.slow -= 1;
                world.ask(&self.laws, node, reach);
                world.nodes[node].late.retain(|(voter, _)| *voter == 2);
                node
            }
            Step::Deliver { node, voter } => {
                if world.nodes[node].flight.is_none() {
                    state.slow -= 1;
                }
                world.deliver(&self.laws, node, voter);
                node
            }
            Step::Finish { node } => {
                world.finish(&self.laws, node);
                node
            }
            Step::Apply { node } => {
                world.apply(&self.laws, node);
                node
            }
            Step::Restart { node } => {
                state.restarts -= 1;
                world.restart(&self.laws, node);
                node
            }
            Step::Promote { node } => {
                state.promotions -= 1;
                world.promote(node);
                node
            }
            Step::Order { node } => {
                state.orders -= 1;
                world.order(node);
                node
            }
            Step::Pass => {
                world.pass(&self.laws);
                0
            }
        };
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never two live leases", |model, state: &State| {
                state.world.leases(&model.laws).len() <= 1
            }),
            Property::always("no promise is broken", |_, state: &State| state.world.broken.is_none()),
            Property::always("after healing the right door opens", |model, state: &State| {
                // Costly, so of every few ends only.
                let mut hasher = DefaultHasher::new();
                state.hash(&mut hasher);
                state.world.tick <= model.ticks
                    || !hasher.finish().is_multiple_of(256)
                    || state.world.heals(&model.laws)
            }),
            Property::sometimes("the promoted node opens", |_, state: &State| {
                state.world.nodes[1..].iter().any(|node| node.open)
            }),
            Property::sometimes("two primaries share the highest timeline", |_, state: &State| {
                state.world.leaders().len() == 2
            }),
        ]
    }
}

fn explore(laws: Laws, promoted: bool, ticks: i64, mishaps: [u8; 4], sometimes: &[&'static str]) {
    let checker = Histories::new(laws, promoted, ticks, mishaps).checker().threads(2).spawn_bfs().join();
    assert!(checker.unique_state_count() > 1000, "{}", checker.unique_state_count());
    for never in ["never two live leases", "no promise is broken", "after healing the right door opens"] {
        if let Some(path) = checker.discovery(never) {
            panic!("{never}: {:?}\n{:#?}", path.last_state().world.broken.clone(), path.clone().into_actions());
        }
    }
    for seen in sometimes {
        checker.assert_any_discovery(seen);
    }
}

const OPENS: &str = "the promoted node opens";
const TWO: &str = "two primaries share the highest timeline";

#[test]
fn a_promotion_in_every_partition() {
    for rates in [[990, 1010, 1010], [1010, 990, 1000]] {
        explore(Laws::new(2, 1, 1, 1, true, rates), true, 5, [0, 0, 0, 0], &[OPENS]);
    }
}

#[test]
fn a_promotion_with_slow_messages_and_stopped_gates() {
    explore(Laws::new(2, 1, 1, 1, true, [990, 1010, 1010]), true, 5, [1, 0, 0, 0], &[OPENS]);
}

#[test]
fn a_promotion_while_gates_forget() {
    explore(Laws::new(2, 1, 1, 1, true, [990, 1010, 1010]), true, 5, [0, 1, 0, 0], &[OPENS]);
}

#[test]
fn both_standbys_are_promoted() {
    explore(Laws::new(2, 1, 1, 1, false, [1000, 1000, 1000]), true, 2, [0, 0, 1, 0], &[TWO]);
}

#[test]
fn an_operator_opens() {
    explore(Laws::new(2, 1, 1, 1, true, [1000, 1000, 1000]), true, 3, [0, 0, 0, 1], &[]);
}
