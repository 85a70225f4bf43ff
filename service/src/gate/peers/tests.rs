//! Gates that ask each other over real sockets: what answers, and what does not.

use std::time::Instant;

use goahead_rules::gate::{self, Ack, Report, Round, Want};
use prometheus::IntGauge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::peer_server::{self, Newest, PeerServer};
use super::super::voting::Voting;
use super::super::{Counters, clock};
use super::*;
use crate::closed_port::closed_port;
use crate::listener::{Listener, Protocol};

const LIMIT: Duration = Duration::from_secs(20);

fn peer(name: &str, address: SocketAddr) -> Peer {
    Peer { name: Some(name.to_owned()), host: address.ip().to_string(), port: address.port(), witness: false }
}

/// Settings of a node of three, whose peers are at these addresses.
fn settings(node: &str, peers: &[(&str, SocketAddr)]) -> Settings {
    let mut settings = Settings::for_tests(node);
    settings.peers = peers.iter().map(|(name, address)| peer(name, *address)).collect();
    settings
}

/// A gate named b that knows a and c; where it listens, and what it counts. It ends with the sender.
async fn gate_b(
    change: impl FnOnce(&mut Settings),
    secret: Option<&str>,
) -> (SocketAddr, Arc<Counters>, watch::Sender<bool>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut settings = settings("b", &[("a", "127.0.0.1:1".parse().unwrap()), ("c", "127.0.0.9:1".parse().unwrap())]);
    change(&mut settings);
    let addresses = Arc::new(Addresses::of(&settings.peers).await);
    let counters: Arc<Counters> = Arc::default();
    let server = PeerServer {
        voting: Arc::new(Voting::new(settings.rules())),
        settings: Arc::new(settings),
        secret: secret.map(Secret::of),
        addresses,
        counters: counters.clone(),
        recorder: None,
        newest: Newest::default(),
    };
    let (stop, stopping) = watch::channel(false);
    let connections = IntGauge::new("connections", "Open.").unwrap();
    let listener = Listener { socket, tls: None, limit: 8, protocol: Protocol::Any, connections };
    tokio::spawn(listener.run(peer_server::router(Arc::new(server)), stopping));
    (address, counters, stop)
}

/// The asker of a gate named a whose peer b is at `address`, called from `source`.
async fn asker(address: SocketAddr, source: Option<&str>, secret: Option<&str>) -> (Asker, Settings) {
    let mut settings = settings("a", &[("b", address), ("c", "127.0.0.9:1".parse().unwrap())]);
    settings.peer_listen = source.map(|source| SocketAddr::new(source.parse().unwrap(), 1));
    let addresses = Arc::new(Addresses::of(&settings.peers).await);
    (Asker::new(&settings, secret.map(Secret::of), addresses).unwrap(), settings)
}

fn ask(settings: &Settings, number: u64) -> Ask {
    let round = Round { boot_id: "boot".into(), incarnation: 7, number, asked: clock::now() };
    let report = Report { facts: None, rw: gate::RwDoor::Unknown, ro_open: false, operator_open: false };
    round.ask(&settings.rules(), "b", Want::Ack, report)
}

fn failed(result: Result<Answer, Silence>) -> String {
    match result {
        Err(Silence::Failed(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_is_of_the_round_that_asked() {
    let (address, _, _stop) = gate_b(|_| {}, None).await;
    let (asker, settings) = asker(address, Some("127.0.0.1"), None).await;
    for number in [1, 2, 2] {
        let answer = asker.ask(&settings.peers[0], &ask(&settings, number), LIMIT).await.unwrap();
        assert_eq!((answer.from.as_str(), answer.incarnation, answer.round), ("b", 7, number));
        // It has just started, and may have forgotten an ack.
        assert!(matches!(answer.vote.ack, Ack::Refused { .. }));
    }
}

#[tokio::test]
async fn only_a_peer_s_own_address_may_ask() {
    let (address, counters, _stop) = gate_b(|_| {}, None).await;
    let (stranger, settings) = asker(address, Some("127.0.0.5"), None).await;
    let why = failed(stranger.ask(&settings.peers[0], &ask(&settings, 1), LIMIT).await);
    assert!(why.contains("403") && why.contains("verify_source"), "{why}");
    // An address of another peer does not do either.
    let (other, _) = asker(address, Some("127.0.0.9"), None).await;
    assert!(failed(other.ask(&settings.peers[0], &ask(&settings, 1), LIMIT).await).contains("403"));
    assert_eq!(counters.refused.load(std::sync::atomic::Ordering::Relaxed), 2);
    let (address, _, _stop) = gate_b(|settings| settings.trust.verify_source = false, None).await;
    let (stranger, settings) = asker(address, Some("127.0.0.5"), None).await;
    assert!(stranger.ask(&settings.peers[0], &ask(&settings, 1), LIMIT).await.is_ok());
    // But nobody speaks for who is no peer at all.
    let mut nobody = ask(&settings, 1);
    nobody.from = "x".to_owned();
    assert!(failed(stranger.ask(&settings.peers[0], &nobody, LIMIT).await).contains("no peer"));
}

#[tokio::test]
async fn a_secret_is_asked_for_and_shown() {
    let (ours, theirs) = ("a secret of some length", "another secret of length");
    let (address, _, _stop) = gate_b(|_| {}, Some(ours)).await;
    let (good, settings) = asker(address, Some("127.0.0.1"), Some(ours)).await;
    assert!(good.ask(&settings.peers[0], &ask(&settings, 2), LIMIT).await.is_ok());
    // Played again, it is not answered again.
    for number in [2, 1] {
        assert!(failed(good.ask(&settings.peers[0], &ask(&settings, number), LIMIT).await).contains("409"));
    }
    for secret in [None, Some(theirs)] {
        let (bad, _) = asker(address, Some("127.0.0.1"), secret).await;
        let why = failed(bad.ask(&settings.peers[0], &ask(&settings, 3), LIMIT).await);
        assert!(why.contains("401") && !why.contains(ours), "{why}");
    }
    // A gate that does not know the secret cannot answer either.
    let (address, _, _stop) = gate_b(|_| {}, None).await;
    let (good, settings) = asker(address, Some("127.0.0.1"), Some(ours)).await;
    assert!(failed(good.ask(&settings.peers[0], &ask(&settings, 1), LIMIT).await).contains("not signed"));
}

#[tokio::test]
async fn an_audit_is_taken_from_who_knows_the_secret_alone() {
    let ours = "a secret of some length";
    let (address, counters, _stop) = gate_b(|_| {}, Some(ours)).await;
    let send = async |source, secret, body: &[u8]| {
        let (asker, settings) = asker(address, Some(source), secret).await;
        let sent = asker.post(&settings.peers[0], AUDIT, body.to_vec(), LIMIT).await;
        sent.map_or_else(|why| format!("{why:?}"), |_| "taken".to_owned())
    };
    // There is no database behind it: that is as far as an entry can come.
    assert!(send("127.0.0.1", Some(ours), b"{}").await.contains("501"));
    for secret in [None, Some("another secret of length")] {
        let why = send("127.0.0.1", secret, b"{}").await;
        assert!(why.contains("401") && !why.contains(ours), "{why}");
    }
    assert!(send("127.0.0.5", Some(ours), b"{}").await.contains("403"));
    assert!(send("127.0.0.1", Some(ours), b"[]").await.contains("400"));
    assert_eq!(counters.refused.load(std::sync::atomic::Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_peer_that_is_silent_or_slow_costs_its_deadline_and_no_more() {
    let limit = Duration::from_millis(300);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    // Accepts, and says a byte now and then.
    let slow = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = socket.accept().await {
            kept.push(tokio::spawn(async move {
                while stream.write_all(b"H").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }));
        }
    });
    let (asker, settings) = asker(address, None, None).await;
    let began = Instant::now();
    let slow_answer = asker.ask(&settings.peers[0], &ask(&settings, 1), limit).await;
    assert!(slow_answer.is_err());
    slow.abort();
    // In the backlog: connected, and never accepted.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_peer = peer("b", silent.local_addr().unwrap());
    let why = failed(asker.ask(&silent_peer, &ask(&settings, 1), limit).await);
    assert!(why.contains("no answer within 300ms"), "{why}");
    assert!(began.elapsed() < LIMIT, "bounded at all");
}

#[tokio::test]
async fn too_long_is_refused_on_both_sides() {
    let (address, _, _stop) = gate_b(|_| {}, None).await;
    let (asker, settings) = asker(address, Some("127.0.0.1"), None).await;
    let body = vec![b' '; LONGEST + 1];
    let why = asker.post(&settings.peers[0], ASK, body, LIMIT).await.unwrap_err();
    assert!(matches!(&why, Silence::Failed(why) if why.contains("413")), "{why:?}");
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flood = peer("b", socket.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
        while stream.write_all(&[b' '; 8192]).await.is_ok() {}
    });
    let why = failed(asker.ask(&flood, &ask(&settings, 1), LIMIT).await);
    assert!(why.contains("too long"), "{why}");
}

#[tokio::test]
async fn what_speaks_something_else_is_told_from_what_fails() {
    for answer in ["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "\0\0\0\x04\0\0\0\0\0", ""] {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = peer("b", socket.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = socket.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let (asker, settings) = asker("127.0.0.1:1".parse().unwrap(), None, None).await;
        let why = asker.ask(&other, &ask(&settings, 1), LIMIT).await.unwrap_err();
        assert!(matches!(why, Silence::Foreign(_)), "{answer:?}: {why:?}");
    }
    let (_held, closed) = closed_port();
    let (asker, settings) = asker(closed, None, None).await;
    assert!(failed(asker.ask(&settings.peers[0], &ask(&settings, 1), LIMIT).await).contains("refused"));
}
