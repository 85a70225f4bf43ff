//! A lock that is lost: broken, not renewed, or held by somebody who stands still. The command is dead before anybody
//! else holds it.

use std::time::{Duration, Instant};

use goahead_tests::postgres::Postgres;
use goahead_tests::process;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};
use rustix::process::{Pid, Signal, kill_process_group};

use super::support::{Run, World, fence, requests};

#[test]
fn a_broken_lock_ends_the_command_before_the_next_holder_starts() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    database.connect().execute("SELECT goahead.set_lock('etl', lock_delay => '12 s')", &[]).expect("set_lock");
    // It does not listen to SIGTERM, and neither does what it has started.
    let first = Run::start(
        &service.url,
        &["etl", "--ttl", "12s", "--grace", "1s", "--holder", "a", "--", "sh", "-c", &world.busy("first")],
    );
    world.wait_for("first");
    let second = Run::start(&service.url, &["etl", "--wait", "60s", "--", "sh", "-c", &world.once("second")]);
    eventually("the second waits", SOON, || (requests(&database) == 2).then_some(()));
    let broken = Instant::now();
    let outcome: String =
        database.connect().query_one("SELECT goahead.break_lock('etl', 'a', 'it hangs')", &[]).expect("it runs").get(0);
    assert_eq!(outcome, "broken");
    assert_eq!(first.end(), 76, "{}", first.output());
    // The next renewal tells, 4 s after the last; without it the lock would have been given up after 10 s.
    assert!(broken.elapsed() < Duration::from_secs(8), "{:?}", broken.elapsed());
    assert_eq!(second.end(), 0, "{}", second.output());
    world.one_after_the_other("first", "second");
}

#[test]
fn a_service_that_goes_away_ends_the_command_before_the_next_holder_starts() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut services = [Setup::over(&database).start(), Setup::over(&database).start()];
    let world = World::new();
    let first = Run::start(&services[0].url, &["etl", "--ttl", "5s", "--", "sh", "-c", &world.busy("first")]);
    world.wait_for("first");
    let second = Run::start(&services[1].url, &["etl", "--wait", "60s", "--", "sh", "-c", &world.once("second")]);
    eventually("the second waits", SOON, || (requests(&database) == 2).then_some(()));
    services[0].kill();
    assert_eq!(first.end(), 76, "{}", first.output());
    assert_eq!(second.end(), 0, "{}", second.output());
    world.one_after_the_other("first", "second");
}

#[test]
fn a_service_that_hangs_is_no_better_than_one_that_is_gone() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let services = [Setup::over(&database).start(), Setup::over(&database).start()];
    let world = World::new();
    let first = Run::start(&services[0].url, &["etl", "--ttl", "5s", "--", "sh", "-c", &world.busy("first")]);
    world.wait_for("first");
    let second = Run::start(&services[1].url, &["etl", "--wait", "60s", "--", "sh", "-c", &world.once("second")]);
    eventually("the second waits", SOON, || (requests(&database) == 2).then_some(()));
    services[0].signal(Signal::STOP);
    let code = first.end();
    services[0].signal(Signal::CONT);
    assert_eq!(code, 76, "{}", first.output());
    assert_eq!(second.end(), 0, "{}", second.output());
    world.one_after_the_other("first", "second");
}

#[test]
fn who_was_stopped_beyond_the_ttl_is_killed_when_it_goes_on() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    let script = format!("echo $GOAHEAD_LOCK_TOKEN >{}; {}", world.path("token"), world.busy("first"));
    let first = Run::start(&service.url, &["etl", "--ttl", "2s", "--", "sh", "-c", &script]);
    let pid = world.wait_for("first");
    let token = std::fs::read_to_string(world.path("token")).expect("written").trim().parse().expect("a number");
    assert!(fence(&database, "etl", token));
    first.signal(Signal::STOP);
    let group = Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id");
    kill_process_group(group, Signal::STOP).expect("its own group");

    let second = Run::start(&service.url, &["etl", "--wait", "60s", "--", "sh", "-c", &world.until_told("second")]);
    world.wait_for("second");
    assert!(!fence(&database, "etl", token), "the next holder has the lock");
    let woken = Instant::now();
    first.signal(Signal::CONT);
    assert_eq!(first.end(), 76, "{}", first.output());
    assert!(!process::runs(pid), "it would have gone on");
    assert!(woken.elapsed() < Duration::from_secs(5), "{:?}", woken.elapsed());
    world.tell("second");
    assert_eq!(second.end(), 0, "{}", second.output());
}

#[test]
fn a_keeper_that_is_stopped_does_not_keep_the_command_alive() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    let first = Run::start(&service.url, &["etl", "--ttl", "5s", "--", "sh", "-c", &world.busy("first")]);
    world.wait_for("first");
    // It waits for longer than its own ttl, which begins only with the grant.
    let second =
        Run::start(&service.url, &["etl", "--wait", "60s", "--ttl", "2s", "--", "sh", "-c", &world.once("second")]);
    eventually("the second waits", SOON, || (requests(&database) == 2).then_some(()));
    first.signal(Signal::STOP);
    assert_eq!(second.end(), 0, "{}", second.output());
    world.one_after_the_other("first", "second");
    first.signal(Signal::CONT);
    assert_eq!(first.end(), 76, "{}", first.output());
}

#[test]
fn what_becomes_of_a_command_without_its_lock_can_be_chosen() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    for (how, code) in [("signal", 76), ("ignore", 5)] {
        let script = format!("trap 'echo asked' TERM; {}; exit 5", world.until_told(how));
        let run = Run::start(
            &service.url,
            &[how, "--ttl", "2s", "--holder", "a", "--on-lost", how, "--", "sh", "-c", &script],
        );
        let pid = world.wait_for(how);
        let broken = "SELECT goahead.break_lock($1, 'a', 'a test')";
        database.connect().execute(broken, &[&how]).expect("break_lock");
        eventually("it is noticed", SOON, || run.stderr.text().contains("lost the lock").then_some(()));
        std::thread::sleep(Duration::from_secs(2));
        assert!(process::runs(pid), "{how}: it goes on beyond the ttl");
        assert_eq!(run.stdout.text().contains("asked"), how == "signal", "{how}: {}", run.output());
        world.tell(how);
        assert_eq!(run.end(), code, "{how}: {}", run.output());
    }
}

#[test]
fn a_release_that_fails_is_told_and_changes_no_exit_code() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut service = Setup::over(&database).start();
    let world = World::new();
    let script = format!("{}; exit 3", world.until_told("holder"));
    let run = Run::start(&service.url, &["etl", "--ttl", "60s", "--", "sh", "-c", &script]);
    world.wait_for("holder");
    service.kill();
    world.tell("holder");
    assert_eq!(run.end(), 3, "{}", run.output());
    assert!(run.stderr.text().contains("could not release the lock etl"), "{}", run.output());
}
