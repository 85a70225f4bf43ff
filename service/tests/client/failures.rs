//! What goes wrong: in the network, in the service, in scripts, in the config file.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::answers::{granted, handshake};
use crate::support::{Machine, Ran, Reply, Service};

#[test]
fn times_that_nobody_can_wait_for_are_errors() {
    for (time, why) in [("soon", "Error while trying to parse"), ("20", "missing unit"), ("11m", "more than 10m0s")] {
        let service = Service::start(vec![handshake(time), granted()]);
        let machine = Machine::new(&service, 0);
        machine.hook("10_reboot", "");
        let ran = machine.run();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains(why), "{ran:?}");
        assert!(machine.ran().is_empty());
    }
}

#[test]
fn errors_of_the_service_are_fatal() {
    for (reply, err, last) in [
        (Reply::Http(400, json!({"error": "no fqdn"}).to_string()), "Recieved error: no fqdn\n", ""),
        (Reply::Http(200, json!({"error": "odd"}).to_string()), "Recieved error: odd\n", ""),
        (
            Reply::Http(404, "404 page not found\n".to_owned()),
            "",
            "WARN askForOSRestart(): Could not parse JSON response: 404 page not found Error: ",
        ),
    ] {
        let service = Service::start(vec![reply]);
        let machine = Machine::new(&service, 0);
        machine.hook("10_reboot", "");
        let ran = machine.run();
        assert_eq!((ran.code, ran.err.as_str()), (Some(1), err), "{ran:?}");
        assert!(ran.lines().last().copied().unwrap_or_default().starts_with(last), "{ran:?}");
        assert_eq!(service.asked().len(), 1, "what another try cannot mend is not tried again");
    }
}

#[test]
fn a_redirect_is_told_and_not_followed() {
    let moved = "HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.example.org/\r\nContent-Length: 0\r\n\r\n";
    let service = Service::start(vec![Reply::Raw(moved.to_owned()), granted()]);
    let machine = Machine::new(&service, 0);
    machine.hook("10_reboot", "");
    let ran = machine.run();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("https://elsewhere.example.org/; set service_url"), "{ran:?}");
    assert_eq!(service.asked().len(), 1);
}

#[test]
fn faults_that_pass_are_tried_again() {
    let busy = Reply::Http(503, "{}".to_owned());
    let torn = Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"go_".to_owned());
    let replies = vec![Reply::HangUp, handshake("0s"), busy, torn, granted()];
    let service = Service::start(replies);
    let machine = Machine::new(&service, 0);
    machine.hook("10_reboot", "");
    let ran = machine.run();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(ran.out.matches("trying again in").count(), 3, "{ran:?}");
    assert_eq!(machine.ran(), ["10_reboot"]);
    let ids: Vec<Value> = service.asked().iter().map(|asked| asked.json()["request_id"].clone()).collect();
    assert_eq!(ids[1..], ["KrXwoDxs", "KrXwoDxs", "KrXwoDxs"].map(Value::from), "the same request again");
}

#[test]
fn a_service_that_stays_away_is_a_failure_within_bounds() {
    let service = Service::start(vec![]);
    let machine = Machine::new(&service, 0);
    machine.hook("10_reboot", "");
    let ran = Ran::of(machine.legacy().env("GOAHEAD_CLIENT_TRIES", "2").output().unwrap());
    assert_eq!(ran.code, Some(1));
    let url = format!("http://{}/v1/request/restart/os", service.address);
    assert!(ran.err.starts_with(&format!("Error while issuing request to {url} Error: ")), "{ran:?}");
    assert!(ran.err.contains("(tried 2 times)"), "{ran:?}");
}

#[test]
fn a_silent_service_is_not_waited_for_without_end() {
    let service = Service::start(vec![Reply::Silence]);
    let mut machine = Machine::new(&service, 0);
    machine.arguments = ["--http-timeout", "500ms", "--tries", "1"].map(str::to_owned).to_vec();
    machine.hook("10_reboot", "");
    let started = Instant::now();
    let ran = Ran::of(machine.modern().output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("no answer within 500ms"), "{ran:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_failing_hook_stops_the_rest_unless_it_may_fail() {
    for (allowed, code, ran_hooks) in [(false, 1, &["10_a", "20_b"][..]), (true, 0, &["10_a", "20_b", "30_c"])] {
        let service = Service::start(vec![handshake("0s"), granted()]);
        let mut machine = Machine::new(&service, 0);
        machine.settings = format!("os_restart_hooks_allow_fail: {allowed}");
        machine.hook("10_a", "");
        machine.hook("20_b", "exit 4");
        machine.hook("30_c", "");
        let ran = machine.run();
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert_eq!(machine.ran(), ran_hooks);
        let told = if allowed { &ran.out } else { &ran.err };
        let failure =
            format!("executeCommand(): command failed: {} exit status 4", machine.path("hooks.d/20_b").display());
        assert!(told.contains(&failure), "{ran:?}");
    }
}

#[test]
fn a_hook_that_cannot_start_is_a_failing_hook() {
    let service = Service::start(vec![handshake("0s"), granted()]);
    let machine = Machine::new(&service, 0);
    std::fs::write(machine.path("hooks.d/10_not_executable"), "").unwrap();
    machine.hook("20_reboot", "");
    let ran = machine.run();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("10_not_executable not started: "), "{ran:?}");
    assert!(machine.ran().is_empty());
}

#[test]
fn without_hooks_nothing_is_asked_for() {
    let service = Service::start(vec![handshake("0s"), granted()]);
    let machine = Machine::new(&service, 0);
    let ran = machine.run();
    assert_eq!(ran.code, Some(1));
    let pattern = machine.path("hooks.d/*").display().to_string();
    assert_eq!(ran.err, format!("Could not find any restart hook scripts matching {pattern}\n"));
    assert!(service.asked().is_empty(), "a go-ahead would hold a place for nothing");
}

#[test]
fn a_condition_script_that_did_not_end_is_an_error_and_no_reason() {
    let service = Service::start(vec![handshake("0s"), granted()]);
    let mut machine = Machine::new(&service, 0);
    machine.settings = "restart_condition_script_exit_code_for_reboot: 1".to_owned();
    machine.hook("10_reboot", "");
    std::fs::write(machine.path("condition"), "neither script nor program").unwrap();
    std::fs::set_permissions(machine.path("condition"), PermissionsExt::from_mode(0o644)).unwrap();
    let ran = machine.run();
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("condition not started: "), "{ran:?}");

    machine.condition("echo thinking; sleep 60");
    machine.arguments = vec!["--condition-timeout=2s".to_owned()];
    let ran = Ran::of(machine.modern().output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("condition timed out\nOutput: thinking"), "{ran:?}");
    assert!(service.asked().is_empty());
}

#[test]
fn a_config_file_that_is_missing_or_wrong_is_told_on_stderr() {
    let service = Service::start(vec![]);
    let machine = Machine::new(&service, 0);
    let mut command = machine.legacy();
    std::fs::remove_file(machine.path("condition")).unwrap();
    let ran = Ran::of(command.output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    let condition = machine.path("condition").display().to_string();
    assert_eq!(ran.err, format!("Failed to find configured restart_condition_script {condition}\n"));
    std::fs::remove_file(machine.path("client.yml")).unwrap();
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.starts_with("readConfigfile(): There was an error parsing the config file "), "{ran:?}");
}

#[test]
fn a_signal_ends_a_hook_and_the_run() {
    let service = Service::start(vec![handshake("0s"), granted()]);
    let mut machine = Machine::new(&service, 0);
    // Even then the next hook, which restarts the machine, must not run.
    machine.settings = "os_restart_hooks_allow_fail: true".to_owned();
    machine.hook("10_long", "sleep 60");
    machine.hook("20_reboot", "");
    let child = machine.legacy().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while machine.ran().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(30), "the first hook never ran");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(machine.ran(), ["10_long"]);
}
