//! Whatever is killed with SIGKILL while a lock is held and waited for: holds that were committed stand, nothing is
//! granted twice, and those who wait go on where they were.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use goahead_tests::http::{Http, Reply};
use goahead_tests::locks::{acquire, post, release, renew, token};
use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::process::signal_pid;
use goahead_tests::service::{Service, Setup};
use goahead_tests::{SOON, eventually};
use postgres::Client;
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn those_who_wait_at_a_service_that_dies_keep_their_places_at_another() {
    const WAITERS: usize = 12;
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut dying = Setup::over(&database).start();
    let other = Setup::over(&database).start();
    let (doomed, http) = (dying.http.clone(), &other.http);
    let first = token(&acquire(http, "etl", "first", "0s"));
    std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..WAITERS)
            .map(|number| {
                let holder = format!("waiter-{number}");
                let body = json!({ "holder": holder, "wait": "60s" });
                let doomed = doomed.clone();
                scope.spawn(move || {
                    let cut = doomed.try_post("/v1/locks/etl/acquire", &body);
                    assert!(cut.is_err(), "it was answered: {cut:?}");
                    let reply = insist(|| http.try_post("/v1/locks/etl/acquire", &body).ok());
                    let token = token(&reply);
                    assert_eq!(renew(http, "etl", &holder, token).status, 200);
                    assert_eq!(release(http, "etl", &holder, token).status, 200);
                    (token, holder)
                })
            })
            .collect();
        let before = eventually("all wait", SOON, || Some(places(&database)).filter(|queue| queue.len() == WAITERS));
        let asked = "SELECT max(asked_us) FROM goahead._lock_request WHERE slot IS NULL";
        let asked = database.count(asked);
        dying.kill();
        let again = format!("SELECT count(*) FROM goahead._lock_request WHERE slot IS NULL AND asked_us > {asked}");
        eventually("all have asked the other", SOON, || {
            (database.count(&again) == i64::try_from(WAITERS).expect("few")).then_some(())
        });
        assert_eq!(places(&database), before);

        assert_eq!(release(http, "etl", "first", first).status, 200);
        let mut granted: Vec<(i64, String)> = tasks.into_iter().map(|task| task.join().expect("granted")).collect();
        granted.sort();
        assert!(granted.iter().map(|(_, holder)| holder).eq(before.iter().map(|(_, holder)| holder)), "{granted:?}");
    });
}

#[test]
fn backends_and_the_whole_server_are_killed_mid_traffic() {
    let mut server = Postgres::start();
    let (url, admin) = {
        let database = server.database("fleet");
        (database.url(), server.url("fleet", "postgres"))
    };
    let services = [Setup::over_url(&url).start(), Setup::over_url(&url).start()];
    let kept = post(&services[0].http, "kept", "acquire", &json!({ "holder": "keeper", "ttl": null }));
    let kept = token(&kept);

    let traffic = Traffic::default();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (traffic, services) = (&traffic, &services);
            scope.spawn(move || traffic.client(services, number));
        }
        let _stop = Stop(&traffic.over);
        for fault in [Fault::Backend, Fault::Server, Fault::Backend, Fault::Server] {
            traffic.progress();
            match fault {
                Fault::Backend => kill_a_backend(&admin),
                Fault::Server => {
                    server.kill();
                    server.launch();
                }
            }
            // What was committed before stands.
            let again = insist(|| services[1].http.try_post("/v1/locks/kept/renew", &renewal(kept)).ok());
            assert_eq!(token(&again), kept);
        }
        traffic.progress();
    });
    let tokens = traffic.tokens.into_inner().expect("no panic");
    let unique: BTreeSet<&i64> = tokens.iter().collect();
    assert_eq!(unique.len(), tokens.len(), "a token was granted twice");
    assert_eq!(acquire(&services[0].http, "kept", "thief", "0s").status, 202);
    assert_eq!(release(&services[0].http, "kept", "keeper", kept).status, 200);
}

fn renewal(token: i64) -> Value {
    json!({ "holder": "keeper", "token": token, "ttl": null })
}

#[derive(Clone, Copy)]
enum Fault {
    /// One backend, upon which the server ends all others and recovers
    Backend,
    /// The first process of the server
    Server,
}

/// Kills one of the backends through which the services decide.
fn kill_a_backend(admin: &str) {
    let sql = "SELECT pid FROM pg_stat_activity WHERE usename = 'service' AND query LIKE '%judge_locks%' LIMIT 1";
    let pid: i32 = eventually("a backend decides about locks", SOON, || {
        let mut psql = Client::connect(admin, postgres::NoTls).ok()?;
        psql.query_opt(sql, &[]).ok()?.map(|row| row.get(0))
    });
    signal_pid(pid.unsigned_abs(), Signal::KILL);
}

/// Clients that take a lock in turns, and what they saw.
#[derive(Default)]
struct Traffic {
    over: AtomicBool,
    inside: AtomicUsize,
    tokens: Mutex<Vec<i64>>,
}

impl Traffic {
    fn client(&self, services: &[Service; 2], number: usize) {
        let mut turn = number;
        while !self.over.load(Ordering::SeqCst) {
            turn += 1;
            let (here, there) = (&services[turn % 2].http, &services[(turn + 1) % 2].http);
            // The holder of a turn asks until it knows, as the same: a lost answer must not make it two.
            let holder = format!("client-{number}-{turn}");
            let ask = json!({ "holder": holder, "wait": "10s" });
            let token = token(&insist(|| {
                let reply = either(here, there, "/v1/locks/etl/acquire", &ask)?;
                (reply.status != 202).then_some(reply)
            }));
            let hold = json!({ "holder": holder, "token": token });
            let renewed = insist(|| either(here, there, "/v1/locks/etl/renew", &hold));
            assert_eq!(renewed.status, 200, "{}", renewed.body);
            assert_eq!(self.inside.fetch_add(1, Ordering::SeqCst), 0, "two holders at once");
            self.tokens.lock().expect("no panic").push(token);
            assert_eq!(self.inside.fetch_sub(1, Ordering::SeqCst), 1, "two holders at once");
            let released = insist(|| either(here, there, "/v1/locks/etl/release", &hold));
            // 410 to a repetition of a release whose answer was lost.
            assert!(matches!(released.status, 200 | 410), "{}", released.body);
        }
    }

    /// Waits until everybody could have had the lock once more.
    fn progress(&self) {
        let count = || self.tokens.lock().expect("no panic").len();
        let before = count();
        eventually("the lock goes round", 2 * SOON, || (count() >= before + 8).then_some(()));
    }
}

/// Ends the traffic, also when a check has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Calls one service and, when that does not answer, the other.
fn either(here: &Http, there: &Http, path: &str, body: &Value) -> Option<Reply> {
    here.try_post(path, body).or_else(|_| there.try_post(path, body)).ok()
}

/// Calls until there is an answer that is not "come again".
fn insist(mut call: impl FnMut() -> Option<Reply>) -> Reply {
    eventually("an answer", 2 * SOON, || call().filter(|reply| reply.status != 503))
}

fn places(database: &Database<'_>) -> Vec<(i64, String)> {
    let sql = "SELECT ticket, holder FROM goahead.lock_queue WHERE state = 'queued' ORDER BY ticket";
    database.connect().query(sql, &[]).expect("the queue").iter().map(|row| (row.get(0), row.get(1))).collect()
}
