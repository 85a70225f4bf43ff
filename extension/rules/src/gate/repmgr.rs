//! What repmgr says of the topology. Its table is a replica on standbys and is written by whoever promotes, so it may be
//! late or wrong: it closes or confirms, and opens nothing.

use super::conninfo::host;
use super::verdict::{SourceSays, Topology};
use serde::{Deserialize, Serialize};

/// A row of `repmgr.nodes` (repmgr 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepmgrNode {
    /// `node_id`, from 1.
    pub node_id: i32,
    /// `node_name`.
    pub node_name: String,
    /// `type`: `primary`, `standby` or `witness`.
    pub kind: String,
    /// `active`.
    pub active: bool,
    /// The host of `conninfo`; none where it has none, or a socket directory.
    pub host: Option<String>,
}

impl RepmgrNode {
    /// A row with the columns as they are.
    pub fn new(node_id: i32, node_name: String, kind: String, active: bool, conninfo: &str) -> Self {
        Self { node_id, node_name, kind, active, host: host(conninfo) }
    }
}

/// What the rows of `repmgr.nodes`, or why they could not be read, say about the node called `node`.
pub fn repmgr_says(rows: Result<&[RepmgrNode], &str>, node: &str) -> SourceSays {
    let says = match rows {
        Ok(rows) => topology(rows, node),
        Err(why) => Topology::Unreadable { why: why.to_owned() },
    };
    SourceSays { source: "repmgr.nodes".to_owned(), says }
}

/// Only an active row counts, and only the type `primary`: what a standby streams from says nothing about the primary.
/// Another active primary closes, beside this node too; two rows under this node's own name cannot both be it.
fn topology(rows: &[RepmgrNode], node: &str) -> Topology {
    let primaries: Vec<&RepmgrNode> = rows.iter().filter(|row| row.active && row.kind == "primary").collect();
    match primaries.as_slice() {
        [] => Topology::Nobody,
        [only] if only.node_name == node => Topology::Us,
        several => {
            let others = several.iter().filter(|row| row.node_name != node);
            let nodes: Vec<String> = others.map(|row| row.node_name.clone()).collect();
            let namesakes =
                || several.iter().map(|row| format!("{} (node_id {})", row.node_name, row.node_id)).collect();
            Topology::Others { nodes: if nodes.is_empty() { namesakes() } else { nodes } }
        }
    }
}
