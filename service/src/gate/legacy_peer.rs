//! Peers that speak harepd's protocol and not ours: the hole in the wall through which that room is reached.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::settings::Peer;

/// Asks a peer in harepd's protocol.
pub trait LegacyPeers: Send + Sync + 'static {
    /// Asks `peer` once; connecting and answering together take at most `limit`. `source` is the address to call from.
    ///
    /// The error says what was met, for people.
    fn ask<'a>(
        &'a self,
        peer: &'a Peer,
        source: Option<IpAddr>,
        limit: Duration,
    ) -> BoxFuture<'a, Result<LegacyView, String>>;
}

/// What a harepd knows (`IKnow`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyView {
    /// Its own address
    pub ip: String,
    /// Its node name
    pub node_name: String,
    /// Addresses of active primaries, as its table has them
    pub masters: Vec<String>,
    /// Addresses of active standbys
    pub standbys: Vec<String>,
    /// The active witness's address; may be empty
    pub witness: String,
}
