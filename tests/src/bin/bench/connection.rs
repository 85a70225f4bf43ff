//! An HTTP connection that costs little: the load client shares the machine with what it measures.
//!
//! Kept alive; requests are bytes, answers are scanned for what matters and nothing else.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to `address`.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: String,
    buffer: Vec<u8>,
    /// Where the answer in the buffer ends
    end: usize,
}

impl Connection {
    /// Connects to `host:port`.
    pub async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, address: address.to_owned(), buffer: vec![0; 16 << 10], end: 0 })
    }

    /// Sends a request and reads its answer, whose status is given.
    pub async fn send(&mut self, method: &str, path: &str, body: &str) -> io::Result<u16> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.end = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[self.end..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.end += read;
            if let Some(status) = self.complete() {
                return Ok(status);
            }
        }
    }

    /// The status, once headers and body are there.
    fn complete(&self) -> Option<u16> {
        let answer = &self.buffer[..self.end];
        let head = find(answer, b"\r\n\r\n")?;
        let length = find(&answer[..head], b"content-length: ")? + b"content-length: ".len();
        let length = answer[length..head].iter().take_while(|byte| byte.is_ascii_digit());
        let length = length.fold(0_usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        (self.end >= head + 4 + length).then(|| std::str::from_utf8(&answer[9..12]).ok()?.parse().ok()).flatten()
    }

    /// Whether the last answer has this text.
    pub fn has(&self, text: &[u8]) -> bool {
        find(&self.buffer[..self.end], text).is_some()
    }

    /// The text of the last answer between `start` and the next quote.
    pub fn field(&self, start: &[u8]) -> Option<String> {
        let answer = &self.buffer[..self.end];
        let from = find(answer, start)? + start.len();
        let length = answer[from..].iter().position(|byte| *byte == b'"')?;
        String::from_utf8(answer[from..from + length].to_vec()).ok()
    }

    /// The number that follows `start` in the last answer.
    pub fn number(&self, start: &[u8]) -> Option<i64> {
        let answer = &self.buffer[..self.end];
        let from = find(answer, start)? + start.len();
        let length = answer[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&answer[from..from + length]).ok()?.parse().ok()
    }

    /// An error that shows the last answer.
    pub fn unexpected(&self, what: &str) -> io::Error {
        io::Error::other(format!("{what}: {}", String::from_utf8_lossy(&self.buffer[..self.end])))
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
