//! The section about locks.

use std::fmt::Write as _;

use super::load::{HandOff, Pairs};
use crate::machine;
use crate::measured::{ms, ratio};

/// Locks taken and given back by a number of clients.
#[derive(Debug)]
pub struct Row {
    /// How many
    pub clients: u32,
    /// A row inserted and deleted: pairs per second
    pub raw: f64,
    /// goahead's functions: pairs per second
    pub sql: f64,
    /// goahead over HTTP
    pub http: Pairs,
    /// etcd
    pub etcd: Pairs,
}

/// A lock handed on.
#[derive(Debug)]
pub struct Handed {
    /// How many wait while one holds
    pub waiting: u32,
    /// goahead over HTTP
    pub http: HandOff,
    /// etcd
    pub etcd: HandOff,
}

const PAIRS: &str = "\
A *pair* is a lock taken and given back by the only one who wants it; each client takes 1,000 locks of its own at random,\n\
one at a time. PostgreSQL has fsync and synchronous_commit on, as etcd has. *Raw* is the limit of the same server: pgbench\n\
inserts a row and deletes it by its primary key, two prepared transactions. *SQL* is pgbench, too, with prepared\n\
`goahead.acquire` and `goahead.release`. *HTTP* is the service without TLS, on keep-alive connections. *etcd* is one node\n\
with its defaults on the same disk, its lock service over gRPC, a connection and a lease for each client.\n\n";

const HAND_OFF: &str = "\
*Hand-off* of a lock that others wait for, in milliseconds: from the moment at which the holder sends its release until the\n\
next holder has its grant, and, for goahead, until that one has also confirmed it by `renew`, which a grant that ended a\n\
wait needs. A release is sent once all others stand in the queue, by long poll (goahead) or in `Lock` (etcd).\n\n";

/// The text of the section.
pub fn section(etcd: &str, rows: &[Row], handed: &[Handed]) -> String {
    let mut text = format!("{}\n\n{PAIRS}", machine::line(&[etcd.to_owned()]));
    text.push_str("| clients | raw pairs/s | SQL pairs/s | HTTP pairs/s | etcd pairs/s | SQL / raw | SQL / etcd | HTTP / etcd |\n");
    text.push_str("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for Row { clients, raw, sql, http, etcd } in rows {
        let over_http = match clients {
            16 => Some(2.0),
            64 => Some(3.0),
            _ => None,
        };
        let _ = writeln!(
            text,
            "| {clients} | {raw:.0} | {sql:.0} | {:.0} | {:.0} | {} | {} | {} |",
            http.rate,
            etcd.rate,
            ratio(*sql, *raw, Some(0.6)),
            ratio(*sql, etcd.rate, Some(2.0)),
            ratio(http.rate, etcd.rate, over_http),
        );
    }
    text.push_str("\nTime of a pair in milliseconds.\n\n| clients | HTTP p50 | HTTP p99 | etcd p50 | etcd p99 |\n");
    text.push_str("| ---: | ---: | ---: | ---: | ---: |\n");
    for Row { clients, http, etcd, .. } in rows {
        let [http, etcd] = [http, etcd].map(|pairs| [50, 99].map(|percent| ms(pairs.times.percentile(percent))));
        let _ = writeln!(text, "| {clients} | {} | {} |", http.join(" | "), etcd.join(" | "));
    }
    let _ = write!(text, "\n{HAND_OFF}");
    text.push_str("| waiting | rounds | grant p50 (aim below 5) | grant p99 | confirmed p50 | confirmed p99 | etcd p50 | etcd p99 |\n");
    text.push_str("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for Handed { waiting, http, etcd } in handed {
        let cells = [&http.granted, &http.confirmed, &etcd.granted]
            .map(|times| format!("{} | {}", ms(times.percentile(50)), ms(times.percentile(99))))
            .join(" | ");
        let _ = writeln!(text, "| {waiting} | {} | {cells} |", http.granted.count());
    }
    text
}
