use super::bed::{Bed, SOON, put};
use crate::{Error, Locked, Stamp, boottime, edit, version, versions};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

#[test]
fn the_file_keeps_owner_mode_attributes_and_its_link() {
    let bed = Bed::new("one\n");
    fs::set_permissions(bed.path(), fs::Permissions::from_mode(0o640)).expect("chmod");
    let attribute = rustix::fs::setxattr(bed.path(), "user.mark", b"x", rustix::fs::XattrFlags::empty()).is_ok();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(bed.path(), Some(12), Some(34)).expect("chown");
    }
    let before = fs::metadata(bed.path()).expect("stat");
    let links = tempfile::tempdir().expect("a directory");
    let link = links.path().join("hba");
    symlink(bed.path(), &link).expect("link");

    let edited = put(&link, "two\n").expect("it is replaced");
    assert!(edited.changed());
    assert_eq!(edited.previous, b"one\n");
    assert!(fs::symlink_metadata(&link).expect("stat").is_symlink(), "the link was replaced");
    let after = fs::metadata(bed.path()).expect("stat");
    assert_ne!(before.ino(), after.ino(), "written in place");
    assert_eq!((before.uid(), before.gid(), before.mode()), (after.uid(), after.gid(), after.mode()));
    if attribute {
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(bed.path(), "user.mark", &mut value).expect("the attribute");
        assert_eq!(&value[..length], b"x");
    }
    assert_eq!(bed.text(), "two\n");
    assert_eq!(bed.names(), [".goahead_hba.lock", ".goahead_hba.untold", "pg_hba.conf", "pg_hba.conf.goahead.000001"]);
    let kept = fs::metadata(bed.directory().join("pg_hba.conf.goahead.000001")).expect("stat");
    assert_eq!((kept.uid(), kept.mode()), (before.uid(), before.mode()), "a backup that others could read");
    assert_eq!(fs::read_dir(links.path()).expect("read").count(), 1, "files beside the link");
}

#[test]
fn the_same_bytes_are_not_written() {
    let bed = Bed::new("one\n");
    let before = fs::metadata(bed.path()).expect("stat");
    let edited = edit(&bed.path(), SOON, |text| Ok(text.to_vec()), |_| panic!("nothing to check")).expect("it runs");
    assert!(!edited.changed());
    assert_eq!(fs::metadata(bed.path()).expect("stat").ino(), before.ino());
    assert_eq!(versions(&bed.path()).expect("a list"), []);
}

#[test]
fn what_does_not_load_is_not_written() {
    let bed = Bed::new("one\n");
    let invalid = |_: &[u8]| Err(Error::Invalid { path: bed.path(), problem: "line 1".into() });
    let error = edit(&bed.path(), SOON, |_| Ok(b"bad\n".to_vec()), invalid).expect_err("refused");
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    assert_eq!(bed.text(), "one\n");
    assert_eq!(bed.names(), [".goahead_hba.lock", "pg_hba.conf"]);
}

#[test]
fn ten_versions_are_kept() {
    let bed = Bed::new("0\n");
    for number in 1..=13 {
        put(&bed.path(), &format!("{number}\n")).expect("it is replaced");
    }
    let kept = versions(&bed.path()).expect("a list");
    assert_eq!(kept.iter().map(|version| version.number).collect::<Vec<_>>(), (4..=13).collect::<Vec<_>>());
    assert_eq!(version(&bed.path(), 4).expect("a version"), b"3\n");
    assert!(matches!(version(&bed.path(), 3), Err(Error::Missing { .. })));
}

#[test]
fn an_edit_can_be_undone_unless_somebody_came_after() {
    let bed = Bed::new("one\n");
    let locked = Locked::take(&bed.path(), SOON, &mut || {}).expect("the lock");
    let edited = locked.edit(|_| Ok(b"two\n".to_vec()), |_| Ok(())).expect("it is replaced");
    locked.undo(&edited).expect("it is undone");
    assert_eq!(bed.text(), "one\n");
    assert_eq!(versions(&bed.path()).expect("a list"), []);
    let edited = locked.edit(|_| Ok(b"two\n".to_vec()), |_| Ok(())).expect("it is replaced");
    fs::write(bed.path(), "three\n").expect("write");
    assert!(matches!(locked.undo(&edited), Err(Error::Conflict { .. })));
    assert_eq!(bed.text(), "three\n");
}

#[test]
fn one_writer_at_a_time_and_no_endless_wait() {
    let bed = Bed::new("one\n");
    let locked = Locked::take(&bed.path(), SOON, &mut || {}).expect("the lock");
    let mut waited = 0;
    let limit = Duration::from_millis(60);
    let error = Locked::take(&bed.path(), limit, &mut || waited += 1).expect_err("it is held");
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert!(waited > 0);
    drop(locked);
    Locked::take(&bed.path(), limit, &mut || {}).expect("it is free again");
}

#[test]
fn a_lock_file_that_was_removed_locks_nobody_out_and_lets_nobody_in() {
    let bed = Bed::new("one\n");
    let path = bed.directory().join(".goahead_hba.lock");
    let first = Locked::take(&bed.path(), SOON, &mut || {}).expect("the lock");
    // One waits for the old file; it is removed, and another takes the new one.
    let waiter = std::thread::spawn({
        let file = bed.path();
        move || Locked::take(&file, SOON, &mut || {}).map(|_| ()).expect("the lock")
    });
    std::thread::sleep(Duration::from_millis(30));
    fs::remove_file(&path).expect("remove");
    let second = Locked::take(&bed.path(), SOON, &mut || {}).expect("the lock");
    drop(first);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiter.is_finished(), "two hold it");
    drop(second);
    waiter.join().expect("the waiter");
}

#[test]
fn what_a_killed_writer_left_is_cleaned_up() {
    let bed = Bed::new("one\n");
    fs::write(bed.directory().join(".goahead_hba.new"), "half").expect("write");
    put(&bed.path(), "two\n").expect("it is replaced");
    assert_eq!(bed.names(), [".goahead_hba.lock", ".goahead_hba.untold", "pg_hba.conf", "pg_hba.conf.goahead.000001"]);
}

#[test]
fn who_changes_the_file_meanwhile_is_not_overwritten() {
    for in_place in [true, false] {
        let bed = Bed::new("admin 0\n");
        let mut writes = 0;
        let change = |text: &[u8]| {
            // Between our reading and our writing somebody adds a line, twice.
            if writes < 2 {
                writes += 1;
                let text = format!("{}admin {writes}\n", String::from_utf8_lossy(text));
                let path = if in_place { bed.path() } else { bed.directory().join("other") };
                fs::write(&path, text).expect("write");
                if !in_place {
                    fs::rename(&path, bed.path()).expect("rename");
                }
            }
            Ok([b"ours\n", text].concat())
        };
        edit(&bed.path(), SOON, change, |_| Ok(())).expect("it is replaced");
        assert_eq!(bed.text(), "ours\nadmin 0\nadmin 1\nadmin 2\n");
    }
}

#[test]
fn whoever_never_stops_writing_is_a_conflict() {
    let bed = Bed::new("0\n");
    let mut number = 0;
    let change = |text: &[u8]| {
        number += 1;
        fs::write(bed.path(), format!("{number}\n")).expect("write");
        Ok([b"ours\n", text].concat())
    };
    let error = edit(&bed.path(), SOON, change, |_| Ok(())).expect_err("refused");
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert_eq!(bed.text(), format!("{number}\n"));
}

#[test]
fn what_is_no_file_is_no_hang() {
    let bed = Bed::new("one\n");
    fs::remove_file(bed.path()).expect("remove");
    assert!(matches!(put(&bed.path(), "x"), Err(Error::Missing { .. })));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bed.path(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a named pipe");
    assert!(matches!(put(&bed.path(), "x"), Err(Error::Io { .. })));
}

#[test]
fn a_stamp_counts_for_its_file_its_boot_and_its_time() {
    let bed = Bed::new("one\n");
    assert_eq!(Stamp::read(&bed.path()).expect("it reads"), None);
    let stamp = Stamp::new("node1", &bed.path(), boottime() + 60_000_000, true, false).expect("a stamp");
    stamp.write().expect("it is written");
    assert_eq!(Stamp::live(&bed.path()).expect("it reads"), Some(stamp.clone()));
    assert_eq!(bed.names(), [".goahead_gate.stamp", "pg_hba.conf"]);

    let dead = |change: &dyn Fn(&mut Stamp)| {
        let mut other = stamp.clone();
        change(&mut other);
        other.write().expect("it is written");
        Stamp::live(&bed.path()).expect("it reads").is_none()
    };
    assert!(!dead(&|_| {}));
    assert!(dead(&|stamp| stamp.expires_us = boottime()));
    assert!(dead(&|stamp| stamp.boot_id = "another".to_owned()));
    fs::write(bed.directory().join(".goahead_gate.stamp"), "{").expect("write");
    assert_eq!(Stamp::live(&bed.path()).expect("it reads"), None);

    // A copy of the directory, as pg_basebackup makes it.
    stamp.write().expect("it is written");
    let clone = tempfile::tempdir().expect("a directory");
    for name in bed.names() {
        fs::copy(bed.directory().join(&name), clone.path().join(&name)).expect("copy");
    }
    assert_eq!(Stamp::live(&clone.path().join("pg_hba.conf")).expect("it reads"), None);
    Stamp::remove(&bed.path()).expect("it goes");
    Stamp::remove(&bed.path()).expect("it is gone");
    assert_eq!(Stamp::live(&bed.path()).expect("it reads"), None);
}
