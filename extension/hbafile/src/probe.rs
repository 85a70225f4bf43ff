//! Asking the server as a health check does, whether what was written is in force.
//!
//! What is sent and looked at is what HAProxy's `pgsql-check` sends and looks at: a startup message of protocol 3.0 with
//! a user and nothing else, no TLS, and the first reply.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Longest reply that is read, in bytes: the server's errors at this stage are far shorter.
const LONGEST: usize = 16 * 1024;

/// The first reply to a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `R`: the server goes on to authenticate, or lets in without.
    Challenged {
        /// The kind: 0 let in, 3 password, 5 md5, 10 SASL.
        code: u32,
    },
    /// `E`: the server refuses.
    Rejected {
        /// Why: 28000 by a rule or for want of one, 57P03 while it starts, 53300 with too many clients.
        sqlstate: String,
    },
    /// Nobody answered in time, or the connection failed.
    Unreachable(String),
    /// Something that no server of PostgreSQL says here.
    Other(String),
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Challenged { code: 0 } => f.write_str("it lets in without a password (R 0)"),
            Self::Challenged { code } => write!(f, "it asks for a password (R {code})"),
            Self::Rejected { sqlstate } => write!(f, "it refuses (E {sqlstate})"),
            Self::Unreachable(why) => write!(f, "it does not answer: {why}"),
            Self::Other(what) => write!(f, "it answers as no PostgreSQL does: {what}"),
        }
    }
}

/// Whether a connection can come from this address: it is one of this machine. Where the kernel lets a process bind to
/// any address, only loopback is known to be.
#[must_use]
pub fn is_local(ip: IpAddr) -> bool {
    !ip.is_unspecified() && (ip.is_loopback() || !binds_to_any(ip)) && bound(ip).is_ok()
}

fn binds_to_any(ip: IpAddr) -> bool {
    let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
    let setting = std::fs::read_to_string(format!("/proc/sys/net/{family}/ip_nonlocal_bind"));
    setting.is_ok_and(|setting| setting.trim() != "0")
}

pub(crate) fn bound(ip: IpAddr) -> io::Result<OwnedFd> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    bind(&socket, &SocketAddr::new(ip, 0))?;
    Ok(socket)
}

/// Asks `target` as this user from this source, waiting at most for `limit` in all.
#[must_use]
pub fn ask(user: &[u8], source: IpAddr, target: SocketAddr, limit: Duration) -> Reply {
    let until = Instant::now() + limit;
    match exchange(user, source, target, until) {
        Ok(bytes) => read(&bytes),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Reply::Unreachable("nothing came in time".to_owned()),
        Err(error) => Reply::Unreachable(error.to_string()),
    }
}

/// The first message, or what came of it before the other end closed.
fn exchange(user: &[u8], source: IpAddr, target: SocketAddr, until: Instant) -> io::Result<Vec<u8>> {
    let socket = bound(source)?;
    match connect(&socket, &target) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            wait(&socket, PollFlags::OUT, until)?;
            sockopt::socket_error(&socket)??;
        }
        Err(error) => return Err(error.into()),
    }
    let mut stream = TcpStream::from(socket);
    // An empty socket buffer takes a message of this size at once.
    stream.write_all(&startup(user))?;
    let mut bytes = Vec::new();
    while !is_whole(&bytes) {
        wait(&stream, PollFlags::IN, until)?;
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            // What was said before the connection broke counts.
            Err(_) if !bytes.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

fn wait(socket: &impl AsFd, flags: PollFlags, until: Instant) -> io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(socket, flags)], Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn startup(user: &[u8]) -> Vec<u8> {
    let body = [&196_608_u32.to_be_bytes()[..], b"user\0", user, b"\0\0"].concat();
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// The length of a message behind its first byte; none where too little of it is there.
fn length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(1..5)?.try_into().map(u32::from_be_bytes).ok()?;
    usize::try_from(length).ok()
}

fn is_whole(bytes: &[u8]) -> bool {
    let known = matches!(bytes.first(), None | Some(b'R' | b'E'));
    !known || bytes.len() >= LONGEST || length(bytes).is_some_and(|length| bytes.len() > length)
}

fn read(bytes: &[u8]) -> Reply {
    let body = length(bytes).filter(|length| (4..LONGEST).contains(length)).and_then(|length| bytes.get(5..=length));
    match (bytes.first(), body) {
        (None, _) => Reply::Other("it closes the connection without a word".to_owned()),
        (Some(b'R'), Some([a, b, c, d, ..])) => Reply::Challenged { code: u32::from_be_bytes([*a, *b, *c, *d]) },
        (Some(b'E'), Some(fields)) => {
            match fields.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C")) {
                Some(code) if code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric) => {
                    Reply::Rejected { sqlstate: String::from_utf8_lossy(code).into_owned() }
                }
                _ => Reply::Other("an error without a code".to_owned()),
            }
        }
        (Some(first), _) => Reply::Other(format!("{} bytes that begin with {:?}", bytes.len(), char::from(*first))),
    }
}
