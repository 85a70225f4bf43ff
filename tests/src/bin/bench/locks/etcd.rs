//! etcd: its server, and a client of its lock service.
//!
//! gRPC by hand: a message is five bytes of frame and a few fields, on the HTTP/2 client that is there already.

use std::io;
use std::path::Path;

use goahead_tests::http::Http;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::load::Client;
use super::protobuf;
use crate::machine;
use crate::peer::Peer;

/// Seconds that a client may stay silent: longer than any run, so that no time goes into keeping it alive.
const TTL: u64 = 600;

/// A running etcd with its defaults, on one node: each change is on disk before it is answered.
#[derive(Debug)]
pub struct Etcd(Peer);

impl Etcd {
    /// Starts one in a private directory.
    pub fn start() -> Self {
        let arguments = |directory: &Path, [client, peer]: [u16; 2]| {
            let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
            let arguments = [
                ("--data-dir", directory.join("data").display().to_string()),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer.clone()),
                ("--initial-cluster", format!("default={peer}")),
                ("--logger", "zap".to_owned()),
                ("--log-level", "error".to_owned()),
            ];
            arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
        };
        Self(Peer::start("etcd", arguments, |port| {
            let health = Http::new(&format!("http://127.0.0.1:{port}"), None).try_send("GET", "/health", None);
            health.is_ok_and(|reply| reply.status == 200)
        }))
    }

    /// What it calls itself.
    pub fn version(&self) -> String {
        machine::version(Path::new("etcd"), "--version").replace("etcd Version:", "etcd")
    }
}

/// A client with a connection and a lease of its own.
#[derive(Debug)]
pub struct EtcdClient {
    requests: SendRequest<Full<Bytes>>,
    address: String,
    lease: u64,
    /// Of the lock that it holds
    key: Vec<u8>,
}

impl EtcdClient {
    /// Connects, and takes a lease.
    pub async fn connect(server: &Etcd, _number: u32) -> io::Result<Self> {
        let address = server.0.address();
        let stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let mut client = Self { requests, address, lease: 0, key: Vec::new() };
        let lease = client.call("etcdserverpb.Lease/LeaseGrant", protobuf::number(Vec::new(), 1, TTL)).await?;
        client.lease = protobuf::get_number(&lease, 2).ok_or_else(|| io::Error::other("no lease"))?;
        Ok(client)
    }

    /// How many hold a lock or wait for it.
    pub async fn queue(&self, lock: &str) -> io::Result<u64> {
        // Each is a key below the name of the lock; 0 is the character after the slash.
        let range = protobuf::bytes(Vec::new(), 1, format!("{lock}/").as_bytes());
        let range = protobuf::bytes(range, 2, format!("{lock}0").as_bytes());
        let count_only = protobuf::number(range, 9, 1);
        let counted = self.call("etcdserverpb.KV/Range", count_only).await?;
        // Nothing is sent for zero.
        Ok(protobuf::get_number(&counted, 4).unwrap_or(0))
    }

    async fn call(&self, method: &str, message: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut framed = vec![0];
        framed.extend_from_slice(&u32::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes());
        framed.extend_from_slice(&message);
        let request = Request::post(format!("http://{}/{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from(framed)))
            .map_err(io::Error::other)?;
        let response = self.requests.clone().send_request(request).await.map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?;
        // An answer without a body has its status in the head.
        let said = body.trailers().unwrap_or(&head.headers).clone();
        if said.get("grpc-status").is_none_or(|status| status != "0") {
            return Err(io::Error::other(format!("{method}: {said:?}")));
        }
        let answer = body.to_bytes();
        answer.get(5..).map(<[u8]>::to_vec).ok_or_else(|| io::Error::other(format!("{method}: no message")))
    }
}

impl Client for EtcdClient {
    async fn acquire(&mut self, lock: &str) -> io::Result<()> {
        let request = protobuf::number(protobuf::bytes(Vec::new(), 1, lock.as_bytes()), 2, self.lease);
        let granted = self.call("v3lockpb.Lock/Lock", request).await?;
        self.key = protobuf::get_bytes(&granted, 2).ok_or_else(|| io::Error::other("no key"))?.to_vec();
        Ok(())
    }

    async fn wait(&mut self, lock: &str) -> io::Result<()> {
        self.acquire(lock).await
    }

    async fn confirm(&mut self, _lock: &str) -> io::Result<()> {
        Ok(())
    }

    async fn release(&mut self, _lock: &str) -> io::Result<()> {
        self.call("v3lockpb.Lock/Unlock", protobuf::bytes(Vec::new(), 1, &self.key)).await.map(|_| ())
    }
}
