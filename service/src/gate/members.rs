//! The settings as the decision wants them: who votes, under which names, and all times filled in.

use goahead_rules::gate::{self, Member, SystemId};

use super::settings::{Peer, Settings};

impl Settings {
    /// The name under which this node votes: its node name; where peers are known by address alone, as in harepd's
    /// file, its own address as the others write it.
    pub fn voter(&self) -> String {
        if self.peers.iter().all(|peer| peer.name.is_some()) {
            return self.node.clone();
        }
        match (&self.harepd, self.peer_listen) {
            // The others list the address that they can reach, which may be another than repmgr's.
            (Some(harepd), Some(listen)) if listen.ip().is_unspecified() => {
                std::net::SocketAddr::new(harepd.primary_ip, listen.port()).to_string()
            }
            (_, Some(listen)) => listen.to_string(),
            _ => self.node.clone(),
        }
    }

    /// The name under which a peer votes.
    pub fn voter_of(&self, peer: &Peer) -> String {
        match &peer.name {
            Some(name) if self.peers.iter().all(|peer| peer.name.is_some()) => name.clone(),
            _ => peer.authority(),
        }
    }

    /// The peer that votes under this name.
    pub fn peer(&self, voter: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| self.voter_of(peer) == voter)
    }

    /// What the decision is told.
    pub fn rules(&self) -> gate::Settings {
        let own = Member { name: self.voter(), witness: self.witness };
        let others = self.peers.iter().map(|peer| Member { name: self.voter_of(peer), witness: peer.witness });
        let times = self.timings;
        let hold_down = times
            .hold_down
            .unwrap_or_else(|| gate::Settings::default_hold_down(times.lease, times.watchdog, times.detection));
        gate::Settings {
            node: self.voter(),
            members: std::iter::once(own).chain(others).collect(),
            round: times.round,
            lease: times.lease,
            deadline: times.deadline,
            watchdog: times.watchdog,
            detection: times.detection,
            hold_down,
            skew: times.skew.unwrap_or_else(|| gate::Settings::default_skew(times.lease)),
            max_lag: self.read_only.max_lag,
            max_lag_time: self.read_only.max_lag_time,
            archive_only: self.read_only.archive,
            ro_on_primary: self.read_only.on_primary,
            isolated: self.isolated,
            migrate_from_harepd: self.migrate_from_harepd,
            system_identifier: self.system_identifier.map(SystemId),
        }
    }
}
