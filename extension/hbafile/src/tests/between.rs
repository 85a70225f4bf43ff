//! Somebody gets in between the last look and the exchange, or has the file open across it.

use super::bed::Bed;
use crate::place::Place;
use crate::seen::{Identity, Seen};
use crate::swap::{NEW, Swapped, settle, swap};
use std::fs;
use std::io::Write;

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
    assert!(!settle(&place.beside(NEW), &place, &seen, ours).expect("it settles"));
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
    assert!(!settle(&place.beside(NEW), &place, &seen, ours).expect("it settles"));
    assert_eq!(bed.text(), "newest\n");
}

#[test]
fn who_writes_into_the_old_file_is_noticed() {
    let bed = Bed::new("one\n");
    let place = Place::find(&bed.path()).expect("the file");
    let seen = Seen::read(&place.target).expect("it reads");
    let mut theirs = fs::File::options().append(true).open(bed.path()).expect("open");
    assert!(matches!(swap(&place, &seen, b"two\n", false), Ok(Swapped::Done(None))));
    assert!(!seen.was_written());
    theirs.write_all(b"theirs\n").expect("write");
    assert!(seen.was_written());
    assert_eq!(seen.again(&place.target).expect("it reads"), b"one\ntheirs\n");
}
