//! harepd's view of the topology: what its answers mean to us, and what we answer to it.

/// A row of `repmgr.nodes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepmgrNode {
    /// `node_id`.
    pub node_id: i32,
    /// `node_name`.
    pub node_name: String,
    /// `type`: `primary`, `standby` or `witness`.
    pub kind: String,
    /// `active`.
    pub active: bool,
    /// `conninfo`.
    pub conninfo: String,
}

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

/// What a server with these rows answers, as the node of that name.
pub fn i_know(_rows: &[RepmgrNode], _node_name: &str) -> IKnow {
    IKnow::default()
}

/// An answer names this node, and no other, as master. `us` are this node's own addresses or host names.
pub fn names_us(_answer: &IKnow, _us: &[String]) -> bool {
    false
}
