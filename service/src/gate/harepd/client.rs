//! Asking harepds.
//!
//! A connection lasts one question, as harepd's own do, and everything has one deadline: harepd itself waits for ever
//! for a node that is frozen.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use futures_util::future::BoxFuture;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::super::legacy_peer::{LegacyPeers, LegacyView};
use super::super::peers::{Addresses, tls};
use super::super::settings::{Peer, Settings};
use super::messages::{IKnow, WhatYouKnow};
use super::{LONGEST, PATH};

/// Asks harepds what they know.
pub struct Harepds {
    tls: Option<tls::Connector>,
    addresses: Arc<Addresses>,
    me: WhatYouKnow,
}

impl Harepds {
    /// Asks as the node of these settings, over TLS where they say so.
    ///
    /// # Errors
    /// Which file of TLS cannot be used, and why.
    pub fn new(settings: &Settings, addresses: Arc<Addresses>) -> Result<Self, String> {
        let tls = settings.trust.tls.as_ref().map(tls::Connector::new).transpose()?;
        let ip = settings.peer_listen.map(|address| address.ip().to_string()).unwrap_or_default();
        // harepd sends -1 when it does not find its row, and nobody looks at it.
        Ok(Self { tls, addresses, me: WhatYouKnow { ip, node_id: -1, node_name: settings.node.clone() } })
    }

    /// What it connects with; none: without TLS.
    pub fn tls(&self) -> Option<tls::Connector> {
        self.tls.clone()
    }

    async fn question(&self, peer: &Peer, source: Option<IpAddr>, limit: Duration) -> Result<IKnow, String> {
        let stream = self.connect(peer, source).await?;
        match &self.tls {
            None => self.speak(stream, peer, limit).await,
            Some(tls) => {
                let name = ServerName::try_from(peer.host.clone())
                    .map_err(|_| format!("{} is no name that a certificate can carry", peer.host))?;
                let tls = tls.connector(&[b"h2"]);
                let stream = tls.connect(name, stream).await.map_err(|error| format!("TLS with it fails: {error}"))?;
                self.speak(stream, peer, limit).await
            }
        }
    }

    async fn connect(&self, peer: &Peer, source: Option<IpAddr>) -> Result<TcpStream, String> {
        let mut last = format!("its name {} cannot be looked up", peer.host);
        for address in self.addresses.of_host(&peer.host) {
            match connect_to(SocketAddr::new(address, peer.port), source).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: &Peer,
        limit: Duration,
    ) -> Result<IKnow, String> {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| format!("it does not speak HTTP/2: {error}"))?;
        let _driver = Driver(tokio::spawn(connection).abort_handle());
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let origin: Uri = format!("{scheme}://{}", peer.authority())
            .parse()
            .map_err(|_| format!("{} is no host of an address", peer.host))?;
        let call = service_fn(move |request| {
            let mut sender = sender.clone();
            async move { sender.send_request(request).await }
        });
        let mut grpc = tonic::client::Grpc::with_origin(call, origin).max_decoding_message_size(LONGEST);
        let mut question = tonic::Request::new(self.me.clone());
        question.set_timeout(limit);
        let codec = ProstCodec::<WhatYouKnow, IKnow>::default();
        let answer = grpc.unary(question, PathAndQuery::from_static(PATH), codec).await;
        answer.map(tonic::Response::into_inner).map_err(|status| {
            let text: String = status.message().chars().filter(|c| !c.is_control()).take(200).collect();
            format!("gRPC {:?}: {text}", status.code())
        })
    }
}

impl LegacyPeers for Harepds {
    fn ask<'a>(
        &'a self,
        peer: &'a Peer,
        source: Option<IpAddr>,
        limit: Duration,
    ) -> BoxFuture<'a, Result<LegacyView, String>> {
        Box::pin(async move {
            let answer = timeout(limit, self.question(peer, source, limit)).await;
            let known = answer.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))?;
            Ok(LegacyView {
                ip: known.ip,
                node_name: known.node_name,
                masters: known.master,
                standbys: known.slaves,
                witness: known.witness,
            })
        })
    }
}

async fn connect_to(address: SocketAddr, source: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The task of a connection; dropped, it ends, and the connection with it.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
