//! The cluster of a bed: PostgreSQL on every machine, registered with repmgr.
//!
//! `initdb` runs once while any bed is there; each bed starts from copies, under addresses of its own. A standby is what
//! the manual says it may be: a copy of a primary that was shut down.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Bed;
use super::node::Node;
use super::repmgr;
use crate::postgres::{Postgres, run};
use crate::process::User;
use crate::{SOON, eventually};

/// Data directories to copy, of servers that were shut down.
#[derive(Debug)]
pub(super) struct Template {
    directory: tempfile::TempDir,
}

/// The template of the beds that are there now.
static SHARED: Mutex<Weak<Template>> = Mutex::new(Weak::new());

impl Template {
    /// That of the other beds, or a new one.
    pub(super) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Self::new());
            *shared = Arc::downgrade(&new);
            new
        })
    }

    fn new() -> Self {
        let template = Self { directory: crate::directory(User::postgres()) };
        std::thread::scope(|scope| {
            scope.spawn(|| template.make(true, ""));
            template.make(false, "CREATE ROLE app SUPERUSER LOGIN PASSWORD 'app'");
        });
        template
    }

    fn of(&self, witness: bool) -> PathBuf {
        self.directory.path().join(if witness { "witness" } else { "primary" })
    }

    fn make(&self, witness: bool, more: &str) {
        // A standby must allow as many connections as its primary did.
        let connections = format!("max_connections={}", repmgr::CONNECTIONS);
        let mut server = Postgres::with(&["fsync=off", &connections]);
        let mut client = server.connect("postgres");
        for statement in ["CREATE ROLE repmgr SUPERUSER LOGIN", "CREATE DATABASE repmgr OWNER repmgr", more] {
            client.batch_execute(statement).expect(statement);
        }
        drop(client);
        server.stop();
        std::fs::rename(server.data(), self.of(witness)).expect("mv");
    }

    /// Copies a data directory to where `node` has its own.
    fn copy(&self, node: &Node) {
        run(Command::new("cp").arg("-a").arg(self.of(node.witness)).arg(node.data()));
    }
}

impl Bed {
    /// Makes the data directories, starts the servers and registers them.
    pub(super) fn build_cluster(&self) {
        let primary = &self.nodes[0];
        for node in &self.nodes {
            repmgr::configure(node);
            self.template.copy(node);
            repmgr::write(&node.data().join("postgresql.conf"), &self.settings(node));
            repmgr::write(&node.hba(), &self.hba());
            if node.number != primary.number && !node.witness {
                repmgr::write(&node.data().join("standby.signal"), "");
                repmgr::write(&node.data().join("postgresql.auto.conf"), &repmgr::primary_conninfo(primary, node));
            }
        }
        std::thread::scope(|scope| {
            scope.spawn(|| self.witness().start());
            primary.start();
            // A standby that finds no primary waits for seconds.
            self.data_nodes()[1..].iter().for_each(|standby| drop(scope.spawn(|| standby.start())));
            primary.repmgr(&["primary", "register"]);
        });
        for standby in &self.data_nodes()[1..] {
            let registered = "SELECT count(*) FROM pg_tables WHERE schemaname = 'repmgr' AND tablename = 'nodes'";
            eventually("the primary's registration is replicated", SOON, || {
                let mut client = standby.try_connect("repmgr").ok()?;
                client.query_one(registered, &[]).is_ok_and(|row| row.get::<_, i64>(0) == 1).then_some(())
            });
            standby.repmgr(&["standby", "register", "--force"]);
        }
        let upstream = primary.address.to_string();
        let port = primary.ports.postgres.to_string();
        self.witness().repmgr(&["witness", "register", "-h", &upstream, "-p", &port, "-U", "repmgr", "-d", "repmgr"]);
    }

    /// The postgresql.conf of a machine.
    fn settings(&self, node: &Node) -> String {
        let gated = self.plan.extension && !node.witness;
        let libraries = if gated { "repmgr, goahead" } else { "repmgr" };
        let gate = if gated { "goahead.gate = on\ngoahead.gate_watchdog = 100ms\n" } else { "" };
        repmgr::common_settings(node.ports.postgres, libraries) + gate + &repmgr::own_settings(node)
    }

    /// The administrator's pg_hba.conf.
    fn hba(&self) -> String {
        let [a, b, c, _] = self.nodes[0].address.octets();
        let mut text = "# The administrator's own file.\nlocal all all trust\n".to_owned();
        for network in ["127.0.0.1/32".to_owned(), format!("{a}.{b}.{c}.0/24")] {
            text += &format!("host repmgr,replication repmgr {network} trust\n");
        }
        for (address, _) in &self.sources {
            text += &format!("host all app {address}/32 scram-sha-256 # applications\n");
        }
        // An HAProxy that is not told its source calls from here.
        text + "host all app 127.0.0.1/32 scram-sha-256 # applications\n"
    }

    /// Makes the data directory of `standby` a copy of the first node's by `repmgr standby clone`, pg_hba.conf with it;
    /// does not start it.
    pub fn copy_primary(&self, standby: &Node) {
        let upstream = self.nodes[0].address.to_string();
        let port = self.nodes[0].ports.postgres.to_string();
        let from = ["-h", &upstream, "-p", &port, "-U", "repmgr", "-d", "repmgr"];
        standby.repmgr(&[&from[..], &["standby", "clone", "-c", "--without-barman", "--force"]].concat());
        let path = standby.data().join("postgresql.conf");
        let text = std::fs::read_to_string(&path).expect("postgresql.conf");
        repmgr::write(&path, &(text + &repmgr::own_settings(standby)));
    }

    /// Brings the old primary back as a standby of `primary`, as repmgr's manual says: pg_rewind, then start.
    pub fn rejoin(&self, name: &str, primary: &str) {
        let primary = self.node(primary);
        // Until its first checkpoint a new primary's control file shows the old timeline, and pg_rewind before 16 finds
        // nothing to do.
        primary.sql("CHECKPOINT");
        let to = format!("host={} port={} user=repmgr dbname=repmgr", primary.address, primary.ports.postgres);
        let files = "--config-files=postgresql.conf";
        self.node(name).repmgr(&["node", "rejoin", "-d", &to, "--force-rewind", files]);
    }
}
