//! How fast those who wait are woken, be it one or a thousand; and ten thousand who wait at one service: all are woken,
//! and what they cost.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use goahead_tests::postgres::Postgres;
use goahead_tests::service::{Service, Setup};
use goahead_tests::wire::{self, Pending};
use goahead_tests::{SOON, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::put;

const CROWD: usize = 10_000;

/// One crowd at a time: the tests share this process and its limit of open files, which this raises.
fn allow_a_crowd() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = getrlimit(Resource::Nofile);
    let wanted = CROWD as u64 + 2_000;
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit });
        assert!(raised.is_ok(), "the limit of open files cannot be raised to {wanted}: see ulimit -Hn");
    }
    turn
}

/// Bytes of memory that the service has.
fn memory(service: &Service) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// A crowd whose members wait at `path`, given their number; and the memory that each of them costs.
fn gather(service: &Service, path: impl Fn(usize) -> String) -> (Vec<Pending>, usize) {
    let before = memory(service);
    let crowd: Vec<Pending> = (0..CROWD)
        .map(|number| wire::send(&service.rendezvous_url, &format!("GET {}?timeout=600", path(number))))
        .collect();
    let waiting = format!("goahead_rendezvous_waiting {CROWD}");
    eventually("all wait", 4 * SOON, || service.admin.get("/metrics").body.contains(&waiting).then_some(()));
    (crowd, (memory(service).saturating_sub(before)) / CROWD)
}

fn all_answered(crowd: Vec<Pending>) {
    for pending in crowd {
        let (status, body) = pending.answer(4 * SOON).expect("an answer");
        assert_eq!(status, 200, "{body}");
    }
}

fn listeners(database: &goahead_tests::postgres::Database<'_>) -> i64 {
    database.count("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
}

#[test]
fn ten_thousand_waiters_on_one_key_are_woken_by_one_put() {
    let _turn = allow_a_crowd();
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let (crowd, each) = gather(&service, |_| "/crowd".to_owned());
    println!("10,000 waiters on one key: {each} bytes each");
    assert!(each <= 20 * 1024, "{each} bytes each");
    assert_eq!(listeners(&database), 1);
    assert_eq!(database.count("SELECT count(*) FROM goahead._wait"), 1, "one row for all");
    let start = Instant::now();
    assert_eq!(put(&service.rendezvous, "/crowd", "").status, 200);
    println!("the PUT took {:?}", start.elapsed());
    all_answered(crowd);
    println!("all were told after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn ten_thousand_keys_are_waited_for_without_a_burst() {
    let _turn = allow_a_crowd();
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let (crowd, each) = gather(&service, |number| format!("/key/{number}"));
    println!("10,000 waiters on 10,000 keys: {each} bytes each");
    assert!(each <= 20 * 1024, "{each} bytes each");
    assert_eq!(listeners(&database), 1);
    eventually("all are known to the database", 4 * SOON, || {
        (database.count("SELECT count(*) FROM goahead.rendezvous WHERE state = 'waiting'") == CROWD as i64)
            .then_some(())
    });
    // While they wait, others are served.
    let start = Instant::now();
    for number in 0..100 {
        assert_eq!(put(&service.rendezvous, &format!("/other/{number}"), "").status, 200);
    }
    println!("100 other PUTs took {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let all = "SELECT count(*) FROM (SELECT goahead.signal('key/' || n) FROM generate_series(0, 9999) n) x";
    assert_eq!(database.count(all), CROWD as i64);
    all_answered(crowd);
}

/// Sorted, the times from a PUT until each of `count` waiters has its answer.
async fn wake(address: &str, key: &str, count: usize, known: impl Fn() -> bool) -> Vec<Duration> {
    let (started, start) = tokio::sync::watch::channel(Instant::now());
    let request = format!("GET /{key}?timeout=60 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut waiters = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        stream.write_all(request.as_bytes()).await.expect("a request");
        let start = start.clone();
        waiters.push(tokio::spawn(async move {
            let mut answer = [0; 4096];
            let length = stream.read(&mut answer).await.expect("an answer");
            assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
            start.borrow().elapsed()
        }));
    }
    eventually("all wait", SOON, || known().then_some(()));
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    started.send_replace(Instant::now());
    let put = format!("PUT /{key} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(put.as_bytes()).await.expect("a request");
    let mut times = Vec::with_capacity(count);
    for waiter in waiters {
        times.push(waiter.await.expect("an answer"));
    }
    times.sort();
    times
}

#[test]
fn waiters_are_woken_within_milliseconds() {
    let _turn = allow_a_crowd();
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let address = service.rendezvous_url.strip_prefix("http://").expect("a plain address").to_owned();
    let waiting =
        |count: usize| service.admin.get("/metrics").body.contains(&format!("goahead_rendezvous_waiting {count}\n"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut single: Vec<Duration> =
        (0..100).map(|round| runtime.block_on(wake(&address, &format!("one/{round}"), 1, || waiting(1)))[0]).collect();
    single.sort();
    println!("one waiter: median {:?}, worst {:?}", single[50], single[99]);
    let mut crowd: Vec<Duration> = (0..5)
        .flat_map(|round| runtime.block_on(wake(&address, &format!("many/{round}"), 1_000, || waiting(1_000))))
        .collect();
    crowd.sort();
    println!("1,000 waiters: median {:?}, p99 {:?}, worst {:?}", crowd[2_500], crowd[4_950], crowd[4_999]);
    // A machine under load is slow; a waiter that was not woken is found by the floor, seconds later.
    assert!(single[50] < Duration::from_secs(1), "{:?}", single[50]);
    assert!(crowd[4_950] < Duration::from_secs(3), "{:?}", crowd[4_950]);
}
