//! Restarts: inquiries, first contacts and whole restarts of fleets of several sizes, beside pgbench on the same server.

mod load;
mod report;
mod seed;

use std::time::Duration;

use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::service::{Service, Setup};

pub use load::Work;
use load::{Fleet, Measured};
use report::{Memory, Row};

use crate::{machine, on_one_thread};

const CONNECTIONS: [u32; 2] = [16, 64];
const TIME: Duration = Duration::from_secs(5);
const SMALLEST: Fleet = Fleet { clusters: 10, hosts: 1_000 };

/// The text of the section; `quick` measures the smallest fleet only.
pub fn measure(quick: bool) -> String {
    let fleets: Vec<Fleet> = if quick {
        vec![SMALLEST]
    } else {
        let sizes = [1_000, 100_000, 1_000_000];
        let fleet = |hosts| [10, 1_000, 10_000].map(|clusters| Fleet { clusters, hosts });
        sizes.into_iter().flat_map(fleet).collect()
    };
    let rows: Vec<Row> = fleets.into_iter().map(row).collect();
    report::section(&rows)
}

/// Shows what the smallest fleet does at one kind of work.
pub fn only(work: Work) {
    on_a_server(SMALLEST, |bench| bench.both(work));
}

/// A service over a server of its own with a fleet in it.
struct Bench<'a> {
    fleet: Fleet,
    server: &'a Postgres,
    database: &'a Database<'a>,
    service: Service,
}

/// Everything about one fleet.
fn row(fleet: Fleet) -> Row {
    on_a_server(fleet, |bench| {
        let raw = pgbench(bench.server);
        let inquiries = bench.both(Work::Inquiry);
        let restarts = bench.both(Work::Restart);
        let repeats = bench.both(Work::Repeat);
        // At last, because it adds to the fleet.
        let first_contacts = bench.both(Work::FirstContact);
        let memory = memory(&bench.service, bench.database);
        Row { fleet, raw, inquiries, first_contacts, repeats, restarts, memory }
    })
}

fn on_a_server<T>(fleet: Fleet, work: impl FnOnce(&Bench<'_>) -> T) -> T {
    eprintln!("{} clusters, {} hosts", fleet.clusters, fleet.hosts);
    let server = crate::server();
    let database = server.database("fleet");
    seed::fill(&database, fleet);
    let service = Setup::over(&database).start();
    work(&Bench { fleet, server: &server, database: &database, service })
}

impl Bench<'_> {
    /// One kind of work at each number of connections.
    fn both(&self, work: Work) -> [Measured; 2] {
        CONNECTIONS.map(|connections| self.run(work, connections))
    }

    fn run(&self, work: Work, connections: u32) -> Measured {
        let address = self.service.url.trim_start_matches("http://");
        let measured = on_one_thread(load::run(address, self.fleet, work, connections, TIME));
        eprintln!(
            "  {work:?} at {connections}: {:.0}/s, p99 {:?}, refused {}",
            measured.rate, measured.p99, measured.refused
        );
        measured
    }
}

/// What `pgbench -N` reaches on this server with each number of connections: transactions per second.
fn pgbench(server: &Postgres) -> [f64; 2] {
    server.connect("postgres").batch_execute("CREATE DATABASE raw").expect("create database");
    server.program("pgbench", &["-i", "-q", "-s", "10", "raw"]);
    CONNECTIONS.map(|connections| {
        let (clients, time) = (connections.to_string(), TIME.as_secs().to_string());
        let text = server.program("pgbench", &["-N", "-M", "prepared", "-c", &clients, "-j", "2", "-T", &time, "raw"]);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("no tps: {text}"))
    })
}

/// The service's resident memory, and the largest private memory of its database backends.
fn memory(service: &Service, database: &Database<'_>) -> Memory {
    let query = "SELECT pid FROM pg_stat_activity WHERE datname = 'fleet' AND usename = 'service'";
    let backends = database.connect().query(query, &[]).expect("pg_stat_activity");
    let backends = backends.iter().filter_map(|row| u32::try_from(row.get::<_, i32>(0)).ok());
    Memory {
        service: machine::memory(service.pid(), "VmRSS:"),
        backend: backends.map(|pid| machine::memory(pid, "RssAnon:")).max().unwrap_or(0),
    }
}
