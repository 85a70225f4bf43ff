//! The doors over a real file, without a database: what others do to the file is undone.

use std::net::IpAddr;

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
            servers: vec![IpAddr::from([10, 0, 0, 5])],
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
        let verdict = Verdict { round, ..verdict(Rw::Lease) };
        let local = Local { server_version: 150_000, ..Local::default() };
        self.doors.apply(&verdict, true, Some(&local), &mut self.facts).await;
        assert_eq!(self.doors.applied().error, None);
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
    }
}

#[tokio::test]
async fn a_file_that_somebody_changed_is_mended_in_the_next_round() {
    let mut node = Node::new();
    node.round(1).await;
    let ours = node.text();
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
}
