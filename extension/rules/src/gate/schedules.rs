//! Long random schedules of three gates, finer in time than the model checker can afford: see [`super::world`].

use super::world::{Laws, NODES, World};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    /// Which pairs of nodes hear each other from now on.
    Links(u8),
    /// A gate is stopped, or goes on.
    Stop(usize),
    /// Its next round is decided and applied late, by so many ticks.
    Slow(usize, u8),
    /// The door follows the verdict late.
    Lag(usize, u8),
    Restart(usize),
    Promote(usize),
    Nothing,
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..NODES;
    prop_oneof![
        3 => (0..8_u8).prop_map(Event::Links),
        1 => Just(Event::Links(7)),
        2 => node.clone().prop_map(Event::Stop),
        2 => (node.clone(), 1..12_u8).prop_map(|(node, ticks)| Event::Slow(node, ticks)),
        2 => (node.clone(), 1..12_u8).prop_map(|(node, ticks)| Event::Lag(node, ticks)),
        2 => node.clone().prop_map(Event::Restart),
        1 => node.prop_map(Event::Promote),
        4 => Just(Event::Nothing),
    ]
}

/// Bit 0 joins a and b, bit 1 a and c, bit 2 b and c.
fn reach(links: u8, node: usize) -> u8 {
    let joined = |a: usize, b: usize| links & (1 << (a + b - 1)) != 0;
    (0..NODES).filter(|peer| *peer != node && joined(node, *peer)).map(|peer| 1 << peer).sum()
}

#[derive(Default, Clone, Copy)]
struct Gate {
    stopped: bool,
    finish_at: i64,
    apply_at: i64,
}

fn run(laws: &Laws, schedule: &[(Event, u8)], phases: [i64; NODES]) -> Result<World, TestCaseError> {
    let mut world = World::steady(laws);
    let mut gates = [Gate::default(); NODES];
    let mut links = 7;
    let round = laws.settings[0].round.as_micros() as i64 / super::world::TICK;
    for (event, pause) in schedule {
        match *event {
            Event::Links(joined) => links = joined,
            Event::Stop(node) => gates[node].stamp_out(),
            Event::Slow(node, ticks) => gates[node].finish_at = world.tick + i64::from(ticks),
            Event::Lag(node, ticks) => gates[node].apply_at = world.tick + i64::from(ticks),
            Event::Restart(node) => {
                world.restart(laws, node);
                gates[node] = Gate::default();
            }
            Event::Promote(node) if !laws.settings[node].is_witness() && !world.nodes[node].primary => {
                world.promote(laws, node);
            }
            Event::Promote(_) | Event::Nothing => {}
        }
        for _ in 0..*pause {
            for node in 0..NODES {
                let gate = gates[node];
                if gate.stopped {
                    continue;
                }
                if world.nodes[node].flight.is_none() && (world.tick + phases[node]) % round == 0 {
                    world.ask(laws, node, reach(links, node));
                }
                for voter in (0..NODES).filter(|voter| reach(links, node) & (1 << voter) != 0) {
                    if !gates[voter].stopped {
                        world.deliver(laws, node, voter);
                    }
                }
                if world.tick >= gate.finish_at {
                    world.finish(laws, node);
                }
                if world.tick >= gate.apply_at {
                    world.apply(laws, node);
                }
            }
            prop_assert!(world.leases(laws).len() <= 1, "two live leases: {:?}", world.leases(laws));
            prop_assert_eq!(world.broken, None);
            world.pass(laws);
        }
    }
    Ok(world)
}

impl Gate {
    fn stamp_out(&mut self) {
        self.stopped = !self.stopped;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn verdicts_of_nodes_that_share_voters_never_overlap(
        schedule in prop::collection::vec((event(), 1..10_u8), 5..40),
        phases in [0..3_i64, 0..3_i64, 0..3_i64],
        rates in [990..=1010_i64, 990..=1010_i64, 990..=1010_i64],
        witness: bool,
    ) {
        let laws = Laws::new(9, 3, 1, 3, witness, rates);
        let world = run(&laws, &schedule, phases)?;
        prop_assert!(world.heals(&laws), "the wrong doors are open after healing: {:#?}", world.nodes.map(|n| (n.primary, n.timeline, n.open)));
    }
}
