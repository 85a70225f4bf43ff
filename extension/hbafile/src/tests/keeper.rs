//! One gate keeps a file, whatever becomes of the other.

use super::bed::{Bed, SOON};
use crate::{Error, Keeper};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set for the second process: the file that it is to keep.
const FILE: &str = "GOAHEAD_TEST_KEPT";
const NAME: &str = ".goahead_hba.gate";

/// Killed and awaited when a test is done with it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In a second process: keeps the file until it is killed, and says so.
#[test]
fn keeper() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let _keeper = Keeper::take(&path, Duration::ZERO).expect("nobody else keeps it");
    println!("kept");
    // Bounded by the test that started it, and by itself where that was killed.
    std::thread::sleep(6 * SOON);
}

fn other(bed: &Bed) -> Process {
    let myself = std::env::current_exe().expect("this program");
    let mut command = Command::new(myself);
    command.args(["--exact", "tests::keeper::keeper", "--nocapture"]).env(FILE, bed.path()).stdout(Stdio::piped());
    let mut process = Process(command.spawn().expect("a second process"));
    let output = process.0.stdout.take().expect("its output");
    let said = BufReader::new(output).lines().map_while(Result::ok).any(|line| line.contains("kept"));
    assert!(said, "it ended without keeping the file");
    process
}

#[test]
fn a_second_one_is_told_who_keeps_it_until_that_is_killed() {
    let bed = Bed::new("one\n");
    let other = other(&bed);
    // By another name too.
    let link = bed.directory().join("link");
    symlink(bed.path(), &link).expect("a link");
    for path in [bed.path(), link] {
        let error = Keeper::take(&path, Duration::from_millis(20)).expect_err("another keeps it");
        let said = error.to_string();
        assert!(matches!(error, Error::Kept { .. }) && said.starts_with("hba_kept: another gate keeps "), "{said}");
        assert!(said.contains(&format!("process {} holds", other.0.id())) && said.contains(NAME), "{said}");
        assert!(error.mend().contains("stop one of the two"), "{}", error.mend());
    }
    let known = fs::symlink_metadata(bed.directory().join(NAME)).expect("the lock file");
    assert_eq!(known.mode() & 0o777, 0o600);
    drop(other);
    let keeper = Keeper::take(&bed.path(), SOON).expect("it is free");
    let pid = fs::read_to_string(bed.directory().join(NAME)).expect("the lock file");
    assert_eq!(pid, format!("{}\n", std::process::id()));
    assert!(keeper.keeps(&bed.path()));
    assert_eq!(bed.text(), "one\n");
}

#[test]
fn what_its_process_starts_keeps_nothing() {
    let bed = Bed::new("one\n");
    let keeper = Keeper::take(&bed.path(), Duration::ZERO).expect("it is free");
    let child = Process(Command::new("sleep").arg("60").spawn().expect("a child"));
    drop(keeper);
    // Children of other tests have it until their program begins.
    drop(Keeper::take(&bed.path(), SOON).expect("the child has not inherited it"));
    drop(child);
}

#[test]
fn a_lock_file_that_was_removed_is_missed() {
    let bed = Bed::new("one\n");
    let keeper = Keeper::take(&bed.path(), Duration::ZERO).expect("it is free");
    fs::remove_file(bed.directory().join(NAME)).expect("remove");
    assert!(!keeper.keeps(&bed.path()));
    let again = Keeper::take(&bed.path(), Duration::ZERO).expect("nobody has the new one");
    assert!(again.keeps(&bed.path()) && !keeper.keeps(&bed.path()));
    // A file that is gone for now takes nothing away.
    fs::rename(bed.path(), bed.directory().join("aside")).expect("rename");
    assert!(again.keeps(&bed.path()));
}

#[test]
fn where_no_lock_file_can_be_made_nobody_is_said_to_keep_it() {
    let bed = Bed::new("one\n");
    let victim = bed.directory().join("victim");
    fs::write(&victim, "as it was").expect("write");
    symlink(&victim, bed.directory().join(NAME)).expect("a link");
    let error = Keeper::take(&bed.path(), Duration::ZERO).expect_err("a link is not followed");
    assert!(!matches!(error, Error::Kept { .. }), "{error}");
    assert_eq!(fs::read_to_string(&victim).expect("read"), "as it was");
    let error = Keeper::take(&bed.directory().join("missing"), Duration::ZERO).expect_err("there is no such file");
    assert!(matches!(error, Error::Missing { .. }), "{error}");
}
