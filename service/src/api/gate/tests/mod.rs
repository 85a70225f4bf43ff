//! Raw requests over real sockets, as load balancers send them.

use std::net::SocketAddr;
use std::time::Duration;

use goahead_rules::gate::SystemId;
use prometheus::IntGauge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::gate::clock;
use crate::gate::config::{Overrides, read};
use crate::gate::settings::{Mode, Settings};
use crate::gate::snapshot::{Downstream, Leader, Local, Order, PeerView, Receiver, Verdict, Votes};
use crate::listener::{Listener, Protocol};

mod agent;

/// Long enough for any machine.
const LIMIT: Duration = Duration::from_secs(20);
const MB: u64 = 1 << 20;

fn settings() -> Settings {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gate.yml");
    let text = "node: node1\npeer_listen: 127.0.0.1:1\nstate_dir: /nonexistent\ndatabase: 'host=/x password=hunter2'\n\
                peers: [{name: node2, address: '10.0.0.2:8009'}, {name: wit, address: '10.0.0.3:8009', witness: true}]\n\
                veto: [/bin/veto, hunter3]\n";
    std::fs::write(&file, text).unwrap();
    read(&file, &Overrides::default()).unwrap().settings
}

fn why(code: &str, text: &str) -> Why {
    Why { code: code.to_owned(), text: text.to_owned() }
}

fn peer(label: &str, witness: bool, primary: Option<bool>, lsn: Option<u64>) -> PeerView {
    PeerView {
        label: label.to_owned(),
        address: "10.0.0.9:8009".to_owned(),
        witness,
        heard: true,
        via: Some("http".to_owned()),
        took_us: Some(1500),
        error: None,
        ack: true,
        refusal: None,
        primary,
        timeline: Some(3),
        lsn,
        rw: Some(false),
        ro: Some(true),
        report: None,
    }
}

/// A live verdict of a running node.
fn snapshot(rw: bool, ro: bool, local: Local) -> Snapshot {
    let mut snapshot = Snapshot::nothing("node1", Mode::Dual, false);
    snapshot.round = 7;
    snapshot.wall_us = 1_700_000_000_000_000;
    snapshot.decided_us = clock::now();
    snapshot.expires_us = clock::now() + 3_600_000_000;
    snapshot.verdict = Verdict {
        rw,
        ro,
        rw_reasons: vec![if rw {
            why("majority", "2 of 3 voters")
        } else {
            why("in_recovery", "a standby – no\r\nwrites")
        }],
        ro_reasons: vec![if ro { why("follows", "it follows") } else { why("lag_bytes", "too far behind") }],
        ..Verdict::default()
    };
    snapshot.votes = Votes { voters: 3, needed: 2, got: 2, migrated: 0, lease_us: Some(clock::now() + 2_000_000) };
    snapshot.local = Some(local);
    snapshot
}

fn primary() -> Snapshot {
    let local = Local {
        system_identifier: SystemId(7_123_456_789_012_345_678),
        timeline: Some(3),
        server_version: 150_020,
        postmaster_start_us: 1_700_000_000_000_006,
        current_lsn: Some(50 * MB),
        cluster_name: "main".to_owned(),
        downstream: vec![Downstream {
            usename: Some("repmgr".to_owned()),
            application_name: "node2".to_owned(),
            client_addr: Some("10.0.0.2".to_owned()),
            state: Some("streaming".to_owned()),
            sync_state: Some("sync".to_owned()),
            sync_priority: 1,
            reply_age_us: Some(1),
            ..Downstream::default()
        }],
        ..Local::default()
    };
    let mut snapshot = snapshot(true, false, local);
    snapshot.leader = Some(Leader { node: "node1".to_owned(), timeline: Some(3), lsn: Some(50 * MB) });
    snapshot.peers = vec![peer("node2", false, Some(false), Some(49 * MB)), peer("wit", true, None, None)];
    snapshot
}

fn standby() -> Snapshot {
    let local = Local {
        in_recovery: true,
        timeline: Some(3),
        server_version: 150_020,
        received_lsn: Some(48 * MB),
        replayed_lsn: Some(45 * MB),
        replayed_us: Some(1_700_000_001_000_000),
        receiver: Some(Receiver {
            status: "streaming".to_owned(),
            timeline: Some(3),
            latest_end_lsn: Some(48 * MB),
            ..Receiver::default()
        }),
        cluster_name: "main".to_owned(),
        ..Local::default()
    };
    let mut snapshot = snapshot(false, true, local);
    snapshot.leader = Some(Leader { node: "node2".to_owned(), timeline: Some(3), lsn: Some(50 * MB) });
    snapshot.peers = vec![peer("node2", false, Some(true), Some(50 * MB))];
    snapshot
}

struct Served {
    address: SocketAddr,
    snapshots: watch::Sender<Arc<Snapshot>>,
    _stop: watch::Sender<bool>,
}

async fn serve(snapshot: Snapshot) -> Served {
    let (gate, snapshots) = Gate::fixed(settings(), snapshot);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let connections = IntGauge::new("connections", "connections").unwrap();
    let listener = Listener { socket, tls: None, limit: 64, protocol: Protocol::Any, connections };
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(listener.run(router(gate), stopped));
    Served { address, snapshots, _stop: stop }
}

impl Served {
    /// Sends bytes and reads to the end.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    async fn ask(&self, method: &str, path: &str) -> String {
        self.raw(&format!("{method} {path} HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")).await
    }

    async fn code(&self, method: &str, path: &str) -> u16 {
        self.ask(method, path).await[9..12].parse().unwrap()
    }

    async fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.ask("GET", path).await;
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_else(|_| panic!("{answer}"))
    }
}

#[tokio::test]
async fn the_primary_is_one_for_every_method_and_form() {
    let served = serve(primary()).await;
    for method in ["GET", "HEAD", "OPTIONS"] {
        for path in ["/", "/primary", "/master", "/leader", "/read-write", "/read-only", "/health", "/primary?x=1"] {
            assert_eq!(served.code(method, path).await, 200, "{method} {path}");
        }
        for path in ["/replica", "/async", "/sync", "/standby-leader", "/nonsense", "/replica?lag=1GB"] {
            assert_eq!(served.code(method, path).await, 503, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_standby_is_a_replica_within_the_lag_that_is_asked_for() {
    let served = serve(standby()).await;
    for (path, code) in [
        ("/replica", 200),
        ("/replica?lag=16MB", 200),
        ("/replica?lag=4MB", 503),
        ("/replica?lag=nonsense", 200),
        ("/read-only", 200),
        ("/async", 200),
        ("/sync", 503),
        ("/primary", 503),
        ("/", 503),
        ("/health", 200),
    ] {
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert_eq!(served.code(method, path).await, code, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn haproxys_own_requests_are_answered() {
    // As HAProxy 2.6 sends them: `option httpchk OPTIONS /primary`, `option httpchk`, `option httpchk HEAD …`.
    let served = serve(primary()).await;
    for request in
        ["OPTIONS /primary HTTP/1.0\r\n\r\n", "OPTIONS / HTTP/1.0\r\n\r\n", "HEAD /read-write HTTP/1.0\r\n\r\n"]
    {
        let answer = served.raw(request).await;
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{request:?}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "nothing follows the head: {answer}");
        assert!(!answer.to_lowercase().contains("location:"), "{answer}");
    }
    let standby = serve(standby()).await;
    let answer = standby.raw("OPTIONS /primary HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = standby.raw("HEAD /replica?lag=10MB HTTP/1.1\r\nHost: haproxy\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    // A path and query that nobody would send.
    for path in ["/%2e%2e/primary", "//", "/primary/../replica", "/replica?lag=%FF&&=", "/../../etc/passwd"] {
        let code = standby.code("GET", path).await;
        assert!([200, 503].contains(&code), "{path}: {code}");
    }
}

#[tokio::test]
async fn a_no_says_why_on_one_line() {
    let served = serve(standby()).await;
    let answer = served.ask("OPTIONS", "/primary").await;
    assert!(answer.contains("\r\ngoahead-reason: in_recovery: a standby ? no??writes\r\n"), "{answer}");
    let mut lagging = standby();
    lagging.verdict.ro = false;
    lagging.verdict.ro_reasons = vec![why("lag_bytes", "too far behind")];
    let _ = served.snapshots.send(Arc::new(lagging));
    let answer = served.ask("GET", "/replica").await;
    assert!(answer.contains("\r\ngoahead-reason: lag_bytes: too far behind\r\n"), "{answer}");
}

#[tokio::test]
async fn an_old_verdict_closes_every_path() {
    let mut old = primary();
    old.expires_us = clock::now() - 1;
    let served = serve(old).await;
    for path in ["/", "/primary", "/leader", "/read-write", "/read-only", "/health"] {
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert_eq!(served.code(method, path).await, 503, "{method} {path}");
        }
    }
    let answer = served.ask("GET", "/primary").await;
    assert!(answer.contains("goahead-reason: verdict_old"), "{answer}");
    let document = served.json("/gate").await;
    assert_eq!(
        (&document["live"], &document["rw"], &document["verdict"]["rw"]),
        (&false.into(), &false.into(), &true.into())
    );
    // Nor is anything open before the first round.
    let first = serve(Snapshot::nothing("node1", Mode::Dual, false)).await;
    assert_eq!(first.code("GET", "/primary").await, 503);
    assert_eq!(first.code("GET", "/health").await, 503);
    assert_eq!(first.code("GET", "/metrics").await, 200);
}

#[tokio::test]
async fn a_change_is_seen_by_the_next_request() {
    let served = serve(primary()).await;
    assert_eq!(served.code("OPTIONS", "/primary").await, 200);
    let mut closed = primary();
    closed.verdict.rw = false;
    let _ = served.snapshots.send(Arc::new(closed));
    assert_eq!(served.code("OPTIONS", "/primary").await, 503);
    let mut down = primary();
    down.local = None;
    down.verdict = Verdict::default();
    let _ = served.snapshots.send(Arc::new(down));
    assert_eq!(served.code("GET", "/health").await, 503);
    let document = served.json("/patroni").await;
    assert_eq!((document["state"].as_str(), document.get("xlog")), (Some("stopped"), None));
}

#[tokio::test]
async fn documents_have_patronis_keys() {
    let served = serve(primary()).await;
    for path in ["/patroni", "/primary"] {
        let document = served.json(path).await;
        assert_eq!(document["state"], "running");
        assert_eq!(document["role"], "primary");
        assert_eq!(document["server_version"], 150_020);
        assert_eq!(document["xlog"]["location"], 50 * MB);
        assert_eq!(document["timeline"], 3);
        assert_eq!(document["postmaster_start_time"], "2023-11-14 22:13:20.000006+00:00");
        assert_eq!(document["database_system_identifier"], "7123456789012345678");
        assert_eq!(document["replication"][0]["application_name"], "node2");
        assert_eq!(document["replication"][0]["sync_state"], "sync");
        assert_eq!(document["dcs_last_seen"], 1_700_000_000);
        assert_eq!((&document["patroni"]["scope"], &document["patroni"]["name"]), (&"main".into(), &"node1".into()));
    }
    let cluster = served.json("/cluster").await;
    assert_eq!(cluster["scope"], "main");
    let members = cluster["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "a witness holds no data: {cluster}");
    assert_eq!((&members[0]["name"], &members[0]["role"]), (&"node1".into(), &"leader".into()));
    assert_eq!((&members[1]["role"], &members[1]["lag"]), (&"replica".into(), &MB.into()));
    assert_eq!(served.json("/history").await, serde_json::json!([]));
    assert_eq!(served.json("/config").await["ttl"], 3.0);

    let standby = serve(standby()).await;
    let document = standby.json("/replica").await;
    assert_eq!(document["role"], "replica");
    assert_eq!(document["replication_state"], "streaming");
    assert_eq!(document["xlog"]["received_location"], 48 * MB);
    assert_eq!(document["xlog"]["replayed_location"], 45 * MB);
    assert_eq!(document["xlog"]["replayed_timestamp"], "2023-11-14 22:13:21.000000+00:00");
    assert_eq!(document["xlog"]["paused"], false);
}

#[tokio::test]
async fn the_gates_own_document_has_every_reason_and_no_secret() {
    let served = serve(primary()).await;
    let answer = served.ask("GET", "/gate").await;
    assert!(!answer.contains("hunter"), "{answer}");
    let document = served.json("/gate").await;
    assert_eq!((&document["rw"], &document["ro"], &document["live"]), (&true.into(), &false.into(), &true.into()));
    assert_eq!(document["verdict"]["rw_reasons"][0]["code"], "majority");
    assert_eq!(document["verdict"]["ro_reasons"][0]["text"], "too far behind");
    assert_eq!(document["peers"][0]["label"], "node2");
    assert_eq!(document["votes"]["got"], 2);
    assert_eq!(document["settings"]["lease_ms"], 3000);
    assert_eq!(document["settings"]["veto"], "/bin/veto");
    let answer = served.ask("HEAD", "/gate").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn nothing_is_changed_over_this_listener() {
    let served = serve(primary()).await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE"] {
        let answer = served.ask(method, "/primary").await;
        assert!(
            answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD, OPTIONS"),
            "{method}: {answer}"
        );
        assert_eq!(served.code(method, "/gate").await, 405);
    }
}

#[tokio::test]
async fn metrics_have_patronis_names_and_ours() {
    let served = serve(primary()).await;
    let text = served.ask("GET", "/metrics").await;
    for line in [
        "patroni_primary{name=\"node1\",scope=\"main\"} 1",
        "patroni_replica{name=\"node1\",scope=\"main\"} 0",
        "patroni_postgres_running{name=\"node1\",scope=\"main\"} 1",
        "patroni_xlog_location{name=\"node1\",scope=\"main\"} 52428800",
        "patroni_postgres_timeline{name=\"node1\",scope=\"main\"} 3",
        "patroni_cluster_unlocked{name=\"node1\",scope=\"main\"} 0",
        "goahead_gate_rw_open 1",
        "goahead_gate_ro_open 0",
        "goahead_gate_live 1",
        "goahead_gate_votes 2",
        "goahead_gate_peer_heard{peer=\"node2\"} 1",
        "goahead_gate_peer_answer_seconds{peer=\"node2\"} 0.0015",
        "goahead_gate_reason{code=\"majority\",door=\"rw\"} 1",
        "goahead_gate_rounds_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    // The name stays while the database is down.
    let mut down = primary();
    down.local = None;
    down.expires_us = 1;
    let _ = served.snapshots.send(Arc::new(down));
    let text = served.ask("GET", "/metrics").await;
    assert!(text.contains("patroni_primary{name=\"node1\",scope=\"main\"} 0"), "{text}");
    assert!(text.contains("goahead_gate_live 0") && text.contains("goahead_gate_database_up 0"), "{text}");
}

#[tokio::test]
async fn an_operators_close_is_a_pause() {
    let mut closed = primary();
    closed.verdict.rw = false;
    closed.order = Some(Order {
        open: false,
        rw: true,
        ro: false,
        reason: "kernel".to_owned(),
        actor: "me".to_owned(),
        given_us: 0,
        until_us: clock::wall() + 60_000_000,
    });
    assert_eq!(serve(closed).await.json("/patroni").await["pause"], true);
    assert!(serve(primary()).await.json("/patroni").await["pause"].is_null());
}
