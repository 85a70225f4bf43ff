//! What a gate listens on: bound before anything else, opened once there is something to answer.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use prometheus::IntGauge;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api;
use crate::gate::Running;
use crate::gate::settings::{Mode, Settings};
use crate::listener::{self, Listener, Protocol, tls};

/// Connections that a listener may have open at once.
const CONNECTIONS: usize = 512;

/// Bound sockets; none where the operator wants none.
pub struct Sockets {
    face: Option<TcpListener>,
    agent: Option<TcpListener>,
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
        let bind = async |flag, address: Option<SocketAddr>| match address.filter(|_| answers) {
            Some(address) => listener::bind(flag, address).await.map(Some),
            None => Ok(None),
        };
        let face = bind("gate-listen", settings.listen).await?;
        let agent = bind("agent-check-listen", settings.agent_check_listen).await?;
        let peers = bind("peer-listen", settings.peer_listen).await?;
        let files = settings.trust.tls.as_ref().filter(|_| answers).and_then(|tls| {
            Some(tls::TlsFiles {
                certificate: tls.cert.clone()?,
                key: tls.key.clone()?,
                client_authorities: tls.client_ca.clone(),
                require: tls.client_ca.is_some(),
            })
        });
        let tls = files.as_ref().map(tls::load).transpose()?;
        Ok(Self { face, agent, peers, tls })
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
        if let Some(socket) = self.face {
            open("health checks ask", socket, None, api::gate::router(running.gate.clone()))?;
        }
        if let Some(socket) = self.agent {
            tracing::info!("agent-check on {}", socket.local_addr().map_err(|error| error.to_string())?);
            tasks.push(tokio::spawn(api::gate::agent::serve(socket, running.gate.clone(), closing.clone())));
        }
        Ok(tasks)
    }
}
