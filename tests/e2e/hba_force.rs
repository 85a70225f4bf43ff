//! After a reload the server is asked, as a health check from this machine, whether the rules are in force.

use std::net::Ipv4Addr;

use goahead_tests::bed::net::Loopbacks;
use goahead_tests::hba::{self, apply};
use goahead_tests::postgres::Postgres;
use goahead_tests::process::signal_pid;
use postgres::Client;
use rustix::process::Signal;

/// A server on TCP, with a rule for HAProxy's health check from another address of this machine.
fn server() -> (Postgres, Loopbacks) {
    let loopbacks = Loopbacks::claim();
    let listen = format!("listen_addresses={}", loopbacks.address(1));
    let server = Postgres::with(&["fsync=off", &listen]);
    let _ = server.database("fleet");
    rule(&mut server.connect("fleet"), "harw", loopbacks.address(20));
    (server, loopbacks)
}

fn rule(client: &mut Client, name: &str, from: Ipv4Addr) {
    let (user, address) = (format!("\"{name}\""), format!("{from}/32"));
    let sql = "SELECT goahead.hba_set($1, 'host', $2, $2, $3, 'scram-sha-256', applies => 'primary')";
    client.execute(sql, &[&name, &user, &address]).expect("a good rule");
}

/// Lines of the server's log that have all of these.
fn said(server: &Postgres, words: &[&str]) -> usize {
    server.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

#[test]
fn each_change_is_looked_at_once_from_where_the_health_check_comes() {
    let (server, loopbacks) = server();
    let mut client = server.connect("fleet");
    let from = loopbacks.address(20).to_string();
    // An address of nobody here (it is for documentation) cannot be asked from.
    rule(&mut client, "far", Ipv4Addr::new(192, 0, 2, 1));
    let refused = ["FATAL", "rejects connection", &from, "\"harw\""];
    assert!(apply(&mut client, Some("primary")));
    assert_eq!(said(&server, &refused), 0);
    assert!(apply(&mut client, Some("closed")));
    let times = said(&server, &refused);
    assert!(times >= 1, "{}", server.log());
    assert!(!apply(&mut client, Some("closed")), "nothing changes");
    assert_eq!(said(&server, &refused), times, "asked without a change");
    assert_eq!(said(&server, &["WARNING"]), 0, "{}", server.log());
    assert_eq!(said(&server, &["FATAL", "\"far\""]), 0);
}

#[test]
fn a_server_that_does_not_take_the_reload_is_told_of() {
    let (server, _loopbacks) = server();
    let mut client = server.connect("fleet");
    assert!(apply(&mut client, Some("primary")));
    assert_eq!(said(&server, &["not loaded"]), 0, "{}", server.log());
    signal_pid(server.pid(), Signal::STOP);
    let changed = apply(&mut client, Some("closed"));
    signal_pid(server.pid(), Signal::CONT);
    assert!(changed, "what is written stays");
    let log = server.log();
    assert_eq!(said(&server, &["WARNING", "not loaded", "closes rule \"harw\"", "does not answer"]), 1, "{log}");
    assert!(log.contains("pg_reload_conf()"), "no mend: {log}");
    assert!(std::fs::read_to_string(hba::file(&server)).expect("read").contains(" reject # goahead:harw"));
    assert!(apply(&mut client, Some("primary")));
    assert_eq!(said(&server, &["not loaded"]), 1, "{}", server.log());
}

#[test]
fn a_rule_that_another_one_takes_the_check_from_is_told_of() {
    let (server, loopbacks) = server();
    let mut client = server.connect("fleet");
    // Who is member of a role is not in the file.
    let wide = format!(
        "CREATE ROLE staff; CREATE ROLE harw LOGIN IN ROLE staff;
         SELECT goahead.hba_set('admins', 'host', 'all', '+staff', '{}/32', 'scram-sha-256', place => 1)",
        loopbacks.address(20)
    );
    client.batch_execute(&wide).expect("a rule");
    assert!(apply(&mut client, Some("closed")));
    let log = server.log();
    assert_eq!(said(&server, &["WARNING", "gate shadowed", "closes rule \"harw\"", "asks for a password"]), 1, "{log}");
    assert!(log.contains("a smaller place"), "no mend: {log}");
}
