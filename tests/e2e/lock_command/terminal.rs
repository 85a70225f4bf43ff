//! At a terminal: the wait is shown, the command has the terminal, and the shell's job control works.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, binary, eventually};

use super::support::{Run, World};

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
