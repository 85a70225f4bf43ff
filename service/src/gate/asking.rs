//! One round of asks: every peer at the same time, in our protocol, or in harepd's where that is all it speaks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use goahead_rules::gate::harepd::{IKnow, names_us};
use goahead_rules::gate::{Ask, Heard, Said};

use super::clock;
use super::legacy_peer::{LegacyPeers, LegacyView};
use super::peers::{Asker, Silence};
use super::settings::{Peer, Settings};

/// For how many rounds a peer that spoke harepd's protocol is asked in it first.
const KEEP: u32 = 10;
/// After how many silent rounds in a row a peer is waited for only a third of the time: what it took would be missing for
/// opening in the same round.
const GIVEN_UP: u32 = 2;
/// In which of its silent rounds it is given all the time again.
const ANOTHER_CHANCE: u32 = 5;

/// Asks all peers.
pub struct Asking {
    settings: Arc<Settings>,
    asker: Arc<Asker>,
    legacy: Option<Arc<dyn LegacyPeers>>,
    /// Peers that speak harepd's protocol, and for how many rounds that is believed
    foreign: Mutex<HashMap<String, u32>>,
    /// For how many rounds peers have been silent
    silent: Mutex<HashMap<String, u32>>,
}

/// One peer in this round.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The peer
    pub peer: Peer,
    /// What came of it
    pub heard: Heard,
    /// How long it took
    pub took: Duration,
    /// In which protocol: `http` or `grpc`
    pub via: &'static str,
}

impl Asked {
    /// How many gave no answer.
    pub fn silent(all: &[Self]) -> u64 {
        all.iter().filter(|asked| matches!(asked.heard.said, Said::Silent(_))).count() as u64
    }
}

impl Asking {
    /// Asks with `asker`, and with `legacy` where gRPC is wanted.
    pub fn new(settings: Arc<Settings>, asker: Arc<Asker>, legacy: Option<Arc<dyn LegacyPeers>>) -> Self {
        let legacy = legacy.filter(|_| settings.grpc);
        Self { settings, asker, legacy, foreign: Mutex::default(), silent: Mutex::default() }
    }

    /// Asks every peer, each within `limit`, or less if it has been silent. In the order of the settings.
    pub async fn all(&self, ask_of: &(dyn Fn(&str) -> Ask + Sync), limit: Duration) -> Vec<Asked> {
        join_all(self.settings.peers.iter().map(|peer| async move {
            let voter = self.settings.voter_of(peer);
            let began = Instant::now();
            let limit = patience(self.silent_rounds(peer, |rounds| rounds), limit);
            let (said, via) = self.one(peer, ask_of(&voter), limit).await;
            let is_silent = matches!(said, Said::Silent(_));
            self.silent_rounds(peer, |rounds| if is_silent { rounds.saturating_add(1) } else { 0 });
            Asked {
                peer: peer.clone(),
                heard: Heard { peer: voter, received: clock::now(), said },
                took: began.elapsed(),
                via,
            }
        }))
        .await
    }

    async fn one(&self, peer: &Peer, ask: Ask, limit: Duration) -> (Said, &'static str) {
        let began = Instant::now();
        if self.legacy.is_some() && self.is_foreign(peer) {
            return (self.in_legacy(peer, limit).await, "grpc");
        }
        match self.asker.ask(peer, &ask, limit).await {
            Ok(answer) => (Said::Answer(Box::new(answer)), "http"),
            Err(Silence::Foreign(_)) if self.legacy.is_some() => {
                self.believe(peer, KEEP);
                (self.in_legacy(peer, limit.saturating_sub(began.elapsed())).await, "grpc")
            }
            Err(silence) => (Said::Silent(silence.to_string()), "http"),
        }
    }

    async fn in_legacy(&self, peer: &Peer, limit: Duration) -> Said {
        let Some(legacy) = &self.legacy else { return Said::Silent("it does not speak our protocol".to_owned()) };
        match tokio::time::timeout(limit, legacy.ask(peer, self.asker.source(), limit)).await {
            Ok(Ok(view)) => {
                let view = i_know(view);
                Said::Harepd { names_us: names_us(&view, &self.us()), masters: view.master }
            }
            Ok(Err(why)) => {
                self.believe(peer, 0);
                Said::Silent(why)
            }
            Err(_) => {
                self.believe(peer, 0);
                Said::Silent(format!("no answer within {limit:?}"))
            }
        }
    }

    /// What the witness's `repmgr.nodes` says of this node, see
    /// [`View::witness_names_us`](goahead_rules::gate::View::witness_names_us). A gate there is asked in harepd's protocol,
    /// in which it answers from that table; within `limit`.
    pub async fn witness_names_us(&self, asked: &[Asked], limit: Duration) -> Option<bool> {
        let tables = asked.iter().filter(|asked| asked.peer.witness).map(|asked| async move {
            match &asked.heard.said {
                Said::Answer(_) => self.in_legacy(&asked.peer, limit).await,
                said => said.clone(),
            }
        });
        let names = join_all(tables).await.into_iter().filter_map(|said| match said {
            Said::Harepd { names_us, .. } => Some(names_us),
            Said::Answer(_) | Said::Silent(_) => None,
        });
        names.reduce(|one, other| one && other)
    }

    /// This node's addresses, as harepd may write them.
    fn us(&self) -> Vec<String> {
        let listens = self.settings.peer_listen.map(|address| address.ip()).filter(|ip| !ip.is_unspecified());
        let named: Option<IpAddr> = self.settings.harepd.as_ref().map(|harepd| harepd.primary_ip);
        named.or(listens).iter().map(ToString::to_string).collect()
    }

    /// For how many rounds a peer has been silent, as it was before `change`.
    fn silent_rounds(&self, peer: &Peer, change: impl FnOnce(u32) -> u32) -> u32 {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let rounds = silent.entry(peer.authority()).or_default();
        std::mem::replace(rounds, change(*rounds))
    }

    fn is_foreign(&self, peer: &Peer) -> bool {
        let mut foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        match foreign.get_mut(&peer.authority()) {
            Some(rounds) if *rounds > 0 => {
                *rounds -= 1;
                true
            }
            _ => false,
        }
    }

    fn believe(&self, peer: &Peer, rounds: u32) {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner).insert(peer.authority(), rounds);
    }
}

/// How long a peer is waited for that has been silent for so many rounds.
fn patience(silent: u32, limit: Duration) -> Duration {
    if silent < GIVEN_UP || silent.is_multiple_of(ANOTHER_CHANCE) { limit } else { limit / 3 }
}

fn i_know(view: LegacyView) -> IKnow {
    IKnow {
        ip: view.ip,
        node_id: 0,
        node_name: view.node_name,
        witness: view.witness,
        slaves: view.standbys,
        master: view.masters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_takes_less_of_a_round_and_has_another_chance() {
        let limit = Duration::from_millis(240);
        let waited: Vec<u128> = (0..12).map(|silent| patience(silent, limit).as_millis()).collect();
        assert_eq!(waited, [240, 240, 80, 80, 80, 240, 80, 80, 80, 80, 240, 80]);
    }
}
