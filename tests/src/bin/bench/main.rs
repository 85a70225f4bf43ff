//! `make bench`: how fast the service answers over a durable database, beside pgbench on the same server.
//!
//! `bench [--quick] FILE` writes the table to FILE; `--quick` measures the smallest fleet only. `bench --only WORK` shows
//! what the smallest fleet does at one kind of work, for comparing two builds.

mod load;
mod report;
mod seed;

use std::time::Duration;

use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::service::{Service, Setup};

use load::{Fleet, Measured, Work};
use report::{Memory, Row};

const CONNECTIONS: [u32; 2] = [16, 64];
const TIME: Duration = Duration::from_secs(5);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let smallest = Fleet { clusters: 10, hosts: 1_000 };
    let (quick, file) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--only", work] => {
            let Some(work) = Work::ALL.into_iter().find(|each| format!("{each:?}").eq_ignore_ascii_case(work)) else {
                eprintln!("{work} is none of {:?}", Work::ALL);
                std::process::exit(2);
            };
            on_a_server(smallest, |bench| bench.both(work));
            return;
        }
        ["--quick", file] => (true, file),
        [file] => (false, file),
        _ => {
            eprintln!("usage: bench [--quick] FILE, or bench --only {:?}", Work::ALL);
            std::process::exit(2);
        }
    };
    let fleets: Vec<Fleet> = if quick {
        vec![smallest]
    } else {
        let sizes = [1_000, 100_000, 1_000_000];
        let fleet = |hosts| [10, 1_000, 10_000].map(|clusters| Fleet { clusters, hosts });
        sizes.into_iter().flat_map(fleet).collect()
    };
    let rows: Vec<Row> = fleets.into_iter().map(measure).collect();
    let text = report::page(&rows);
    std::fs::write(file, &text).unwrap_or_else(|error| panic!("{file}: {error}"));
    print!("{text}");
}

/// A service over a server of its own with a fleet in it.
struct Bench<'a> {
    fleet: Fleet,
    server: &'a Postgres,
    database: &'a Database<'a>,
    service: Service,
    runtime: tokio::runtime::Runtime,
}

/// Everything about one fleet.
fn measure(fleet: Fleet) -> Row {
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
    // The defaults, but for the memory that anybody would give a server with a million rows.
    let server = Postgres::with(&["fsync=on", "shared_buffers=512MB", "max_wal_size=4GB"]);
    let database = server.database("fleet");
    seed::fill(&database, fleet);
    let service = Setup::over(&database).start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    work(&Bench { fleet, server: &server, database: &database, service, runtime })
}

impl Bench<'_> {
    /// One kind of work at each number of connections.
    fn both(&self, work: Work) -> [Measured; 2] {
        CONNECTIONS.map(|connections| self.run(work, connections))
    }

    fn run(&self, work: Work, connections: u32) -> Measured {
        let address = self.service.url.trim_start_matches("http://");
        let local = tokio::task::LocalSet::new();
        let measured = local.block_on(&self.runtime, load::run(address, self.fleet, work, connections, TIME));
        let measured = measured.unwrap_or_else(|error| panic!("{work:?}: {error}\n{}", self.service.output()));
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
        service: status(service.pid(), "VmRSS:"),
        backend: backends.map(|pid| status(pid, "RssAnon:")).max().unwrap_or(0),
    }
}

/// A size from /proc/PID/status, in KiB.
fn status(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
