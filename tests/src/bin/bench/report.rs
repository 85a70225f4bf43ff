//! The page that the benchmark writes.

use std::fmt::Write as _;
use std::process::Command;

use crate::load::{Fleet, Measured};

/// Resident memory in KiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Of the service
    pub service: u64,
    /// Private memory of its largest database backend
    pub backend: u64,
}

/// What one fleet has shown; pairs are for 16 and 64 connections.
#[derive(Debug)]
pub struct Row {
    /// Its size
    pub fleet: Fleet,
    /// Transactions per second of pgbench -N
    pub raw: [f64; 2],
    /// Inquiries of known hosts
    pub inquiries: [Measured; 2],
    /// Requests of hosts never seen
    pub first_contacts: [Measured; 2],
    /// Requests of hosts that have a request_id already
    pub repeats: [Measured; 2],
    /// Whole restarts
    pub restarts: [Measured; 2],
    /// After all that
    pub memory: Memory,
}

/// The whole page.
pub fn page(rows: &[Row]) -> String {
    let mut text = String::from(
        "# Benchmark\n\nWritten by `make bench`; every number is from one run on one machine, with the load client on it, too.\n\n",
    );
    let _ = writeln!(text, "{}\n", machine());
    text.push_str(
        "PostgreSQL has fsync and synchronous_commit on; HTTP without TLS; keep-alive connections, one request at a time on\n\
         each; random hosts. An *inquiry* of a known host reads. A *first contact* is the request of a host never seen before:\n\
         it is given a request_id, one durable write. A *repeat* is the same of a host that has its request_id already, which\n\
         reads and locks but writes a sign of life every five minutes only. A *restart* is three requests: first call, go-ahead, return (which completes it), each durable. *pgbench* is\n\
         `pgbench -N -M prepared` on the same server, transactions per second. p50 and p99 are those of one HTTP request.\n\n",
    );
    text.push_str("| clusters | hosts | pgbench 16 / 64 | inquiries/s 16 / 64 | first contacts/s 16 / 64 | repeats/s 16 / 64 | restarts/s 16 / 64 | service RSS | backend private |\n");
    text.push_str("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for row in rows {
        let rate = |pair: &[Measured; 2]| format!("{:.0} / {:.0}", pair[0].rate, pair[1].rate);
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} / {:.0} | {} | {} | {} | {} | {:.1} MiB | {:.1} MiB |",
            row.fleet.clusters,
            row.fleet.hosts,
            row.raw[0],
            row.raw[1],
            rate(&row.inquiries),
            rate(&row.first_contacts),
            rate(&row.repeats),
            rate(&row.restarts),
            mib(row.memory.service),
            mib(row.memory.backend),
        );
    }
    text.push_str("\nLatency in milliseconds, p50 and p99 at 16 connections; p50 and p99 at 64.\n\n");
    text.push_str("| clusters | hosts | inquiry | first contact | repeat | restart | refused |\n");
    text.push_str("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for row in rows {
        let times = |pair: &[Measured; 2]| {
            let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
            let [a, b] = pair;
            format!("{:.2} {:.2}; {:.2} {:.2}", ms(a.p50), ms(a.p99), ms(b.p50), ms(b.p99))
        };
        let all = [&row.inquiries, &row.first_contacts, &row.repeats, &row.restarts];
        let refused: u64 = all.iter().flat_map(|pair| pair.iter()).map(|measured| measured.refused).sum();
        let columns = all.map(times).join(" | ");
        let _ = writeln!(text, "| {} | {} | {columns} | {refused} |", row.fleet.clusters, row.fleet.hosts);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "sizes of memory")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// What it ran on.
fn machine() -> String {
    let first = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key).map(ToOwned::to_owned));
        line.map(|rest| rest.trim_start_matches([' ', '\t', ':', '=', '"']).trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let print = |program: &std::path::Path, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    format!(
        "Machine: {} cores, {}, {} RAM, {}, Linux {}. {}. Written {}.",
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        first("/proc/cpuinfo", "model name"),
        first("/proc/meminfo", "MemTotal"),
        first("/etc/os-release", "PRETTY_NAME="),
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        print(&goahead_tests::postgres::programs().join("postgres"), "--version"),
        print(std::path::Path::new("date"), "-I"),
    )
}
