//! TCP ports at which nobody listens.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use crate::{SOON, eventually};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

/// A port of the loopback that refuses connections: bound, so that no other test is given it, and not listening.
#[derive(Debug)]
pub struct ClosedPort {
    socket: OwnedFd,
    /// Where it is
    pub address: SocketAddr,
}

impl ClosedPort {
    /// One that the system chooses.
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let socket = socket.expect("a socket");
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = SocketAddr::try_from(getsockname(&socket).expect("its address")).expect("an address");
        Self { socket, address }
    }

    /// As the address of a web server.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Begins to listen.
    pub fn listen(self) -> TcpListener {
        listen(&self.socket, 128).expect("listen");
        self.socket.into()
    }
}

/// `count` different TCP ports that are free on every address now, below those that the system gives to connections: a
/// check could have one of these just when somebody is to listen there.
pub fn free_ports(count: usize) -> Vec<u16> {
    let any = || SocketAddr::from(([0, 0, 0, 0], rand::random_range(15_000..32_000)));
    let listener = || eventually("a free port", SOON, || TcpListener::bind(any()).ok());
    let listeners: Vec<TcpListener> = (0..count).map(|_| listener()).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("its address").port()).collect()
}
