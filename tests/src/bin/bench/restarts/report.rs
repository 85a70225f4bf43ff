//! The section about restarts.

use std::fmt::Write as _;

use super::load::{Fleet, Measured};
use crate::machine;

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

/// The text of the section.
pub fn section(rows: &[Row]) -> String {
    let mut text = format!("{}\n\n", machine::line(&[]));
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
            machine::mib(row.memory.service),
            machine::mib(row.memory.backend),
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
