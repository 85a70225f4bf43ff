//! Locks: taken and given back without contention, and handed on from one who holds to one who waits.

mod etcd;
mod http;
mod load;
mod protobuf;
mod raw;
mod report;

use std::time::Duration;

use goahead_tests::postgres::Database;
use goahead_tests::service::{Service, Setup};

use crate::database::Look;
use crate::on_one_thread;
use etcd::{Etcd, EtcdClient};
use http::HttpClient;
use load::Client;
use report::{Handed, Row};

const CLIENTS: [u32; 3] = [1, 16, 64];
const WAITING: [u32; 2] = [2, 16];
/// Locks that each client takes, one after another, at random
const LOCKS: u32 = 1_000;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Extent {
    time: Duration,
    rounds: usize,
}

/// The text of the section.
pub fn measure(quick: bool) -> String {
    let extent = if quick {
        Extent { time: Duration::from_secs(2), rounds: 100 }
    } else {
        Extent { time: Duration::from_secs(5), rounds: 400 }
    };
    // First, since it says at once what is missing.
    let etcd = Etcd::start();
    let server = crate::server();
    let database = server.database("locks");
    raw::create(&database);
    raw::fill(&database, CLIENTS[CLIENTS.len() - 1], LOCKS);
    let service = Setup::over(&database).start();
    let bench = Bench { database: &database, service, etcd, extent };
    let rows: Vec<Row> = CLIENTS.into_iter().map(|clients| bench.row(clients)).collect();
    let handed: Vec<Handed> = WAITING.into_iter().map(|waiting| bench.handed(waiting)).collect();
    report::section(&bench.etcd.version(), &rows, &handed)
}

struct Bench<'a> {
    database: &'a Database<'a>,
    service: Service,
    etcd: Etcd,
    extent: Extent,
}

impl Bench<'_> {
    /// Every way at one number of clients, one way after another, so that a slow minute of the machine hits them all.
    fn row(&self, clients: u32) -> Row {
        let Extent { time, .. } = self.extent;
        let raw = raw::limit(self.database, clients, time);
        let sql = raw::over_sql(self.database, clients, time);
        let http = on_one_thread(async {
            load::pairs(connect(clients, |number| HttpClient::connect(self.address(), number)).await?, time).await
        });
        let etcd = on_one_thread(async {
            load::pairs(connect(clients, |number| EtcdClient::connect(&self.etcd, number)).await?, time).await
        });
        eprintln!(
            "  {clients} clients: raw {raw:.0}/s, SQL {sql:.0}/s, HTTP {:.0}/s, etcd {:.0}/s",
            http.rate, etcd.rate
        );
        Row { clients, raw, sql, http, etcd }
    }

    /// The hand-off with this many who wait while one holds.
    fn handed(&self, waiting: u32) -> Handed {
        let rounds = self.extent.rounds;
        let lock = format!("hand-off-{waiting}");
        let http = on_one_thread(async {
            let clients = connect(waiting + 1, |number| HttpClient::connect(self.address(), number)).await?;
            let look = Look::into(self.database).await?;
            let queued = "SELECT count(*) FROM goahead.lock_queue WHERE lock = $1 AND state = 'queued'";
            load::hand_off(clients, &lock, rounds, async || look.count(queued, &lock).await).await
        });
        let etcd = on_one_thread(async {
            let clients = connect(waiting + 1, |number| EtcdClient::connect(&self.etcd, number)).await?;
            let look = EtcdClient::connect(&self.etcd, 0).await?;
            // Its holder is the first of the queue.
            load::hand_off(clients, &lock, rounds, async || Ok(look.queue(&lock).await?.saturating_sub(1))).await
        });
        eprintln!(
            "  {waiting} waiting: HTTP {:?}, etcd {:?}",
            http.granted.percentile(50),
            etcd.granted.percentile(50)
        );
        Handed { waiting, http, etcd }
    }

    fn address(&self) -> &str {
        self.service.url.trim_start_matches("http://")
    }
}

async fn connect<C: Client>(clients: u32, one: impl AsyncFn(u32) -> std::io::Result<C>) -> std::io::Result<Vec<C>> {
    let mut all = Vec::new();
    for number in 0..clients {
        all.push(one(number).await?);
    }
    Ok(all)
}
