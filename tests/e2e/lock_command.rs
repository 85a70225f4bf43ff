//! `goahead lock`: the wait has a limit, the command's exit code comes through, its whole group hears every signal,
//! and whatever happens it is dead before anybody else holds the lock.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::process::{self, Output, User};
use goahead_tests::service::Setup;
use goahead_tests::tls::Authority;
use goahead_tests::{SOON, binary, eventually};
use rustix::process::{Pid, Signal, kill_process_group};

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
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    drop(listener);
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
    // A shell starts what is in the background with INT and QUIT ignored, so that one is started by another program.
    let wait = "while :; do sleep 0.05; done";
    let inner = format!("{}echo inner $$; {wait}", traps("inner"));
    let outer = format!("{}env sh -c \"$1\" & echo outer $$; {wait}", traps("outer"));
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
fn a_broken_lock_ends_the_command_before_the_next_holder_starts() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    database.connect().execute("SELECT goahead.set_lock('etl', lock_delay => '6 s')", &[]).expect("set_lock");
    // It does not listen to SIGTERM, and neither does what it has started.
    let first = Run::start(
        &service.url,
        &["etl", "--ttl", "6s", "--grace", "1s", "--holder", "a", "--", "sh", "-c", &world.busy("first")],
    );
    world.wait_for("first");
    let second = Run::start(&service.url, &["etl", "--wait", "60s", "--", "sh", "-c", &world.once("second")]);
    eventually("the second waits", SOON, || (requests(&database) == 2).then_some(()));
    let broken = Instant::now();
    let outcome: String =
        database.connect().query_one("SELECT goahead.break_lock('etl', 'a', 'it hangs')", &[]).expect("it runs").get(0);
    assert_eq!(outcome, "broken");
    assert_eq!(first.end(), 76, "{}", first.output());
    assert!(broken.elapsed() < Duration::from_secs(6), "{:?}", broken.elapsed());
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

#[test]
fn at_a_terminal_the_wait_is_shown_and_the_command_can_be_talked_to() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    let holder = Run::start(&service.url, &["etl", "--", "sh", "-c", &world.until_told("holder")]);
    world.wait_for("holder");
    let line =
        format!("exec {} lock etl --url {} -- sh -c 'read word; echo got $word'", binary().display(), service.url);
    let mut terminal = Terminal::start(&world, &line);
    terminal.shows("waiting for etl: position 1, ");
    world.tell("holder");
    assert_eq!(holder.end(), 0);
    terminal.types("hello\n");
    assert_eq!(terminal.run.end(), 0);
    terminal.shows("got hello");
}

#[test]
fn at_a_terminal_the_shell_s_job_control_works() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let world = World::new();
    let mut terminal = Terminal::start(&world, "exec env PS1=prompt: sh -i");
    let lock = format!("{} lock etl --ttl 60s --url {} -- sh", binary().display(), service.url);
    let script = world.file("script");
    std::fs::write(&script, format!("{}read word; echo got $word", world.note("etl"))).expect("write");
    terminal.types(&format!("{lock} {}\n", script.display()));
    let pid = world.wait_for("etl");
    terminal.types("\u{1a}");
    terminal.shows("Stopped");
    assert!(state(pid) == 'T', "the command has stopped too");
    terminal.types("fg\n");
    eventually("it goes on", SOON, || (state(pid) == 'S').then_some(()));
    terminal.types("hello\n");
    terminal.shows("got hello");
    // Ctrl-C goes to the command, and the shell survives it.
    std::fs::remove_file(world.file("etl.pid")).expect("rm");
    terminal.types(&format!("{lock} {} || echo code $?\n", script.display()));
    world.wait_for("etl");
    terminal.types("\u{3}");
    terminal.shows("code 130");
    terminal.types("exit 4\n");
    assert_eq!(terminal.run.end(), 4);
}

/// The state of a process as /proc names it.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('-')
}

/// A terminal as script(1) makes one, with a program at it.
struct Terminal {
    run: Run,
    keyboard: std::process::ChildStdin,
    screen: PathBuf,
}

impl Terminal {
    /// Runs a line of shell at it.
    fn start(world: &World, line: &str) -> Self {
        let screen = world.file("screen");
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--return", "--command", line]).arg(&screen).stdin(Stdio::piped());
        let mut run = Run::of(command);
        let keyboard = run.child.get_mut().stdin.take().expect("piped");
        Self { run, keyboard, screen }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("write");
    }

    fn shows(&self, text: &str) {
        let screen = || std::fs::read(&self.screen).map(|screen| String::from_utf8_lossy(&screen).into_owned());
        let found = || screen().is_ok_and(|screen| screen.contains(text));
        let start = Instant::now();
        while !found() {
            assert!(start.elapsed() < SOON, "the terminal does not show {text:?}:\n{}", screen().unwrap_or_default());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// How many stand in queues or hold something.
fn requests(database: &Database<'_>) -> i64 {
    database.count("SELECT count(*) FROM goahead.lock_queue")
}

fn fence(database: &Database<'_>, lock: &str, token: i64) -> bool {
    database.connect().query_one("SELECT goahead.check_fence($1, $2)", &[&lock, &token]).expect("check_fence").get(0)
}

/// A `goahead lock` that was started.
struct Run {
    child: std::cell::RefCell<Child>,
    stdout: Output,
    stderr: Output,
}

impl Run {
    /// Starts `goahead lock` with these arguments, against the service at `url`, with nothing on standard input.
    fn start(url: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GOAHEAD_") {
                command.env_remove(name);
            }
        }
        command.arg("lock").args(["--url", url]).args(arguments).stdin(Stdio::null());
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let (stdout, stderr) = (Output::default(), Output::default());
        stdout.collect(child.stdout.take().expect("piped"));
        stderr.collect(child.stderr.take().expect("piped"));
        Self { child: child.into(), stdout, stderr }
    }

    fn signal(&self, signal: Signal) {
        process::signal(&self.child.borrow(), signal);
    }

    /// Waits until it has ended and gives its exit code.
    fn end(&self) -> i32 {
        let status: ExitStatus =
            eventually("goahead lock ends", 2 * SOON, || self.child.borrow_mut().try_wait().expect("wait"));
        // Its lines are read by threads of their own.
        std::thread::sleep(Duration::from_millis(50));
        status.code().unwrap_or_else(|| panic!("{status}: {}", self.output()))
    }

    fn output(&self) -> String {
        format!("{}\n{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        if child.try_wait().is_ok_and(|status| status.is_none()) {
            // The command dies with it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A directory in which commands leave word.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(goahead_tests::directory(User::ME))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.file(name).to_str().expect("UTF-8").to_owned()
    }

    /// A script that notes its process id, and the time again and again, until it is told to end; deaf to SIGTERM.
    fn busy(&self, name: &str) -> String {
        let times = self.path(&format!("{name}.times"));
        format!("trap '' TERM; {}while :; do date +%s%N >>{times}; sleep 0.05; done", self.note(name))
    }

    /// A script that notes the time once.
    fn once(&self, name: &str) -> String {
        format!("date +%s%N >>{}", self.path(&format!("{name}.times")))
    }

    /// A script that notes its process id and runs until it is told to end.
    fn until_told(&self, name: &str) -> String {
        format!("{}while [ ! -e {} ]; do sleep 0.05; done", self.note(name), self.path(&format!("{name}.told")))
    }

    fn note(&self, name: &str) -> String {
        let (noted, pid) = (self.path(&format!("{name}.noted")), self.path(&format!("{name}.pid")));
        format!("echo $$ >{noted}; mv {noted} {pid}; ")
    }

    /// Waits until a script runs and gives its process id.
    fn wait_for(&self, name: &str) -> u32 {
        eventually(name, 2 * SOON, || {
            std::fs::read_to_string(self.file(&format!("{name}.pid"))).ok()?.trim().parse().ok()
        })
    }

    fn tell(&self, name: &str) {
        std::fs::write(self.file(&format!("{name}.told")), "").expect("write");
    }

    /// Panics unless the last word of one is older than the first of the other.
    fn one_after_the_other(&self, one: &str, other: &str) {
        let times = |name: &str| -> Vec<u64> {
            let text = std::fs::read_to_string(self.file(&format!("{name}.times"))).expect("it has noted the time");
            text.lines().filter_map(|line| line.parse().ok()).collect()
        };
        let (last, first) = (times(one).pop().expect("a time"), times(other)[0]);
        assert!(last < first, "{one} still ran {} ms after {other} had started", (last - first) / 1_000_000);
    }
}
