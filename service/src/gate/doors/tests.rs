//! The doors over a real file, without a database: what others do to the file is undone.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use goahead_rules::gate::Rw;

use super::super::settings::Haproxy;
use super::*;

const LIMIT: Duration = Duration::from_secs(20);
const ADMIN: &str = "local all all peer\n";

struct Node {
    directory: tempfile::TempDir,
    doors: Doors,
    facts: Facts,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pg_hba.conf");
        std::fs::write(&file, ADMIN).unwrap();
        let mut settings = Settings::for_tests("n1");
        settings.hba_file = Some(file);
        settings.data_directory = Some(directory.path().to_owned());
        settings.haproxy = Some(Haproxy {
            servers: vec![IpAddr::from([127, 0, 0, 1])],
            read_write: "harw".to_owned(),
            read_only: None,
            allow: "scram-sha-256".to_owned(),
            deny: "reject".to_owned(),
            databases: Vec::new(),
        });
        let facts = Facts::new(&settings, LIMIT).unwrap();
        Self { directory, doors: Doors::new(Arc::new(settings), LIMIT), facts }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("pg_hba.conf")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    async fn round(&mut self, round: u64) {
        self.apply(round, Rw::Lease).await;
        assert_eq!(self.doors.applied().error, None);
    }

    async fn apply(&mut self, round: u64, rw: Rw) {
        let verdict = Verdict { round, ..verdict(rw) };
        let local = Local { server_version: 150_000, ..Local::default() };
        self.doors.apply(&verdict, true, Some(&local), &mut self.facts).await;
    }

    /// A process that serves this directory as far as anybody can see, and asks whoever comes for a password.
    fn serve(&self) -> std::process::Child {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 256]);
                let _ = stream.write_all(b"R\0\0\0\x08\0\0\0\x03");
            }
        });
        let mut command = std::process::Command::new("sh");
        // The signal that tells a server to reload is nothing to it.
        command.args(["-c", "trap '' HUP; exec sleep 60"]).current_dir(self.directory.path());
        let child = command.spawn().unwrap();
        let name = format!("/proc/{}/comm", child.id());
        while std::fs::read_to_string(&name).unwrap().trim() != "sleep" {
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = format!("{}\n{}\n1\n{port}\n/tmp\n127.0.0.1\n", child.id(), self.directory.path().display());
        std::fs::write(self.directory.path().join("postmaster.pid"), text).unwrap();
        child
    }
}

fn verdict(rw: Rw) -> Verdict {
    let now = clock::now();
    let later = now + 3_600_000_000;
    Verdict {
        incarnation: 1,
        round: 1,
        rw,
        ro: false,
        asked: now,
        decided: now,
        expires: later,
        open_by: later,
        rw_reasons: Vec::new(),
        ro_reasons: Vec::new(),
        warnings: Vec::new(),
        acks: std::collections::BTreeMap::new(),
        primary: None,
        system_identifier: None,
        named_since: std::collections::BTreeMap::new(),
        contradicted: std::collections::BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_file_that_somebody_changed_is_mended_in_the_next_round() {
    let mut node = Node::new();
    node.round(1).await;
    let ours = node.text();
    let since = node.doors.applied().since_us;
    assert!(ours.contains("scram-sha-256 # goahead:haproxy-rw-1 applies=primary by=gate otherwise=reject"), "{ours}");
    // Nothing has happened: nothing is written.
    node.round(2).await;
    assert_eq!((node.text(), node.doors.writes), (ours.clone(), 1));
    // Replaced as by configuration management, and written in place as by an editor; long before the next refresh.
    let other = node.directory.path().join("other");
    std::fs::write(&other, ADMIN).unwrap();
    std::fs::rename(other, node.file()).unwrap();
    node.round(3).await;
    assert_eq!(node.text(), ours);
    std::fs::write(node.file(), format!("host all all all md5\n{ours}")).unwrap();
    node.round(4).await;
    assert!(node.text().starts_with("# BEGIN goahead"), "{}", node.text());
    assert!(node.text().ends_with(&format!("# END goahead\nhost all all all md5\n{ADMIN}")), "{}", node.text());
    assert_eq!(node.doors.writes, 3);
    assert_eq!(node.doors.applied().since_us, since);
    node.apply(5, Rw::Closed).await;
    assert!(node.doors.applied().since_us > since);
}

#[tokio::test]
async fn a_line_that_lets_in_after_the_reload_is_not_closed() {
    let mut node = Node::new();
    let mut server = node.serve();
    node.doors.limit = Duration::from_secs(1);
    node.round(1).await;
    assert_eq!(node.doors.door(), Door::Open);
    for round in 2..4 {
        node.apply(round, Rw::Closed).await;
        // On disk it is; what counts is what a check gets to see.
        assert!(node.text().contains("reject # goahead:haproxy-rw-1"), "{}", node.text());
        let error = node.doors.applied().error.clone().unwrap_or_default();
        assert!(error.contains("asks for a password"), "{error}");
        assert_eq!(node.doors.door(), Door::Unknown);
    }
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_file(node.directory.path().join("postmaster.pid")).unwrap();
    node.apply(4, Rw::Closed).await;
    assert_eq!(node.doors.applied().error, None);
    assert!(matches!(node.doors.door(), Door::Closed(_)));
}
