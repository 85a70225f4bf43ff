//! `goahead client`, and the same binary under the name goahead_client, goes all the way to its hooks.

use std::path::PathBuf;
use std::process::{Command, Output};

use goahead_tests::binary;
use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::process::{self, User};
use goahead_tests::service::{Service, Setup};
use goahead_tests::tls::Authority;
use serde_json::json;

const HOST: &str = "web-1.example.org";

#[test]
fn a_local_reason_leads_through_the_handshake_to_the_hooks_in_order() {
    let (server, authority) = (Postgres::start(), Authority::new());
    let database = server.database("fleet");
    database.cluster("web", json!({}));
    let service = Setup::over(&database).tls(&authority).start();
    let machine = Machine::new(&service, Some(&authority), 1);
    machine.hook("20-second", "exit 0");
    machine.hook("10-first", "exit 0");

    let output = machine.run("client", &["--config"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(machine.log(), ["10-first", "20-second"]);
    assert_eq!(restarts(&database), 1);
    let reason =
        database.connect().query_one("SELECT reason FROM goahead._restart", &[]).expect("one").get::<_, String>(0);
    assert_eq!(reason, "a new kernel waits");
}

#[test]
fn a_denied_client_runs_no_hook() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("web", json!({ "allowed_parallel_restarts": 0 }));
    let service = Setup::over(&database).start();
    let machine = Machine::new(&service, None, 1);
    machine.hook("10-first", "exit 0");
    let output = machine.run("client", &["--config"]);
    assert_eq!(output.status.code(), Some(0), "a denial is no failure: {}", text(&output));
    assert!(machine.log().is_empty());
}

#[test]
fn a_rollout_restarts_a_host_that_has_no_reason_of_its_own() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("web", json!({}));
    let service = Setup::over(&database).start();
    let machine = Machine::new(&service, None, 0);
    machine.hook("10-first", "exit 0");

    let output = machine.run("client", &["--config"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(machine.log().is_empty(), "there was no reason to restart");

    database.connect().query("SELECT goahead.start_rollout('web', 'new kernel')", &[]).expect("start_rollout");
    let output = machine.run("client", &["--config"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(machine.log(), ["10-first"]);
    assert_eq!(restarts(&database), 1);
}

#[test]
fn a_failing_hook_stops_the_next_unless_allowed() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("web", json!({}));
    let service = Setup::over(&database).start();
    let machine = Machine::new(&service, None, 1);
    machine.hook("10-first", "exit 3");
    machine.hook("20-second", "exit 0");
    assert_ne!(machine.run("client", &["--config"]).status.code(), Some(0));
    assert_eq!(machine.log(), ["10-first"]);

    machine.configure("os_restart_hooks_allow_fail: true\n");
    assert_eq!(machine.run("client", &["--config"]).status.code(), Some(0), "the slot is still this host's");
    assert_eq!(machine.log(), ["10-first", "10-first", "20-second"]);
}

#[test]
fn the_old_name_takes_the_old_flags_and_a_disabled_file() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("web", json!({}));
    let service = Setup::over(&database).start();
    let machine = Machine::new(&service, None, 1);
    machine.hook("10-first", "exit 0");
    let disabled = machine.directory.path().join("disabled");
    std::fs::write(&disabled, "kernel debugging, ask Kim\n").expect("write");

    let flags = ["-debug", "-disabled", disabled.to_str().expect("UTF-8"), "-config"];
    let output = machine.run("goahead_client", &flags);
    assert!(text(&output).contains("kernel debugging, ask Kim"), "{}", text(&output));
    assert!(machine.log().is_empty());
    assert_eq!(restarts(&database), 0);
    assert_eq!(database.count("SELECT count(*) FROM goahead._host"), 0, "the service was asked");

    std::fs::remove_file(&disabled).expect("rm");
    let output = machine.run("goahead_client", &flags);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(machine.log(), ["10-first"]);
}

#[test]
fn a_service_that_is_not_there_is_a_failure_and_runs_no_hook() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut service = Setup::over(&database).start();
    let machine = Machine::new(&service, None, 1);
    machine.hook("10-first", "exit 0");
    service.kill();
    let output = machine.run("client", &["--config"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(machine.log().is_empty());
}

fn restarts(database: &Database<'_>) -> i64 {
    database.count("SELECT count(*) FROM goahead._restart WHERE state = 'granted'")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A machine that asks the service: its configuration file, its reason to restart, its hooks.
struct Machine {
    directory: tempfile::TempDir,
    config: PathBuf,
}

impl Machine {
    /// `code` is what its condition script exits with; 1 means that it wants to restart.
    fn new(service: &Service, authority: Option<&Authority>, code: u8) -> Self {
        let directory = goahead_tests::directory(User::ME);
        let machine = Self { config: directory.path().join("client.yml"), directory };
        machine.script("condition", &format!("echo a new kernel waits\nexit {code}"));
        std::fs::create_dir(machine.directory.path().join("hooks.d")).expect("mkdir");
        machine.configure(&format!("service_url: {}\n", service.url.replace("127.0.0.1", "localhost")));
        if let Some(authority) = authority {
            machine.configure(&format!("service_url_ca_file: {}\n", authority.file().display()));
        }
        let path = machine.directory.path().display();
        machine.configure(&format!(
            "requesting_fqdn: {HOST}\nrestart_condition_script: {path}/condition\n\
             restart_condition_script_exit_code_for_reboot: 1\nos_restart_hooks_dir: {path}/hooks.d\n"
        ));
        machine
    }

    /// Adds to the configuration file.
    fn configure(&self, lines: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap_or_else(|_| "---\n".to_owned());
        std::fs::write(&self.config, text + lines).expect("write");
    }

    /// Adds a hook that notes its name and then does `then`.
    fn hook(&self, name: &str, then: &str) {
        self.script(&format!("hooks.d/{name}"), &format!("echo {name} >>\"${{0%/*}}/../log\"\n{then}"));
    }

    fn script(&self, name: &str, text: &str) {
        process::script(&self.directory.path().join(name), text);
    }

    /// Runs the client with its configuration file as the last argument: `client` for the command, else the binary under that name.
    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = if name == "client" {
            let mut command = Command::new(binary());
            command.arg("client").arg("--disabled").arg(self.directory.path().join("none"));
            command
        } else {
            let link = self.directory.path().join(name);
            if !link.exists() {
                std::os::unix::fs::symlink(binary(), &link).expect("symlink");
            }
            Command::new(link)
        };
        command.args(arguments).arg(&self.config).output().expect("the client starts")
    }

    /// The hooks that ran, in their order.
    fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        log.lines().map(ToOwned::to_owned).collect()
    }
}
