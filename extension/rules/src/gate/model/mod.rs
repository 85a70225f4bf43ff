//! Every short history of three gates, explored: see [`super::world`].

mod histories;

use super::Rw;
use super::world::{Laws, NODES, World};
use stateright::{Checker, Model, Property};
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    world: World,
    /// Within a tick nodes act in their order: it makes no difference which of two independent steps is first.
    turn: usize,
    /// How many more of each kind of mishap may happen.
    left: Mishaps,
}

/// How many of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Mishaps {
    /// Rounds that are decided late, and asks that arrive late.
    slow: u8,
    /// Answers of the third node that arrive late.
    mail: u8,
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
    /// An ask that was under way arrives at the third node, whose answer takes its time.
    Post { node: usize },
    /// That answer arrives.
    OpenMail { node: usize },
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

/// In ticks: how long an operator's order counts.
const ORDERED: i64 = 2;

struct Histories {
    laws: Laws,
    ticks: i64,
    beginning: State,
}

impl Histories {
    /// Node a has led for long; `promoted`: the second node has just been promoted.
    fn new(laws: Laws, promoted: bool, ticks: i64, left: Mishaps) -> Self {
        let mut world = World::steady(&laws);
        if promoted {
            world.promote(&laws, 1);
        }
        Self { beginning: State { world, turn: 0, left }, laws, ticks }
    }
}

impl Model for Histories {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.beginning.clone()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let (world, left) = (&state.world, &state.left);
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
            let reachable = self.laws.reach(node);
            let mail = left.mail > 0 || it.mail.is_some();
            if it.primary && !busy && reachable != 0 {
                let fewer = |reach: &u8| reach & !reachable == 0 && !self.laws.whole;
                for reach in (1..8_u8).filter(|reach| *reach == reachable || fewer(reach)) {
                    steps.push(Step::Round { node, reach });
                    if left.slow > 0 && reach == 0b100 {
                        steps.push(Step::Ask { node, reach });
                    }
                }
                if self.laws.is_pair() {
                    steps.push(Step::Round { node, reach: 0 });
                }
                // The swing vote is the third node's: it is what matters late.
                if left.slow > 0 || mail {
                    steps.push(Step::Ask { node, reach: 0 });
                }
            }
            for (voter, _) in &it.late {
                if left.slow > 0 || it.flight.is_some() {
                    steps.push(Step::Deliver { node, voter: *voter });
                }
                if left.mail > 0 && *voter == 2 {
                    steps.push(Step::Post { node });
                }
            }
            if it.mail.is_some() && it.flight.is_some() {
                steps.push(Step::OpenMail { node });
            }
            if it.flight.is_some() {
                steps.push(Step::Finish { node });
            }
            let clock = world.clock(&self.laws, node);
            if it.verdict.as_ref().is_some_and(|verdict| verdict.rw_open(clock) != it.open) {
                steps.push(Step::Apply { node });
            }
            // A promoted node that forgets has only more to wait for.
            if left.restarts > 0 && node != 1 && node < self.laws.settings[node].members.len() {
                steps.push(Step::Restart { node });
            }
            let data = self.laws.is_data(node);
            if left.promotions > 0 && data && !it.primary {
                steps.push(Step::Promote { node });
            }
            if left.orders > 0 && it.primary && !world.is_ordered(&self.laws, node) {
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
                // What only answers that are late need costs nothing here.
                state.left.slow = state.left.slow.saturating_sub(1);
                world.ask(&self.laws, node, reach);
                world.nodes[node].late.retain(|(voter, _)| *voter == 2);
                node
            }
            Step::Deliver { node, voter } => {
                if world.nodes[node].flight.is_none() {
                    state.left.slow -= 1;
                }
                world.deliver(&self.laws, node, voter);
                node
            }
            Step::Post { node } => {
                state.left.mail -= 1;
                world.post(&self.laws, node, 2);
                node
            }
            Step::OpenMail { node } => {
                world.open_mail(&self.laws, node);
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
                state.left.restarts -= 1;
                world.restart(&self.laws, node);
                node
            }
            Step::Promote { node } => {
                state.left.promotions -= 1;
                world.promote(&self.laws, node);
                node
            }
            Step::Order { node } => {
                state.left.orders -= 1;
                world.order(&self.laws, node, ORDERED);
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
            Property::sometimes("a standby keeps a door open", |_, state: &State| {
                state
                    .world
                    .nodes
                    .iter()
                    .any(|node| node.open && node.verdict.as_ref().is_some_and(|v| v.rw == Rw::KeptBySync))
            }),
            Property::sometimes("two primaries share the highest timeline", |_, state: &State| {
                state.world.leaders().len() == 2
            }),
        ]
    }
}

fn explore(laws: Laws, promoted: bool, ticks: i64, mishaps: Mishaps, sometimes: &[&'static str]) {
    let checker = Histories::new(laws, promoted, ticks, mishaps).checker().threads(2).spawn_bfs().join();
    assert!(checker.unique_state_count() > 100, "{}", checker.unique_state_count());
    for never in ["never two live leases", "no promise is broken", "after healing the right door opens"] {
        if let Some(path) = checker.discovery(never) {
            panic!("{never}: {:?}\n{:#?}", path.last_state().world.broken.clone(), path.clone().into_actions());
        }
    }
    for seen in sometimes {
        checker.assert_any_discovery(seen);
    }
}
