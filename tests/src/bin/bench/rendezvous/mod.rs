//! Rendezvous: how soon who waits is woken, and what ten thousand who wait cost.

mod crowd;
mod http;
mod notify;
mod redis;
mod report;

use std::io;

use goahead_tests::postgres::Database;
use goahead_tests::service::{Service, Setup};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::database::Look;
use crate::{machine, on_one_thread};
use crowd::{Caller, Crowd, Keys, Woken, rounds};
use http::HttpCaller;
use redis::Redis;
use report::{Held, Wake};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Rounds with one who waits
    single: usize,
    /// Rounds with a thousand
    thousand: usize,
    /// How many wait at once in the end
    crowd: usize,
}

/// Who signal, when each key is signalled by itself.
const SIGNALLERS: usize = 16;
/// Connections beside those that wait.
const SPARE: usize = 200;

/// The text of the section.
pub fn measure(quick: bool) -> String {
    let extent = if quick {
        Extent { single: 50, thousand: 2, crowd: 2_000 }
    } else {
        Extent { single: 200, thousand: 10, crowd: 10_000 }
    };
    allow_connections(extent.crowd + SPARE);
    // First, since it says at once what is missing.
    let redis = Redis::start(extent.crowd + SPARE);
    let version = redis.version();
    let server = crate::server();
    let database = server.database("rendezvous");
    notify::create(&database);
    let bench = Bench { database: &database, extent };
    let wakes = bench.wakes(&redis);
    let mut held = Vec::new();
    for keys in [Keys::One, Keys::Each] {
        held.push(bench.held(keys));
        held.push(on_one_thread(held_by_redis(extent.crowd, keys)));
    }
    report::section(&version, &wakes, &held)
}

struct Bench<'a> {
    database: &'a Database<'a>,
    extent: Extent,
}

impl Bench<'_> {
    /// Every kind of wake-up.
    fn wakes(&self, redis: &Redis) -> Vec<Wake> {
        let Extent { single, thousand, .. } = self.extent;
        let [here, there] = [(); 2].map(|()| Setup::over(self.database).start());
        let wake = |who: &'static str, ours, waiting, rounds, times| {
            let wake = Wake { who, ours, waiting, rounds, times };
            eprintln!("  {who}, {waiting} waiting: p50 {:?}", wake.times.percentile(50));
            wake
        };
        let http = |name: &str, waiting, rounds, signalled_at| {
            on_one_thread(self.goahead(address(&here), signalled_at, name, waiting, rounds))
        };
        let raw = |statement| on_one_thread(notify::rounds(self.database, statement, single));
        let lists = |waiting, rounds| on_one_thread(redis_lists(redis, waiting, rounds));
        vec![
            wake(report::HERE, true, 1, single, http("one", 1, single, address(&here))),
            wake(report::THERE, true, 1, single, http("other", 1, single, address(&there))),
            wake(report::WITH_A_ROW, false, 1, single, raw(notify::WITH_A_ROW)),
            wake(report::ALONE, false, 1, single, raw(notify::ALONE)),
            wake(report::REDIS, false, 1, single, lists(1, single)),
            wake(report::HERE, true, 1_000, thousand, http("thousand", 1_000, thousand, address(&here))),
            wake(report::REDIS, false, 1_000, thousand, lists(1_000, thousand)),
        ]
    }

    async fn goahead(
        &self,
        waiting_at: &str,
        signalled_at: &str,
        name: &str,
        waiting: usize,
        count: usize,
    ) -> io::Result<crate::measured::Times> {
        let mut callers = Vec::new();
        for _ in 0..waiting {
            callers.push(HttpCaller::connect(waiting_at).await?);
        }
        let signaller = HttpCaller::connect(signalled_at).await?;
        let look = Look::into(self.database).await?;
        rounds(callers, signaller, count, name, async |key| look.count(WAITING, key).await).await
    }

    /// What a crowd costs that waits at a service which has done nothing before.
    fn held(&self, keys: Keys) -> Held {
        let service = Setup::over(self.database).start();
        on_one_thread(async {
            let look = Look::into(self.database).await?;
            let waiting = async |key: &str| look.count(WAITING, key).await;
            let connect = async || HttpCaller::connect(address(&service)).await;
            // A first caller, so that what the first one costs is not counted as the price of each.
            rounds(vec![connect().await?], connect().await?, 1, &format!("first-{keys:?}"), waiting).await?;
            let (size, name) = (self.extent.crowd, format!("crowd-{keys:?}"));
            let mut held = crowd_at(
                service.pid(),
                size,
                keys,
                &name,
                connect,
                async || waiting(&name).await,
                async || look.count(LISTENING, &self.database.name).await.map(Some),
            )
            .await?;
            held.who = "goahead";
            Ok(held)
        })
    }
}

/// How many wait for keys that begin with a text, as every service that shares the database knows.
const WAITING: &str = "SELECT coalesce(sum(waiting), 0)::bigint FROM goahead.rendezvous WHERE starts_with(key, $1)";
/// The services' connections to a database that listen.
const LISTENING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = $1 AND usename = 'service' AND query LIKE 'LISTEN %'";

/// Has a crowd wait at the process `pid`, and wakes it.
async fn crowd_at<C: Caller>(
    pid: u32,
    size: usize,
    keys: Keys,
    name: &str,
    connect: impl AsyncFn() -> io::Result<C>,
    waiting: impl AsyncFn() -> io::Result<u64>,
    listening: impl AsyncFn() -> io::Result<Option<u64>>,
) -> io::Result<Held> {
    let mut signallers = Vec::new();
    for _ in 0..SIGNALLERS {
        signallers.push(connect().await?);
    }
    let before = machine::memory(pid, "VmRSS:");
    let mut callers = Vec::new();
    for _ in 0..size {
        callers.push(connect().await?);
    }
    let crowd = Crowd::gather(callers, keys, name, waiting).await?;
    let after = machine::memory(pid, "VmRSS:");
    let listening = listening().await?;
    let (woken, ..): (Woken, _, _) = crowd.wake(signallers).await?;
    eprintln!("  {size} at {keys:?}: {before} to {after} KiB, all returned after {:?}", woken.all);
    Ok(Held { who: "", keys, waiting: size, before, after, listening, woken })
}

async fn redis_lists(redis: &Redis, waiting: usize, count: usize) -> io::Result<crate::measured::Times> {
    let mut callers = Vec::new();
    for _ in 0..waiting {
        callers.push(redis.connect().await?);
    }
    let look = tokio::sync::Mutex::new(redis.connect().await?);
    rounds(callers, redis.connect().await?, count, "list", async |_: &str| look.lock().await.waiting().await).await
}

async fn held_by_redis(size: usize, keys: Keys) -> io::Result<Held> {
    let redis = Redis::start(size + SPARE);
    let look = tokio::sync::Mutex::new(redis.connect().await?);
    let waiting = async || look.lock().await.waiting().await;
    let mut held =
        crowd_at(redis.pid(), size, keys, "crowd", async || redis.connect().await, waiting, async || Ok(None)).await?;
    held.who = "Redis";
    Ok(held)
}

fn address(service: &Service) -> &str {
    service.rendezvous_url.trim_start_matches("http://")
}

/// Raises this process' limit of open files.
fn allow_connections(count: usize) {
    let wanted = u64::try_from(count + SPARE).expect("a small number");
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), ..limit };
        setrlimit(Resource::Nofile, raised)
            .unwrap_or_else(|error| panic!("{wanted} open files are needed: {error}; raise `ulimit -Hn`"));
    }
}
