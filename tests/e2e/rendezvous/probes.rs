//! Probes: what they find, what they may not be used for.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use goahead_tests::wire;
use goahead_tests::{SOON, eventually};

use super::{lists, ok};

#[test]
fn targets_outside_of_the_allow_list_are_refused_at_once() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    for path in [
        "/_port/8.8.8.8/53",
        "/_port/169.254.169.254/80",
        "/_port/::ffff:169.254.169.254/80",
        "/_http/169.254.169.254/latest/meta-data",
        "/_http/8.8.8.8/",
    ] {
        let start = Instant::now();
        let reply = service.rendezvous.get(path);
        assert_eq!(reply.status, 403, "{path}: {}", reply.body);
        assert!(
            reply.body.starts_with(r#"{"ok":false,"error":"#) && reply.body.contains("--probe-allow"),
            "{}",
            reply.body
        );
        assert!(start.elapsed() < Duration::from_secs(5), "{path}: {:?}", start.elapsed());
    }
    eventually("what was refused is not listed", SOON, || {
        (lists(&service.rendezvous) == (Vec::new(), Vec::new())).then_some(())
    });

    let none = Setup::over(&database).flag("--probe-allow", "none").start();
    assert_eq!(none.rendezvous.get("/_port/127.0.0.1/1").status, 403);
    let any = Setup::over(&database).flag("--probe-allow", "any").start();
    assert_eq!(any.rendezvous.get("/_port/169.254.169.254/80").status, 403, "link-local never");
}

#[test]
fn the_name_of_a_database_stays_a_name() {
    let server = Postgres::start();
    let database = server.database("fleet");
    for name in ["x?host=evil", ".."] {
        server.connect("postgres").batch_execute(&format!("CREATE DATABASE \"{name}\"")).expect("a database");
    }
    let template = format!("postgres:///{{{{.}}}}?host={}&user=postgres", server.socket().display());
    // The operator's own server is exempt from the list.
    let service = Setup::over(&database).flag("--postgres-url", template).flag("--probe-allow", "none").start();
    for path in ["/_postgres/x%3Fhost=evil", "/_postgres/..", "/_postgres/fleet"] {
        let (status, body) =
            wire::send(&service.rendezvous_url, &format!("GET {path}")).answer(SOON).expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
    }
    assert_eq!(service.rendezvous.get("/_postgres/y%3Fdbname=fleet?timeout=0.5").status, 404);

    let without = Setup::over(&database).start();
    let told = without.rendezvous.get("/_postgres/fleet");
    assert!(told.status == 404 && told.body.contains("--postgres-url"), "{}", told.body);
    for (template, told) in [
        ("postgres://u:secret@db/{{.}}?sslmode=verify-ca", "sslmode=verify-ca"),
        ("postgres://u:secret@db/{{.}}?krbsrvname=x", "krbsrvname"),
    ] {
        let output = Setup::over(&database).flag("--postgres-url", template).output();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(told) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn a_web_page_is_waited_for_until_it_answers_well() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let path = format!("/_http/{}/ready%3Fdeep=1", web.local_addr().expect("an address"));
    let waiter = wire::send(&service.rendezvous_url, &format!("GET {path}?timeout=30"));
    let mut targets = Vec::new();
    for answer in ["503 Service Unavailable", "302 Found", "200 OK"] {
        let (mut stream, _) = web.accept().expect("a probe");
        let mut head = [0; 4096];
        let length = stream.read(&mut head).expect("a request");
        let text = String::from_utf8_lossy(&head[..length]).into_owned();
        targets.push(text.split(' ').nth(1).unwrap_or_default().to_owned());
        assert!(!waiter.is_answered(), "before {answer}");
        write!(stream, "HTTP/1.1 {answer}\r\nLocation: /other\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .expect("an answer");
    }
    ok(waiter);
    assert_eq!(targets, ["/ready%3Fdeep=1"; 3], "redirects are not followed");
}

#[test]
fn many_who_ask_for_one_target_share_its_probe() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let path = format!("/_port/127.0.0.1/{}", address.port());
    let waiters: Vec<_> =
        (0..50).map(|_| wire::send(&service.rendezvous_url, &format!("GET {path}?timeout=60"))).collect();
    let waiting = || service.admin.get("/metrics").body.contains("goahead_rendezvous_waiting 50");
    eventually("all wait", SOON, || waiting().then_some(()));
    let open = TcpListener::bind(address).expect("the port is free again");
    waiters.into_iter().for_each(|waiter| drop(ok(waiter)));
    open.set_nonblocking(true).expect("a socket");
    let tries = std::iter::from_fn(|| open.accept().ok()).count();
    assert_eq!(tries, 1);

    drop(open);
    let again = service.rendezvous.get(&format!("{path}?timeout=0.3"));
    assert_eq!(again.status, 404, "that it was open once says nothing about now");
}
