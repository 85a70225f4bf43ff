//! The command lines of the documentation, each for success and failure, and the binary called as web-rendezvous.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use goahead_tests::http::Http;
use goahead_tests::postgres::{Postgres, programs};
use goahead_tests::process::{self, Output as Lines};
use goahead_tests::service::{DataDirectory, Setup};
use goahead_tests::{SOON, binary, eventually};
use rustix::process::Signal;

use super::{lists, put};

fn shell(line: &str) -> Output {
    Command::new("sh").arg("-c").arg(line).stdin(Stdio::null()).output().expect("a shell")
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn the_command_lines_of_the_documentation_tell_success_from_failure() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).flag("--rendezvous-timeout", "0.5").start();
    let url = &service.rendezvous_url;
    let (host, port) = url.strip_prefix("http://").and_then(|address| address.rsplit_once(':')).expect("an address");
    let node = |method: &str| {
        format!(
            "node -e 'require(\"http\").request({{host: \"{host}\", port: {port}, path: \"/KEY\", method: \"{method}\", \
             agent: false}}, (res) => process.exit(res.statusCode == 200 ? 0 : 1)).end()'"
        )
    };
    let mut lines = vec![
        (
            "curl",
            format!("curl --fail --silent --show-error {url}/KEY"),
            format!("curl --fail --silent -X PUT {url}/KEY"),
        ),
        (
            "curl",
            format!("curl --fail -X get --silent --show-error {url}/KEY"),
            format!("curl --fail --silent --request POST --data ready {url}/KEY"),
        ),
        (
            "wget",
            format!("wget -q -O /dev/null {url}/KEY"),
            format!("wget -q -O /dev/null --method=PUT --body-data=ignored {url}/KEY"),
        ),
    ];
    if is_there("node") {
        lines.push(("node", node("GET"), node("PUT")));
    } else {
        println!("node is not installed: its command lines were not run");
    }
    for (number, (program, get, put)) in lines.into_iter().enumerate() {
        assert!(is_there(program), "{program} is not installed");
        let at = |line: &str, key: &str| shell(&line.replace("KEY", key));
        let key = format!("client/{number}");
        let missing = at(&get, &key);
        assert!(!missing.status.success(), "{get}: {missing:?}");
        let marked = at(&put, &key);
        assert!(marked.status.success(), "{put}: {marked:?}");
        let found = at(&get, &key);
        assert!(found.status.success(), "{get}: {found:?}");
        let refused = at(&put, "_reserved");
        assert!(!refused.status.success(), "{put}: {refused:?}");
    }
}

/// The binary under the name of the original.
struct Original {
    child: Child,
    output: Lines,
    http: Http,
}

impl Original {
    fn start(data: &DataDirectory, flags: &[&str]) -> Self {
        let link = data.root().join("web-rendezvous");
        if !link.exists() {
            std::os::unix::fs::symlink(binary(), &link).expect("a link");
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(programs()).chain(std::env::split_paths(&path));
        let mut command = Command::new(&link);
        command.env_clear().env("PATH", std::env::join_paths(path).expect("a PATH"));
        command.env("GOAHEAD_DATA_DIR", data.path()).args(["-port", "0"]).args(flags);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = Lines::default();
        output.collect(child.stdout.take().expect("piped"));
        output.collect(child.stderr.take().expect("piped"));
        let port = eventually("it listens", 2 * SOON, || {
            assert!(child.try_wait().expect("wait").is_none(), "it ended: {}", output.text());
            let lines = output.lines();
            let line = lines.iter().find_map(|line| line.strip_prefix("rendezvous listening on http://"))?;
            line.rsplit_once(':')?.1.parse::<u16>().ok()
        });
        Self { child, output, http: Http::new(&format!("http://127.0.0.1:{port}"), None) }
    }

    fn stop(&mut self) {
        process::signal(&self.child, Signal::TERM);
        eventually("it ends", SOON, || self.child.try_wait().expect("wait"));
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.stop();
        }
    }
}

#[test]
fn called_as_web_rendezvous_it_is_web_rendezvous() {
    let data = DataDirectory::new();
    let mut first = Original::start(&data, &["-timeout", "0.5"]);
    assert_eq!(first.http.get("/").body, r#"{"ok":true,"waiting_and_failed":[],"marked":[]}"#);
    let start = Instant::now();
    assert_eq!(first.http.get("/abc").status, 404);
    let took = start.elapsed();
    assert!(took > Duration::from_millis(490) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(put(&first.http, "/abc", "").status, 200);
    assert_eq!(first.http.get("/abc").status, 200);
    let text = first.output.text();
    assert!(!text.contains("\nlistening on") && !text.contains("admin listening"), "{text}");
    assert_eq!(text.matches("WARN").count(), 1, "{text}");
    first.stop();

    let mut kept = Original::start(&data, &["--keep-marks"]);
    assert_eq!(lists(&kept.http).1, ["/abc"]);
    kept.stop();
    let fresh = Original::start(&data, &[]);
    assert_eq!(lists(&fresh.http), (Vec::new(), Vec::new()), "marks of an earlier run are dropped");
}

#[test]
fn its_usage_is_the_original_s() {
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("web-rendezvous");
    std::os::unix::fs::symlink(binary(), &link).expect("a link");
    let usage = Command::new(&link).arg("--help").output().expect("it runs");
    let text = String::from_utf8_lossy(&usage.stdout).into_owned();
    assert!(
        usage.status.success() && text.contains("  -timeout float\n    \tTimeout in seconds (default 30)"),
        "{text}"
    );
    for wrong in [&["-nonsense"][..], &["-timeout", "soon"], &["-port", "http:"], &["-postgresURL", "mysql://x"]] {
        let output = Command::new(&link).args(wrong).output().expect("it runs");
        assert!(!output.status.success() && !output.stderr.is_empty(), "{wrong:?}: {output:?}");
    }
}

#[test]
fn an_address_that_is_taken_is_told() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = Setup::over(&database).flag("--rendezvous-listen", &address).output();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("--rendezvous-listen"), "{error}");
}
