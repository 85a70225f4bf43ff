//! Somebody means harm, or behaves as if: a role of the database, callers that say nothing, another gate.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use goahead_tests::bed::Plan;
use goahead_tests::bed::gate::LEASE;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::tls::Authority;
use goahead_tests::{SOON, eventually};
use rustix::process::Signal;

use super::{gated, gated_with, settle};

/// More than a listener has room for.
const MANY: usize = 400;

#[test]
fn who_may_create_objects_gets_no_rights_of_the_gate() {
    let bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let node = bed.node("node1");
    // As every role could until PostgreSQL 15. An operator for exactly these types comes before one that needs a cast,
    // whatever schema is first in the search path.
    node.sql("CREATE ROLE plain LOGIN; GRANT CREATE ON SCHEMA public TO plain");
    node.sql(
        "SET SESSION AUTHORIZATION plain;
         CREATE FUNCTION public.mine(numeric, int) RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN
             EXECUTE 'ALTER ROLE plain SUPERUSER'; RETURN $1 OPERATOR(pg_catalog.*) $2::numeric; END $$;
         CREATE OPERATOR public.* (LEFTARG = numeric, RIGHTARG = int, FUNCTION = public.mine);
         CREATE FUNCTION public.jsonb_agg(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
             EXECUTE 'ALTER ROLE plain SUPERUSER'; RETURN '[]'; END $$",
    );
    bed.assert_stays_open("node1", Door::Check, Traffic::ReadWrite, Duration::from_secs(2));
    assert_eq!(node.value("SELECT rolsuper::text FROM pg_roles WHERE rolname = 'plain'"), "false");
    settle(&bed);
}

/// Connections that say `words` and then nothing, held until they are dropped.
fn hold(to: SocketAddrV4, words: &[u8]) -> Vec<TcpStream> {
    let open = || {
        let mut stream = TcpStream::connect_timeout(&to.into(), Duration::from_secs(5)).ok()?;
        stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let _ = stream.write_all(words);
        Some(stream)
    };
    (0..MANY).filter_map(|_| open()).collect()
}

#[test]
fn callers_that_say_nothing_keep_nobody_out() {
    let bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let slow_body: &[u8] = b"POST /v1/gate/ask HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{";
    let greedy = b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    let mut held = Vec::new();
    for node in &bed.nodes {
        let at = |port| SocketAddrV4::new(node.address, port);
        held.extend(hold(at(node.ports.peer), slow_body));
        if !node.witness {
            held.extend(hold(at(node.ports.health), b"GET /primary HTTP/1.1\r\nHo"));
            held.extend(hold(at(node.ports.health), &greedy));
            held.extend(hold(at(node.ports.agent), b""));
        }
    }
    assert!(held.len() > 8 * MANY, "{} connections", held.len());
    for door in [Door::Check, Door::Http] {
        bed.assert_stays_open("node1", door, Traffic::ReadWrite, 2 * LEASE);
    }
    let node = bed.node("node1");
    let mut agent = TcpStream::connect(SocketAddrV4::new(node.address, node.ports.agent)).expect("the agent listens");
    agent.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut word = String::new();
    agent.write_all(b"rw\n").and_then(|()| agent.read_to_string(&mut word).map(drop)).expect("the agent answers");
    assert_eq!(word, "up\n");
    drop(held);
    bed.assert_one_writer();
}

#[test]
fn losing_the_majority_is_logged_and_audited_with_its_reasons() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let others: Vec<String> = bed.nodes[1..].iter().map(|node| node.name.clone()).collect();
    let audit = bed.node("node1").path("g").join("audit.jsonl");
    // Several times: when in a round the last vote ends is a matter of chance.
    for time in 1..=3 {
        let begun = Instant::now();
        others.iter().for_each(|name| bed.gate(name).signal(Signal::STOP));
        bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, begun);
        eventually("the log has the reason", SOON, || {
            let log = bed.gate("node1").log();
            (log.matches("read-write closed: only 1 of").count() >= time).then_some(())
        });
        let lines = std::fs::read_to_string(&audit).expect("the audit");
        assert!(lines.lines().last().is_some_and(|line| line.contains("no_majority")), "{lines}");
        others.iter().for_each(|name| bed.gate(name).signal(Signal::CONT));
        settle(&bed);
    }
    bed.gate_mut("node1").stop();
    bed.assert_one_writer();
}

#[test]
fn certificates_are_read_again_on_sighup_and_bad_ones_change_nothing() {
    let old = Authority::new();
    let new = Authority::new();
    let shared = goahead_tests::directory(goahead_tests::process::User::postgres());
    let (ca, cert, key) = (shared.path().join("ca"), shared.path().join("crt"), shared.path().join("key"));
    let lay = |authority: &Authority, also: &str, bed: &[String]| {
        let addresses: Vec<&str> = bed.iter().map(String::as_str).collect();
        let pair = authority.sign(&addresses);
        let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("a file");
        for (path, text) in [(&ca, authority.pem() + also), (&cert, read(&pair.certificate)), (&key, read(&pair.key))] {
            std::fs::write(path, text).expect("write");
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("chmod");
        }
    };
    let tls = format!(
        "tls: {{ca: {ca}, cert: {cert}, key: {key}, client_ca: {ca}}}\n",
        ca = ca.display(),
        cert = cert.display(),
        key = key.display()
    );
    // The addresses of a bed are not known before it is built, so the first configuration signs for them all.
    let addresses = std::cell::RefCell::new(Vec::new());
    let bed = gated_with(Plan { repmgrd: false, ..Plan::default() }, |text| {
        let mut known = addresses.borrow_mut();
        if known.is_empty() {
            let found =
                text.lines().filter_map(|line| line.split_once("address: \"").or(line.split_once("peer_listen: ")));
            known.extend(found.map(|(_, rest)| rest.split(':').next().unwrap_or_default().to_owned()));
            lay(&old, "", &known);
        }
        text + &tls
    });
    let quiet = bed.gate("node1").log().len();
    std::fs::write(&key, "no key").expect("write");
    let all = || bed.nodes.iter().filter_map(|node| node.gate.as_ref());
    all().for_each(|gate| gate.signal(Signal::HUP));
    eventually("they say what is wrong", SOON, || {
        all().all(|gate| gate.log().contains("the certificates stay as they were")).then_some(())
    });
    // Both authorities are believed while the certificates change one after another, here in two steps.
    lay(&old, &new.pem(), &addresses.borrow());
    all().for_each(|gate| gate.signal(Signal::HUP));
    let read_again = |times: usize| {
        eventually("they are read again", SOON, || {
            all().all(|gate| gate.log().matches("read the certificates again").count() >= times).then_some(())
        });
    };
    read_again(1);
    lay(&new, &old.pem(), &addresses.borrow());
    all().for_each(|gate| gate.signal(Signal::HUP));
    read_again(2);
    lay(&new, "", &addresses.borrow());
    all().for_each(|gate| gate.signal(Signal::HUP));
    read_again(3);
    settle(&bed);
    assert!(!bed.gate("node1").log()[quiet..].contains("read-write closed"), "{}", bed.gate("node1").log());
    bed.assert_one_writer();
}
