//! A listener: accepts connections, speaks TLS on them, hands their requests to a router, and ends without cutting one off.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus::IntGauge;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use crate::peer::Peer;

pub mod crowd;
pub mod tls;

use self::crowd::{Crowd, Place};

/// How long the head of a request may take to arrive, which is also how long an idle connection is kept.
const HEAD: Duration = Duration::from_secs(30);
/// The same, with [`Protocol::Brief`].
const BRIEF_HEAD: Duration = Duration::from_secs(5);
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
    /// Connections that may be open at once; with [`Protocol::Brief`] another one takes the place of an older one, else
    /// it waits
    pub limit: usize,
    /// What is spoken
    pub protocol: Protocol,
    /// Counts open connections
    pub connections: IntGauge,
}

/// Which HTTP a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2
    Any,
    /// HTTP/1.1 alone, with small buffers: for thousands of requests that wait
    Small,
    /// HTTP/1.1 and HTTP/2 for short questions, of which none waits for anything: no caller keeps another out
    Brief,
}

/// Bytes of a stream of HTTP/2 that are read before it is answered, with [`Protocol::Brief`].
const BRIEF_WINDOW: u32 = 64 * 1024;
/// Streams at once on one connection, with [`Protocol::Brief`].
const BRIEF_STREAMS: u32 = 8;

/// Bytes of a request's head, with [`Protocol::Small`] and [`Protocol::Brief`]; the least that hyper allows.
const SMALL: u32 = 8 * 1024;

/// What answers requests.
pub trait Answers:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Answers for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// Binds `address`.
///
/// # Errors
/// Why it cannot be bound, naming `flag`.
pub async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, String> {
    let bound = match TcpListener::bind(address).await {
        // A machine without IPv6 has all its addresses at the other wildcard.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_without_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "; another program listens there: give another address or port",
            std::io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
            _ => "",
        };
        format!("cannot listen on {address} (--{flag}): {error}{hint}")
    })
}

fn is_without_ipv6(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

impl Listener {
    /// Serves until `stop` becomes true, then until the requests in flight are answered, ten seconds at most.
    pub async fn run(self, service: impl Answers, mut stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let room = match self.protocol {
            Protocol::Any | Protocol::Small => Room::Queue(Arc::new(Semaphore::new(self.limit))),
            Protocol::Brief => Room::Crowd(Crowd::new(self.limit)),
        };
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&room) => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let Some((mut admitted, stream, address)) = accepted else { continue };
            let tls = self.tls.as_ref().map(|current| TlsAcceptor::from(current.borrow().clone()));
            let (service, watcher, connections) = (service.clone(), graceful.watcher(), self.connections.clone());
            let protocol = self.protocol;
            tokio::spawn(async move {
                connections.inc();
                tokio::select! {
                    () = serve(stream, address, tls, protocol, service, watcher) => {}
                    () = admitted.lost() => tracing::debug!(%address, "a connection is closed to make room"),
                }
                connections.dec();
                drop(admitted);
            });
        }
        drop(self.socket);
        if timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still in flight after {DRAIN:?} and are cut off");
        }
    }

    async fn accept(&self, room: &Room) -> Option<(Admitted, TcpStream, SocketAddr)> {
        let permit = match room {
            Room::Queue(permits) => Some(permits.clone().acquire_owned().await.ok()?),
            Room::Crowd(_) => None,
        };
        match self.socket.accept().await {
            Ok((stream, address)) => {
                let place = match room {
                    Room::Queue(_) => None,
                    Room::Crowd(crowd) => Some(crowd.enter(address.ip())),
                };
                Some((Admitted { _permit: permit, place }, stream, address))
            }
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

/// How connections come in.
enum Room {
    /// One after another has left
    Queue(Arc<Semaphore>),
    /// In another's place
    Crowd(Crowd),
}

/// A connection's right to be there, until this is dropped.
struct Admitted {
    _permit: Option<OwnedSemaphorePermit>,
    place: Option<Place>,
}

impl Admitted {
    /// Waits until another takes its place: for ever where it waited for its own.
    async fn lost(&mut self) {
        match &mut self.place {
            Some(place) => place.lost().await,
            None => std::future::pending().await,
        }
    }
}

async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    protocol: Protocol,
    service: impl Answers,
    watcher: Watcher,
) {
    // Answers are one small packet; without this the kernel may hold them back.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %address, "cannot set TCP_NODELAY");
    }
    match tls {
        None => speak(stream, Peer { address, tls: false, certificate: None }, protocol, service, watcher).await,
        // Large, and what waits without TLS need not have room for it.
        Some(acceptor) => Box::pin(secure(stream, address, acceptor, protocol, service, watcher)).await,
    }
}

async fn secure(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    protocol: Protocol,
    service: impl Answers,
    watcher: Watcher,
) {
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = shown.and_then(|certificate| tls::peer_certificate(certificate));
            speak(stream, Peer { address, tls: true, certificate }, protocol, service, watcher).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, %address, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
    }
}

async fn speak<S>(stream: S, peer: Peer, protocol: Protocol, service: impl Answers, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (address, encrypted) = (peer.address, peer.tls);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        // A service is always ready.
        service.clone().call(request.map(Body::new))
    });
    let stream = TokioIo::new(stream);
    let ended = match protocol {
        Protocol::Any => {
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).pipeline_flush(true);
            builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD).max_concurrent_streams(256);
            // Large too.
            Box::pin(watcher.watch(builder.serve_connection(stream, service))).await.map_err(|error| error.to_string())
        }
        Protocol::Brief => {
            let mut builder = Builder::new(TokioExecutor::new());
            // One request each, as Patroni does: who sends a thousand on one connection is not served before others.
            builder.http1().timer(TokioTimer::new()).header_read_timeout(BRIEF_HEAD).max_buf_size(SMALL as usize);
            builder.http1().keep_alive(false);
            builder
                .http2()
                .timer(TokioTimer::new())
                .keep_alive_interval(BRIEF_HEAD)
                .keep_alive_timeout(BRIEF_HEAD)
                .initial_connection_window_size(BRIEF_WINDOW)
                .initial_stream_window_size(BRIEF_WINDOW)
                .max_send_buf_size(BRIEF_WINDOW as usize)
                .max_header_list_size(SMALL)
                .max_concurrent_streams(BRIEF_STREAMS);
            Box::pin(watcher.watch(builder.serve_connection(stream, service))).await.map_err(|error| error.to_string())
        }
        Protocol::Small => {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(SMALL as usize);
            watcher.watch(builder.serve_connection(stream, service)).await.map_err(|error| error.to_string())
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, %address, encrypted, "a connection ended badly");
    }
}
