//! What a gate listens on: bound before anything else, opened once there is something to answer.

use std::sync::Arc;

use axum::Router;
use prometheus::IntGauge;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::gate::Running;
use crate::gate::settings::{Mode, Settings};
use crate::listener::{self, Listener, Protocol, tls};

/// Connections that a listener may have open at once.
const CONNECTIONS: usize = 512;

/// Bound sockets; none where the operator wants none.
pub struct Sockets {
    peers: Option<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
}

impl Sockets {
    /// Binds what is configured for this half.
    ///
    /// # Errors
    /// Which address cannot be bound, or which file of TLS cannot be used.
    pub async fn bind(settings: &Settings) -> Result<Self, String> {
        let answers = settings.mode != Mode::ClientOnly;
        let peers = match settings.peer_listen.filter(|_| answers) {
            Some(address) => Some(listener::bind("peer-listen", address).await?),
            None => None,
        };
        let files = settings.trust.tls.as_ref().filter(|_| answers).and_then(|tls| {
            Some(tls::TlsFiles {
                certificate: tls.cert.clone()?,
                key: tls.key.clone()?,
                client_authorities: tls.client_ca.clone(),
                require: tls.client_ca.is_some(),
            })
        });
        let tls = files.as_ref().map(tls::load).transpose()?;
        Ok(Self { peers, tls })
    }

    /// Opens them.
    ///
    /// # Errors
    /// When the operating system does not know an address that it gave.
    pub fn open(self, running: &Running, closing: &watch::Receiver<bool>) -> Result<Vec<JoinHandle<()>>, String> {
        let mut tasks = Vec::new();
        let mut open = |what: &str, socket: TcpListener, tls: Option<Arc<ServerConfig>>, router: Router| {
            let address = socket.local_addr().map_err(|error| error.to_string())?;
            tracing::info!("{what} on {}{address}", if tls.is_some() { "TLS " } else { "" });
            let listener = Listener {
                socket,
                // Never replaced: a gate is restarted for new certificates, which costs a steady primary nothing.
                tls: tls.map(|tls| watch::channel(tls).1),
                limit: CONNECTIONS,
                protocol: Protocol::Any,
                connections: IntGauge::new("connections", "Open connections.").map_err(|error| error.to_string())?,
            };
            tasks.push(tokio::spawn(listener.run(router, closing.clone())));
            Ok::<(), String>(())
        };
        if let (Some(socket), Some(router)) = (self.peers, running.peers.clone()) {
            open("peers ask", socket, self.tls, router)?;
        }
        Ok(tasks)
    }
}
