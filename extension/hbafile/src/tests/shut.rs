//! Closed in the server although the file does not load, and the file comes through it untouched.

use super::bed::{Bed, SOON};
use super::fake::Fake;
use super::gated::{ADMIN, dialect, text};
use crate::good::LastGood;
use crate::seen::{Identity, Seen};
use crate::standin::{ASIDE, is_stand_in, stand_in};
use crate::{Closed, GoesBy, Locked, Stamp, Step, Watchdog, boottime, is_shut, versions};
use goahead_rules::hba::State;
use std::fs;
use std::io::Write;
use std::time::Duration;

const BAD: &str = "host all all 10.0.0.1/33 md5\n";

/// A server that lets read-write traffic in, and then a bad line below; `good` has seen both.
fn broken() -> (Bed, Fake, LastGood, String) {
    let bed = Bed::new(&text(State::PRIMARY, ADMIN));
    let fake = Fake::started(&bed);
    let mut good = LastGood::default();
    looked(&mut good, &bed);
    let admin = format!("{ADMIN}{BAD}");
    fs::write(bed.path(), text(State::PRIMARY, &admin)).expect("write");
    looked(&mut good, &bed);
    (bed, fake, good, admin)
}

/// Looks until the file is quiet.
fn looked(good: &mut LastGood, bed: &Bed) {
    Seen::read(&bed.path()).expect("it is quiet");
    good.look(&bed.path(), &dialect());
}

fn shut(bed: &Bed, good: &mut LastGood, fake: &mut Fake) -> Closed {
    let locked = Locked::take(&bed.path(), SOON, &mut || {}).expect("the lock");
    locked.shut(&dialect(), good, fake, Duration::from_millis(400)).expect("it is shut")
}

fn earlier(closed: &Closed) -> &str {
    match &closed.goes_by {
        GoesBy::Earlier(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_is_closed_while_the_file_does_not_load() {
    let (bed, mut fake, mut good, admin) = broken();
    let closed = shut(&bed, &mut good, &mut fake);
    assert_eq!((closed.rules.as_slice(), &closed.goes_by), (["harw".to_owned()].as_slice(), &GoesBy::StandIn));
    let trouble = closed.trouble().expect("it does not load");
    assert!(trouble.contains("with the gated lines closed: ") && trouble.contains(" line 8, address"), "{trouble}");
    // The server has what it had, closed; the file has what the administrator wrote.
    assert_eq!(bed.text(), text(State::CLOSED, &admin));
    assert!(fake.loaded().contains(&text(State::CLOSED, ADMIN)), "{}", fake.loaded());
    assert!(!fake.loaded().contains(BAD));
    assert!(is_shut(&bed.path()));
    assert!(!bed.names().contains(&ASIDE.to_owned()));
    // It is done once.
    assert_eq!(shut(&bed, &mut good, &mut fake).goes_by, GoesBy::StandIn);
    assert_eq!(fake.reloads, 1);
    // Any change makes it uncertain again.
    fs::write(bed.path(), text(State::CLOSED, &format!("{admin}# more\n"))).expect("write");
    assert!(!is_shut(&bed.path()));
    looked(&mut good, &bed);
    assert_eq!(shut(&bed, &mut good, &mut fake).goes_by, GoesBy::StandIn);
    assert_eq!(fake.reloads, 2);
    // And once mended it is loaded.
    fs::write(bed.path(), text(State::CLOSED, "local all all peer\n")).expect("write");
    assert_eq!(shut(&bed, &mut good, &mut fake).goes_by, GoesBy::File);
    assert_eq!(fake.loaded(), text(State::CLOSED, "local all all peer\n"));
}

#[test]
fn the_very_same_file_comes_back() {
    let (bed, mut fake, mut good, admin) = broken();
    // Nothing is open on disk, so this is the administrator's own file all the time.
    let closed = text(State::CLOSED, &admin);
    fs::write(bed.path(), &closed).expect("write");
    looked(&mut good, &bed);
    let before = Identity::of(&bed.path()).expect("it is there");
    assert_eq!(shut(&bed, &mut good, &mut fake).goes_by, GoesBy::StandIn);
    assert_eq!((Identity::of(&bed.path()).expect("it is there"), bed.text()), (before, closed));
}

#[test]
fn nothing_is_done_where_nothing_can_be_open() {
    let bed = Bed::new(&text(State::CLOSED, ADMIN));
    let mut fake = Fake::started(&bed);
    let mut good = LastGood::default();
    looked(&mut good, &bed);
    fs::write(bed.path(), text(State::CLOSED, &format!("{ADMIN}{BAD}"))).expect("write");
    looked(&mut good, &bed);
    let closed = shut(&bed, &mut good, &mut fake);
    assert_eq!((closed.goes_by, closed.problems.len(), fake.reloads), (GoesBy::File, 1, 0));
    // Nor where no server runs.
    let (bed, mut fake, mut good, _) = broken();
    fake.runs = false;
    assert_eq!((shut(&bed, &mut good, &mut fake).goes_by, fake.reloads), (GoesBy::File, 0));
}

#[test]
fn lines_thrown_away_with_a_mistake_are_open_in_the_server_still() {
    let (bed, mut fake, mut good, _) = broken();
    fs::write(bed.path(), format!("{ADMIN}{BAD}")).expect("write");
    looked(&mut good, &bed);
    assert_eq!(shut(&bed, &mut good, &mut fake).goes_by, GoesBy::StandIn);
    assert_eq!(bed.text(), format!("{ADMIN}{BAD}"));
    assert!(fake.loaded().contains("reject # goahead:harw"), "{}", fake.loaded());
}

#[test]
fn what_cannot_be_known_is_said() {
    // Nobody has seen a text that loads.
    let (bed, mut fake, _, admin) = broken();
    let mut late = LastGood::default();
    looked(&mut late, &bed);
    let closed = shut(&bed, &mut late, &mut fake);
    assert!(earlier(&closed).contains("nobody has seen"), "{closed:?}");
    assert_eq!(bed.text(), text(State::CLOSED, &admin));
    // Nobody can ask.
    let (bed, _, mut good, _) = broken();
    let mut fake = Fake::deaf(&bed);
    let closed = shut(&bed, &mut good, &mut fake);
    assert!(earlier(&closed).contains("nobody can ask"), "{closed:?}");
    assert_eq!(fake.reloads, 0);
}

#[test]
fn a_server_that_does_not_take_it_is_not_called_closed() {
    let (bed, mut fake, mut good, admin) = broken();
    fake.takes = false;
    let closed = shut(&bed, &mut good, &mut fake);
    assert!(earlier(&closed).contains("did not load"), "{closed:?}");
    assert!(!is_shut(&bed.path()));
    assert_eq!(bed.text(), text(State::CLOSED, &admin));
    // Not again at once.
    fake.takes = true;
    earlier(&shut(&bed, &mut good, &mut fake));
    assert_eq!(fake.reloads, 1);
}

#[test]
fn who_writes_meanwhile_wins_and_the_earlier_file_is_kept() {
    for replaces in [true, false] {
        let (bed, mut fake, mut good, admin) = broken();
        let (path, other) = (bed.path(), bed.directory().join("other"));
        fake.meanwhile = Some(Box::new(move || {
            if replaces {
                fs::write(&other, "local all all peer\n").expect("write");
                fs::rename(&other, &path).expect("rename");
            } else {
                fs::write(&path, "local all all peer\n").expect("write");
            }
        }));
        let closed = shut(&bed, &mut good, &mut fake);
        assert_eq!((closed.goes_by, closed.rules.as_slice()), (GoesBy::File, ["harw".to_owned()].as_slice()));
        assert_eq!((bed.text(), fake.loaded()), ("local all all peer\n".to_owned(), bed.text()));
        let newest = versions(&bed.path()).expect("a list").pop().expect("a version");
        assert_eq!(fs::read_to_string(newest.path).expect("read"), text(State::CLOSED, &admin));
        assert!(!bed.names().contains(&ASIDE.to_owned()));
    }
}

#[test]
fn who_has_the_file_open_writes_into_the_one_that_comes_back() {
    let (bed, mut fake, mut good, admin) = broken();
    let closed = text(State::CLOSED, &admin);
    fs::write(bed.path(), &closed).expect("write");
    looked(&mut good, &bed);
    let mut theirs = fs::File::options().append(true).open(bed.path()).ok();
    fake.meanwhile = Some(Box::new(move || {
        if let Some(mut theirs) = theirs.take() {
            theirs.write_all(b"# more\n").expect("write");
        }
    }));
    assert_eq!(shut(&bed, &mut good, &mut fake).goes_by, GoesBy::StandIn);
    assert_eq!((bed.text(), fake.reloads), (format!("{closed}# more\n"), 2));
}

#[test]
fn what_was_set_aside_by_somebody_killed_is_put_back() {
    let admin = format!("{ADMIN}{BAD}");
    let standing = stand_in("", text(State::CLOSED, ADMIN).as_bytes());
    let take = |bed: &Bed| drop(Locked::take(&bed.path(), SOON, &mut || {}).expect("the lock"));
    let aside = |bed: &Bed| bed.directory().join(ASIDE);
    // Before the exchange: two names of one file.
    let bed = Bed::new(&admin);
    fs::hard_link(bed.path(), aside(&bed)).expect("link");
    take(&bed);
    assert_eq!((bed.text(), aside(&bed).exists()), (admin.clone(), false));
    // While it stands in.
    let bed = Bed::new(&admin);
    fs::rename(bed.path(), aside(&bed)).expect("rename");
    fs::write(bed.path(), &standing).expect("write");
    let kept = Identity::of(&aside(&bed)).expect("it is there");
    take(&bed);
    assert_eq!((bed.text(), aside(&bed).exists()), (admin.clone(), false));
    assert_eq!(Identity::of(&bed.path()).expect("it is there"), kept);
    // After the exchange back.
    fs::write(aside(&bed), &standing).expect("write");
    take(&bed);
    assert_eq!((bed.text(), aside(&bed).exists()), (admin.clone(), false));
    // Somebody has written since.
    fs::write(aside(&bed), &admin).expect("write");
    fs::write(bed.path(), "local all all peer\n").expect("write");
    take(&bed);
    assert_eq!((bed.text(), aside(&bed).exists()), ("local all all peer\n".to_owned(), false));
    let newest = versions(&bed.path()).expect("a list").pop().expect("a version");
    assert_eq!(fs::read_to_string(newest.path).expect("read"), admin);
}

#[test]
fn a_text_that_stands_in_is_one_that_nobody_has_touched() {
    for text in ["", "local all all peer", "local all all peer\n", "# \\\n"] {
        let standing = stand_in("local a a peer\n", text.as_bytes());
        assert!(is_stand_in(&standing));
        for at in 0..standing.len() {
            let mut touched = standing.clone();
            touched[at] ^= 1;
            assert!(!is_stand_in(&touched), "{at}");
            touched.truncate(at);
            assert!(!is_stand_in(&touched), "{at}");
        }
        assert!(!is_stand_in(&[&standing[..], b"\n"].concat()));
    }
}

#[test]
fn the_last_good_text_is_known_as_long_as_somebody_looks() {
    let (good_text, bad) = (text(State::PRIMARY, ADMIN), format!("{ADMIN}{BAD}"));
    for (pause, known) in [(1_000_000, true), (3_600_000_000, false)] {
        let bed = Bed::new(&good_text);
        let mut good = LastGood::default();
        Seen::read(&bed.path()).expect("it is quiet");
        let now = boottime();
        good.look_at(&bed.path(), &dialect(), now);
        assert_eq!(good.closed(), Some(text(State::CLOSED, ADMIN).into_bytes()));
        // A text that stands in for a moment is nobody's.
        fs::write(bed.path(), stand_in("", b"local all all peer\n")).expect("write");
        Seen::read(&bed.path()).expect("it is quiet");
        good.look_at(&bed.path(), &dialect(), now);
        fs::write(bed.path(), &bad).expect("write");
        Seen::read(&bed.path()).expect("it is quiet");
        good.look_at(&bed.path(), &dialect(), now + pause);
        assert_eq!(good.closed().is_some(), known, "a pause of {pause}");
        // Nothing changes that while the file stays as it is.
        good.look_at(&bed.path(), &dialect(), now + 2 * pause + 3_600_000_000);
        assert_eq!(good.closed().is_some(), known);
        assert!(good.may_be_open());
        fs::write(bed.path(), text(State::CLOSED, ADMIN)).expect("write");
        Seen::read(&bed.path()).expect("it is quiet");
        good.look_at(&bed.path(), &dialect(), now + 3 * pause + 3_600_000_000);
        assert!(!good.may_be_open());
    }
}

#[test]
fn the_watchdog_closes_the_server_of_a_broken_file() {
    let bed = Bed::new(&text(State::PRIMARY, ADMIN));
    let mut fake = Fake::started(&bed);
    let mut dog = Watchdog::new(&bed.path());
    let stamp =
        |us: i64| Stamp::new("n", &bed.path(), boottime() + us, true, true).expect("a stamp").write().expect("written");
    stamp(60_000_000);
    Seen::read(&bed.path()).expect("it is quiet");
    assert!(matches!(dog.watch_once(&dialect(), &mut fake), Ok(Step::Live(_))));
    let admin = format!("{ADMIN}{BAD}");
    fs::write(bed.path(), text(State::PRIMARY, &admin)).expect("write");
    Seen::read(&bed.path()).expect("it is quiet");
    assert!(matches!(dog.watch_once(&dialect(), &mut fake), Ok(Step::Live(_))));
    assert_eq!(fake.reloads, 0);
    stamp(0);
    let step = dog.watch_once(&dialect(), &mut fake).expect("a step");
    assert!(matches!(step, Step::Closed(closed) if closed.goes_by == GoesBy::StandIn));
    assert_eq!(dog.watch_once(&dialect(), &mut fake).expect("a step"), Step::Quiet);
    assert_eq!(bed.text(), text(State::CLOSED, &admin));
    assert!(fake.loaded().contains("reject # goahead:harw"), "{}", fake.loaded());
    // It changes once more, with nothing open on disk.
    fs::write(bed.path(), text(State::CLOSED, &format!("{admin}# more\n"))).expect("write");
    Seen::read(&bed.path()).expect("it is quiet");
    let step = dog.watch_once(&dialect(), &mut fake).expect("a step");
    assert!(matches!(step, Step::Closed(closed) if closed.goes_by == GoesBy::StandIn));
    // One that another was killed over is put back.
    fs::rename(bed.path(), bed.directory().join(ASIDE)).expect("rename");
    fs::write(bed.path(), stand_in("", ADMIN.as_bytes())).expect("write");
    assert!(matches!(dog.watch_once(&dialect(), &mut fake), Ok(Step::Closed(_))));
    assert!(bed.text().ends_with("# more\n"));
}
