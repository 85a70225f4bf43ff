//! `goahead signal` marks keys, and `goahead wait` sees them, over a real service.

use std::net::TcpListener;
use std::process::Output;
use std::time::Instant;

use goahead_tests::command::{Running, code, errors, lines};
use goahead_tests::postgres::Postgres;
use goahead_tests::service::{Service, Setup};
use goahead_tests::{SOON, eventually};

/// The commands, over the service of a test.
struct Commands<'a>(&'a Service);

impl Commands<'_> {
    fn start(&self, command: &str, arguments: &[&str], input: Option<&[u8]>) -> Running {
        let arguments = [&["--rendezvous-url", &self.0.rendezvous_url], arguments].concat();
        Running::start(command, &arguments, input)
    }

    fn wait(&self, arguments: &[&str]) -> Output {
        self.start("wait", arguments, None).finish()
    }

    /// A signal that must succeed, and say nothing.
    fn signal(&self, arguments: &[&str], input: Option<&[u8]>) {
        let output = self.start("signal", arguments, input).finish();
        assert_eq!((code(&output), errors(&output), lines(&output).len()), (Some(0), String::new(), 0));
    }

    /// Whether somebody waits for a key, as the service lists them.
    fn waits_for(&self, path: &str) -> bool {
        self.0.rendezvous.get("/").json()["waiting_and_failed"]
            .as_array()
            .is_some_and(|keys| keys.iter().any(|key| key == path))
    }
}

#[test]
fn a_waiter_gets_the_payload_of_the_signal() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let commands = Commands(&service);
    let waiting = commands.start("wait", &["leader/of the \u{e9}quipe", "/plain", "--timeout", "1m"], None);
    eventually("both keys are waited for", SOON, || {
        (commands.waits_for("/leader/of the \u{e9}quipe") && commands.waits_for("/plain")).then_some(())
    });
    commands.signal(&["plain"], None);
    commands.signal(&["leader/of the \u{e9}quipe", "--payload", "{\"address\": \"10.0.0.7\"}"], None);
    let output = waiting.finish();
    assert_eq!((code(&output), errors(&output)), (Some(0), String::new()));
    let payload: serde_json::Value = serde_json::from_str(&lines(&output).join("\n")).expect("one payload");
    assert_eq!(payload, serde_json::json!({"address": "10.0.0.7"}));
    // Text is a JSON string, from standard input too; with a command nothing is printed.
    commands.signal(&["text", "--payload", "-"], Some(b"any text: {\n"));
    assert_eq!(lines(&commands.wait(&["text", "--timeout", "0s"])), ["\"any text: {\""]);
    let output = commands.wait(&["text", "--timeout", "0s", "--", "sh", "-c", "echo ran; exit 9"]);
    assert_eq!((code(&output), lines(&output)), (Some(9), vec!["ran".to_owned()]));
}

#[test]
fn a_mark_ends_by_reset_and_by_its_time() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let commands = Commands(&service);
    let once = |key: &str| code(&commands.wait(&[key, "--timeout", "0s"]));
    assert_eq!(once("a"), Some(75));
    commands.signal(&["a"], None);
    assert_eq!(once("a"), Some(0));
    commands.signal(&["a", "--reset"], None);
    assert_eq!(once("a"), Some(75));
    commands.signal(&["a", "--reset"], None);
    commands.signal(&["b", "--ttl", "1s"], None);
    eventually("the mark ends", SOON, || (once("b") == Some(75)).then_some(()));
    // The time that was waited for is the one that was asked for.
    let begun = Instant::now();
    let output = commands.wait(&["a", "--timeout", "1.5s"]);
    assert_eq!(code(&output), Some(75), "{}", errors(&output));
    assert!(errors(&output).contains("key a: not marked yet"), "{}", errors(&output));
    assert!(begun.elapsed().as_millis() >= 1500 && begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn what_the_service_refuses_ends_at_once_with_its_words() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let commands = Commands(&service);
    let begun = Instant::now();
    for (key, named) in [
        ("/_reserved", "reserved"),
        ("/_port/8.8.8.8/53", "--probe-allow"),
        ("/_port/169.254.1.1/80", "link-local"),
        ("/_http/[::ffff:169.254.1.1]/", "link-local"),
    ] {
        let output = commands.wait(&[key, "--timeout", "10m"]);
        assert_eq!(code(&output), Some(1), "{key}: {}", errors(&output));
        assert!(errors(&output).contains(named), "{key}: {}", errors(&output));
    }
    for (arguments, wanted, named) in [
        (&["_x"][..], 1, "reserved"),
        (&["x", "--payload", &"x".repeat(70_000)], 1, "64 KiB"),
        (&[""], 2, "key"),
        (&["x", "--reset", "--ttl", "1s"], 2, "--ttl"),
    ] {
        let output = commands.start("signal", arguments, None).finish();
        assert_eq!(code(&output), Some(wanted), "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).contains(named), "{arguments:?}: {}", errors(&output));
    }
    assert!(begun.elapsed() < 2 * SOON, "{:?}", begun.elapsed());
    // Nothing of it was marked; what the service may probe is one more kind of key.
    assert_eq!(service.rendezvous.get("/").json()["marked"], serde_json::json!([]));
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let output = commands.wait(&[&format!("/_port/localhost/{port}"), "--timeout", "30s"]);
    assert_eq!(code(&output), Some(0), "{}", errors(&output));
}

#[test]
fn a_signal_is_tried_until_the_service_is_there() {
    let free = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address");
    let url = format!("http://{free}");
    let output = Running::start("signal", &["a", "--rendezvous-url", &url, "--timeout", "1s"], None).finish();
    assert_eq!(code(&output), Some(1), "{}", errors(&output));
    assert!(errors(&output).contains("refused"), "{}", errors(&output));
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let mut trying = Running::start("signal", &["a", "--rendezvous-url", &url], None);
    trying.assert_waits();
    // The service behind an address that comes up later.
    let inner = service.rendezvous_url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind(free).expect("bind");
    let carrier = std::thread::spawn(move || {
        let (mut outer, _) = listener.accept().expect("accept");
        let mut inner = std::net::TcpStream::connect(inner).expect("connect");
        let (mut back, mut to) = (inner.try_clone().expect("dup"), outer.try_clone().expect("dup"));
        std::thread::spawn(move || std::io::copy(&mut back, &mut to));
        let _ = std::io::copy(&mut outer, &mut inner);
    });
    let output = trying.finish();
    assert_eq!(code(&output), Some(0), "{}", errors(&output));
    carrier.join().expect("carried");
    assert_eq!(service.rendezvous.get("/").json()["marked"], serde_json::json!(["/a"]));
}
