//! A client of goahead's locks over HTTP.

use std::io;

use super::load::Client;
use crate::connection::Connection;

/// A client with a connection of its own.
#[derive(Debug)]
pub struct HttpClient {
    connection: Connection,
    holder: String,
    token: i64,
}

impl HttpClient {
    /// Connects to `host:port`; clients of other numbers are other holders.
    pub async fn connect(address: &str, number: u32) -> io::Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection, holder: format!("holder-{number}"), token: 0 })
    }

    async fn ask(&mut self, lock: &str, what: &str, more: &str) -> io::Result<()> {
        let body = format!("{{\"holder\":\"{}\"{more}}}", self.holder);
        let status = self.connection.send("POST", &format!("/v1/locks/{lock}/{what}"), &body).await?;
        if status == 200 { Ok(()) } else { Err(self.connection.unexpected(what)) }
    }

    async fn take(&mut self, lock: &str, wait: &str) -> io::Result<()> {
        self.ask(lock, "acquire", wait).await?;
        self.token = self.connection.number(b"\"token\":").ok_or_else(|| self.connection.unexpected("no token"))?;
        Ok(())
    }

    async fn with_token(&mut self, lock: &str, what: &str) -> io::Result<()> {
        let token = format!(",\"token\":{}", self.token);
        self.ask(lock, what, &token).await
    }
}

impl Client for HttpClient {
    async fn acquire(&mut self, lock: &str) -> io::Result<()> {
        self.take(lock, "").await
    }

    async fn wait(&mut self, lock: &str) -> io::Result<()> {
        self.take(lock, ",\"wait\":\"60s\"").await
    }

    async fn confirm(&mut self, lock: &str) -> io::Result<()> {
        self.with_token(lock, "renew").await
    }

    async fn release(&mut self, lock: &str) -> io::Result<()> {
        self.with_token(lock, "release").await
    }
}
