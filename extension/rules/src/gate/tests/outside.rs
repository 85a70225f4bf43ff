use super::conninfo::host;
use super::harepd::{IKnow, i_know, names_us};
use super::*;

fn fatal(change: impl Fn(&mut Settings)) -> Vec<String> {
    let mut settings = settings("p");
    change(&mut settings);
    settings.check().into_iter().filter(|finding| finding.fatal).map(|finding| finding.message).collect()
}

#[test]
fn timings_that_cannot_work_are_refused_with_the_numbers() {
    assert_eq!(settings("p").check(), []);
    assert!(fatal(|s| s.hold_down = ms(9249))[0].contains("= 9.25 s"));
    assert!(fatal(|s| s.hold_down = ms(9250)).is_empty());
    assert!(fatal(|s| s.lease = ms(1999))[0].contains("at least two rounds"));
    assert!(fatal(|s| s.deadline = ms(1000))[0].contains("shorter than round"));
    assert!(fatal(|s| s.watchdog = ms(0))[0].contains("watchdog is 0"));
    assert!(fatal(|s| s.archive_only = true).is_empty());
    let archive = |s: &mut Settings| (s.archive_only, s.max_lag_time) = (true, None);
    assert!(fatal(archive)[0].contains("max_lag_time"));
    assert!(fatal(|s| s.node = "x".to_owned())[0].contains("not among"));
    assert!(fatal(|s| s.members[1].name = "p".to_owned())[0].contains("same name"));
    assert!(fatal(|s| s.members[1].name = "a\nb".to_owned())[0].contains("no node name"));
    assert!(fatal(|s| s.skew = ms(1000))[0].contains("skew"));
    // The bed of the tests.
    let bed = |s: &mut Settings| {
        (s.round, s.lease, s.deadline) = (ms(300), ms(900), ms(250));
        (s.watchdog, s.detection, s.hold_down) = (ms(100), ms(600), ms(1900));
        s.skew = Settings::default_skew(s.lease);
    };
    assert!(fatal(bed).is_empty());
}

#[test]
fn few_or_even_voters_are_warned_of() {
    let warnings = |settings: Settings| {
        let findings = settings.check();
        assert!(findings.iter().all(|finding| !finding.fatal), "{findings:?}");
        findings.into_iter().map(|finding| finding.message).collect::<Vec<_>>()
    };
    assert!(warnings(pair("p"))[0].contains("isolated: close"));
    assert!(warnings(Settings { isolated: Isolated::KeepIfSync, ..pair("p") })[0].contains("nobody else opens"));
    let mut four = settings("p");
    four.members.push(Member { name: "x".to_owned(), witness: false });
    assert!(warnings(four)[0].contains("4 voters need 3"));
    assert!(warnings(Settings { isolated: Isolated::KeepIfSync, ..settings("p") })[0].contains("means nothing"));
    assert!(warnings(Settings { migrate_from_harepd: true, ..settings("p") })[0].contains("exclude nobody"));
}

fn replica() -> Snapshot {
    Snapshot {
        live: true,
        ro_open: true,
        running: true,
        in_recovery: Some(true),
        replication_state: Some("streaming".to_owned()),
        replay_lag: Some(10 << 20),
        receive_lag: Some(0),
        readiness_lag: 1 << 20,
        loop_age: Some(ms(500)),
        ttl: ms(3000),
        tags: [("dc".to_owned(), "eu west".to_owned())].into(),
        ..Snapshot::default()
    }
}

fn leader() -> Snapshot {
    Snapshot { rw_open: true, ro_open: false, in_recovery: Some(false), replication_state: None, ..replica() }
}

#[test]
fn paths_answer_as_patroni_does() {
    let sync = Snapshot { sync: true, ..replica() };
    let quorum = Snapshot { quorum: true, ..replica() };
    let nodes = [leader(), replica(), sync, quorum];
    let table: &[(&str, &str, [bool; 4])] = &[
        ("/", "", [true, false, false, false]),
        ("/primary", "", [true, false, false, false]),
        ("/master", "", [true, false, false, false]),
        ("/read-write", "", [true, false, false, false]),
        ("/x-primary-x", "", [true, false, false, false]),
        ("/leader", "", [true, false, false, false]),
        ("/standby-leader", "", [false; 4]),
        ("/standby_leader", "", [false; 4]),
        ("/replica", "", [false, true, true, true]),
        ("/replica-primary", "", [true, false, false, false]),
        ("/replica", "lag=10MB", [false, true, true, true]),
        ("/replica", "lag=10485759", [false; 4]),
        ("/replica", "lag=1", [false; 4]),
        ("/replica", "lag=0.01GB", [false, true, true, true]),
        ("/replica", "lag=nonsense", [false, true, true, true]),
        ("/replica", "lag=", [false, true, true, true]),
        ("/replica", "replication_state=streaming", [false, true, true, true]),
        ("/replica", "replication_state=in%20archive+recovery", [false; 4]),
        ("/replica", "tag_dc=eu+west", [false, true, true, true]),
        ("/replica", "tag_dc=us", [false; 4]),
        ("/replica", "tag_none=1", [false; 4]),
        ("/primary", "tag_dc=us&lag=1", [true, false, false, false]),
        ("/read-only", "", [true; 4]),
        ("/read-only", "tag_dc=us", [false; 4]),
        ("/read-only", "lag=1", [true, false, false, false]),
        ("/sync", "", [false, false, true, false]),
        ("/synchronous", "", [false, false, true, false]),
        ("/async", "", [false, true, false, false]),
        ("/asynchronous", "", [false, true, false, false]),
        ("/quorum", "", [false, false, false, true]),
        ("/read-only-sync", "", [true, false, true, false]),
        ("/read-only-quorum", "", [true, false, false, true]),
        ("/health", "", [true; 4]),
        ("/sync-health", "", [true; 4]),
        ("/unknown", "", [false; 4]),
        ("/syncx", "", [false; 4]),
    ];
    for (path, query, expected) in table {
        for method in [Method::Get, Method::Head, Method::Options] {
            let got: Vec<bool> = nodes.iter().map(|node| patroni(method, path, query, node).0 == 200).collect();
            assert_eq!(got, expected, "{method:?} {path}?{query}");
        }
        for node in &nodes {
            let old = Snapshot { live: false, ..node.clone() };
            assert_eq!(patroni(Method::Get, path, query, &old), (503, Body::Status), "an old verdict: {path}");
        }
    }
}

#[test]
fn paths_that_only_get_knows() {
    let old = Snapshot { live: false, loop_age: Some(ms(3000)), ..leader() };
    for (path, body) in [
        ("/patroni", Body::Status),
        ("/cluster", Body::Cluster),
        ("/history", Body::History),
        ("/config", Body::Config),
        ("/metrics", Body::Metrics),
    ] {
        assert_eq!(patroni(Method::Get, path, "", &old), (200, body));
        assert_eq!(patroni(Method::Options, path, "", &leader()), (503, Body::Empty));
    }
    let get = |path: &str, query: &str, node: &Snapshot| patroni(Method::Get, path, query, node).0;
    assert_eq!(get("/liveness", "", &leader()), 200);
    assert_eq!(get("/liveness", "", &old), 503);
    assert_eq!(get("/liveness", "", &Snapshot { paused: true, ..old }), 200);
    let behind = Snapshot { loop_age: Some(ms(5999)), ..replica() };
    assert_eq!(get("/liveness", "", &behind), 200);
    assert_eq!(get("/liveness", "", &Snapshot { loop_age: None, ..behind }), 503);
    assert_eq!(get("/readiness", "", &leader()), 200);
    assert_eq!(get("/readiness", "", &replica()), 503);
    assert_eq!(get("/readiness", "lag=10MB", &replica()), 200);
    assert_eq!(get("/readiness", "mode=write", &replica()), 200);
    assert_eq!(get("/readiness", "lag=10MB", &Snapshot { replication_state: None, ..replica() }), 503);
    for method in [Method::Head, Method::Options] {
        assert_eq!(patroni(method, "/liveness", "", &leader()), (503, Body::Empty));
        assert_eq!(patroni(method, "/readiness", "", &leader()), (503, Body::Empty));
    }
    let mut off = replica();
    off.tags.insert("noloadbalance".to_owned(), "true".to_owned());
    assert_eq!(get("/replica", "", &off), 503);
    assert_eq!(get("/replica", "", &Snapshot { ro_open: false, ..replica() }), 503);
    assert_eq!(get("/replica", "lag=1", &Snapshot { replay_lag: None, ..replica() }), 200);
}

#[test]
fn the_status_document_has_patronis_keys() {
    let down = Status {
        state: "stopped",
        postmaster_start_time: None,
        role: "replica",
        server_version: None,
        xlog: None,
        timeline: None,
        replication: vec![],
        replication_state: None,
        sync_standby: false,
        quorum_standby: false,
        cluster_unlocked: false,
        pause: false,
        dcs_last_seen: None,
        database_system_identifier: None,
        tags: [].into(),
        patroni: Program { version: "1".to_owned(), scope: "c".to_owned(), name: "n".to_owned() },
    };
    let text = serde_json::to_string(&down).expect("JSON");
    assert_eq!(text, r#"{"state":"stopped","role":"replica","patroni":{"version":"1","scope":"c","name":"n"}}"#);
    let up = Status { database_system_identifier: Some(CLUSTER), xlog: Some(Xlog::Primary { location: 5 }), ..down };
    let text = serde_json::to_string(&up).expect("JSON");
    assert!(text.contains(r#""xlog":{"location":5},"database_system_identifier":"7311111111111111111""#), "{text}");
}

#[test]
fn the_agent_speaks_one_line() {
    assert_eq!(agent_check(Agent::Up), "up\n");
    assert_eq!(agent_check(Agent::Down("no\nmajority…")), "down #no majority\n");
    assert!(agent_check(Agent::Down(&"x".repeat(999))).len() < 140);
}

#[test]
fn hosts_are_found_in_any_conninfo() {
    let found = |text: &str| host(text);
    assert_eq!(found("host=10.0.0.1 user=repmgr dbname=repmgr").as_deref(), Some("10.0.0.1"));
    assert_eq!(found("user = x host = 'node one' port=5432").as_deref(), Some("node one"));
    assert_eq!(found("host=db1.example hostaddr=10.0.0.9").as_deref(), Some("10.0.0.9"));
    assert_eq!(found(r"password='it\'s host=no' host=fd00::1").as_deref(), Some("fd00::1"));
    assert_eq!(found("host=a,b").as_deref(), Some("a"));
    assert_eq!(found("postgresql://u:p@[fd00::2]:5433/db").as_deref(), Some("fd00::2"));
    assert_eq!(found("postgres://u:p%40@db%2D1:5432/db?application_name=x").as_deref(), Some("db-1"));
    assert_eq!(found("postgresql:///db?host=/tmp"), None);
    assert_eq!(found("postgresql:///db?host=10.1.1.1").as_deref(), Some("10.1.1.1"));
    assert_eq!(found("host=name hostaddr=10.0.0.2").as_deref(), Some("10.0.0.2"));
    assert_eq!(found(r"host='a\'b' x=y").as_deref(), Some("a'b"));
    assert_eq!(found("password='host=evil' host=good").as_deref(), Some("good"));
    for none in ["", "dbname=x", "host=/var/run/postgresql", "host=", "=", "host='", "'", "host=@abstract", "[", "\\"] {
        assert!(found(none).is_none_or(|host| !host.is_empty()), "{none}");
    }
    assert_eq!(found("host=/var/run/postgresql"), None);
}

#[test]
fn harepds_view_of_repmgr() {
    let row = |node_id, kind: &str, active, conninfo: &str| {
        RepmgrNode::new(node_id, format!("node{node_id}"), kind.to_owned(), active, conninfo)
    };
    let mut rows = vec![
        row(1, "primary", true, "host=10.0.0.1"),
        row(2, "standby", true, "host=10.0.0.22"),
        row(3, "standby", true, "host=10.0.0.12"),
        row(4, "standby", false, "host=10.0.0.4"),
        row(5, "witness", true, "host=w.example"),
    ];
    let answer = i_know(&rows, "node2");
    assert_eq!((answer.ip.as_str(), answer.node_id, answer.witness.as_str()), ("10.0.0.22", 2, "w.example"));
    assert_eq!(
        (answer.master.clone(), answer.slaves.clone()),
        (vec!["10.0.0.1".to_owned()], vec!["10.0.0.12".to_owned(), "10.0.0.22".to_owned()])
    );
    let us = |address: &str| vec![address.to_owned()];
    assert!(names_us(&answer, &us("10.0.0.1")));
    assert!(names_us(&answer, &us("::ffff:10.0.0.1")));
    assert!(!names_us(&answer, &us("10.0.0.12")) && !names_us(&answer, &[]) && !names_us(&answer, &us("")));
    assert!(!names_us(&IKnow { slaves: us("10.0.0.1"), ..answer.clone() }, &us("10.0.0.1")));
    rows[1].kind = "primary".to_owned();
    assert!(!names_us(&i_know(&rows, "node1"), &us("10.0.0.1")), "two masters");
    assert_eq!(i_know(&[], "x"), IKnow { node_name: "x".to_owned(), ..IKnow::default() });
    rows[0] = row(1, "primary", true, "host=/tmp");
    assert_eq!(i_know(&rows, "node1").master, ["10.0.0.22", "node1"]);
}

#[test]
fn lag_in_time_is_how_long_received_wal_waits() {
    let mut lag = ReplayLag::default();
    assert_eq!(lag.observe(100, 100, at(0)), ms(0));
    assert_eq!(lag.observe(200, 100, at(1000)), ms(0));
    assert_eq!(lag.observe(300, 150, at(2000)), ms(1000));
    assert_eq!(lag.observe(300, 200, at(5000)), ms(3000));
    assert_eq!(lag.observe(300, 300, at(9_000_000)), ms(0), "an idle primary is no lag");
    assert_eq!(lag.observe(50, 40, at(9_000_001)), ms(0), "another history");
}

#[test]
fn what_nobody_has_renewed_for_a_lease_is_unknown() {
    let settings = settings("p");
    let told = |standing: Standing| standing.report(&settings, Some(primary(1)), NOW);
    let standing = |at| Standing { door: Door::Closed(at), ro_open: true, operator_open: true, at };
    let fresh = told(standing(at(-3000) + 1));
    assert_eq!(fresh.rw, RwDoor::Closed { since: ms(3000) - Duration::from_micros(1) });
    assert!(fresh.facts.is_some() && fresh.ro_open && fresh.operator_open);
    let nothing = Report { facts: None, rw: RwDoor::Unknown, ro_open: false, operator_open: false };
    assert_eq!(told(standing(at(-3000))), nothing);
    assert_eq!(Standing::default().report(&settings, Some(primary(1)), 1), nothing);
    assert_eq!(told(Standing { door: Door::Open, ..standing(NOW) }).rw, RwDoor::Open);
    assert_eq!(told(Standing { door: Door::Unknown, ..standing(NOW) }).rw, RwDoor::Unknown);
}

#[test]
fn every_reason_says_something() {
    let case = Case::primary().hear(silent("w")).hear(silent("s"));
    for reason in case.decide().rw_reasons {
        let json = serde_json::to_value(&reason).expect("JSON");
        assert_eq!(json["code"], reason.code());
        assert!(reason.to_string().len() > 20, "{reason}");
    }
}
