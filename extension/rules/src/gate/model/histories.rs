//! Which histories are explored. Each is short, and has few kinds of mishap at once.

use super::super::world::Laws;
use super::{Mishaps, explore};

const OPENS: &str = "the promoted node opens";
const TWO: &str = "two primaries share the highest timeline";
const KEPT: &str = "a standby keeps a door open";
const NONE: Mishaps = Mishaps { slow: 0, mail: 0, restarts: 0, promotions: 0, orders: 0 };
/// The primary's clock is slow, those of the others are fast.
const APART: [i64; 3] = [990, 1010, 1010];
const ALIKE: [i64; 3] = [1000, 1000, 1000];

/// Leases of two rounds, and a witness.
fn laws(rates: [i64; 3]) -> Laws {
    Laws::new(2, 1, 1, 1, true, rates)
}

#[test]
fn a_promotion_in_every_partition() {
    for rates in [APART, [1010, 990, 1000]] {
        explore(laws(rates), true, 5, NONE, &[OPENS]);
    }
}

#[test]
fn a_promotion_with_slow_asks_and_stopped_gates() {
    explore(laws(APART), true, 5, Mishaps { slow: 1, ..NONE }, &[OPENS]);
}

#[test]
fn a_primary_hears_slow_answers() {
    explore(laws(APART), false, 5, Mishaps { mail: 1, ..NONE }, &[]);
}

#[test]
fn a_promotion_while_gates_forget() {
    explore(laws(APART), true, 5, Mishaps { restarts: 1, ..NONE }, &[OPENS]);
}

#[test]
fn both_standbys_are_promoted() {
    let laws = Laws::new(2, 1, 1, 1, false, ALIKE);
    explore(laws, true, 2, Mishaps { promotions: 1, ..NONE }, &[TWO]);
}

#[test]
fn an_operator_opens() {
    explore(laws(ALIKE), true, 4, Mishaps { orders: 1, ..NONE }, &[]);
}

#[test]
fn one_gate_has_a_longer_lease() {
    explore(laws(APART).with_a_longer_lease(0), true, 5, NONE, &[OPENS]);
}

#[test]
fn two_machines_have_one_name() {
    explore(laws(APART).namesakes(), true, 5, NONE, &[OPENS]);
}

#[test]
fn two_nodes_without_a_witness() {
    for (sync, sometimes) in [(true, [KEPT].as_slice()), (false, &[])] {
        explore(laws(APART).pair(sync), false, 6, Mishaps { promotions: 1, restarts: 1, ..NONE }, sometimes);
    }
}

/// Each tick there is little to choose, so that many fit in: a proxy that takes its time, and clocks as bad as allowed.
#[test]
fn a_hold_down_is_long_enough_by_the_slowest_clock() {
    let laws = |rates| Laws::new(2, 1, 1, 13, true, rates).drifting();
    // Cut off from the old primary, a voter's clock counts;
    let slow = Laws { reachable: [0, 0b100, 0], whole: true, ..laws([915, 1085, 1085]) };
    explore(slow, true, 18, NONE, &[OPENS]);
    // and hearing that it has closed, its own.
    let fast = Laws { reachable: [0, 0b101, 0], whole: true, ..laws([1085, 915, 915]) };
    explore(fast, true, 17, NONE, &[OPENS]);
}
