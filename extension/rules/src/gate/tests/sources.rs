//! What rows of `repmgr.nodes` say, however they came to be.

use super::*;

fn row(node_id: i32, name: &str, kind: &str, active: bool) -> RepmgrNode {
    RepmgrNode::new(node_id, name.to_owned(), kind.to_owned(), active, "host=10.0.0.1")
}

fn says(rows: &[RepmgrNode]) -> Topology {
    repmgr_says(Ok(rows), "p").says
}

fn others(nodes: &[&str]) -> Topology {
    Topology::Others { nodes: nodes.iter().map(|&node| node.to_owned()).collect() }
}

#[test]
fn the_one_active_primary_is_confirmed() {
    let steady = [row(1, "p", "primary", true), row(2, "s", "standby", true), row(3, "w", "witness", true)];
    assert_eq!(says(&steady), Topology::Us);
    let mut reversed = steady.to_vec();
    reversed.reverse();
    assert_eq!(says(&reversed), Topology::Us);
    // A cascade, whose members stream from standbys, changes nothing; nor do standbys that are down.
    let cascade = [steady.as_slice(), &[row(4, "t", "standby", true), row(5, "u", "standby", false)]].concat();
    assert_eq!(says(&cascade), Topology::Us);
    assert_eq!(repmgr_says(Ok(&steady), "p").source, "repmgr.nodes");
}

#[test]
fn another_active_primary_closes() {
    assert_eq!(says(&[row(1, "p", "standby", true), row(2, "s", "primary", true)]), others(&["s"]));
    assert_eq!(says(&[row(2, "s", "primary", true)]), others(&["s"]), "not registered here at all");
    assert_eq!(says(&[row(1, "p", "primary", true), row(2, "s", "primary", true)]), others(&["s"]));
    let three = [row(2, "s", "primary", true), row(1, "p", "primary", true), row(3, "t", "primary", true)];
    assert_eq!(says(&three), others(&["s", "t"]));
    // After a failover the old primary's row stays, inactive.
    assert_eq!(says(&[row(1, "p", "primary", false), row(2, "s", "primary", true)]), others(&["s"]));
    assert_eq!(says(&[row(1, "p", "primary", true), row(2, "s", "primary", false)]), Topology::Us);
}

#[test]
fn two_primaries_of_one_name_confirm_nobody() {
    let namesakes = [row(1, "p", "primary", true), row(2, "p", "primary", true)];
    assert_eq!(says(&namesakes), others(&["p (node_id 1)", "p (node_id 2)"]));
    assert_eq!(says(&[row(2, "s", "primary", true), row(3, "s", "primary", true)]), others(&["s", "s"]));
    // A standby of this name is not this node as a primary, and hides no other.
    assert_eq!(says(&[row(1, "p", "standby", true), row(2, "p", "primary", true)]), Topology::Us);
}

#[test]
fn rows_without_an_active_primary_name_nobody() {
    for rows in [
        vec![],
        vec![row(1, "p", "primary", false)],
        vec![row(1, "p", "standby", true), row(3, "w", "witness", true)],
        vec![row(3, "p", "witness", true)],
        // Types that repmgr does not have.
        vec![row(1, "p", "PRIMARY", true), row(2, "s", "master", true), row(4, "t", "", true)],
    ] {
        assert_eq!(says(&rows), Topology::Nobody, "{rows:?}");
    }
}

#[test]
fn rows_that_cannot_be_read_say_so() {
    let unreadable = Topology::Unreadable { why: "permission denied".to_owned() };
    assert_eq!(repmgr_says(Err("permission denied"), "p").says, unreadable);
}
