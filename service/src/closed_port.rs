//! For tests: a TCP port at which nobody listens, and at which nobody else comes to listen either.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of the loopback that refuses connections for as long as its socket lives: bound, and not listening.
pub fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
    let address = socket.local_addr().expect("its address");
    (socket, address)
}
