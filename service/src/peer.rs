//! Who is at the other end of a connection, as far as the connection itself proves it.

use std::net::SocketAddr;

/// The other end of a connection; the listener puts it into the extensions of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address
    pub address: SocketAddr,
    /// Whether the connection is encrypted
    pub tls: bool,
    /// The client certificate, verified against `--tls-client-ca`; none without one
    pub certificate: Option<PeerCertificate>,
}

/// The names that a verified client certificate carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// DNS names of the subjectAltName extension, in lower case
    pub names: Vec<String>,
    /// The subject's common name
    pub common_name: Option<String>,
}
