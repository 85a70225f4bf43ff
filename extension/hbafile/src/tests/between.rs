//! Somebody gets in between the last look and the exchange, or has the file open across it.

use super::bed::{Bed, SOON, put};
use crate::lease::{Lease, Writers};
use crate::place::Place;
use crate::seen::{Identity, Seen};
use crate::swap::{NEW, Swapped, settle, swap};
use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The file as it was read, and as it is right after an exchange in which `out` came out.
fn exchanged(bed: &Bed, out: &str) -> (Place, Seen, Identity) {
    let place = Place::find(&bed.path()).expect("the file");
    let seen = Seen::read(&place.target).expect("it reads");
    fs::remove_file(&place.target).expect("remove");
    fs::write(&place.target, "ours\n").expect("write");
    fs::write(place.beside(NEW), out).expect("write");
    let ours = Identity::of(&place.target).expect("ours");
    (place, seen, ours)
}

#[test]
fn who_got_in_between_gets_the_place_back() {
    let bed = Bed::new("one\n");
    let (place, seen, ours) = exchanged(&bed, "theirs\n");
    assert!(!settle(&place.beside(NEW), &place, &seen, None, ours).expect("it settles"));
    assert_eq!(bed.text(), "theirs\n");
    assert_eq!(fs::read_to_string(place.beside(NEW)).expect("read"), "ours\n");
}

#[test]
fn who_came_after_that_keeps_it() {
    let bed = Bed::new("one\n");
    let (place, seen, ours) = exchanged(&bed, "theirs\n");
    // Another tool replaces ours before theirs is back.
    fs::write(bed.directory().join("other"), "newest\n").expect("write");
    fs::rename(bed.directory().join("other"), &place.target).expect("rename");
    assert!(!settle(&place.beside(NEW), &place, &seen, None, ours).expect("it settles"));
    assert_eq!(bed.text(), "newest\n");
}

#[test]
fn who_writes_into_the_old_file_is_noticed() {
    let bed = Bed::new("one\n");
    let place = Place::find(&bed.path()).expect("the file");
    let mut theirs = fs::File::options().append(true).open(bed.path()).expect("open");
    // So long ago that it is not waited for its end any more.
    theirs.set_modified(SystemTime::now() - Duration::from_secs(5)).expect("older");
    let seen = Seen::read(&place.target).expect("it reads");
    assert!(matches!(swap(&place, &seen, b"two\n", false), Ok(Swapped::Done(None))));
    assert!(!seen.was_written());
    theirs.write_all(b"theirs\n").expect("write");
    assert!(seen.was_written());
    assert_eq!(seen.again(&place.target).expect("it reads"), b"one\ntheirs\n");
}

/// Whether there are leases where the tests write.
fn leases_or_skip() -> bool {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let known = fs::File::open(file.path()).is_ok_and(|read| !matches!(Lease::take(&read), Writers::Unknown));
    if !known {
        eprintln!("skipped: this file system has no leases");
    }
    known
}

#[test]
fn who_is_in_the_middle_of_writing_in_place_is_waited_for() {
    if !leases_or_skip() {
        return;
    }
    let bed = Bed::new("one\ntwo\n");
    let mut theirs = fs::File::create(bed.path()).expect("it truncates");
    theirs.write_all(b"one\n").expect("write");
    let (path, begun) = (bed.path(), Instant::now());
    let writer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(400));
        theirs.write_all(b"three\n").expect("write");
    });
    let edited = crate::edit(&path, SOON, |text| Ok([b"ours\n", text].concat()), |_| Ok(())).expect("it is edited");
    writer.join().expect("the tool");
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(String::from_utf8_lossy(&edited.previous), "one\nthree\n", "a part was taken for the whole");
    assert_eq!(bed.text(), "ours\none\nthree\n");
}

#[test]
fn who_only_keeps_the_file_open_holds_up_nobody_for_long() {
    let bed = Bed::new("one\n");
    let theirs = fs::File::options().append(true).open(bed.path()).expect("open");
    put(&bed.path(), "two\n").expect("it is replaced");
    drop(theirs);
    assert_eq!(bed.text(), "two\n");
}

#[test]
fn who_opens_the_file_while_it_is_exchanged_gets_the_place_back() {
    if !leases_or_skip() {
        return;
    }
    let bed = Bed::new("one\n");
    let (place, _, ours) = exchanged(&bed, "unused\n");
    // What comes out of the exchange is the very file that was seen, with a writer at its door.
    let new = place.beside(NEW);
    fs::write(bed.directory().join("seen"), "one\n").expect("write");
    fs::rename(bed.directory().join("seen"), &new).expect("rename");
    let seen = Seen::glance(&new).expect("it reads");
    let Writers::None(lease) = Lease::take(&seen.file) else { panic!("nobody writes") };
    let writer = thread::spawn({
        let new = new.clone();
        move || fs::File::create(new).and_then(|mut file| file.write_all(b"theirs\n")).expect("write")
    });
    let begun = Instant::now();
    while !lease.is_wanted() {
        assert!(begun.elapsed() < SOON, "nobody waits");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!settle(&new, &place, &seen, Some(&lease), ours).expect("it settles"));
    drop(lease);
    writer.join().expect("the tool");
    assert_eq!(bed.text(), "theirs\n");
}
