//! Load on restarts: one thread, one request at a time on each connection.

use std::io;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::measured::{Times, rate};

/// What the connections do, over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A known host asks whether there is a reason to restart
    Inquiry,
    /// A host asks that was never seen before, and is given a request_id
    FirstContact,
    /// A known host asks, and is given the request_id that it was given before
    Repeat,
    /// A host asks, asks again and is granted, comes back and is done: three requests
    Restart,
}

impl Work {
    /// Each kind.
    pub const ALL: [Self; 4] = [Self::Inquiry, Self::FirstContact, Self::Repeat, Self::Restart];
}

/// The fleet: host H belongs to cluster H modulo `clusters`.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// Number of clusters
    pub clusters: u32,
    /// Number of known hosts
    pub hosts: u32,
}

impl Fleet {
    /// The name of a host.
    pub fn host(self, number: u32) -> String {
        format!("c{:05}-h{number:07}.example.org", number % self.clusters)
    }
}

/// What one run has shown.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Works per second
    pub rate: f64,
    /// Median time of a request
    pub p50: Duration,
    /// 99th percentile of the time of a request
    pub p99: Duration,
    /// Requests that were answered by anything but 200, or restarts that were not granted
    pub refused: u64,
}

/// Keeps `connections` busy with `work` for `time`, after a warm-up of a fifth of it.
pub async fn run(address: &str, fleet: Fleet, work: Work, connections: u32, time: Duration) -> io::Result<Measured> {
    let start = Instant::now() + time / 5;
    let end = start + time;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..connections {
        let connection = Connection::open(address).await?;
        tasks.spawn_local(
            async move { Worker::new(connection, fleet, number, connections).run(work, start, end).await },
        );
    }
    let (mut latencies, mut done, mut refused) = (Vec::new(), 0, 0);
    while let Some(finished) = tasks.join_next().await {
        let tally = finished.map_err(io::Error::other)??;
        latencies.extend(tally.latencies);
        done += tally.done;
        refused += tally.refused;
    }
    let latencies = Times::new(latencies);
    Ok(Measured { rate: rate(done, time), p50: latencies.percentile(50), p99: latencies.percentile(99), refused })
}

#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    done: usize,
    refused: u64,
}

struct Worker {
    connection: Connection,
    fleet: Fleet,
    number: u32,
    connections: u32,
    random: u64,
    measuring: bool,
    tally: Tally,
}

impl Worker {
    fn new(connection: Connection, fleet: Fleet, number: u32, connections: u32) -> Self {
        let random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(u64::from(number) + 1);
        Self { connection, fleet, number, connections, random, measuring: false, tally: Tally::default() }
    }

    async fn run(mut self, work: Work, start: Instant, end: Instant) -> io::Result<Tally> {
        let born = start.elapsed().as_nanos() ^ u128::from(std::process::id());
        let mut turn = 0_u64;
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(self.tally);
            }
            self.measuring = now >= start;
            turn += 1;
            let good = match work {
                Work::Inquiry => self.ask(INQUIRE, &self.fleet.host(self.any()), "100h", None).await?,
                Work::Repeat => self.ask(REQUEST, &self.fleet.host(self.any() % REPEATING), "100h", None).await?,
                Work::FirstContact => {
                    let name = format!(
                        "c{:05}-n{born:x}-{}-{turn}.example.org",
                        turn % u64::from(self.fleet.clusters),
                        self.number
                    );
                    self.ask(REQUEST, &name, "100h", None).await?
                }
                Work::Restart => self.restart().await?,
            };
            if self.measuring {
                self.tally.done += 1;
                self.tally.refused += u64::from(!good);
            }
            self.random = xorshift(self.random);
        }
    }

    async fn restart(&mut self) -> io::Result<bool> {
        // Hosts of its own, so that two connections never drive one host.
        let share = (self.fleet.hosts / self.connections).max(1);
        let host = self.fleet.host((self.any() % share * self.connections + self.number) % self.fleet.hosts);
        if !self.ask(REQUEST, &host, "100h", None).await? {
            return Ok(false);
        }
        let Some(id) = self.connection.field(b"\"request_id\":\"") else { return Ok(false) };
        let granted = self.ask(REQUEST, &host, "100h", Some(&id)).await? && self.connection.has(b"\"go_ahead\":true");
        Ok(self.ask(INQUIRE, &host, "1s", None).await? && granted)
    }

    fn any(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the rest is below a u32")]
        let number = (self.random % u64::from(self.fleet.hosts)) as u32;
        number
    }

    async fn ask(&mut self, path: &str, fqdn: &str, uptime: &str, id: Option<&str>) -> io::Result<bool> {
        let id = id.map(|id| format!(",\"request_id\":\"{id}\"")).unwrap_or_default();
        let body = format!("{{\"fqdn\":\"{fqdn}\",\"uptime\":\"{uptime}\"{id}}}");
        let start = Instant::now();
        let status = self.connection.send("POST", path, &body).await?;
        if self.measuring {
            self.tally.latencies.push(start.elapsed());
        }
        Ok(status == 200)
    }
}

fn xorshift(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}

/// Hosts that repeat themselves; so few that each soon has its request_id.
const REPEATING: u32 = 1_000;
const INQUIRE: &str = "/v1/inquire/restart/";
const REQUEST: &str = "/v1/request/restart/os";
