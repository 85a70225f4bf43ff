//! The addresses of the peers. A name is looked up beside the rounds, because a resolver that hangs must not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::super::settings::Peer;

/// How often names are looked up again.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the first look-up may hold up the start.
const FIRST: Duration = Duration::from_secs(2);

/// Addresses by host; a name that cannot be looked up keeps those that it had.
#[derive(Debug)]
pub struct Addresses {
    known: Arc<Mutex<HashMap<String, Vec<IpAddr>>>>,
    refresher: Option<AbortHandle>,
}

impl Addresses {
    /// Those of these peers, kept fresh until this is dropped.
    pub async fn of(peers: &[Peer]) -> Self {
        let known: Arc<Mutex<HashMap<String, Vec<IpAddr>>>> = Arc::default();
        let mut names = Vec::new();
        for peer in peers {
            match peer.host.parse::<IpAddr>() {
                Ok(address) => {
                    lock(&known).insert(peer.host.clone(), vec![address]);
                }
                Err(_) => names.push(peer.host.clone()),
            }
        }
        if names.is_empty() {
            return Self { known, refresher: None };
        }
        if timeout(FIRST, refresh(&names, &known)).await.is_err() {
            tracing::warn!("looking up the names of the peers takes longer than {FIRST:?}");
        }
        let shared = known.clone();
        let task = tokio::spawn(async move {
            loop {
                sleep(AGAIN).await;
                refresh(&names, &shared).await;
            }
        });
        Self { known, refresher: Some(task.abort_handle()) }
    }

    /// Those of a host; empty: it cannot be looked up.
    pub fn of_host(&self, host: &str) -> Vec<IpAddr> {
        lock(&self.known).get(host).cloned().unwrap_or_default()
    }

    /// Whether a host has this address, an IPv4 address in IPv6's clothes included.
    pub fn has(&self, host: &str, address: IpAddr) -> bool {
        self.of_host(host).iter().any(|known| known.to_canonical() == address.to_canonical())
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        if let Some(task) = &self.refresher {
            task.abort();
        }
    }
}

async fn refresh(names: &[String], known: &Mutex<HashMap<String, Vec<IpAddr>>>) {
    for name in names {
        match tokio::net::lookup_host((name.as_str(), 0)).await {
            Ok(found) => {
                let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                lock(known).insert(name.clone(), found);
            }
            Err(error) => tracing::debug!(%error, name, "a peer's name cannot be looked up"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
