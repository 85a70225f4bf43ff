//! Gated lines: closed on disk, and watched.

use super::bed::{Bed, SOON};
use crate::{
    AsServer, Error, Inside, LastGood, Listens, Locked, OfDirectory, Server, Stamp, Step, Watchdog, boottime,
    close_gated, open_rules, read,
};
use goahead_rules::hba::{self, Desired, Dialect, Fields, Files, State, Unread};
use std::fs;

pub const ADMIN: &str = "local all all trust\nhost all all 10.0.0.0/8 scram-sha-256\n";

pub fn dialect() -> Dialect {
    Dialect::packaged(15)
}

/// A server that cannot be asked, and what is done when it is told.
struct Told<'a>(&'a mut dyn FnMut() -> std::io::Result<()>);

impl Server for Told<'_> {
    fn listens(&self) -> Option<Listens> {
        None
    }

    fn runs(&self) -> bool {
        true
    }

    fn reload(&mut self) -> std::io::Result<()> {
        (self.0)()
    }
}

fn rules() -> Vec<Desired> {
    [("harw", "primary"), ("haro", "standby"), ("app", "any")]
        .map(|(name, applies)| {
            let fields = Fields {
                name,
                kind: "host",
                database: "all",
                user: name,
                address: "10.0.0.5/32",
                method: "scram-sha-256",
                options: "",
                applies,
                otherwise: "reject",
            };
            Desired::new(fields, &dialect()).expect("a good rule")
        })
        .to_vec()
}

pub fn text(state: State, admin: &str) -> String {
    String::from_utf8(hba::install(admin.as_bytes(), &rules(), state, 15)).expect("UTF-8")
}

#[test]
fn closing_touches_the_gated_lines_alone() {
    let bed = Bed::new(&text(State::BOTH, ADMIN));
    let closed = close_gated(&bed.path(), SOON).expect("it closes");
    assert_eq!(closed, ["harw", "haro"]);
    assert_eq!(bed.text(), text(State::CLOSED, ADMIN));
    let again = close_gated(&bed.path(), SOON).expect("nothing to do");
    assert!(again.is_empty());
}

#[test]
fn a_file_that_does_not_load_is_closed_and_said_so() {
    let admin = format!("{ADMIN}host all all 10.0.0.1/33 md5\n");
    let bed = Bed::new(&text(State::PRIMARY, &admin));
    let locked = Locked::take(&bed.path(), SOON, &mut || {}).expect("the lock");
    let closed = locked.shut(&dialect(), &mut LastGood::default(), &mut Told(&mut || Ok(())), SOON).expect("it closes");
    assert!(closed.changed() && !closed.loads(), "{closed:?}");
    assert_eq!(bed.text(), text(State::CLOSED, &admin));
}

#[test]
fn versions_are_of_what_people_wrote() {
    let bed = Bed::new(&text(State::CLOSED, ADMIN));
    for round in 0..12 {
        let state = if round % 2 == 0 { State::BOTH } else { State::CLOSED };
        let change = |old: &[u8]| Ok(hba::install(old, &rules(), state, 15));
        crate::edit(&bed.path(), SOON, change, |_| Ok(())).expect("it is replaced");
    }
    assert_eq!(crate::versions(&bed.path()).expect("a list").len(), 1, "a gate's ups and downs fill the ring");
}

#[test]
fn the_watchdog_closes_when_the_stamp_ends() {
    let bed = Bed::new(&text(State::BOTH, ADMIN));
    let mut dog = Watchdog::new(&bed.path());
    let mut reloads = 0;
    let mut told = || {
        reloads += 1;
        Ok(())
    };
    let stamp =
        |us: i64| Stamp::new("n", &bed.path(), boottime() + us, true, true).expect("a stamp").write().expect("written");
    stamp(60_000_000);
    assert!(matches!(dog.watch_once(&dialect(), &mut Told(&mut told)), Ok(Step::Live(_))));
    assert_eq!(bed.text(), text(State::BOTH, ADMIN));
    stamp(0);
    assert!(
        matches!(dog.watch_once(&dialect(), &mut Told(&mut told)), Ok(Step::Closed(closed)) if closed.rules == ["harw", "haro"])
    );
    assert_eq!(bed.text(), text(State::CLOSED, ADMIN));
    assert_eq!(dog.watch_once(&dialect(), &mut Told(&mut told)).expect("a step"), Step::Quiet);
    // A tool brings the open lines back.
    fs::write(bed.path(), text(State::PRIMARY, ADMIN)).expect("write");
    assert!(
        matches!(dog.watch_once(&dialect(), &mut Told(&mut told)), Ok(Step::Closed(closed)) if closed.rules == ["harw"])
    );
    assert_eq!(reloads, 2);
}

#[test]
fn a_server_that_was_not_told_is_told_by_the_next_who_looks() {
    let bed = Bed::new(&text(State::BOTH, ADMIN));
    // Whoever closed it was killed before it told the server.
    close_gated(&bed.path(), SOON).expect("it closes");
    let locked = Locked::take(&bed.path(), SOON, &mut || {}).expect("the lock");
    assert!(locked.must_reload());
    drop(locked);
    let mut reloads = 0;
    let mut dog = Watchdog::new(&bed.path());
    dog.watch_once(
        &dialect(),
        &mut Told(&mut || {
            reloads += 1;
            Ok(())
        }),
    )
    .expect("a step");
    assert_eq!(dog.watch_once(&dialect(), &mut Told(&mut || panic!("told already"))).expect("a step"), Step::Quiet);
    assert_eq!(reloads, 1);
}

#[test]
fn a_server_is_told_of_a_broken_file_once_it_is_mended() {
    let broken = format!("{ADMIN}bogus\n");
    let bed = Bed::new(&text(State::BOTH, &broken));
    let mut dog = Watchdog::new(&bed.path());
    let step = dog.watch_once(&dialect(), &mut Told(&mut || panic!("it does not load"))).expect("a step");
    assert!(matches!(step, Step::Closed(closed) if closed.changed() && !closed.loads()));
    assert_eq!(dog.watch_once(&dialect(), &mut Told(&mut || panic!("it does not load"))).expect("a step"), Step::Quiet);
    fs::write(bed.path(), text(State::CLOSED, ADMIN)).expect("write");
    let mut reloads = 0;
    dog.watch_once(
        &dialect(),
        &mut Told(&mut || {
            reloads += 1;
            Ok(())
        }),
    )
    .expect("a step");
    assert_eq!(reloads, 1);
}

#[test]
fn a_reload_that_fails_is_tried_again() {
    let bed = Bed::new(&text(State::BOTH, ADMIN));
    let mut dog = Watchdog::new(&bed.path());
    let error = dog.watch_once(&dialect(), &mut Told(&mut || Err(std::io::Error::other("no")))).expect_err("it fails");
    assert!(matches!(error, Error::Untold { .. }));
    let mut reloads = 0;
    dog.watch_once(
        &dialect(),
        &mut Told(&mut || {
            reloads += 1;
            Ok(())
        }),
    )
    .expect("a step");
    assert_eq!(reloads, 1);
}

#[test]
fn open_rules_are_seen_without_a_lock() {
    let bed = Bed::new(&text(State::PRIMARY, ADMIN));
    let _locked = Locked::take(&bed.path(), SOON, &mut || {}).expect("the lock");
    assert_eq!(open_rules(&bed.path()).expect("it reads"), ["harw"]);
    assert_eq!(read(&bed.path()).expect("it reads"), bed.text().as_bytes());
}

#[test]
fn nobody_is_signalled_by_a_stale_number() {
    let data = tempfile::tempdir().expect("a directory");
    let mut server = OfDirectory::new(Some(data.path().to_owned()));
    assert!(server.reload().is_err() && !server.runs(), "no server");
    // A process that is alive and is no server of this directory.
    let text = format!("{}\n{}\n1\n5433\n/run\n127.0.0.9\n", std::process::id(), data.path().display());
    fs::write(data.path().join("postmaster.pid"), text).expect("write");
    let error = server.reload().expect_err("not ours");
    assert!(error.to_string().contains("does not serve") && !server.runs(), "{error}");
    assert_eq!(server.listens(), Some(Listens::new("127.0.0.9", 5433)));
    for bad in ["", "0\n", "-1\n", "x\n"] {
        fs::write(data.path().join("postmaster.pid"), bad).expect("write");
        assert!(server.reload().is_err(), "{bad:?}");
        assert_eq!(server.listens(), None);
    }
    assert!(OfDirectory::new(None).reload().expect_err("unknown").to_string().contains("nobody said"));
}

#[test]
fn a_proposed_text_reads_nothing_outside() {
    let bed = Bed::new(ADMIN);
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("secret"), "secret").expect("write");
    fs::write(bed.directory().join("users"), "u1 u2").expect("write");
    std::os::unix::fs::symlink(outside.path().join("secret"), bed.directory().join("link")).expect("link");
    let inside = Inside::of(&bed.path()).expect("a directory");
    let at = |name: &str| inside.path().with_file_name(name);
    assert_eq!(inside.read(&at("users")), Ok(b"u1 u2".to_vec()));
    assert_eq!(inside.read(&at("nobody")), Err(Unread::Missing));
    let other = outside.path().file_name().expect("a name").to_string_lossy().into_owned();
    for path in
        [at("link"), outside.path().join("secret"), at(&format!("../{other}/secret")), outside.path().join("no")]
    {
        assert!(
            matches!(inside.read(&path), Err(Unread::Refused(why)) if why.contains("outside")),
            "{}",
            path.display()
        );
    }
    assert!(matches!(inside.list(outside.path()), Err(Unread::Refused(_))));
    assert_eq!(AsServer.read(&outside.path().join("secret")), Ok(b"secret".to_vec()));
}
