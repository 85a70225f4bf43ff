//! Asking the other gates: all at once, each within its deadline, over HTTP/1.1.
//!
//! A connection lasts one ask. What is open from an earlier round can only mislead: a frozen peer, a moved address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use goahead_rules::gate::{Answer, Ask};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::settings::{Peer, Settings};

pub mod addresses;
pub mod sign;
pub mod tls;

pub use addresses::Addresses;
pub use sign::Secret;

/// The longest ask and the longest answer, in bytes.
pub const LONGEST: usize = 64 * 1024;
/// Where gates ask each other.
pub const ASK: &str = "/v1/gate/ask";
/// Where a gate takes audit entries of others.
pub const AUDIT: &str = "/v1/gate/audit";

/// Why a peer gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// Something listens that does not speak this protocol: harepd, perhaps
    #[error("{0}")]
    Foreign(String),
    /// It was not reached, did not answer in time, or refused
    #[error("{0}")]
    Failed(String),
}

/// Asks peers.
pub struct Asker {
    source: Option<IpAddr>,
    secret: Option<Secret>,
    tls: Option<tls::Connector>,
    addresses: Arc<Addresses>,
}

impl Asker {
    /// Calls from our own listen address, where that is a specific one: peers know us by it.
    ///
    /// # Errors
    /// Which file cannot be used.
    pub fn new(settings: &Settings, secret: Option<Secret>, addresses: Arc<Addresses>) -> Result<Self, String> {
        let source = settings.peer_listen.map(|address| address.ip()).filter(|ip| !ip.is_unspecified());
        let tls = settings.trust.tls.as_ref().map(tls::Connector::new).transpose()?;
        Ok(Self { source, secret, tls, addresses })
    }

    /// What it connects with; none: without TLS.
    pub fn tls(&self) -> Option<tls::Connector> {
        self.tls.clone()
    }

    /// The address that asks are sent from; none: the system chooses.
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Sends an ask, all within `limit`, and returns the answer as it came: whether it fits is for the decision.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ask(&self, peer: &Peer, ask: &Ask, limit: Duration) -> Result<Answer, Silence> {
        let body = serde_json::to_vec(ask).map_err(|error| Silence::Failed(error.to_string()))?;
        let answer = self.post(peer, ASK, body, limit).await?;
        serde_json::from_slice(&answer).map_err(|error| Silence::Foreign(format!("its answer cannot be read: {error}")))
    }

    /// Sends `body` to a path of a peer, all within `limit`, and returns the body of its answer.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn post(
        &self,
        peer: &Peer,
        path: &'static str,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Bytes, Silence> {
        timeout(limit, self.exchange(peer, path, body))
            .await
            .unwrap_or_else(|_| Err(Silence::Failed(format!("no answer within {limit:?}"))))
    }

    async fn exchange(&self, peer: &Peer, path: &'static str, body: Vec<u8>) -> Result<Bytes, Silence> {
        let stream = self.connect(peer).await.map_err(Silence::Failed)?;
        let Some(tls) = &self.tls else { return self.speak(stream, peer, path, body).await };
        let name = ServerName::try_from(peer.host.clone())
            .map_err(|_| Silence::Failed(format!("{} is no name that a certificate can carry", peer.host)))?;
        let stream = tls.connector(&[]).connect(name, stream).await.map_err(|error| {
            Silence::Failed(format!("TLS with it fails: {error}; is tls set there too, and do ca and cert fit?"))
        })?;
        self.speak(stream, peer, path, body).await
    }

    async fn connect(&self, peer: &Peer) -> Result<TcpStream, String> {
        let mut last = format!("its name {} cannot be looked up", peer.host);
        for address in self.addresses.of_host(&peer.host) {
            match self.connect_to(SocketAddr::new(address, peer.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }

    async fn connect_to(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(source) = self.source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: &Peer,
        path: &'static str,
        body: Vec<u8>,
    ) -> Result<Bytes, Silence> {
        let foreign = |error: hyper::Error| {
            Silence::Foreign(format!(
                "it does not speak HTTP as gates do: {error}; is it a gate's peer_listen, and tls set at both or neither?"
            ))
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(foreign)?;
        let driver = Driver(tokio::spawn(connection).abort_handle());
        let nonce = sign::nonce();
        let request = self.request(peer, path, body, &nonce)?;
        let response = sender.send_request(request).await.map_err(foreign)?;
        let status = response.status();
        let signature = response.headers().get(sign::SIGNATURE).and_then(|value| value.to_str().ok());
        let signature = signature.unwrap_or_default().to_owned();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| Silence::Failed(format!("its answer is too long or broke off: {error}")))?;
        drop(driver);
        let body = body.to_bytes();
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
                return Err(Silence::Foreign(format!("HTTP {status}: no gate of goahead answers there")));
            }
            _ => {
                let why: String =
                    String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).take(200).collect();
                return Err(Silence::Failed(format!("HTTP {status}: {why}")));
            }
        }
        match &self.secret {
            Some(secret) if !secret.verify(&[b"answer", nonce.as_bytes(), &body], &signature) => {
                Err(Silence::Failed("its answer is not signed with our secret; compare secret_file".to_owned()))
            }
            _ => Ok(body),
        }
    }

    fn request(
        &self,
        peer: &Peer,
        path: &'static str,
        body: Vec<u8>,
        nonce: &str,
    ) -> Result<Request<Full<Bytes>>, Silence> {
        let mut request = Request::post(path).header(HOST, peer.authority()).header(CONTENT_TYPE, "application/json");
        if let Some(secret) = &self.secret {
            let signature = secret.sign(&[b"ask", path.as_bytes(), nonce.as_bytes(), &body]);
            request = request.header(sign::NONCE, nonce).header(sign::SIGNATURE, signature);
        }
        request.body(Full::new(Bytes::from(body))).map_err(|error| Silence::Failed(error.to_string()))
    }
}

/// The task of a connection; dropped, it ends, and the connection with it.
struct Driver(tokio::task::AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
