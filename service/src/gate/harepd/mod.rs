//! harepd's own protocol, for nodes that still run it: gRPC, `models.ClusterInfo/GetClusterInfo`.
//!
//! A harepd asks its neighbours what their table of nodes says and compares that with its own; so its questions are
//! answered from ours. What it answers us is no vote, and counts as one only where the operator says so.

mod client;
mod messages;
mod server;

pub use client::Harepds;
pub use server::{Server, Table, routes};

/// Package, service and method, as the path of a request.
const PATH: &str = "/models.ClusterInfo/GetClusterInfo";
/// The longest message that is read, in bytes.
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests;
