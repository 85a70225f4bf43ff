//! pg_hba.conf by SQL: what was set is in the file and in force, and nothing else is ever lost or loaded.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use goahead_tests::hba::{self, Answer, apply, check, error, expect, set_rules};
use goahead_tests::postgres::Postgres;
use goahead_tests::process::{User, signal_pid};
use goahead_tests::{SOON, eventually};
use postgres::{Client, NoTls};
use rustix::process::Signal;

/// When the server last loaded its settings, as a new session sees it.
fn loaded(server: &Postgres) -> String {
    let sql = "SELECT pg_conf_load_time()::text";
    server.connect("postgres").query_one(sql, &[]).expect("the time").get(0)
}

fn names(client: &mut Client, sql: &str) -> String {
    client
        .query_one(&format!("SELECT coalesce(string_agg(r::text, ','), '') FROM ({sql}) AS q (r)"), &[])
        .expect(sql)
        .get(0)
}

#[test]
fn rules_reach_the_files_of_a_primary_and_its_standby() {
    let primary = Postgres::start();
    let _ = primary.database("fleet");
    let mut client = primary.connect("fleet");
    let path = hba::file(&primary);
    let original = std::fs::read(&path).expect("read");
    set_rules(&mut client);
    assert_eq!(check(&primary, "harw"), Answer::Trusted, "nothing happens before it is applied");

    assert!(apply(&mut client, Some("primary")));
    expect(&primary, "harw", Answer::Asked);
    expect(&primary, "haro", Answer::Refused);
    let (inode, time) = (std::fs::metadata(&path).expect("stat").ino(), loaded(&primary));
    assert!(!apply(&mut client, Some("primary")));
    assert_eq!((std::fs::metadata(&path).expect("stat").ino(), loaded(&primary)), (inode, time), "written for nothing");
    assert!(apply(&mut client, None), "without a gate's verdict it is closed");
    expect(&primary, "harw", Answer::Refused);
    assert_eq!(check(&primary, "app"), Answer::Asked);

    let standby = primary.standby(&[]);
    let mut there = standby.connect("fleet");
    assert!(apply(&mut there, Some("standby")));
    expect(&standby, "haro", Answer::Asked);
    expect(&standby, "harw", Answer::Refused);
    assert_eq!(error(&mut there, "SELECT goahead.hba_drop('app')").0, "25006");
    let state = there.query_one("SELECT goahead.node_state() ->> 'in_recovery', goahead.node_state() #>> '{wal_receiver,status}', goahead.topology() #>> '{open_rules,0}'", &[]).expect("node_state");
    assert_eq!([0, 1, 2].map(|column| state.get::<_, String>(column)), ["true", "streaming", "haro"]);
    let upstream = "SELECT goahead.node_state() #>> '{replication,0,state}'";
    assert_eq!(client.query_one(upstream, &[]).expect("node_state").get::<_, String>(0), "streaming");

    for name in ["harw", "haro", "app"] {
        client.execute("SELECT goahead.hba_drop($1)", &[&name]).expect("hba_drop");
    }
    assert!(apply(&mut client, None));
    assert_eq!(std::fs::read(&path).expect("read"), original, "what is not ours keeps every byte");
    expect(&primary, "harw", Answer::Trusted);
    eventually("the standby knows", SOON, || {
        names(&mut there, "SELECT name FROM goahead.hba_desired").is_empty().then_some(())
    });
    assert!(apply(&mut there, None));
    expect(&standby, "haro", Answer::Trusted);
}

#[test]
fn people_and_the_gate_need_no_superuser() {
    let server = Postgres::start();
    let _ = server.database("fleet");
    let roles = "CREATE ROLE dba LOGIN; GRANT goahead_hba TO dba; CREATE ROLE gate LOGIN; GRANT goahead_gate TO gate";
    server.connect("fleet").batch_execute(roles).expect("roles");
    let login = |user: &str| Client::connect(&server.url("fleet", user), NoTls).expect("a session");
    let (mut dba, mut gate) = (login("dba"), login("gate"));
    set_rules(&mut dba);
    assert!(apply(&mut gate, Some("primary")));
    expect(&server, "harw", Answer::Asked);
    assert!(apply(&mut dba, Some("closed")));
    expect(&server, "harw", Answer::Refused);
    // The one check that only a superuser may make works for them too, and leaves them nothing.
    let path = hba::file(&server);
    let text = std::fs::read_to_string(&path).expect("read");
    hba::write(&path, &format!("{text}host all all 10.0.0.1/32 radius radiusservers=a..b radiussecrets=s\n"));
    assert_eq!(error(&mut gate, "SELECT goahead.hba_apply('primary')").0, "F0000");
    assert_eq!(error(&mut gate, "SELECT * FROM pg_hba_file_rules").0, "42501");
    assert_eq!(error(&mut gate, "SELECT goahead.hba_drop('app')").0, "42501");
    hba::write(&path, &text);
    let standby = server.standby(&[]);
    let upstream = "SELECT goahead.node_state() #>> '{replication,0,state}'";
    eventually("the standby streams, and the gate may see it", SOON, || {
        gate.query_one(upstream, &[])
            .expect("node_state")
            .get::<_, Option<String>>(0)
            .filter(|state| state == "streaming")
    });
    drop(standby);
}

#[test]
fn a_previous_version_comes_back_without_its_open_lines() {
    let server = Postgres::start();
    let _ = server.database("fleet");
    let mut client = server.connect("fleet");
    let path = hba::file(&server);
    let original = std::fs::read_to_string(&path).expect("read");
    set_rules(&mut client);
    assert!(apply(&mut client, Some("primary")));
    for number in 1..=12 {
        let text = std::fs::read_to_string(&path).expect("read");
        hba::write(&path, &format!("{text}local db{number} all reject\n"));
        assert!(apply(&mut client, Some(if number % 2 == 0 { "primary" } else { "closed" })));
    }
    let versions = "SELECT version FROM goahead.hba_versions()";
    assert_eq!(names(&mut client, versions), "13,12,11,10,9,8,7,6,5,4", "ten, newest first");
    let text: String = client.query_one("SELECT goahead.hba_version(4)", &[]).expect("a version").get(0);
    assert!(text.contains("local db3 ") && !text.contains("local db4 "), "{text}");
    assert!(client.query_one("SELECT goahead.hba_restore(4)", &[]).expect("it is restored").get::<_, bool>(0));
    let text = std::fs::read_to_string(&path).expect("read");
    assert!(
        text.ends_with(&format!("{original}local db1 all reject\nlocal db2 all reject\nlocal db3 all reject\n")),
        "{text}"
    );
    expect(&server, "harw", Answer::Refused);
    let (code, message, hint) = error(&mut client, "SELECT goahead.hba_restore(1)");
    assert_eq!(code, "58P01", "{message}");
    assert!(hint.contains("hba_versions"), "{hint}");
}

#[test]
fn lines_that_a_gate_keeps_stay_beside_the_rows() {
    const OPEN: &str =
        "local \"own\" \"own\" scram-sha-256 # goahead:haproxy-rw-1 applies=primary by=gate otherwise=reject\n";
    let closed = OPEN.replace("scram-sha-256", "reject");
    let server = Postgres::start();
    let _ = server.database("fleet");
    let mut client = server.connect("fleet");
    let path = hba::file(&server);
    let text = || std::fs::read_to_string(&path).expect("read");
    let original = text();
    set_rules(&mut client);
    apply(&mut client, Some("closed"));
    // As its gate writes it.
    let begin = text().lines().next().expect("a block").to_owned() + "\n";
    hba::write(&path, &text().replacen(&begin, &(begin.clone() + OPEN), 1));
    apply(&mut client, Some("primary"));
    expect(&server, "own", Answer::Asked);
    expect(&server, "harw", Answer::Asked);
    assert!(text().contains(OPEN), "{}", text());
    let mut preview = |state: &str| -> String {
        client.query_one("SELECT goahead.hba_preview($1)", &[&state]).expect("a preview").get(0)
    };
    assert!(text().starts_with(&preview("primary")), "{}", preview("primary"));
    assert!(preview("standby").contains(&closed), "{}", preview("standby"));

    apply(&mut client, Some("closed"));
    expect(&server, "own", Answer::Refused);
    assert!(text().contains(&closed), "{}", text());
    // Only its gate opens it again.
    apply(&mut client, Some("primary"));
    assert!(text().contains(&closed), "{}", text());
    // The earlier text had no such line, and it is not the rows' to take out.
    assert!(client.query_one("SELECT goahead.hba_restore(1)", &[]).expect("it is restored").get::<_, bool>(0));
    assert!(text().contains(&closed) && text().ends_with(&original), "{}", text());
    for name in ["harw", "haro", "app"] {
        client.execute("SELECT goahead.hba_drop($1)", &[&name]).expect("hba_drop");
    }
    apply(&mut client, None);
    assert!(text().contains(&closed) && !text().contains("goahead:harw"), "{}", text());
}

#[test]
fn what_would_not_load_is_neither_written_nor_loaded() {
    let server = Postgres::start();
    let _ = server.database("fleet");
    let mut client = server.connect("fleet");
    let path = hba::file(&server);
    set_rules(&mut client);
    apply(&mut client, Some("primary"));
    expect(&server, "harw", Answer::Asked);
    let good = std::fs::read_to_string(&path).expect("read");
    // The second is a line that only the server itself can judge; the name fails without a look at any resolver.
    let by_server = "host all all 10.0.0.1/32 radius radiusservers=a..b radiussecrets=s";
    for (line, by) in [("host all all 10.0.0.1/33 md5", "line "), (by_server, "taken back")] {
        let bad = format!("{good}{line}\n");
        hba::write(&path, &bad);
        let time = loaded(&server);
        let (code, message, hint) = error(&mut client, "SELECT goahead.hba_apply('closed')");
        assert_eq!(code, "F0000", "{message}");
        assert!(message.contains("hba_invalid") && message.contains(by), "{message}");
        assert!(!hint.is_empty());
        assert_eq!(std::fs::read_to_string(&path).expect("read"), bad, "an admin's file is left as it is");
        assert_eq!(loaded(&server), time, "an admin's bad line was loaded");
        assert_eq!(check(&server, "harw"), Answer::Asked);
        let shown = "SELECT line FROM goahead.hba_rules() WHERE type IS NULL OR error IS NOT NULL";
        assert_eq!(names(&mut client, shown), bad.lines().count().to_string());
    }
    hba::write(&path, &good);
    assert!(apply(&mut client, Some("closed")));
    expect(&server, "harw", Answer::Refused);
}

#[test]
fn a_rule_that_comes_too_late_is_warned_of() {
    let server = Postgres::start();
    let _ = server.database("fleet");
    let mut client = server.connect("fleet");
    client
        .batch_execute("SELECT goahead.hba_set('wide', 'local', 'all', 'all', NULL, 'trust', place => 1)")
        .expect("a rule");
    set_rules(&mut client);
    apply(&mut client, Some("primary"));
    let log = server.log();
    assert!(log.contains("comes first and takes everything from rule \"harw\""), "{log}");
}

#[test]
fn the_file_waits_for_the_end_of_what_may_be_rolled_back() {
    let server = Postgres::start();
    let _ = server.database("fleet");
    let (mut client, mut other) = (server.connect("fleet"), server.connect("fleet"));
    let before = std::fs::read(hba::file(&server)).expect("read");
    for written in
        ["SELECT goahead.hba_set('x', 'local', 'all', 'x', NULL, 'reject')", "SAVEPOINT s; CREATE TABLE t ()"]
    {
        let (code, _, hint) = error(&mut client, &format!("BEGIN; {written}; SELECT goahead.hba_apply()"));
        assert_eq!(code, "25001", "{written}");
        assert!(hint.contains("COMMIT"), "{hint}");
        client.batch_execute("ROLLBACK").expect("ROLLBACK");
    }
    assert_eq!(std::fs::read(hba::file(&server)).expect("read"), before);
    // An old snapshot brings in what is committed now.
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT * FROM goahead.hba_desired")
        .expect("BEGIN");
    set_rules(&mut other);
    assert!(apply(&mut client, Some("primary")));
    client.batch_execute("COMMIT").expect("COMMIT");
    expect(&server, "harw", Answer::Asked);
}

#[test]
fn a_place_that_cannot_be_written_is_named_and_left_alone() {
    let (directory, path) = hba::directory();
    let setting = format!("hba_file={}", path.display());
    let server = Postgres::with(&["fsync=off", &setting]);
    let _ = server.database("fleet");
    let mut client = server.connect("fleet");
    set_rules(&mut client);
    let before = (std::fs::read(&path).expect("read"), std::fs::metadata(&path).expect("stat").ino());
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o555)).expect("chmod");
    if User::postgres().is_root() {
        return;
    }
    let (code, message, hint) = error(&mut client, "SELECT goahead.hba_apply('primary')");
    assert_eq!(code, "58030", "{message}");
    assert!(message.contains("hba_unwritable") && hint.contains("never written in place"), "{message}: {hint}");
    assert_eq!((std::fs::read(&path).expect("read"), std::fs::metadata(&path).expect("stat").ino()), before);
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    assert!(apply(&mut client, Some("primary")));
}

#[test]
fn a_link_stays_a_link() {
    let (directory, path) = hba::directory();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("link");
    let server = Postgres::with(&["fsync=off", &format!("hba_file={}", link.display())]);
    let _ = server.database("fleet");
    let mut client = server.connect("fleet");
    set_rules(&mut client);
    assert!(apply(&mut client, Some("primary")));
    expect(&server, "harw", Answer::Asked);
    assert!(std::fs::symlink_metadata(&link).expect("stat").is_symlink());
    assert!(std::fs::read_to_string(&path).expect("read").starts_with("# BEGIN goahead"));
}

#[test]
fn a_killed_backend_leaves_a_file_that_loads_and_is_loaded() {
    let server = Postgres::start();
    let _ = server.database("fleet");
    set_rules(&mut server.connect("fleet"));
    for round in 0..8 {
        let mut client = server.connect("fleet");
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).expect("its pid").get(0);
        let endless = "DO $$ BEGIN LOOP PERFORM goahead.hba_apply('primary'); PERFORM goahead.hba_apply('closed'); END LOOP; END $$";
        let thread = std::thread::spawn(move || client.batch_execute(endless).expect_err("it is killed"));
        std::thread::sleep(Duration::from_millis(150 + 17 * round));
        signal_pid(pid.unsigned_abs(), Signal::KILL);
        let _ = thread.join();
        // A session that was let in while the server has not noticed yet is cut again.
        let (mut client, bad) = eventually("the server is back", SOON, || {
            let mut client = server.try_connect("fleet").ok()?;
            let bad = "SELECT count(*) FROM pg_hba_file_rules, pg_sleep(0.05) WHERE type IS NULL";
            let bad: i64 = client.query_one(bad, &[]).ok()?.get(0);
            Some((client, bad))
        });
        assert_eq!(bad, 0);
        // Also when the file says so already and only the server did not know.
        apply(&mut client, Some("closed"));
        expect(&server, "harw", Answer::Refused);
        expect(&server, "app", Answer::Asked);
    }
}
