//! A caller of the rendezvous listener.

use std::io;

use super::crowd::Caller;
use crate::connection::Connection;

/// A caller with a connection of its own.
#[derive(Debug)]
pub struct HttpCaller(Connection);

impl HttpCaller {
    /// Connects to `host:port`.
    pub async fn connect(address: &str) -> io::Result<Self> {
        Connection::open(address).await.map(Self)
    }

    async fn ask(&mut self, method: &str, path: &str) -> io::Result<()> {
        let status = self.0.send(method, path, "").await?;
        if status == 200 && self.0.has(b"\"ok\":true") { Ok(()) } else { Err(self.0.unexpected(path)) }
    }
}

impl Caller for HttpCaller {
    async fn wait(&mut self, key: &str) -> io::Result<()> {
        self.ask("GET", &format!("/{key}?timeout=120s")).await
    }

    async fn signal(&mut self, key: &str, _waiting: usize) -> io::Result<()> {
        self.ask("PUT", &format!("/{key}")).await
    }
}
