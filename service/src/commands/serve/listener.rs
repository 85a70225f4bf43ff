//! A listener: accepts connections, speaks TLS on them, hands their requests to a router, and ends without cutting one off.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::tls;
use crate::metrics::Metrics;
use crate::peer::Peer;

/// How long the head of a request may take to arrive, which is also how long an idle connection is kept.
const HEAD: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long requests in flight may take to finish once the service stops.
const DRAIN: Duration = Duration::from_secs(10);
/// How long to wait before accepting again when the process is out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// The current certificates; replaced by SIGHUP.
pub type Certificates = watch::Receiver<Arc<ServerConfig>>;

/// A bound socket and what it speaks.
pub struct Listener {
    /// The socket
    pub socket: TcpListener,
    /// None: plain HTTP
    pub tls: Option<Certificates>,
    /// Connections that may be open at once
    pub limit: usize,
    /// For the gauge of open connections
    pub metrics: Arc<Metrics>,
}

/// Binds `address`.
///
/// # Errors
/// Why it cannot be bound, naming `flag`.
pub async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "; another program listens there: give another address or port",
            std::io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
            _ => "",
        };
        format!("cannot listen on {address} (--{flag}): {error}{hint}")
    })
}

impl Listener {
    /// Serves until `stop` becomes true, then until the requests in flight are answered, ten seconds at most.
    pub async fn run(self, router: Router, mut stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(self.limit));
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&permits) => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let Some((permit, stream, address)) = accepted else { continue };
            let tls = self.tls.as_ref().map(|current| TlsAcceptor::from(current.borrow().clone()));
            let (router, watcher, metrics) = (router.clone(), graceful.watcher(), self.metrics.clone());
            tokio::spawn(async move {
                metrics.connections.inc();
                serve(stream, address, tls, router, watcher).await;
                metrics.connections.dec();
                drop(permit);
            });
        }
        drop(self.socket);
        if timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still in flight after {DRAIN:?} and are cut off");
        }
    }

    async fn accept(
        &self,
        permits: &Arc<Semaphore>,
    ) -> Option<(tokio::sync::OwnedSemaphorePermit, TcpStream, SocketAddr)> {
        let permit = permits.clone().acquire_owned().await.ok()?;
        match self.socket.accept().await {
            Ok((stream, address)) => Some((permit, stream, address)),
            // A client that hung up while it waited in the backlog.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => None,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED).await;
                None
            }
        }
    }
}

async fn serve(stream: TcpStream, address: SocketAddr, tls: Option<TlsAcceptor>, router: Router, watcher: Watcher) {
    // Answers are one small packet; without this the kernel may hold them back.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %address, "cannot set TCP_NODELAY");
    }
    let Some(acceptor) = tls else {
        let peer = Peer { address, tls: false, certificate: None };
        return speak(stream, peer, router, watcher).await;
    };
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = shown.and_then(|certificate| tls::peer_certificate(certificate));
            speak(stream, Peer { address, tls: true, certificate }, router, watcher).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, %address, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
    }
}

async fn speak<S>(stream: S, peer: Peer, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (address, encrypted) = (peer.address, peer.tls);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let mut router = router.clone();
        async move {
            // A router is always ready.
            let response = router.call(request.map(Body::new)).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).pipeline_flush(true);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD).max_concurrent_streams(256);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, %address, encrypted, "a connection ended badly");
    }
}
