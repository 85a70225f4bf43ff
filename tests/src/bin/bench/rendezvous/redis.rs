//! Redis: its server, and a caller that waits for a list to have an element.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::crowd::Caller;
use crate::machine;
use crate::peer::Peer;

/// A running Redis that keeps everything in memory.
#[derive(Debug)]
pub struct Redis(Peer);

impl Redis {
    /// Starts one in a private directory that takes this many connections.
    pub fn start(connections: usize) -> Self {
        let arguments = |directory: &Path, [port, _]: [u16; 2]| {
            let arguments = [
                ("--bind", "127.0.0.1".to_owned()),
                ("--port", port.to_string()),
                ("--dir", directory.display().to_string()),
                ("--save", String::new()),
                ("--maxclients", connections.to_string()),
            ];
            arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
        };
        Self(Peer::start("redis-server", arguments, answers))
    }

    /// What it calls itself.
    pub fn version(&self) -> String {
        let version = machine::version(Path::new("redis-server"), "--version");
        let number = version.split_whitespace().find_map(|word| word.strip_prefix("v="));
        format!("Redis {}", number.unwrap_or_default())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// A caller with a connection of its own.
    pub async fn connect(&self) -> io::Result<RedisCaller> {
        let stream = TcpStream::connect(self.0.address()).await?;
        stream.set_nodelay(true)?;
        Ok(RedisCaller(BufReader::with_capacity(1024, stream)))
    }
}

fn answers(port: u16) -> bool {
    let ping = || {
        let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer)?;
        Ok::<_, io::Error>(answer == *b"+PONG\r\n")
    };
    ping().unwrap_or(false)
}

/// A caller with a connection of its own.
#[derive(Debug)]
pub struct RedisCaller(BufReader<TcpStream>);

impl RedisCaller {
    /// How many wait, for whatever key.
    pub async fn waiting(&mut self) -> io::Result<u64> {
        let info = self.ask(&["INFO", "clients"]).await?;
        let count = info.lines().find_map(|line| line.strip_prefix("blocked_clients:")?.trim().parse().ok());
        count.ok_or_else(|| io::Error::other(format!("no blocked_clients: {info}")))
    }

    async fn ask(&mut self, words: &[&str]) -> io::Result<String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        let mut items = 1_u64;
        while items > 0 {
            items -= 1;
            let mut line = String::new();
            if self.0.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let wrong = || io::Error::other(format!("{}: {line}", words[0]));
            let (kind, rest) = line.split_at_checked(1).ok_or_else(wrong)?;
            match (kind, rest.trim_end().parse::<u64>()) {
                ("*", Ok(more)) => items += more,
                ("$", Ok(length)) => {
                    let mut text = vec![0; usize::try_from(length).map_err(io::Error::other)? + 2];
                    self.0.read_exact(&mut text).await?;
                    answer.push_str(&String::from_utf8_lossy(&text));
                }
                (":", Ok(_)) | ("+", _) => answer.push_str(rest),
                _ => return Err(wrong()),
            }
        }
        Ok(answer)
    }
}

impl Caller for RedisCaller {
    async fn wait(&mut self, key: &str) -> io::Result<()> {
        self.ask(&["BLPOP", key, "120"]).await.map(|_| ())
    }

    async fn signal(&mut self, key: &str, waiting: usize) -> io::Result<()> {
        // Each waiter takes an element.
        let mut words = vec!["LPUSH", key];
        words.resize(2 + waiting, "1");
        self.ask(&words).await.map(|_| ())
    }
}
