//! A holder that stood still for longer than its TTL goes on unaware: what it writes with its old token is refused.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use goahead_tests::postgres::{Postgres, programs};
use goahead_tests::process::{self, User};
use goahead_tests::service::{Service, Setup};
use goahead_tests::{SOON, binary, eventually};
use rustix::process::Signal;

/// What the command does under the lock: says that it is there, waits for its cue, then asks for the fence and writes in
/// one transaction, as the documentation has it.
const COMMAND: &str = r#"
    echo $$ >"$1/pid.new" && mv "$1/pid.new" "$1/pid"
    until [ -e "$1/go" ]; do sleep 0.05; done
    "$2" -X -q -v ON_ERROR_STOP=1 -v token="$GOAHEAD_LOCK_TOKEN" -v who="$GOAHEAD_LOCK_HOLDER" -f "$1/../write.sql"
    echo $? >"$1/done.new" && mv "$1/done.new" "$1/done"
"#;
const WRITE: &str = r"
BEGIN;
SELECT goahead.check_fence('etl', :token) AS live \gset
\if :live
INSERT INTO journal (who, token) VALUES (:'who', :token);
\endif
COMMIT;
";

#[test]
fn the_late_write_of_a_stopped_holder_is_refused() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut psql = database.connect();
    psql.batch_execute("CREATE TABLE journal (who text, token bigint)").expect("a journal");
    let service = Setup::over(&database).start();
    let directory = goahead_tests::directory(User::ME);
    std::fs::write(directory.path().join("write.sql"), WRITE).expect("write");

    let mut slow = Holder::start(&server, &service, directory.path(), "slow");
    let command = slow.command();
    // Both stand still, as in a machine that is suspended: first who could end the command, then the command.
    slow.signal(Signal::STOP);
    process::signal_pid(command, Signal::STOP);

    let mut next = Holder::start(&server, &service, directory.path(), "next");
    next.command();
    next.write();
    assert!(next.child.wait().expect("wait").success());

    // The command goes on before anybody can tell it.
    slow.cue();
    process::signal_pid(command, Signal::CONT);
    slow.done();
    slow.signal(Signal::CONT);
    assert!(slow.child.wait().expect("wait").success(), "the command ended well, having written nothing");

    let rows = psql.query("SELECT who, token FROM journal", &[]).expect("the journal");
    let written: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(written, ["next"]);
}

/// A `goahead lock` with its command, in a directory of its own.
struct Holder {
    child: Child,
    directory: std::path::PathBuf,
}

impl Holder {
    fn start(server: &Postgres, service: &Service, parent: &Path, name: &str) -> Self {
        let directory = parent.join(name);
        std::fs::create_dir(&directory).expect("mkdir");
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GOAHEAD_")) {
            command.env_remove(name);
        }
        // Told to let the command be. Else its guard ends the command in time, as long as that itself is not stopped.
        command.args(["lock", "etl", "--ttl", "2s", "--wait", "30s", "--on-lost", "ignore", "--holder", name]);
        command.args(["--url", &service.url, "--"]);
        command.args(["sh", "-c", COMMAND, "sh"]).arg(&directory).arg(programs().join("psql"));
        command.env("PGHOST", server.socket()).env("PGUSER", "postgres").env("PGDATABASE", "fleet");
        let child = command.stdin(Stdio::null()).spawn().expect("goahead lock starts");
        Self { child, directory }
    }

    /// The process id of its command, once that runs.
    fn command(&self) -> u32 {
        eventually("the command runs", SOON, || {
            std::fs::read_to_string(self.directory.join("pid")).ok()?.trim().parse().ok()
        })
    }

    fn cue(&self) {
        std::fs::write(self.directory.join("go"), "").expect("write");
    }

    /// Waits until the transaction has ended well, whatever it wrote.
    fn done(&self) {
        let status = eventually("it is done", SOON, || std::fs::read_to_string(self.directory.join("done")).ok());
        assert_eq!(status.trim(), "0");
    }

    fn write(&self) {
        self.cue();
        self.done();
    }

    fn signal(&self, signal: Signal) {
        process::signal(&self.child, signal);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Its command dies with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
