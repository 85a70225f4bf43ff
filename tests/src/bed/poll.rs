//! Asks every node of a bed every 50 ms, as HAProxy would, and keeps the answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::net::Net;
use super::timeline::{Door, Sample, Timeline, Traffic};

/// How often each node is asked.
pub const PERIOD: Duration = Duration::from_millis(50);

/// How long a question may take; HAProxy waits longer, and such a node is closed to it as well.
const PATIENCE: Duration = Duration::from_millis(500);

/// A node that is asked, and how.
#[derive(Debug, Clone)]
pub struct Target {
    /// The node's name
    pub node: String,
    /// How it is asked
    pub door: Door,
    /// For which traffic
    pub traffic: Traffic,
    /// The network that the question comes from
    pub net: Net,
    /// The address that the question comes from: HAProxy's
    pub source: Ipv4Addr,
    /// Where it goes
    pub to: SocketAddrV4,
    /// The user of a `pgsql-check`, or the path of a `httpchk`
    pub what: String,
}

impl Target {
    /// Asks once: whether the answer is good, and its words.
    pub fn ask(&self) -> (bool, String) {
        let answer = match self.door {
            Door::Check => pgsql_check(self.source, self.to, &self.what),
            Door::Http => http_check(self.source, self.to, &self.what),
            Door::Haproxy => unreachable!("HAProxy is asked on its socket"),
        };
        answer.unwrap_or_else(|error| (false, error.kind().to_string()))
    }
}

/// What HAProxy's `option pgsql-check user USER` does: a StartupMessage with the user alone; good is any request for
/// authentication. Gives whether it is good, and the code or the message of the server.
pub fn pgsql_check(source: Ipv4Addr, to: SocketAddrV4, user: &str) -> std::io::Result<(bool, String)> {
    let mut stream = dial(source, to)?;
    let mut message = 196_608_u32.to_be_bytes().to_vec();
    message.extend_from_slice(b"user\0");
    message.extend_from_slice(user.as_bytes());
    message.extend_from_slice(b"\0\0");
    let length = u32::try_from(message.len() + 4).expect("short");
    stream.write_all(&[&length.to_be_bytes()[..], &message].concat())?;
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]).saturating_sub(4).min(10_000);
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    match head[0] {
        b'R' => Ok((true, format!("R {}", body.get(3).copied().unwrap_or_default()))),
        b'E' => {
            let fields: Vec<String> =
                body.split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field).into_owned()).collect();
            let field = |kind| fields.iter().find_map(|field| field.strip_prefix(kind)).unwrap_or_default();
            Ok((false, format!("{} {}", field('C'), field('M'))))
        }
        other => Ok((false, format!("{:?}", char::from(other)))),
    }
}

/// What HAProxy's `option httpchk OPTIONS PATH` does; good is 200. Gives the status line.
pub fn http_check(source: Ipv4Addr, to: SocketAddrV4, path: &str) -> std::io::Result<(bool, String)> {
    let mut stream = dial(source, to)?;
    stream.write_all(format!("OPTIONS {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(1000).read_to_string(&mut answer)?;
    let status = answer.lines().next().unwrap_or_default().trim().to_owned();
    Ok((status.split_whitespace().nth(1) == Some("200"), status))
}

/// A connection from a chosen address.
fn dial(source: Ipv4Addr, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    let socket: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, Some(PATIENCE))?;
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))?;
    // Sent as RST, as HAProxy does: closed connections of a poll would else fill the list of ports.
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    bind(&socket, &SocketAddr::from((source, 0)))?;
    connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

/// Threads that ask until this is dropped.
#[derive(Debug)]
pub struct Poller {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Timeline>>,
    threads: Vec<JoinHandle<()>>,
}

impl Poller {
    /// Asks all of these from now on.
    pub fn start(targets: Vec<Target>) -> Self {
        let mut poller =
            Self { stop: Arc::default(), seen: Arc::default(), threads: Vec::with_capacity(targets.len()) };
        for target in targets {
            let net = target.net.clone();
            poller.each_period(net, move |record| {
                let asked = Instant::now();
                let (open, words) = target.ask();
                record(Sample {
                    asked,
                    answered: Instant::now(),
                    node: target.node.clone(),
                    door: target.door,
                    traffic: target.traffic,
                    open,
                    words,
                });
            });
        }
        poller
    }

    /// Calls `ask` every period in a thread of its own, which hands what it saw to its argument.
    pub fn each_period(&mut self, net: Net, ask: impl Fn(&dyn Fn(Sample)) + Send + Sync + 'static) {
        let (stop, seen) = (Arc::clone(&self.stop), Arc::clone(&self.seen));
        self.threads.push(std::thread::spawn(move || {
            net.run(|| {
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    ask(&|sample| seen.lock().unwrap_or_else(PoisonError::into_inner).0.push(sample));
                    std::thread::sleep(PERIOD.saturating_sub(begun.elapsed()));
                }
            });
        }));
    }

    /// Looks at what was seen so far, without a copy: nothing is added meanwhile.
    pub fn look<T>(&self, at: impl FnOnce(&Timeline) -> T) -> T {
        at(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
