//! Whatever is killed at whatever step of a restart: it completes once, its programs run, and no slot is given twice.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use goahead_tests::fleet::{self, INQUIRE, REQUEST};
use goahead_tests::postgres::Postgres;
use goahead_tests::process::{self, User};
use goahead_tests::service::{Service, Setup};
use goahead_tests::{SOON, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

/// After which step of a restart something is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// The request_id is handed out
    Handshake,
    /// The go-ahead is given, the action queued
    Granted,
    /// The action runs
    ActionRuns,
    /// The host is back, the completion check runs
    CheckRuns,
}

const STEPS: [Step; 4] = [Step::Handshake, Step::Granted, Step::ActionRuns, Step::CheckRuns];

#[test]
fn the_service_is_killed_at_every_step() {
    let mut world = World::new();
    for (number, step) in STEPS.into_iter().enumerate() {
        world.restart(&format!("web-{number}.example.org"), step, |world| {
            world.services.iter_mut().for_each(Service::kill);
            world.services = world.start_services();
        });
    }
}

#[test]
fn the_database_is_killed_at_every_step() {
    let mut world = World::new();
    for (number, step) in STEPS.into_iter().enumerate() {
        world.restart(&format!("web-{number}.example.org"), step, |world| {
            world.server.kill();
            world.server.launch();
        });
    }
}

/// A database, two services over it, and the programs that the cluster runs.
struct World {
    server: Postgres,
    url: String,
    /// The one that hosts ask, and the one that runs the programs
    services: [Service; 2],
    programs: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let server = Postgres::start();
        let programs = goahead_tests::directory(User::ME);
        // Whoever runs the jobs must be able to write here.
        std::fs::set_permissions(programs.path(), PermissionsExt::from_mode(0o777)).expect("chmod");
        let program = programs.path().join("program");
        // Notes that it ran and for whom; while the file NAME.hold is there it does not end.
        let script = "echo \"$2\" >>\"${0%/*}/$1.log\"\nwhile [ -e \"${0%/*}/$1.hold\" ]; do sleep 0.05; done";
        process::script(&program, script);
        let url = {
            let database = server.database("fleet");
            let command = |name: &str| format!("{} {name} {{:%fqdn%:}}", program.display());
            database.cluster(
                "web",
                json!({
                    "reboot_goahead_actions": [command("action")],
                    "reboot_completion_check": command("check"),
                    "reboot_completion_check_consecutive_successes": 2,
                    "reboot_completion_actions": [command("completed")],
                    "command_timeout": "5s",
                }),
            );
            database.url()
        };
        let services = start(&url);
        Self { server, url, services, programs }
    }

    fn start_services(&self) -> [Service; 2] {
        start(&self.url)
    }

    /// One restart of a host, with a disaster after one step.
    fn restart(&mut self, fqdn: &str, step: Step, mut disaster: impl FnMut(&mut Self)) {
        let first = self.insist(REQUEST, &fleet::ask(fqdn, "100h", None));
        assert_eq!(first["go_ahead"], false, "{first}");
        if step == Step::Handshake {
            disaster(self);
        }

        // A stopped runner leaves the action in the queue.
        if step == Step::Granted {
            self.services[1].signal(Signal::STOP);
        }
        let hold = self.hold("action", step == Step::ActionRuns);
        let second = self.insist(REQUEST, &fleet::ask(fqdn, "100h", first["request_id"].as_str()));
        assert_eq!(second["go_ahead"], true, "{step:?}: {second}");
        if step == Step::Granted {
            assert_eq!(self.lines("action", fqdn), 0);
            disaster(self);
            self.services[1].signal(Signal::CONT);
        }
        eventually("the action runs", SOON, || (self.lines("action", fqdn) > 0).then_some(()));
        if step == Step::ActionRuns {
            disaster(self);
        }
        drop(hold);

        let hold = self.hold("check", step == Step::CheckRuns);
        self.insist(INQUIRE, &fleet::ask(fqdn, "1s", None));
        eventually("the check runs", SOON, || (self.lines("check", fqdn) > 0).then_some(()));
        if step == Step::CheckRuns {
            disaster(self);
        }
        drop(hold);

        let mut client = self.server.connect("fleet");
        let mut count = |query: &str| -> i64 { client.query_one(query, &[&fqdn]).expect(query).get(0) };
        eventually("the restart completes", 2 * SOON, || {
            (count("SELECT count(*) FROM goahead._restart WHERE holder = $1 AND state = 'completed'") == 1)
                .then_some(())
        });
        eventually("the completion action runs", SOON, || (self.lines("completed", fqdn) > 0).then_some(()));
        assert_eq!(count("SELECT count(*) FROM goahead._restart WHERE holder = $1"), 1, "{step:?}: granted twice");
        for kind in ["granted", "completed"] {
            let events = format!("SELECT count(*) FROM goahead._event WHERE subject = $1 AND kind = '{kind}'");
            assert_eq!(count(&events), 1, "{step:?}: events of kind {kind}");
        }
        let jobs = "SELECT count(*) FROM goahead._job WHERE fqdn = $1 AND state IN ('failed', 'dropped')";
        assert_eq!(count(jobs), 0, "{step:?}: a job failed");
    }

    /// Asks until there is an answer, as a client does that is told to come again.
    fn insist(&self, path: &str, body: &Value) -> Value {
        eventually("an answer", SOON, || {
            let reply = self.services[0].http.try_post(path, body).ok()?;
            (reply.status == 200).then(|| reply.json())
        })
    }

    /// How often a program has run for a host.
    fn lines(&self, program: &str, fqdn: &str) -> usize {
        let log = std::fs::read_to_string(self.programs.path().join(format!("{program}.log"))).unwrap_or_default();
        log.lines().filter(|line| *line == fqdn).count()
    }

    /// Keeps a program from ending, if wanted, until dropped.
    fn hold(&self, program: &str, wanted: bool) -> Option<Hold> {
        wanted.then(|| Hold::new(&self.programs.path().join(format!("{program}.hold"))))
    }
}

fn start(url: &str) -> [Service; 2] {
    [Setup::over_url(url).start(), Setup::over_url(url).running_jobs().start()]
}

struct Hold(PathBuf);

impl Hold {
    fn new(path: &Path) -> Self {
        std::fs::write(path, "").expect("write");
        Self(path.to_owned())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A stopped service cannot be asked to end.
        self.services.iter().for_each(|service| process::signal_pid(service.pid(), Signal::CONT));
    }
}
