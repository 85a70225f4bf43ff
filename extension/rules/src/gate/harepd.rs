//! harepd's view of the topology: what its answers mean to us, and what we answer to it.
//!
//! harepd compares sorted lists of addresses, scraped as IPv4 from the `conninfo` of active rows of `repmgr.nodes`; a row
//! without one made it panic. Here a host may be a name or IPv6, and is then given as it is written.

use super::repmgr::RepmgrNode;

/// What harepd's server answers (`IKnow`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IKnow {
    /// The answering node's address.
    pub ip: String,
    /// Its id.
    pub node_id: i32,
    /// Its name.
    pub node_name: String,
    /// Address of the witness.
    pub witness: String,
    /// Addresses of active standbys, sorted.
    pub slaves: Vec<String>,
    /// Addresses of active primaries, sorted.
    pub master: Vec<String>,
}

/// The addresses of active rows of a kind, sorted as text. A node without an address goes by its name, so that it is not
/// taken for absent.
fn addresses(rows: &[RepmgrNode], kind: &str) -> Vec<String> {
    let active = rows.iter().filter(|row| row.active && row.kind == kind);
    let mut addresses: Vec<String> = active.map(address).collect();
    addresses.sort_unstable();
    addresses
}

fn address(row: &RepmgrNode) -> String {
    row.host.clone().unwrap_or_else(|| row.node_name.clone())
}

/// What a server with these rows answers, as the node of that name. No witness is an empty text: harepd takes an error for
/// an unreachable node.
pub fn i_know(rows: &[RepmgrNode], node_name: &str) -> IKnow {
    let me = rows.iter().find(|row| row.node_name == node_name);
    IKnow {
        ip: me.map(address).unwrap_or_default(),
        node_id: me.map_or(0, |row| row.node_id),
        node_name: node_name.to_owned(),
        witness: addresses(rows, "witness").into_iter().next().unwrap_or_default(),
        slaves: addresses(rows, "standby"),
        master: addresses(rows, "primary"),
    }
}

/// An answer names this node, and no other, as master. `us` are this node's own addresses or host names. A node that is
/// named as a slave as well is not named.
pub fn names_us(answer: &IKnow, us: &[String]) -> bool {
    match answer.master.as_slice() {
        [only] => is_us(only, us) && !answer.slaves.iter().any(|slave| is_us(slave, us)),
        _ => false,
    }
}

fn is_us(address: &str, us: &[String]) -> bool {
    use std::net::IpAddr;
    us.iter().any(|ours| match (ours.parse::<IpAddr>(), address.parse::<IpAddr>()) {
        (Ok(ours), Ok(theirs)) => ours.to_canonical() == theirs.to_canonical(),
        _ => ours.eq_ignore_ascii_case(address) && !address.is_empty(),
    })
}
