//! What a gate listens on: bound before anything else, opened once there is something to answer.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use prometheus::IntGauge;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api;
use crate::gate::Running;
use crate::gate::settings::{Mode, Settings};
use crate::listener::{self, Certificates, Listener, Protocol, tls};

/// Connections that a listener may have open at once. Two listeners and all else a gate has open must stay below 1024
/// files, the usual limit.
const CONNECTIONS: usize = 256;

/// Bound sockets; none where the operator wants none.
pub struct Sockets {
    face: Option<TcpListener>,
    agent: Option<TcpListener>,
    peers: Option<TcpListener>,
    tls: Option<Served>,
}

/// The certificates of the peer listener.
pub struct Served {
    files: tls::TlsFiles,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl Served {
    fn new(files: tls::TlsFiles) -> Result<Self, String> {
        let current = watch::Sender::new(tls::load(&files)?);
        Ok(Self { files, current })
    }

    /// Reads them again, for connections from now on.
    ///
    /// # Errors
    /// Which file cannot be used, and why; they stay as they were then.
    pub fn reload(&self) -> Result<(), String> {
        self.current.send_replace(tls::load(&self.files)?);
        Ok(())
    }
}

/// Where requests are answered.
pub struct On {
    /// Those of other gates
    pub votes: Handle,
    /// All others
    pub health: Handle,
}

/// What listens.
pub struct Open {
    /// Ends with each listener
    pub tasks: Vec<JoinHandle<()>>,
    /// The certificates of the peer listener; none: it speaks without TLS, or there is none
    pub tls: Option<Served>,
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
        let tls = files.map(Served::new).transpose()?;
        Ok(Self { face, agent, peers, tls })
    }

    /// Opens them.
    ///
    /// # Errors
    /// When the operating system does not know an address that it gave.
    pub fn open(self, running: &Running, closing: &watch::Receiver<bool>, on: &On) -> Result<Open, String> {
        let mut tasks = Vec::new();
        let mut open = |what: &str, socket: TcpListener, tls: Option<Certificates>, router: Router, on: &Handle| {
            let address = socket.local_addr().map_err(|error| error.to_string())?;
            tracing::info!("{what} on {}{address}", if tls.is_some() { "TLS " } else { "" });
            let listener = Listener {
                socket,
                tls,
                limit: CONNECTIONS,
                protocol: Protocol::Brief,
                connections: IntGauge::new("connections", "Open connections.").map_err(|error| error.to_string())?,
            };
            tasks.push(on.spawn(listener.run(router, closing.clone())));
            Ok::<(), String>(())
        };
        if let (Some(socket), Some(router)) = (self.peers, running.peers.clone()) {
            let tls = self.tls.as_ref().map(|served| served.current.subscribe());
            open("peers ask", socket, tls, router, &on.votes)?;
        }
        if let Some(socket) = self.face {
            open("health checks ask", socket, None, api::gate::router(running.gate.clone()), &on.health)?;
        }
        if let Some(socket) = self.agent {
            tracing::info!("agent-check on {}", socket.local_addr().map_err(|error| error.to_string())?);
            tasks.push(on.health.spawn(api::gate::agent::serve(socket, running.gate.clone(), closing.clone())));
        }
        Ok(Open { tasks, tls: self.tls })
    }
}
