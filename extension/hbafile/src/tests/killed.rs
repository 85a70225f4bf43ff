//! Writers that are killed at any moment, many times, next to tools that write as they please.

use super::bed::{Bed, SOON};
use crate::seen::{Identity, Seen};
use crate::standin::stand_in;
use crate::{Error, Locked, edit, read};
use goahead_rules::hba::{self, Desired, Dialect, Fields, State};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set for a writer: the file.
const FILE: &str = "GOAHEAD_TEST_FILE";
/// Set for one that has another text stand in: the file.
const STOOD: &str = "GOAHEAD_TEST_STOOD";
const EDITS: usize = 1_000;

fn rules(count: usize) -> Vec<Desired> {
    let rule = |number: usize| {
        let name = format!("r{number}");
        let fields = Fields {
            name: &name,
            kind: "host",
            database: "all",
            user: &name,
            address: "10.0.0.5/32",
            method: "scram-sha-256",
            options: "",
            applies: ["any", "primary", "standby"][number % 3],
            otherwise: "reject",
        };
        Desired::new(fields, &Dialect::packaged(15)).expect("a good rule")
    };
    (0..count).map(rule).collect()
}

/// Numbers that nobody can guess and that need no crate: the process's own and the clock's.
fn dice() -> impl FnMut(usize) -> usize {
    let mut state = u64::from(std::process::id()) ^ crate::boottime().unsigned_abs() | 1;
    move |sides| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % sides as u64).unwrap_or(0)
    }
}

/// In a second process: edits the file until it is killed, and says how often.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let mut dice = dice();
    let rules = rules(40);
    loop {
        let (count, state) = (dice(40), State { rw: dice(2) == 0, ro: dice(2) == 0 });
        let change = |text: &[u8]| Ok(hba::install(text, &rules[..count], state, 15));
        match edit(&path, SOON, change, |_| Ok(())) {
            Ok(edited) if edited.changed() => println!("edited"),
            Ok(_) | Err(Error::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn start(path: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "tests::killed::writer", "--nocapture"]).env(FILE, path);
    command.stdout(Stdio::piped()).spawn().expect("a writer")
}

/// What is not ours, in order.
fn foreign(text: &[u8]) -> String {
    String::from_utf8_lossy(&hba::remove(text)).into_owned()
}

#[test]
fn a_thousand_edits_with_kills_leave_a_file_that_loads() {
    let admin: String = (0..50).map(|number| format!("host db{number} all 10.1.0.{number}/32 md5 # kept\n")).collect();
    let bed = Bed::new(&admin);
    let (mut edits, mut kills) = (0, 0);
    let mut dice = dice();
    let start_time = Instant::now();
    while edits < EDITS {
        assert!(start_time.elapsed() < Duration::from_secs(240), "{edits} edits, {kills} kills");
        // Two at once, so that a kill also hits one that waits for the other.
        let mut writers = [start(&bed.path()), start(&bed.path())];
        std::thread::sleep(Duration::from_millis(30 + dice(60) as u64));
        for writer in &mut writers {
            writer.kill().expect("kill -9");
            std::thread::sleep(Duration::from_millis(dice(8) as u64));
        }
        for writer in writers {
            let output = writer.wait_with_output().expect("wait");
            edits += String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.ends_with("edited")).count();
            kills += 1;
        }
        let text = read(&bed.path()).expect("the file is there");
        let entries = hba::parse(&text, &bed.path(), &Dialect::packaged(15), &hba::NoFiles);
        assert!(hba::loads(&entries), "{:?}", hba::problems(&entries));
        assert_eq!(foreign(&text), admin);
    }
    assert!(kills > 20, "only {kills} kills");
    // The next writer cleans up.
    super::bed::put(&bed.path(), &admin).expect("it is replaced");
    assert!(!bed.names().contains(&".goahead_hba.new".to_owned()));
    eprintln!("{edits} edits, {kills} kills");
}

/// In a second process: has another text stand in for the file, again and again, until it is killed.
#[test]
fn stander() {
    let Some(path) = std::env::var_os(STOOD).map(PathBuf::from) else { return };
    let mut dice = dice();
    let text = stand_in("", b"local all all trust\n");
    loop {
        let locked = Locked::take(&path, SOON, &mut || {}).expect("the lock");
        let seen = Seen::read(&path).expect("it is quiet");
        let work = || std::thread::sleep(Duration::from_millis(dice(3) as u64));
        locked.standing_in(&seen, &text, work).expect("it stands in").expect("nobody else writes");
        println!("stood");
    }
}

#[test]
fn a_file_that_another_stood_in_for_is_back_after_any_kill() {
    let admin = "local all all trust\nhost all all 10.0.0.1/33 md5\n";
    let bed = Bed::new(admin);
    let before = Identity::of(&bed.path()).expect("it is there");
    let (mut stood, mut caught) = (0, 0);
    let mut dice = dice();
    for _ in 0..60 {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "tests::killed::stander", "--nocapture"]).env(STOOD, bed.path());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("one that stands in");
        std::thread::sleep(Duration::from_millis(20 + dice(60) as u64));
        child.kill().expect("kill -9");
        let output = child.wait_with_output().expect("wait");
        stood += String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.ends_with("stood")).count();
        caught += usize::from(bed.text() != admin);
        drop(Locked::take(&bed.path(), SOON, &mut || {}).expect("the lock"));
        assert_eq!(bed.text(), admin);
        assert_eq!(Identity::of(&bed.path()).expect("it is there"), before, "another file");
    }
    assert!(stood > 60 && caught > 0, "{stood} times, {caught} kills while another stood in");
    eprintln!("{stood} times, {caught} kills while another stood in");
}

/// As Ansible does it: everything parsed and sorted, comments first, then copied into the file in place.
fn ansible(path: &Path, line: &str) {
    let text = fs::read_to_string(path).expect("read");
    let mut lines: BTreeSet<(bool, &str)> =
        text.lines().filter(|line| !line.is_empty()).map(|line| (!line.starts_with('#'), line)).collect();
    lines.insert((true, line));
    let text: String = lines.into_iter().map(|(_, line)| format!("{line}\n")).collect();
    write_slowly(path, &text);
}

/// In place, truncated first, in pieces: what a copy does on a busy machine.
fn write_slowly(path: &Path, text: &str) {
    let mut file = fs::File::create(path).expect("open");
    for piece in text.as_bytes().chunks(text.len() / 4 + 1) {
        std::thread::sleep(Duration::from_millis(2));
        file.write_all(piece).expect("write");
    }
}

/// As Patroni does it: the whole file from its own list, in place.
fn patroni(path: &Path, lines: &[String]) {
    write_slowly(path, &format!("# It will be overwritten by Patroni!\n{}", lines.concat()));
}

#[test]
fn tools_that_rewrite_the_file_lose_nothing_of_ours_or_theirs() {
    for tool in ["ansible", "patroni"] {
        let bed = Bed::new("local all all trust\n");
        let rules = rules(6);
        let path = bed.path();
        let state = State::PRIMARY;
        let ours = |text: &[u8]| Ok(hba::install(text, &rules, state, 15));
        let theirs = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut dice = dice();
                let mut lines = vec!["local all all trust\n".to_owned()];
                for number in 0..60 {
                    let line = format!("host db{number} all 10.2.0.{number}/32 md5");
                    if tool == "ansible" {
                        ansible(&path, &line);
                    } else {
                        lines.push(format!("{line}\n"));
                        patroni(&path, &lines);
                    }
                    std::thread::sleep(Duration::from_millis(dice(60) as u64));
                }
            }
        });
        let mut rounds = 0;
        while !theirs.is_finished() {
            match edit(&path, SOON, ours, |_| Ok(())) {
                Ok(_) | Err(Error::Conflict { .. }) => rounds += 1,
                Err(error) => panic!("{error}"),
            }
        }
        theirs.join().expect("the tool");
        edit(&path, SOON, ours, |_| Ok(())).expect("the last word");
        let text = fs::read(&path).expect("read");
        assert!(hba::inspect(&text, &rules, state, 15).none(), "{tool}: ours: {}", bed.text());
        for number in 0..60 {
            let line = format!("host db{number} all 10.2.0.{number}/32 md5\n");
            assert!(bed.text().contains(&line), "{tool} after {rounds} rounds: lost {line}{}", bed.text());
        }
    }
}
