use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use goahead_rules::gate::RepmgrNode;
use prometheus::IntGauge;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::legacy_peer::{LegacyPeers, LegacyView};
use super::super::peers::Addresses;
use super::super::settings::{Peer, Settings, Tls};
use super::server::Nodes;
use super::*;
use crate::listener::{Certificates, Listener, Protocol};

mod mixes;
mod stand_in;
mod tls;
mod wire;

/// Long enough for any machine, short enough to end a test.
const LIMIT: Duration = Duration::from_secs(20);

/// Settings as of a conf.yml of this node.
fn settings(node: &str, listen: SocketAddr) -> Settings {
    let text = format!("node: {node}\npeer_listen: {listen}\ngrpc: true\nsources: [repmgr]\nstate_dir: /nonexistent\n");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gate.yml");
    std::fs::write(&file, text).unwrap();
    super::super::config::read(&file, &super::super::config::Overrides::default()).unwrap().settings
}

/// Rows that a test changes; none: the database is down.
#[derive(Clone, Default)]
struct Rows(std::sync::Arc<Mutex<Option<Vec<RepmgrNode>>>>);

impl Rows {
    fn of(rows: Vec<RepmgrNode>) -> Self {
        Self(std::sync::Arc::new(Mutex::new(Some(rows))))
    }
}

impl Nodes for Rows {
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<RepmgrNode>, String>> {
        Box::pin(async { self.0.lock().unwrap().clone().ok_or_else(|| "the database is down".to_owned()) })
    }
}

fn row(node_id: i32, node_name: &str, kind: &str, active: bool, host: &str) -> RepmgrNode {
    let host = Some(host.to_owned());
    RepmgrNode { node_id, node_name: node_name.to_owned(), kind: kind.to_owned(), active, host }
}

/// Two nodes with data and a witness; `master` is 1 or 2.
fn rows(master: i32) -> Vec<RepmgrNode> {
    let kind = |id| if id == master { "primary" } else { "standby" };
    vec![
        row(1, "node1", kind(1), true, "10.0.0.1"),
        row(2, "node2", kind(2), true, "10.0.0.2"),
        row(3, "witness", "witness", true, "10.0.0.3"),
    ]
}

/// A peer listener as the gate has it: gates' own path beside harepd's, on one port.
async fn serve(node: &str, nodes: Rows, tls: Option<Certificates>) -> (u16, watch::Sender<bool>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let ours = axum::Router::new().route("/v1/gate/ask", axum::routing::post(|| async { "asked" }));
    let router = ours.merge(routes(Server::new(&settings(node, address), Box::new(nodes))));
    let connections = IntGauge::new("connections", "connections").unwrap();
    let listener = Listener { socket, tls, limit: 64, protocol: Protocol::Any, connections };
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(listener.run(router, stopped));
    (address.port(), stop)
}

async fn client(tls: Option<Tls>, peer: &Peer) -> Harepds {
    let mut settings = settings("node1", "10.0.0.1:10000".parse().unwrap());
    settings.trust.tls = tls;
    let addresses = std::sync::Arc::new(Addresses::of(std::slice::from_ref(peer)).await);
    Harepds::new(&settings, addresses).unwrap()
}

fn peer(host: &str, port: u16) -> Peer {
    Peer { name: None, host: host.to_owned(), port, witness: false }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Asks as the gate does.
async fn learn(port: u16) -> Result<LegacyView, String> {
    let peer = peer("127.0.0.1", port);
    client(None, &peer).await.ask(&peer, Some("127.0.0.1".parse().unwrap()), LIMIT).await
}
