//! `goahead lock`: the wait has a limit, the command's exit code comes through, its whole group hears every signal,
//! and whatever happens it is dead before anybody else holds the lock.

use std::path::Path;
use std::time::{Duration, Instant};

use goahead_tests::port::ClosedPort;
use goahead_tests::postgres::Postgres;
use goahead_tests::process::{self, User};
use goahead_tests::service::Setup;
use goahead_tests::tls::Authority;
use goahead_tests::{SOON, eventually};
use rustix::process::Signal;

mod loss;
mod support;
mod terminal;

use support::{Run, World, fence, requests};

#[test]
fn the_exit_code_is_the_command_s() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let directory = goahead_tests::directory(User::ME);
    let text = directory.path().join("text");
    std::fs::write(&text, "no program\n").expect("write");
    let text = text.to_str().expect("UTF-8");
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "exit 255"], 255),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["/nowhere/to/be/found"], 127),
        (&[text], 126),
        // No shell looks at these.
        (&["test", "$HOME; exit 3", "=", "$HOME; exit 3"], 0),
    ] {
        let run = Run::start(&service.url, &[&["etl", "--wait", "0s", "--"], command].concat());
        assert_eq!(run.end(), code, "{command:?}: {}", run.output());
        assert_eq!(requests(&database), 0, "{command:?} left something behind");
    }
    let said = Run::start(&service.url, &["etl", "--", "sh", "-c", "cat; echo out; echo err >&2"]);
    assert_eq!(said.end(), 0);
    assert_eq!(said.stdout.text(), "out", "standard output is the command's alone");
    assert_eq!(said.stderr.text(), "err");
    assert_eq!(Run::start(&service.url, &["etl", "true"]).end(), 2);
    let other_slots = Run::start(&service.url, &["etl", "--slots", "5", "--", "true"]);
    assert_eq!(other_slots.end(), 1, "{}", other_slots.output());
    assert!(other_slots.stderr.text().starts_with("goahead: "), "{}", other_slots.output());
}

#[test]
fn the_wait_has_a_limit_and_leaves_no_place_behind() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    let holder = Run::start(&service.url, &["etl", "--", "sh", "-c", &world.until_told("holder")]);
    world.wait_for("holder");
    for (wait, least) in [("0s", Duration::ZERO), ("1500ms", Duration::from_millis(1_500))] {
        let start = Instant::now();
        let run = Run::start(&service.url, &["etl", "--wait", wait, "--", "touch", &world.path("ran")]);
        assert_eq!(run.end(), 75, "{}", run.output());
        assert!(start.elapsed() >= least && start.elapsed() < least + SOON, "{:?}", start.elapsed());
        assert!(!Path::new(&world.path("ran")).exists(), "it ran without the lock");
        assert_eq!(requests(&database), 1, "only the holder's");
    }
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let run = Run::start(&service.url, &["etl", "--wait", "forever", "--", "touch", &world.path("ran")]);
        eventually("it waits", SOON, || (requests(&database) == 2).then_some(()));
        run.signal(signal);
        assert_eq!(run.end(), code, "{}", run.output());
        assert_eq!(requests(&database), 1, "a place was left behind");
    }
    world.tell("holder");
    assert_eq!(holder.end(), 0);
    assert!(!Path::new(&world.path("ran")).exists());
}

#[test]
fn a_service_that_is_not_there_has_a_code_of_its_own() {
    let closed = ClosedPort::new();
    let url = closed.url();
    for wait in ["0s", "1s"] {
        let start = Instant::now();
        let run = Run::start(&url, &["etl", "--wait", wait, "--", "true"]);
        assert_eq!(run.end(), 69, "{}", run.output());
        assert!(run.stderr.text().contains(&url), "{}", run.output());
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

#[test]
fn the_command_knows_its_token_and_the_fence_knows_it_too() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    let script = format!(
        "echo \"$GOAHEAD_LOCK|$GOAHEAD_LOCK_HOLDER|$GOAHEAD_LOCK_TOKEN\" >{}; {}",
        world.path("environment"),
        world.until_told("holder")
    );
    let run = Run::start(&service.url, &["team/etl ä", "--holder", "host-a", "--", "sh", "-c", &script]);
    world.wait_for("holder");
    let environment = std::fs::read_to_string(world.path("environment")).expect("written");
    let words: Vec<&str> = environment.trim().split('|').collect();
    assert_eq!(words[..2], ["team/etl ä", "host-a"]);
    let token: i64 = words[2].parse().expect("a number");
    assert!(fence(&database, "team/etl ä", token));
    assert!(!fence(&database, "team/etl ä", token - 1));
    world.tell("holder");
    assert_eq!(run.end(), 0, "{}", run.output());
    assert!(!fence(&database, "team/etl ä", token), "it was released");
}

#[test]
fn every_signal_reaches_the_whole_group() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let names = ["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "WINCH", "TERM"];
    let traps = |who: &str| names.map(|name| format!("trap 'echo {who} {name}' {name}; ")).concat();
    // A shell has what it starts in the background ignore INT and QUIT.
    let wait = "while :; do sleep 0.05; done";
    let inner = format!("{}echo inner $$; {wait}", traps("inner"));
    let outer = format!("{}sh -c \"$1\" & echo outer $$; {wait}", traps("outer"));
    let run = Run::start(&service.url, &["etl", "--", "sh", "-c", &outer, "sh", &inner]);
    let pid = |who: &str| -> u32 {
        eventually("it says its number", SOON, || {
            run.stdout.lines().iter().find_map(|line| line.strip_prefix(who)?.trim().parse().ok())
        })
    };
    let pids = [pid("inner "), pid("outer ")];
    for (name, signal) in names.iter().zip([
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::WINCH,
        Signal::TERM,
    ]) {
        run.signal(signal);
        let heard = |who: &str| run.stdout.lines().iter().any(|line| *line == format!("{who} {name}"));
        let deaf = ["INT", "QUIT"].contains(name);
        eventually(name, SOON, || (heard("outer") && (deaf || heard("inner"))).then_some(()));
    }
    assert!(pids.iter().all(|pid| process::runs(*pid)), "they have caught them all");
    // The one that cannot be passed on: neither the command nor what it has started outlives its keeper.
    run.signal(Signal::KILL);
    eventually("the command is dead", SOON, || pids.iter().all(|pid| !process::runs(*pid)).then_some(()));
}

#[test]
fn a_long_command_keeps_its_lock() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    let run = Run::start(&service.url, &["etl", "--ttl", "2s", "--", "sh", "-c", &world.until_told("holder")]);
    world.wait_for("holder");
    let start = Instant::now();
    let mut renewed = std::collections::BTreeSet::new();
    eventually("it is renewed again and again", SOON, || {
        renewed.insert(database.count("SELECT renewed_us FROM goahead._lock_request WHERE slot IS NOT NULL"));
        (renewed.len() > 5 && start.elapsed() > Duration::from_secs(3)).then_some(())
    });
    assert_eq!(Run::start(&service.url, &["etl", "--wait", "0s", "--", "true"]).end(), 75);
    world.tell("holder");
    assert_eq!(run.end(), 0, "{}", run.output());
}

#[test]
fn slots_let_that_many_in() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    let runs = ["one", "two"]
        .map(|name| Run::start(&service.url, &["backup", "--slots", "2", "--", "sh", "-c", &world.until_told(name)]));
    for name in ["one", "two"] {
        world.wait_for(name);
    }
    let third = ["backup", "--slots", "2", "--wait", "0s", "--", "true"];
    assert_eq!(Run::start(&service.url, &third).end(), 75);
    world.tell("one");
    assert_eq!(runs[0].end(), 0);
    assert_eq!(Run::start(&service.url, &third).end(), 0);
    world.tell("two");
    assert_eq!(runs[1].end(), 0);
}

#[test]
fn short_holders_follow_each_other_at_once_and_in_order() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    let first = Run::start(&service.url, &["etl", "--", "sh", "-c", &world.until_told("first")]);
    world.wait_for("first");
    let waiters: Vec<Run> = (0..5)
        .map(|number| {
            let script = format!("echo {number} >>{}", world.path("order"));
            let run = Run::start(&service.url, &["etl", "--wait", "60s", "--", "sh", "-c", &script]);
            eventually("it waits", SOON, || (requests(&database) == number + 2).then_some(()));
            run
        })
        .collect();
    let start = Instant::now();
    world.tell("first");
    assert_eq!(first.end(), 0);
    for waiter in &waiters {
        assert_eq!(waiter.end(), 0, "{}", waiter.output());
    }
    // Far below what one waiter would lose by polling, or by a lock-delay of Consul's 15 s.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(std::fs::read_to_string(world.path("order")).expect("written"), "0\n1\n2\n3\n4\n");
}

#[test]
fn a_token_and_an_authority_open_a_service_that_asks_for_them() {
    let (server, authority) = (Postgres::start(), Authority::new());
    let database = server.database("fleet");
    let service = Setup::over(&database).tls(&authority).switch("--bind-names").start();
    let url = service.url.replace("127.0.0.1", "localhost");
    let world = World::new();
    let create = "SELECT goahead.create_token('host', ARRAY['host-a.example.org'])";
    let secret: String = database.connect().query_one(create, &[]).expect("a token").get(0);
    std::fs::write(world.path("token"), format!("{secret}\n")).expect("write");
    std::fs::write(world.path("wrong"), "gth_wrong\n").expect("write");
    let authority = authority.file();
    let authority = authority.to_str().expect("UTF-8");
    let run_as = |holder: &str, more: &[&str]| {
        let run = Run::start(&url, &[more, &["etl", "--holder", holder, "--wait", "0s", "--", "true"]].concat());
        (run.end(), run.output())
    };
    let right = ["--ca-file", authority, "--token-file", &world.path("token")];
    let trusted = run_as("host-a.example.org", &right);
    assert_eq!(trusted.0, 0, "{}", trusted.1);
    let one_of_several = run_as("host-a.example.org:4711", &right);
    assert_eq!(one_of_several.0, 0, "{}", one_of_several.1);
    for other in ["host-b.example.org", "host-b.example.org:4711", "host-a.example.org4711", ":host-a.example.org"] {
        let refused = run_as(other, &right);
        assert_eq!(refused.0, 1, "{other}: {}", refused.1);
    }
    let wrong = run_as("host-a.example.org", &["--ca-file", authority, "--token-file", &world.path("wrong")]);
    assert_eq!(wrong.0, 1, "{}", wrong.1);
    let untrusted = run_as("host-a.example.org", &["--token-file", &world.path("token")]);
    assert_eq!(untrusted.0, 69, "{}", untrusted.1);
    assert!(![trusted, wrong, untrusted].iter().any(|(_, said)| said.contains(&secret)));
}
