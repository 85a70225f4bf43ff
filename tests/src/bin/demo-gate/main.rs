//! Shows the gate at work: three machines with repmgr and HAProxy, a primary that dies, and what each gate says and why.
//!
//! Everything is private and on loopback, and is gone at the end, also after Ctrl-C. `make demo-gate` runs it.
//! With `--stay` it stops before the failover, and leaves the machines to whoever runs it until Ctrl-C.

mod screen;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::bed::{Bed, Plan, gate};
use goahead_tests::{interrupt, interrupted};

use self::screen::Screen;

/// Longer than any step takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    std::thread::spawn(wait_for_signals);
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Ctrl-C ends a program that was run here as well, and that may be noticed first.
        std::thread::sleep(Duration::from_millis(100));
        if !interrupted() {
            quiet(panic);
        }
    }));
    let stay = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [word] if word == "--stay" => true,
        _ => {
            eprintln!("usage: demo-gate [--stay]");
            return ExitCode::from(2);
        }
    };
    match std::panic::catch_unwind(|| demo(stay)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupted() => {
            println!("Stopped; everything is cleaned up.");
            ExitCode::from(130)
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// Ctrl-C, a closed terminal or a kill unwind the demo, which stops what it has started.
fn wait_for_signals() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .map(|kind| signal(kind).expect("a handler"));
        let [int, term, hup] = &mut signals;
        tokio::select! { _ = int.recv() => {} _ = term.recv() => {} _ = hup.recv() => {} }
        interrupt();
    });
}

fn demo(stay: bool) {
    let screen = Screen::new();
    screen
        .step("Three machines: PostgreSQL with repmgr and repmgrd (a primary, a standby, a witness), HAProxy in front");
    let begun = Instant::now();
    let mut bed = Bed::build(Plan::default());
    for node in &bed.nodes {
        screen.note(&format!("{:8} {}", node.name, node.postgres()));
    }
    bed.install_rules();
    bed.start_haproxies();
    screen.note(&format!("built in {:.1} s", begun.elapsed().as_secs_f64()));

    screen.step(&format!(
        "A gate on each: a lease of {:?}, and a new primary waits {:?} before it opens",
        gate::LEASE,
        gate::HOLD_DOWN
    ));
    bed.start_gates();
    bed.watch();
    follow(&bed, &screen, |bed| leads(bed, "node1") && reads(bed, "node2"));
    tell(&bed, &screen);
    if stay {
        // What is seen would be kept for hours.
        bed.stop_watching();
        leave_it(&bed, &screen);
    }
    psql(&bed, &screen, "CREATE TABLE orders (id int PRIMARY KEY, taken_by text)");
    psql(&bed, &screen, "INSERT INTO orders VALUES (1, host(inet_server_addr())) RETURNING *");

    screen.step("The primary dies: kill -9 of its PostgreSQL; repmgrd on node2 sees it and promotes");
    bed.node("node1").crash();
    follow(&bed, &screen, |bed| leads(bed, "node2"));
    tell(&bed, &screen);
    psql(&bed, &screen, "INSERT INTO orders VALUES (2, host(inet_server_addr())) RETURNING *");

    screen.step("The old primary starts again, and still believes that it is the primary");
    bed.node("node1").start();
    pause(&bed, &screen, Duration::from_secs(3));
    tell(&bed, &screen);
    psql(&bed, &screen, "INSERT INTO orders VALUES (3, host(inet_server_addr())) RETURNING *");

    screen.step("It is rejoined as a standby (repmgr node rejoin --force-rewind): now it takes reads");
    bed.node_mut("node1").stop_repmgrd();
    bed.node("node1").stop();
    bed.rejoin("node1", "node2");
    follow(&bed, &screen, |bed| reads(bed, "node1"));
    tell(&bed, &screen);
    psql(&bed, &screen, "SELECT * FROM orders ORDER BY id");

    bed.assert_one_writer();
    screen.step("Never did two machines take writes at once, asked every 50 ms at every door. Cleaning up");
}

/// Says how to reach everything, and prints what changes until somebody ends it.
fn leave_it(bed: &Bed, screen: &Screen) -> ! {
    screen.step("It stays until Ctrl-C. In another terminal:");
    let haproxy = bed.haproxy().address;
    let url = |port: u16| format!("host={haproxy} port={port} user=app password=app dbname=postgres");
    let programs = goahead_tests::postgres::programs();
    screen.output(&format!("BED={} PGBIN={}", bed.directory().display(), programs.display()));
    screen.output(&format!("NODE1={} NODE2={}", bed.gate("node1").health(), bed.gate("node2").health()));
    screen.output(&format!("WRITES='{}'", url(bed.pools.check_rw)));
    screen.output(&format!("READS='{}'", url(bed.pools.check_ro)));
    watch_until(bed, screen, None, |_| false);
    unreachable!("nothing but an interruption ends this")
}

/// Whether HAProxy sends writes to this node, and to no other.
fn leads(bed: &Bed, node: &str) -> bool {
    bed.haproxy().up("check_rw") == [node] && bed.haproxy().up("http_rw") == [node]
}

/// Whether HAProxy sends reads to this node.
fn reads(bed: &Bed, node: &str) -> bool {
    let up = |section| bed.haproxy().up(section).iter().any(|name| name == node);
    up("check_ro") && up("http_ro")
}

/// Prints every change until `done`.
fn follow(bed: &Bed, screen: &Screen, done: impl Fn(&Bed) -> bool) {
    watch_until(bed, screen, Some(PATIENCE), done);
}

/// Prints every change until `done`, which must come within `limit`.
fn watch_until(bed: &Bed, screen: &Screen, limit: Option<Duration>, done: impl Fn(&Bed) -> bool) {
    let mut changes = Changes::new(bed);
    while !done(bed) {
        assert!(!interrupted(), "interrupted");
        let in_time = limit.is_none_or(|limit| changes.begun.elapsed() < limit);
        assert!(in_time, "not within {PATIENCE:?}\n{}", bed.timeline());
        changes.print(bed, screen);
        std::thread::sleep(Duration::from_millis(50));
    }
    changes.print(bed, screen);
}

/// Prints every change for a while.
fn pause(bed: &Bed, screen: &Screen, how_long: Duration) {
    let until = Instant::now() + how_long;
    follow(bed, screen, |_| Instant::now() >= until);
}

/// What was printed last of each node.
struct Changes {
    begun: Instant,
    last: Vec<(String, String)>,
}

impl Changes {
    fn new(bed: &Bed) -> Self {
        let mut changes = Self { begun: Instant::now(), last: Vec::new() };
        changes.last = changes.now(bed).into_iter().map(|(what, words, _)| (what, words)).collect();
        changes
    }

    /// What is watched, how it stands, and whether traffic flows there.
    fn now(&self, bed: &Bed) -> Vec<(String, String, bool)> {
        let mut all = Vec::new();
        for node in &bed.nodes {
            if let Some(says) = node.gate.as_ref().and_then(gate::Gate::verdict) {
                if let (true, Some(holder)) = (node.witness, says["vote"]["acks"].as_str()) {
                    all.push((format!("{} vote", node.name), format!("acks {holder}"), true));
                } else if node.witness {
                    all.push((format!("{} vote", node.name), "acks nobody".to_owned(), false));
                }
                let open = says["verdict"]["rw"] == true;
                let (code, _) = reason(&says, "rw_reasons");
                // Without a reason it has not decided yet.
                if !code.is_empty() {
                    all.push((format!("{} gate", node.name), format!("writes {}: {code}", state(open)), open));
                }
            }
            if node.witness {
                continue;
            }
            let up = bed.haproxy().up("check_rw").contains(&node.name);
            let words = if up { "sends writes there" } else { "sends no writes there" };
            all.push((format!("{} HAProxy", node.name), words.to_owned(), up));
        }
        all
    }

    fn print(&mut self, bed: &Bed, screen: &Screen) {
        for (what, words, open) in self.now(bed) {
            match self.last.iter_mut().find(|(known, _)| *known == what) {
                Some((_, last)) if *last == words => {}
                Some((_, last)) => {
                    last.clone_from(&words);
                    screen.event(self.begun.elapsed(), &what, &words, open);
                }
                None => {
                    screen.event(self.begun.elapsed(), &what, &words, open);
                    self.last.push((what, words));
                }
            }
        }
    }
}

fn state(open: bool) -> &'static str {
    if open { "OPEN" } else { "closed" }
}

/// The first reason of a verdict: its code and its sentence.
fn reason(verdict: &serde_json::Value, which: &str) -> (String, String) {
    let first = &verdict["verdict"][which][0];
    let text = |key: &str| first[key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("text"))
}

/// Whom a gate's voter holds an ack for, and until when.
fn vote(says: &serde_json::Value) -> String {
    let seconds = |key: &str| says["vote"][key].as_f64().map(|micros| micros / 1e6);
    match (says["vote"]["acks"].as_str(), seconds("left_us"), seconds("abstains_us")) {
        (Some(holder), Some(left), _) => {
            format!("acks {holder} alone for another {left:.2} s")
        }
        (_, _, Some(left)) => format!("acks nobody for another {left:.2} s: it has just started"),
        _ => "acks nobody".to_owned(),
    }
}

/// Prints what each gate says and why, and where HAProxy sends whom.
fn tell(bed: &Bed, screen: &Screen) {
    for node in bed.data_nodes() {
        let Some(verdict) = node.gate.as_ref().and_then(gate::Gate::verdict) else { continue };
        for (which, traffic) in [("rw", "writes"), ("ro", "reads")] {
            let (_, why) = reason(&verdict, &format!("{which}_reasons"));
            screen.verdict(&node.name, traffic, verdict["verdict"][which] == true, &why);
        }
    }
    for node in &bed.nodes {
        if let Some(says) = node.gate.as_ref().and_then(gate::Gate::verdict) {
            screen.vote(&node.name, &vote(&says));
        }
    }
    let timeline = bed.timeline();
    let asked = timeline.0.iter().filter(|sample| sample.door == Door::Check && sample.traffic == Traffic::ReadWrite);
    let up = |section| bed.haproxy().up(section).join(", ");
    screen.note(&format!("HAProxy sends writes to [{}] and reads to [{}]", up("check_rw"), up("check_ro")));
    screen.note(&format!("asked as HAProxy asks, {} times so far: never two that take writes", asked.count()));
    bed.assert_one_writer();
}

/// Runs one statement by psql through HAProxy's read-write pool, and prints it with its outcome.
fn psql(bed: &Bed, screen: &Screen, statement: &str) {
    screen.command(&format!("psql -h {} -p {} -c \"{statement}\"", bed.haproxy().address, bed.pools.check_rw));
    match bed.haproxy().query(bed.pools.check_rw, statement) {
        Ok(output) => output.lines().for_each(|line| screen.output(line)),
        Err(error) => panic!("psql failed: {error}"),
    }
}
