//! HTTP/1.1 by hand, for what a client library does not do: methods in lower case, thousands of requests that wait at
//! once, clients that hang up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A request under way.
#[derive(Debug)]
pub struct Pending(TcpStream);

/// Sends a request without a body, as `GET /abc`, to the service at `url` and does not wait for the answer.
pub fn send(url: &str, request: &str) -> Pending {
    try_send(url, request).unwrap_or_else(|error| panic!("{request} to {url}: {error}"))
}

/// The same; an error is one of transport.
pub fn try_send(url: &str, request: &str) -> std::io::Result<Pending> {
    let address = url.strip_prefix("http://").expect("a plain address");
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    Ok(Pending(stream))
}

impl Pending {
    /// The status and the body of the answer, waited for at most for `limit`.
    pub fn answer(self, limit: Duration) -> std::io::Result<(u16, String)> {
        let mut stream = self.0;
        stream.set_read_timeout(Some(limit))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        status
            .map(|status| (status, body.to_owned()))
            .ok_or_else(|| std::io::Error::other(format!("no answer: {head}")))
    }

    /// Whether an answer has begun to arrive; does not wait.
    pub fn is_answered(&self) -> bool {
        self.0.set_nonblocking(true).expect("a socket");
        let peeked = self.0.peek(&mut [0; 1]).is_ok();
        self.0.set_nonblocking(false).expect("a socket");
        peeked
    }

    /// Hangs up.
    pub fn hang_up(self) {
        drop(self.0);
    }
}
