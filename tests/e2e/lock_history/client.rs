//! Clients that ask, wait, hold, write and give back, or forget to; and an admin who meddles.

use std::time::Duration;

use goahead_tests::history::{Answer, Op, Record, micros};
use goahead_tests::http::Http;
use postgres::NoTls;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{LOCKS, World, call};

/// How long a place of a claim lasts and a slot is kept for it, far longer than this client lets it wait.
const CLAIM: &str = "10s";
/// How often a call is repeated whose answer was lost before its holder is given up.
const PATIENCE: u32 = 100;

/// One client; each of its holds is by a holder of its own.
pub struct Client<'a> {
    world: &'a World,
    number: u64,
    random: StdRng,
    turn: usize,
}

/// A request of a client and what it knows of it.
struct Attempt {
    lock: &'static str,
    holder: String,
    ttl: Duration,
    claims: bool,
    /// A call went unanswered, so that nobody knows when a grant began
    unsure: bool,
}

/// How an attempt to be granted ended.
enum Asked {
    Granted { token: i64, confirm: bool },
    Queued,
    Unknown,
}

impl<'a> Client<'a> {
    pub fn new(world: &'a World, number: u64, random: StdRng) -> Self {
        Self { world, number, random, turn: 0 }
    }

    /// Works until told that it is over, and then takes each lock once more: none may be stuck.
    pub fn run(mut self) {
        while !self.world.over() {
            let lock = LOCKS[self.random.random_range(0..LOCKS.len())].0;
            let claims = self.random.random_bool(0.5);
            let tries = self.random.random_range(1..6);
            if let Some((attempt, token)) = self.obtain(lock, claims, tries) {
                self.hold(&attempt, token);
            }
        }
        for (lock, _) in LOCKS {
            if let Some((attempt, token)) = self.obtain(lock, false, 40) {
                self.release(&attempt, token);
            }
        }
    }

    /// Asks until granted, or `tries` times, which are not counted while answers are lost.
    fn obtain(&mut self, lock: &'static str, claims: bool, tries: u32) -> Option<(Attempt, i64)> {
        self.turn += 1;
        let holder = format!("client-{}-{}", self.number, self.turn);
        let ttl = self.millis(1_000..2_500);
        let mut attempt = Attempt { lock, holder, ttl, claims, unsure: false };
        // A claim is in the queue before it waits.
        let mut wait = if claims { Duration::ZERO } else { self.millis(0..1_500) };
        let (mut left, mut lost) = (tries, 0);
        while left > 0 && lost < PATIENCE {
            match self.ask(&attempt, wait) {
                Asked::Granted { token, confirm } => {
                    let confirmed = !(confirm || attempt.unsure) || self.renew(&attempt, token);
                    return confirmed.then_some((attempt, token));
                }
                Asked::Queued => left -= 1,
                Asked::Unknown => {
                    lost += 1;
                    attempt.unsure = true;
                    self.turn_to_the_other();
                }
            }
            wait = self.millis(300..1_500);
        }
        // Some leave the queue, some are just gone; but not those for whom a slot is kept for long.
        if claims || self.random.random_bool(0.5) {
            self.insist(&attempt, Op::Withdraw, "withdraw", None, &json!({ "holder": attempt.holder }));
        }
        None
    }

    fn ask(&mut self, attempt: &Attempt, wait: Duration) -> Asked {
        let mut body = json!({ "holder": attempt.holder, "ttl": text(attempt.ttl), "wait": text(wait) });
        if attempt.claims {
            body["claim_within"] = CLAIM.into();
            body["request_ttl"] = CLAIM.into();
        }
        let invoked = self.world.history.now();
        let reply = call(&self.service(), attempt.lock, "acquire", &body);
        let (answer, token) = match &reply {
            None => (Answer::Unknown, None),
            Some(reply) if reply.status == 202 => (Answer::Queued, None),
            Some(reply) => {
                assert_eq!(reply.status, 200, "{}", reply.body);
                let provisional = reply.json()["confirm_by"].is_string();
                let answer = if provisional { Answer::Provisional } else { Answer::Granted };
                (answer, reply.json()["token"].as_i64())
            }
        };
        self.note(attempt, Op::Acquire { claims: attempt.claims }, token, invoked, answer);
        match (answer, token) {
            (Answer::Queued, _) => Asked::Queued,
            (Answer::Granted | Answer::Provisional, Some(token)) => {
                Asked::Granted { token, confirm: answer == Answer::Provisional }
            }
            _ => Asked::Unknown,
        }
    }

    /// Does what is to be done under the lock. Some are slow and go on unaware after their time, some never come back.
    fn hold(&mut self, attempt: &Attempt, token: i64) {
        for _ in 0..self.random.random_range(0..3) {
            match self.random.random_range(0..10) {
                0 => std::thread::sleep(attempt.ttl + self.millis(0..300)),
                1..=4 => std::thread::sleep(self.millis(0..200)),
                5..=6 => self.write(attempt, token),
                _ => {
                    if !self.renew(attempt, token) {
                        return;
                    }
                }
            }
        }
        if self.random.random_bool(0.3) {
            self.write(attempt, token);
        }
        if !self.random.random_bool(0.1) {
            self.release(attempt, token);
            if self.random.random_bool(0.1) {
                // By mistake; its token is of no more use.
                self.renew(attempt, token);
            }
        }
    }

    /// Whether the hold goes on.
    fn renew(&mut self, attempt: &Attempt, token: i64) -> bool {
        let body = json!({ "holder": attempt.holder, "token": token, "ttl": text(attempt.ttl) });
        self.insist(attempt, Op::Renew, "renew", Some(token), &body) == Answer::Done
    }

    fn release(&mut self, attempt: &Attempt, token: i64) {
        let body = json!({ "holder": attempt.holder, "token": token });
        self.insist(attempt, Op::Release, "release", Some(token), &body);
    }

    /// Repeats a call until there is an answer.
    fn insist(&mut self, attempt: &Attempt, op: Op, what: &str, token: Option<i64>, body: &Value) -> Answer {
        for _ in 0..PATIENCE {
            let invoked = self.world.history.now();
            let answer = match call(&self.service(), attempt.lock, what, body) {
                None => Answer::Unknown,
                Some(reply) if reply.status == 200 => Answer::Done,
                Some(reply) => {
                    assert!(matches!(reply.status, 409 | 410), "{what}: {}", reply.body);
                    Answer::Refused
                }
            };
            self.note(attempt, op, token, invoked, answer);
            if answer != Answer::Unknown {
                return answer;
            }
            self.turn_to_the_other();
        }
        Answer::Unknown
    }

    /// Writes into the database in a transaction that asks for the fence first, and may take longer than the hold would
    /// last without it.
    fn write(&mut self, attempt: &Attempt, token: i64) {
        let slow = self.random.random_bool(0.2);
        let pause = if slow { attempt.ttl + self.millis(200..1_000) } else { self.millis(0..50) };
        let invoked = self.world.history.now();
        let written = || -> Result<bool, postgres::Error> {
            let mut psql = postgres::Client::connect(&self.world.database, NoTls)?;
            let mut transaction = psql.transaction()?;
            let fence = transaction.query_one("SELECT goahead.check_fence($1, $2)", &[&attempt.lock, &token])?;
            if fence.get(0) {
                std::thread::sleep(pause);
                transaction.execute("INSERT INTO register (lock, token) VALUES ($1, $2)", &[&attempt.lock, &token])?;
            }
            transaction.commit()?;
            Ok(fence.get(0))
        };
        let answer = match written() {
            Ok(true) => Answer::Done,
            Ok(false) => Answer::Refused,
            Err(_) => Answer::Unknown,
        };
        self.note(attempt, Op::Write, Some(token), invoked, answer);
    }

    fn note(&self, attempt: &Attempt, op: Op, token: Option<i64>, invoked: u64, answer: Answer) {
        self.world.history.add(Record {
            op,
            lock: attempt.lock,
            holder: attempt.holder.clone(),
            token,
            ttl: micros(attempt.ttl),
            invoked,
            returned: self.world.history.now(),
            answer,
        });
    }

    fn service(&self) -> Http {
        self.world.service(usize::try_from(self.number).expect("few") + self.turn)
    }

    fn turn_to_the_other(&mut self) {
        self.turn += 1;
        std::thread::sleep(Duration::from_millis(30));
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }
}

/// Breaks holds and changes the number of slots.
pub struct Admin<'a> {
    world: &'a World,
    secret: &'a str,
    random: StdRng,
}

impl<'a> Admin<'a> {
    pub fn new(world: &'a World, secret: &'a str, random: StdRng) -> Self {
        Self { world, secret, random }
    }

    pub fn run(mut self) {
        while !self.world.healed() {
            std::thread::sleep(Duration::from_millis(self.random.random_range(200..700)));
            let http = self.world.service(self.random.random_range(0..2)).token(self.secret);
            let resizes = self.random.random_bool(0.3);
            let slots = self.random.random_range(1..4);
            let lock = LOCKS[self.random.random_range(0..LOCKS.len())].0;
            if resizes { self.resize(&http, slots) } else { self.take_away(&http, lock) }
        }
    }

    fn resize(&self, http: &Http, slots: usize) {
        let (invoked, body) = (self.world.history.now(), json!({ "slots": slots }).to_string());
        let reply = http.try_send("PUT", "/v1/locks/two", Some(body.as_bytes()));
        let done = reply.is_ok_and(|reply| reply.status == 204);
        let answer = if done { Answer::Done } else { Answer::Unknown };
        self.note(Op::Resize { slots }, "two", "", invoked, answer);
    }

    /// Takes a lock away from one who holds it.
    fn take_away(&self, http: &Http, lock: &'static str) {
        let Ok(seen) = http.try_send("GET", &format!("/v1/locks/{lock}"), None) else { return };
        let Some(holder) = seen.json()["holders"][0].as_str().map(str::to_owned) else { return };
        let invoked = self.world.history.now();
        let body = json!({ "holder": holder, "reason": "a test" });
        let answer = match call(http, lock, "break", &body).map(|reply| reply.status) {
            Some(204) => Answer::Done,
            Some(404 | 409) => Answer::Refused,
            _ => Answer::Unknown,
        };
        self.note(Op::Break, lock, &holder, invoked, answer);
    }

    fn note(&self, op: Op, lock: &'static str, holder: &str, invoked: u64, answer: Answer) {
        let (holder, returned) = (holder.to_owned(), self.world.history.now());
        self.world.history.add(Record { op, lock, holder, token: None, ttl: 0, invoked, returned, answer });
    }
}

fn text(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}
