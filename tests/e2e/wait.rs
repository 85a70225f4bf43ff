//! `goahead wait` waits for ports, pages, databases and files, and becomes the command that needs them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Output};
use std::time::{Duration, Instant};

use goahead_tests::SOON;
use goahead_tests::command::{Running, code, errors, lines};
use goahead_tests::port::ClosedPort;
use goahead_tests::postgres::Postgres;

fn run(arguments: &[&str]) -> Output {
    start(arguments).finish()
}

fn start(arguments: &[&str]) -> Running {
    Running::start("wait", arguments, None)
}

/// A web server that answers request after request by `answer`, which is given the request line.
fn web(listener: TcpListener, answer: impl Fn(&str) -> String + Send + 'static) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().expect("dup"));
            let head: Vec<String> =
                reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let Some(request) = head.first() else { continue };
            let _ = (&stream).write_all(answer(request).as_bytes());
        }
    });
}

fn reply(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn everything_is_waited_for_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (closed, page) = (ClosedPort::new(), TcpListener::bind("127.0.0.1:0").expect("bind"));
    let ready = directory.path().join("ready");
    let healthy = directory.path().join("healthy");
    let url = format!("http://{}/health", page.local_addr().expect("an address"));
    web(page, move |_| if healthy.exists() { reply("200 OK", "") } else { reply("503 Service Unavailable", "") });
    let file = format!("file://{}", ready.display());
    let mut running = start(&[&closed.address.to_string(), &url, &file, "--timeout", "1m"]);
    running.assert_waits();
    let _listener = closed.listen();
    running.assert_waits();
    std::fs::write(directory.path().join("healthy"), "").expect("write");
    running.assert_waits();
    std::fs::write(&ready, "").expect("write");
    let output = running.finish();
    assert_eq!(code(&output), Some(0), "{}", errors(&output));
    // Not on a terminal there is nothing to say.
    assert_eq!((lines(&output).len(), errors(&output)), (0, String::new()));
}

#[test]
fn the_time_is_up_with_an_exit_code_of_its_own_and_a_reason_for_each() {
    let port = ClosedPort::new();
    let closed = format!("tcp://{}", port.address);
    let begun = Instant::now();
    let output = run(&[&closed, "file:///no/such/file", "--timeout", "1"]);
    assert_eq!(code(&output), Some(75), "{}", errors(&output));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    for named in [closed.as_str(), "file:///no/such/file", "refused", "no such file", "timed out"] {
        assert!(errors(&output).contains(named), "{named}: {}", errors(&output));
    }
    // Once is once.
    let output = run(&[&closed, "--timeout", "0s", "--quiet"]);
    assert_eq!((code(&output), errors(&output)), (Some(75), String::new()));
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let there = listener.local_addr().expect("an address").to_string();
    assert_eq!(code(&run(&[&there, "--timeout", "0s"])), Some(0));
    // One suffices, or all are needed.
    assert_eq!(code(&run(&[&closed, &there, "--timeout", "0s", "--any"])), Some(0));
    assert_eq!(code(&run(&[&closed, &there, "--timeout", "0s"])), Some(75));
    assert_eq!(code(&run(&[&closed, &closed, "--timeout", "0s", "--any"])), Some(75));
}

#[test]
fn what_is_wrong_with_the_command_line_is_told_without_its_passwords() {
    for (arguments, named) in [
        (&["mysql://u:secret@db/x"][..], "mysql"),
        (&["postgres://u:secret@db/x?sslmode=maybe"], "sslmode=maybe"),
        (&["http://u:secret@db/x"], "password"),
        (&["db:0"], "port"),
        (&["tcp://db:1", "--timeout", "soon"], "soon"),
        (&[], "TARGET"),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), Some(2), "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).contains(named), "{arguments:?}: {}", errors(&output));
        assert!(!errors(&output).contains("secret"), "{}", errors(&output));
    }
}

/// Carries connections from a port of loopback to the socket of a database server.
fn carry(server: &Postgres) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let socket = server.socket().join(".s.PGSQL.5432");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Ok(inner) = UnixStream::connect(&socket) else { continue };
            let (mut from, mut to) = (stream.try_clone().expect("dup"), inner.try_clone().expect("dup"));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
            std::thread::spawn(move || {
                let (mut inner, mut stream): (UnixStream, TcpStream) = (inner, stream);
                let _ = std::io::copy(&mut inner, &mut stream);
                let _ = stream.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    port
}

#[test]
fn a_database_is_there_when_it_answers() {
    let server = Postgres::start();
    let port = carry(&server);
    let by_port = format!("postgres://postgres:secret@127.0.0.1:{port}/postgres?sslmode=disable");
    for url in [server.url("postgres", "postgres"), by_port.clone(), by_port.replace("disable", "prefer")] {
        let output = run(&[&url, "--timeout", "0s"]);
        assert_eq!(code(&output), Some(0), "{url}: {}", errors(&output));
    }
    let later = by_port.replace("/postgres?", "/later?");
    let output = run(&[&later, "--timeout", "0s"]);
    assert_eq!(code(&output), Some(75), "{}", errors(&output));
    assert!(errors(&output).contains("\"later\" does not exist"), "{}", errors(&output));
    assert!(!errors(&output).contains("secret"), "{}", errors(&output));
    let mut running = start(&[&later, "--timeout", "1m"]);
    running.assert_waits();
    server.connect("postgres").batch_execute("CREATE DATABASE later").expect("create database");
    let output = running.finish();
    assert_eq!(code(&output), Some(0), "{}", errors(&output));
    // What a primary is wanted for, a server that refuses writes is not ready for.
    let writing = format!("{by_port}&target_session_attrs=read-write");
    assert_eq!(code(&run(&[&writing, "--timeout", "0s"])), Some(0));
    server
        .connect("postgres")
        .batch_execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        .expect("alter");
    let output = run(&[&writing, "--timeout", "0s"]);
    assert_eq!(code(&output), Some(75), "{}", errors(&output));
}

#[test]
fn the_wait_becomes_the_command() {
    let file = "file:///";
    // The same process, with the arguments as they are and no shell of ours.
    let running =
        start(&[file, "--", "sh", "-c", "echo $$; printf '%s\\n' \"$@\"; exit 7", "x", "a b", "$HOME;*", "--any"]);
    let pid = running.pid();
    let output = running.finish();
    assert_eq!(code(&output), Some(7));
    assert_eq!(lines(&output), [pid.to_string().as_str(), "a b", "$HOME;*", "--any"]);
    // Its signals are its own, and mean what they mean by default.
    let output = run(&[file, "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!((output.status.signal(), code(&output)), (Some(15), None));
    let output = run(&[file, "--", "sh", "-c", "kill -PIPE $$; echo ignored"]);
    assert_eq!(output.status.signal(), Some(13), "{}", lines(&output).join(" "));
    // What cannot be run has the codes that shells and env(1) use.
    assert_eq!(code(&run(&[file, "--", "no-such-command-anywhere"])), Some(127));
    let directory = tempfile::tempdir().expect("a directory");
    let plain: PathBuf = directory.path().join("plain");
    std::fs::write(&plain, "text").expect("write");
    std::fs::set_permissions(&plain, PermissionsExt::from_mode(0o644)).expect("chmod");
    let output = run(&[file, "--", plain.to_str().expect("UTF-8")]);
    assert_eq!(code(&output), Some(126), "{}", errors(&output));
    // Nothing is run for a target that is not there.
    let output = run(&["file:///no/such/file", "--timeout", "0s", "--", "echo", "run"]);
    assert_eq!((code(&output), lines(&output).len()), (Some(75), 0));
}

#[test]
fn a_wait_is_ended_by_a_signal_like_any_process() {
    let mut running = start(&["file:///no/such/file", "--timeout", "forever"]);
    running.assert_waits();
    goahead_tests::process::signal_pid(running.pid(), rustix::process::Signal::TERM);
    let status: ExitStatus = running.finish().status;
    assert_eq!(status.signal(), Some(15));
}

/// What web-rendezvous itself answers is understood: it has no payloads, no `?timeout=`, and comes up when it likes.
#[test]
fn a_key_is_waited_for_at_a_service_that_comes_up_later() {
    let closed = ClosedPort::new();
    let url = closed.url();
    let mut running = start(&["/a key", "--rendezvous-url", &url, "--timeout", "1m"]);
    running.assert_waits();
    let directory = tempfile::tempdir().expect("a directory");
    let marked = directory.path().join("marked");
    let mark = marked.clone();
    web(closed.listen(), move |request| {
        assert!(request.starts_with("GET /a%20key?timeout="), "{request}");
        match mark.exists() {
            true => reply("200 OK", "{\"ok\":true}"),
            false => reply("404 Not Found", "{\"ok\":false,\"error\":\"Timeout\"}"),
        }
    });
    running.assert_waits();
    std::fs::write(&marked, "").expect("write");
    let output = running.finish();
    assert_eq!((code(&output), lines(&output).len()), (Some(0), 0), "{}", errors(&output));
}

#[test]
fn what_can_never_be_there_ends_the_wait_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    web(listener, |request| match request {
        request if request.contains("/refused") => {
            reply("403 Forbidden", "{\"ok\":false,\"error\":\"see --probe-allow\"}")
        }
        _ => reply("200 OK", "<html>another program</html>"),
    });
    for (key, named) in [("refused", "--probe-allow"), ("x", "--rendezvous-url")] {
        let begun = Instant::now();
        let output = run(&[key, "file:///no/such/file", "--rendezvous-url", &url, "--timeout", "10m"]);
        assert_eq!(code(&output), Some(1), "{}", errors(&output));
        assert!(errors(&output).contains(named), "{}", errors(&output));
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
    // Another target may still come where one suffices.
    assert_eq!(code(&run(&["refused", "file:///", "--rendezvous-url", &url, "--any"])), Some(0));
    let output = run(&["x", "--rendezvous-url", "not a url"]);
    assert_eq!(code(&output), Some(1), "{}", errors(&output));
}
