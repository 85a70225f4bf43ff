//! Real programs, run to each of their possible ends.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::*;

/// `/bin/sh` stands for any program here; nothing but these tests ever names a shell.
fn sh(script: &str) -> Program {
    Program::new(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

/// Whether a process is there and is no zombie.
fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

async fn gone(pid: &str) -> bool {
    for _ in 0..250 {
        if !alive(pid) {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Waits for a program under test to write `file`.
async fn content(file: &PathBuf) -> String {
    for _ in 0..250 {
        match std::fs::read_to_string(file) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("{} was never written", file.display());
}

#[tokio::test]
async fn exit_codes_and_output_arrive_in_order() {
    let finished = sh("echo one; echo two >&2; echo three; exit 3").run().await;
    assert_eq!(finished.outcome, Outcome::Exited(3));
    assert_eq!(finished.output, "one\ntwo\nthree\n");
    assert!(sh("true").run().await.outcome.success());
}

#[tokio::test]
async fn what_cannot_start_has_no_exit_code() {
    for argv in [vec!["/no/such/program".to_owned()], vec![], vec!["/etc/passwd".to_owned()]] {
        let finished = Program::new(argv.clone()).run().await;
        assert!(matches!(&finished.outcome, Outcome::NotStarted(_)), "{argv:?}: {finished:?}");
        assert!(!finished.outcome.success());
    }
    let nul = Program::new(vec!["/bin/echo".to_owned(), "a\0b".to_owned()]).run().await;
    assert!(matches!(nul.outcome, Outcome::NotStarted(_)), "{nul:?}");
}

#[tokio::test]
async fn arguments_are_never_read_by_a_shell() {
    let hostile = "$(touch pwned); `id` 'x' \"y\" *";
    let finished = Program::new(vec!["/bin/echo".to_owned(), hostile.to_owned()]).run().await;
    assert_eq!(finished.output.trim_end(), hostile);
}

#[tokio::test]
async fn a_signal_is_not_an_exit_code() {
    let finished = sh("kill -9 $$").run().await;
    assert_eq!(finished.outcome, Outcome::Killed(9));
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!("sleep 300 & echo $! > {}; wait", file.display());
    let started = Instant::now();
    let finished = sh(&script).timeout(Some(Duration::from_secs(2))).run().await;
    assert_eq!(finished.outcome, Outcome::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert!(gone(&content(&file).await).await, "the grandchild must not survive its timeout");
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_after_its_grace() {
    let started = Instant::now();
    let finished = sh("trap '' TERM; echo ready; while :; do sleep 0.1; done")
        .timeout(Some(Duration::from_millis(1500)))
        .grace(Duration::from_millis(300))
        .run()
        .await;
    assert_eq!(finished.outcome, Outcome::TimedOut);
    assert_eq!(finished.output, "ready\n", "what it said before is kept");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_program_may_use_its_grace_to_clean_up() {
    let finished = sh("trap 'echo cleaned; exit 0' TERM; while :; do sleep 0.05; done")
        .timeout(Some(Duration::from_millis(1500)))
        .run()
        .await;
    assert_eq!(finished.outcome, Outcome::TimedOut, "a clean end after the timeout is still a timeout");
    assert!(finished.output.contains("cleaned\n"), "{finished:?}");
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipe_does_not_hold_us() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!("sleep 300 & echo $! > {}; echo done", file.display());
    let started = Instant::now();
    let finished = sh(&script).run().await;
    assert_eq!((finished.outcome, finished.output.as_str()), (Outcome::Exited(0), "done\n"));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let pid = content(&file).await;
    assert!(alive(&pid), "what a program leaves behind on purpose goes on");
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test]
async fn output_is_bounded_and_keeps_its_end() {
    let finished = sh("yes 0123456789 | head -c 3000000; echo end").keep(100).run().await;
    assert_eq!(finished.outcome, Outcome::Exited(0));
    assert!(finished.output.len() <= 100 && finished.output.ends_with("end\n"), "{finished:?}");
}

#[tokio::test]
async fn standard_input_is_empty_or_as_given() {
    assert_eq!(sh("cat; echo end").run().await.output, "end\n");
    let long = "x".repeat(300_000);
    let finished = sh("cat | wc -c").stdin(long.into_bytes()).run().await;
    assert_eq!(finished.output.trim(), "300000");
    let unread = sh("exit 4").stdin(vec![b'x'; 300_000]).run().await;
    assert_eq!(unread.outcome, Outcome::Exited(4));
}

#[tokio::test]
async fn a_clean_environment_holds_only_what_is_said() {
    let finished =
        Program::new(vec!["/usr/bin/env".to_owned()]).clean_environment().env("GOAHEAD_FQDN", "a b\nc").run().await;
    let mut names: Vec<&str> =
        finished.output.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["GOAHEAD_FQDN", "LANG", "PATH"], "{}", finished.output);
    assert!(finished.output.contains("GOAHEAD_FQDN=a b\nc\n"));
}

#[tokio::test]
async fn another_user_has_none_of_our_groups() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let nobody = User::find("nobody").unwrap();
    let finished = sh("id -u; id -G").user(Some(nobody.clone())).run().await;
    assert_eq!(finished.output, format!("{}\n{}\n", nobody.uid, nobody.gid));
}

#[tokio::test]
async fn lines_are_streamed_while_the_program_runs() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("go");
    let script = format!("echo first; while [ ! -e {} ]; do sleep 0.02; done; printf last", file.display());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let outcome = sh(&script)
        .timeout(Some(Duration::from_secs(60)))
        .stream_until(std::future::pending(), |line| {
            seen.lock().unwrap().push(line.to_owned());
            // The program goes on only because its first line arrived while it ran.
            std::fs::write(&file, "").unwrap();
        })
        .await;
    assert_eq!(outcome, Outcome::Exited(0));
    assert_eq!(*seen.lock().unwrap(), ["first", "last"]);
}

#[tokio::test]
async fn a_stop_ends_the_group_and_says_how_it_ended() {
    let finished = sh("sleep 300").run_until(sleep(Duration::from_millis(200))).await;
    assert_eq!(finished.outcome, Outcome::Killed(15));
}

#[tokio::test]
async fn a_dropped_run_takes_its_group_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!("sleep 300 & echo $! > {}; wait", file.display());
    let run = tokio::spawn(sh(&script).run());
    let pid = content(&file).await;
    assert!(alive(&pid));
    run.abort();
    assert!(gone(&pid).await);
}
