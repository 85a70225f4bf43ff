//! Probes of real sockets on loopback.

use std::net::Ipv4Addr;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::closed_port::closed_port;

/// How long anything that should happen soon may take on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

fn prober(allow: &str) -> Prober {
    Prober::new(allow.parse().unwrap(), SOON)
}

fn hasty() -> Prober {
    Prober::new(Allow::default(), Duration::from_millis(300))
}

fn now() -> Instant {
    Instant::now()
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn closed() -> (tokio::net::TcpSocket, u16) {
    let (socket, address) = closed_port();
    (socket, address.port())
}

fn port_of(host: &str, port: u16) -> Target {
    Target::Port { host: host.to_owned(), port }
}

fn not_yet(result: Result<(), Miss>) -> String {
    match result {
        Err(Miss::NotYet(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn refused(result: Result<(), Miss>) -> String {
    match result {
        Err(Miss::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Nobody has connected.
async fn untouched(listener: &TcpListener) -> bool {
    timeout(Duration::from_millis(50), listener.accept()).await.is_err()
}

/// A web server on one port that answers everybody with `answer` and tells the heads of the requests.
async fn web(answer: &'static str) -> (u16, mpsc::UnboundedReceiver<Vec<String>>, JoinHandle<()>) {
    let (listener, port) = listener().await;
    let (sender, heads) = mpsc::unbounded_channel();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = sender.send(serve(stream, answer).await);
        }
    });
    (port, heads, server)
}

async fn serve(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, answer: &str) -> Vec<String> {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_ascii_lowercase());
    }
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.flush().await;
    head
}

#[tokio::test]
async fn a_port_is_open_or_not() {
    let (_listener, open) = listener().await;
    prober("default").attempt(&port_of("127.0.0.1", open)).await.unwrap();
    prober("default").attempt(&port_of("localhost", open)).await.unwrap();
    let (_socket, closed) = closed();
    let why = not_yet(prober("default").attempt(&port_of("127.0.0.1", closed)).await);
    assert!(why.contains("refused"), "{why}");
}

#[tokio::test]
async fn a_port_that_opens_later_is_waited_for() {
    let (socket, port) = closed();
    let waiting = tokio::spawn(async move { prober("default").until(&port_of("127.0.0.1", port), now() + SOON).await });
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(!waiting.is_finished());
    let _listener = socket.listen(8).unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn at_the_deadline_the_last_reason_is_told() {
    let (_socket, port) = closed();
    let (begun, wait) = (now(), Duration::from_millis(400));
    let why = not_yet(prober("default").until(&port_of("127.0.0.1", port), begun + wait).await);
    assert!(why.contains("refused"), "{why}");
    assert!(begun.elapsed() >= wait, "{:?}", begun.elapsed());
    // A deadline that has passed still leaves one try, whose answer counts.
    let (_listener, open) = listener().await;
    prober("default").until(&port_of("127.0.0.1", open), begun).await.unwrap();
    not_yet(prober("default").until(&port_of("127.0.0.1", port), begun).await);
}

#[tokio::test]
async fn one_who_accepts_and_never_answers_costs_one_try() {
    let (listener, port) = listener().await;
    let address = format!("127.0.0.1:{port}");
    for url in [format!("http://{address}/"), format!("https://{address}/"), format!("postgres://u@{address}/x")] {
        let begun = now();
        let why = not_yet(hasty().attempt(&Target::parse(&url).unwrap()).await);
        assert!(why.contains("no answer within"), "{url}: {why}");
        assert!(begun.elapsed() < SOON, "{url}: {:?}", begun.elapsed());
    }
    // The deadline of the whole comes before the end of a long try.
    let begun = now();
    let target = Target::parse(&format!("http://{address}/")).unwrap();
    not_yet(prober("default").until(&target, begun + Duration::from_millis(200)).await);
    assert!(begun.elapsed() < SOON / 2, "{:?}", begun.elapsed());
    drop(listener);
}

#[tokio::test]
async fn a_web_page_is_there_when_it_is_answered_with_2xx() {
    for (answer, wanted) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", None),
        ("HTTP/1.1 204 No Content\r\n\r\n", None),
        ("HTTP/1.0 200 OK\r\n\r\nto the end", None),
        // A body that never comes is not waited for.
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", None),
        ("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n", Some("302")),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Some("404")),
        ("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n", Some("500")),
        ("SSH-2.0-OpenSSH\r\n", Some("no HTTP answer")),
        ("", Some("no HTTP answer")),
    ] {
        let (port, _heads, server) = web(answer).await;
        let target = Target::http(&format!("http://127.0.0.1:{port}/ready")).unwrap();
        match (prober("default").attempt(&target).await, wanted) {
            (Ok(()), None) => {}
            (Err(Miss::NotYet(why)), Some(wanted)) => assert!(why.contains(wanted), "{answer}: {why}"),
            other => panic!("{answer}: {other:?}"),
        }
        server.abort();
    }
}

#[tokio::test]
async fn the_request_is_what_the_url_says() {
    let (port, mut heads, server) = web("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let target = Target::http(&format!("http://localhost:{port}/a%20b/c?x=1&y=%2F#part")).unwrap();
    prober("default").attempt(&target).await.unwrap();
    let head = heads.recv().await.unwrap();
    assert_eq!(head[0], "get /a%20b/c?x=1&y=%2f http/1.1");
    assert!(head.contains(&format!("host: localhost:{port}")), "{head:?}");
    assert!(head.iter().any(|line| line.starts_with("user-agent: goahead/")), "{head:?}");
    server.abort();
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_carry_the_name() {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from_pem_slice(pair.cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.signing_key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let trusting = Prober::with_tls(Allow::default(), SOON, Tls::trusting(roots));
    let by = |host: &str| Target::http(&format!("https://{host}:{port}/")).unwrap();
    trusting.attempt(&by("localhost")).await.unwrap();
    let why = not_yet(trusting.attempt(&by("127.0.0.1")).await);
    assert!(why.contains("TLS"), "{why}");
    let stranger = Prober::with_tls(Allow::default(), SOON, Tls::trusting(rustls::RootCertStore::empty()));
    let why = not_yet(stranger.attempt(&by("localhost")).await);
    assert!(why.contains("TLS"), "{why}");
    server.abort();
}

#[tokio::test]
async fn what_the_list_does_not_contain_is_refused_without_connecting() {
    let (listener, port) = listener().await;
    let elsewhere = prober("10.0.0.0/8");
    for url in [
        format!("tcp://127.0.0.1:{port}"),
        format!("tcp://localhost:{port}"),
        format!("tcp://[::ffff:127.0.0.1]:{port}"),
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("postgres://u@127.0.0.1:{port}/x"),
        format!("postgres://u@localhost:{port}/x"),
        format!("postgres://u@localhost:{port}/x?hostaddr=127.0.0.1"),
    ] {
        let target = Target::parse(&url).unwrap();
        let why = refused(elsewhere.attempt(&target).await);
        assert!(why.contains("--probe-allow"), "{url}: {why}");
        // At once, however long the deadline is.
        let begun = now();
        refused(elsewhere.until(&target, begun + 10 * SOON).await);
        assert!(begun.elapsed() < SOON, "{url}: {:?}", begun.elapsed());
    }
    assert!(untouched(&listener).await);
    refused(elsewhere.attempt(&Target::parse("postgres:///x?host=/var/run/postgresql").unwrap()).await);
}

#[tokio::test]
async fn public_addresses_are_refused_however_they_are_written() {
    // The C library reads the two last names as numbers: they are found without asking anybody.
    for host in ["8.8.8.8", "::ffff:8.8.8.8", "2001:4860:4860::8888", "134744072", "0x08080808"] {
        let why = refused(prober("default").attempt(&port_of(host, 53)).await);
        assert!(why.contains("8"), "{why}");
    }
}

#[tokio::test]
async fn link_local_is_refused_even_with_any() {
    for list in ["any", "169.254.0.0/16,::/0"] {
        for host in ["169.254.169.254", "[::ffff:169.254.1.1]", "[fe80::1]", "2852039166", "0xa9fea9fe"] {
            for target in [
                Target::host_and_port(host, "80").unwrap(),
                Target::http(&format!("http://{host}/latest/meta-data/")).unwrap(),
            ] {
                let why = refused(prober(list).attempt(&target).await);
                assert!(why.contains("link-local"), "{target}: {why}");
            }
        }
    }
}

#[tokio::test]
async fn the_operators_own_database_is_exempt() {
    let (_socket, port) = closed();
    let url = format!("postgres://u:p@127.0.0.1:{port}/{{{{.}}}}?sslmode=disable");
    let why = not_yet(prober("none").attempt(&Template::parse(&url).unwrap().for_database("x")).await);
    assert!(why.contains("refused"), "{why}");
    let (listener, port) = listener().await;
    let url = format!("postgres://u:p@127.0.0.1:{port}/{{{{.}}}}?sslmode=disable");
    // Its name is a parameter, so that this goes to the operator's host.
    let target = Template::parse(&url).unwrap().for_database("x?host=127.0.0.2");
    let hasty = hasty();
    let (result, accepted) = tokio::join!(hasty.attempt(&target), async {
        let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
        let mut startup = vec![0; 4];
        let mut stream = BufReader::new(stream);
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut startup).await.unwrap();
        let length = usize::try_from(u32::from_be_bytes(startup.try_into().unwrap())).unwrap();
        let mut rest = vec![0; length - 4];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut rest).await.unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    });
    not_yet(result);
    assert!(accepted.contains("database\0x?host=127.0.0.2\0"), "{accepted:?}");
    // An empty name would mean the user's own database.
    let empty = Template::parse(&url).unwrap().for_database("");
    assert!(matches!(hasty.attempt(&empty).await, Err(Miss::Wrong(_))));
}

#[tokio::test]
async fn a_file_is_there_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let target = Target::parse(&format!("file://{}/made", directory.path().display())).unwrap();
    not_yet(prober("none").attempt(&target).await);
    std::fs::create_dir(directory.path().join("made")).unwrap();
    prober("none").attempt(&target).await.unwrap();
}

#[test]
fn targets_are_read_from_urls() {
    for (url, shown) in [
        ("tcp://db:5432", "tcp://db:5432"),
        ("TCP://[::1]:80/", "tcp://[::1]:80"),
        ("http://h", "http://h/"),
        ("https://h:8443/a?b=c", "https://h:8443/a?b=c"),
        ("postgres://u:secret@h/x", "postgres://u@h:5432/x"),
        ("file:///tmp/a b", "file:///tmp/a b"),
    ] {
        assert_eq!(Target::parse(url).unwrap().to_string(), shown);
    }
    for (wrong, named) in [
        ("db:5432", "URL"),
        ("tcp://db", "host:port"),
        ("tcp://:80", "\"\""),
        ("tcp://db:0", "port"),
        ("tcp://db:65536", "port"),
        ("tcp://db:+80", "port"),
        ("tcp://::1:80", "host:port"),
        ("tcp://u@db:80", "host"),
        ("ftp://db", "ftp"),
        ("http://", "URL"),
        ("http://u:secret@h/", "password"),
        ("http://h:0/", "port"),
        ("http://h:99999/", "port"),
        ("postgres://h/x?sslmode=maybe", "sslmode=maybe"),
        ("file://relative", "file:///relative"),
    ] {
        let told = Target::parse(wrong).err().unwrap_or_else(|| panic!("{wrong} was accepted"));
        assert!(told.contains(named), "{wrong}: {told}");
        assert!(!told.contains("secret"), "{told}");
    }
}
