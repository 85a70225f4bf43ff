//! Many clients, two services, and faults: what the clients saw is judged after the fact.
//!
//! `GOAHEAD_SEED` makes clients and faults choose again as they did in a run that printed it; the history of a run that
//! failed is kept as lines of JSON.

mod client;
mod faults;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use goahead_tests::history::{Answer, History, Op, Record, checks, micros};
use goahead_tests::http::{Http, Reply};
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use self::client::{Admin, Client};

/// The locks, and how many slots they have at first: the second is resized.
const LOCKS: [(&str, usize); 2] = [("one", 1), ("two", 2)];
const CLIENTS: u64 = 8;
/// Without faults, with them, and without them again.
const CALM: Duration = Duration::from_secs(3);
const FAULTS: Duration = Duration::from_secs(7);
/// Who asks after all is well again has the lock within that: all others before it, and what the dead ones leave.
const SERVED: Duration = Duration::from_secs(25);

/// What clients and faults share.
struct World {
    history: History,
    /// Where the services are; those that were killed come back elsewhere
    services: Mutex<[Http; 2]>,
    /// The address of the database for its superuser
    database: String,
    /// No more faults, and nobody meddles: what is abandoned from now on ends by its time alone
    healed: AtomicBool,
    /// Clients finish
    over: AtomicBool,
}

impl World {
    fn service(&self, number: usize) -> Http {
        self.services.lock().expect("no panic")[number % 2].clone()
    }

    fn healed(&self) -> bool {
        self.healed.load(Ordering::SeqCst)
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

#[test]
fn no_fault_breaks_a_promise() {
    let seed = std::env::var("GOAHEAD_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs());
    println!("GOAHEAD_SEED={seed} repeats the choices of this run");
    let mut server = Postgres::start();
    let (url, database, secret) = {
        let database = server.database("fleet");
        database.connect().batch_execute(faults::SCHEMA).expect("a register");
        let secret = database.connect().query_one("SELECT goahead.create_token('admin')", &[]).expect("a token").get(0);
        (database.url(), server.url("fleet", "postgres"), secret)
    };
    let secret: String = secret;
    let mut services = [Setup::over_url(&url).start(), Setup::over_url(&url).start()];
    let world = World {
        history: History::default(),
        services: Mutex::new([services[0].http.clone(), services[1].http.clone()]),
        database,
        healed: AtomicBool::new(false),
        over: AtomicBool::new(false),
    };
    for (lock, slots) in LOCKS {
        set_up(&world, &secret, lock, slots);
    }

    let random = |number: u64| StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number));
    let mut healed = 0;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = Client::new(&world, number, random(number));
                scope.spawn(move || client.run())
            })
            .collect();
        let admin = Admin::new(&world, &secret, random(CLIENTS));
        scope.spawn(move || admin.run());
        let _stop = Stop(&world);
        std::thread::sleep(CALM);
        faults::inject(&world, &mut server, &mut services, &url, random(CLIENTS + 1), FAULTS);
        world.healed.store(true, Ordering::SeqCst);
        std::thread::sleep(CALM);
        healed = world.history.now();
        world.over.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().expect("a client has failed");
        }
    });

    judge(&world, healed, seed);
    let drained = "SELECT count(*) FROM goahead.lock_queue";
    eventually("what is left ends by itself", SOON, || {
        (server.connect("fleet").query_one(drained, &[]).expect("it runs").get::<_, i64>(0) == 0).then_some(())
    });
    // In the order in which they were written, under the protection of the fence.
    let written = server.connect("fleet").query("SELECT token FROM register WHERE lock = 'one' ORDER BY id", &[]);
    let written: Vec<i64> = written.expect("the register").iter().map(|row| row.get(0)).collect();
    assert!(!written.is_empty() && written.is_sorted(), "a late write was accepted: {written:?}");
}

fn set_up(world: &World, secret: &str, lock: &'static str, slots: usize) {
    let path = format!("/v1/locks/{lock}");
    let body = json!({ "slots": slots }).to_string();
    let invoked = world.history.now();
    assert_eq!(world.service(0).token(secret).send("PUT", &path, Some(body.as_bytes())).status, 204);
    let returned = world.history.now();
    world.history.add(Record {
        op: Op::Resize { slots },
        lock,
        holder: String::new(),
        token: None,
        ttl: 0,
        invoked,
        returned,
        answer: Answer::Done,
    });
}

/// Judges the history, and that it says something.
fn judge(world: &World, healed: u64, seed: u64) {
    let records = world.history.records();
    let serial = [LOCKS[0].0];
    let (order, pairs) = checks::order(&records, &serial);
    let verdicts = [
        ("exclusion", checks::exclusion(&records)),
        ("early end", checks::no_early_end(&records)),
        ("tokens", checks::tokens(&records)),
        ("dead tokens", checks::dead_tokens(&records, &serial)),
        ("order", order),
        ("liveness", checks::liveness(&records, healed, micros(SERVED))),
    ];
    let count = |what: &dyn Fn(&Record) -> bool| records.iter().filter(|record| what(record)).count();
    let granted = count(&|record| matches!(record.answer, Answer::Granted | Answer::Provisional));
    let unknown = count(&|record| record.answer == Answer::Unknown);
    println!("{} calls, {granted} grants, {unknown} unknown, {pairs} pairs in order", records.len());
    let broken: Vec<_> = verdicts.iter().filter(|(_, found)| !found.is_empty()).collect();
    if !broken.is_empty() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lock-history-{seed}.jsonl"));
        world.history.save(&path);
        for (check, found) in &broken {
            let first: Vec<_> = found.iter().take(5).collect();
            eprintln!("{check}: {} violations, such as {first:#?}", found.len());
        }
        panic!("seed {seed}: promises are broken; the history is in {}", path.display());
    }
    assert!(granted >= 30 && unknown >= 3 && pairs >= 10, "too little happened to judge by: seed {seed}");
    for op in [Op::Break, Op::Withdraw, Op::Write, Op::Renew, Op::Release] {
        assert!(count(&|record| record.op == op && record.answer == Answer::Done) > 0, "no {op:?}: seed {seed}");
    }
}

/// Ends the clients, also when a fault could not be injected.
struct Stop<'a>(&'a World);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.healed.store(true, Ordering::SeqCst);
        self.0.over.store(true, Ordering::SeqCst);
    }
}

/// One call, and the status of its answer; none when it was lost, or says that nothing is known.
fn call(http: &Http, lock: &str, what: &str, body: &Value) -> Option<Reply> {
    let reply = http.try_post(&format!("/v1/locks/{lock}/{what}"), body).ok();
    reply.filter(|reply| reply.status != 503)
}
