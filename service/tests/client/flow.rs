//! What is asked, what is said, and what is run when nothing goes wrong.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::answers::{denied, granted, handshake};
use crate::support::{Machine, Ran, Service, ok};

#[test]
fn a_local_reason_leads_through_the_handshake_to_the_hooks() {
    let service = Service::start(vec![handshake("0s"), granted()]);
    let mut machine = Machine::new(&service, 0);
    machine.condition("echo 'kernel is old'; [ \"$1 $2\" = '-a b c' ] && exit 3; exit 9");
    machine.settings = "restart_condition_script_exit_code_for_reboot: 3".to_owned();
    machine.hook("20_second", "echo to stderr >&2");
    machine.hook("10_first", "echo \"$GOAHEAD_FQDN $GOAHEAD_CLUSTER $GOAHEAD_REASON\"");
    let mut command = machine.legacy();
    // The arguments of the condition script come after its path, which `legacy` has just written.
    let config = machine.path("client.yml");
    let text = std::fs::read_to_string(&config).unwrap().replace("/condition\n", "/condition -a 'b c'\n");
    std::fs::write(&config, text).unwrap();
    let ran = Ran::of(command.output().unwrap());

    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(machine.ran(), ["10_first", "20_second"]);
    let url = format!("http://{}/v1/request/restart/os", service.address);
    let lines: Vec<String> = ran
        .lines()
        .iter()
        .filter(|line| !line.contains(" took "))
        .map(|line| line.replace(&*machine.path("hooks.d").to_string_lossy(), "DIR"))
        .collect();
    assert_eq!(
        lines,
        [
            format!("Received valid response from {url}"),
            "Sleeping for 0s".to_owned(),
            format!("Received valid response from {url}"),
            "Received go ahead to restart".to_owned(),
            "Executing DIR/10_first (1 of 2)".to_owned(),
            "10_first: host.example.org foobar-servers kernel is old".to_owned(),
            "Executing DIR/20_second (2 of 2)".to_owned(),
            "20_second: to stderr".to_owned(),
        ]
    );

    let asked = service.asked();
    assert_eq!(asked.len(), 2);
    for asked in &asked {
        assert_eq!(asked.line, "POST /v1/request/restart/os");
        assert!(asked.headers.contains("content-type: application/json\r\n"), "{}", asked.headers);
        assert!(asked.headers.contains(&format!("host: {}\r\n", service.address)), "{}", asked.headers);
    }
    let first = asked[0].json();
    assert_eq!(first["fqdn"], "host.example.org");
    assert_eq!(first["restart_reason"], "kernel is old");
    assert_eq!(first.get("request_id"), None, "an empty request_id is left out");
    assert!(first["uptime"].as_str().unwrap().ends_with('s'), "{first}");
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(first["boot_id"], boot_id.trim());
    assert_eq!(asked[1].json()["request_id"], "KrXwoDxs");
}

#[test]
fn the_token_is_sent_and_never_told() {
    let service = Service::start(vec![denied("")]);
    let mut machine = Machine::new(&service, 1);
    let token = machine.path("token");
    std::fs::write(&token, "goahead_s3cret\n").unwrap();
    machine.settings = format!("token_file: {}", token.display());
    let ran = Ran::of(machine.legacy().arg("-debug").output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!format!("{ran:?}").contains("s3cret"), "{ran:?}");
    let asked = service.asked();
    assert!(asked[0].headers.contains("authorization: bearer goahead_s3cret\r\n"), "{}", asked[0].headers);

    std::fs::write(&token, " \n").unwrap();
    let ran = machine.run();
    assert_eq!((ran.code, service.asked().len()), (Some(1), 1), "{ran:?}");
    assert!(ran.err.contains("Failed to read token_file"), "{ran:?}");
}

#[test]
fn without_a_local_reason_the_service_is_asked_for_one() {
    let service = Service::start(vec![denied("")]);
    let machine = Machine::new(&service, 1);
    machine.hook("10_reboot", "");
    let ran = machine.run();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(
        ran.lines(),
        ["Did not find local reason to restart. Asking if I should restart, because of other reasons."]
    );
    let asked = service.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "POST /v1/inquire/restart/");
    assert_eq!(asked[0].json()["restart_reason"], "inquire");
    assert!(machine.ran().is_empty());
}

#[test]
fn a_reason_of_the_service_leads_to_a_request() {
    let yes = "YesInquireToRestart: check exited with 0";
    let service = Service::start(vec![denied(yes), handshake("0s"), granted()]);
    let machine = Machine::new(&service, 1);
    machine.hook("10_reboot", "");
    let ran = machine.run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.lines().contains(&&*format!("Received reason from middle-ware to restart: {yes}")), "{ran:?}");
    let asked = service.asked();
    assert_eq!(asked[1].json()["restart_reason"], "forced by middle-ware");
    assert_eq!(machine.ran(), ["10_reboot"]);
}

#[test]
fn a_message_that_only_holds_the_word_is_no_reason() {
    let service = Service::start(vec![denied("no YesInquireToRestart here")]);
    let machine = Machine::new(&service, 1);
    machine.hook("10_reboot", "");
    assert_eq!(machine.run().code, Some(0));
    assert_eq!(service.asked().len(), 1);
}

#[test]
fn debug_lines_carry_the_old_names() {
    let service = Service::start(vec![denied("")]);
    let mut machine = Machine::new(&service, 1);
    machine.arguments = vec!["-debug".to_owned()];
    let ran = machine.run();
    let condition = machine.path("condition").display().to_string();
    let config = machine.path("client.yml").display().to_string();
    let asked = service.asked();
    let lines = ran.lines();
    let expected = [
        format!("Debug main(): Using as config file: {config}"),
        format!("Debug readConfigfile(): Trying to read config file: {config}"),
        format!("Debug ExecuteCommand(): Executing {condition}"),
        format!("Executing {condition} took 0."),
        "Did not find local reason to restart. Asking if I should restart, because of other reasons.".to_owned(),
        format!("Debug doRequest(): sending HTTP request http://{}/v1/inquire/restart/", service.address),
        format!("Debug getPayload(): Trying to send payload: {}", asked[0].body),
        "Debug doRequest(): Received response: {\"found_cluster\"".to_owned(),
    ];
    let mut rest = lines.iter();
    for wanted in &expected {
        assert!(rest.any(|line| line.starts_with(wanted)), "{wanted} is missing or out of order:\n{}", ran.out);
    }
}

#[test]
fn a_denied_request_says_why_and_is_no_failure() {
    let service = Service::start(vec![handshake("0s"), denied("the cluster is frozen")]);
    let machine = Machine::new(&service, 0);
    machine.hook("10_reboot", "");
    let ran = machine.run();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(*ran.lines().last().unwrap(), "Did not recieve go ahead to restart. Reason: the cluster is frozen");
    assert!(machine.ran().is_empty());
}

#[test]
fn a_first_answer_without_a_time_to_wait_ends_the_run() {
    let message = "Configured minimum uptime for cluster: 30m0s was not reached by client's uptime: 1m";
    let no_cluster = json!({"found_cluster": "", "ask_again_in": "1s", "message": message});
    for reply in [denied(message), ok(no_cluster)] {
        let service = Service::start(vec![reply]);
        let machine = Machine::new(&service, 0);
        machine.hook("10_reboot", "");
        let ran = machine.run();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(*ran.lines().last().unwrap(), format!("WARN doRestart(): {message} Exiting..."));
        assert_eq!(service.asked().len(), 1);
    }
}

#[test]
fn a_time_to_wait_is_waited_for() {
    let service = Service::start(vec![handshake("1.2s"), denied("")]);
    let machine = Machine::new(&service, 0);
    machine.hook("10_reboot", "");
    let started = Instant::now();
    let ran = machine.run();
    assert!(started.elapsed() >= Duration::from_millis(1200), "{:?}", started.elapsed());
    assert!(ran.lines().contains(&"Sleeping for 1.2s"), "{ran:?}");
}

#[test]
fn a_disabled_client_says_why_and_does_nothing() {
    let service = Service::start(vec![]);
    let machine = Machine::new(&service, 0);
    for (text, reason) in [("", "reason not specified"), ("migration\nuntil Monday\n", "migrationuntil Monday")] {
        std::fs::write(machine.path("disabled"), text).unwrap();
        let ran = machine.run();
        let notice =
            format!("Notice: Skipping run of goahead client; administratively disabled (Reason: '{reason}')\n");
        assert_eq!((ran.code, ran.out, ran.err), (Some(0), notice, String::new()));
    }
    assert!(service.asked().is_empty());
}

#[test]
fn a_dry_run_asks_nothing_that_could_be_granted() {
    let service = Service::start(vec![denied(""), denied("YesInquireToRestart: why")]);
    let mut machine = Machine::new(&service, 0);
    machine.condition("echo old kernel");
    machine.arguments = vec!["-dry-run".to_owned()];
    machine.hook("10_reboot", "");
    let local = machine.run();
    assert_eq!(local.code, Some(0), "{local:?}");
    assert!(local.out.contains("would request a restart of host.example.org with the reason: old kernel"), "{local:?}");
    machine.condition("exit 1");
    let remote = machine.run();
    assert_eq!(remote.code, Some(0), "{remote:?}");
    assert!(remote.out.contains("with the reason: forced by middle-ware"), "{remote:?}");
    for ran in [&local, &remote] {
        assert!(ran.out.contains("would execute after the go-ahead: "), "{ran:?}");
    }
    let asked = service.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|asked| asked.line == "POST /v1/inquire/restart/"), "{asked:?}");
    assert!(machine.ran().is_empty());
}

#[test]
fn the_new_name_logs_as_the_service_does() {
    let service = Service::start(vec![handshake("0s"), denied("no")]);
    let machine = Machine::new(&service, 0);
    machine.hook("10_reboot", "");
    let ran = Ran::of(machine.modern().args(["--log-format", "json"]).output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    let messages: Vec<Value> =
        ran.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].clone()).collect();
    assert!(messages.contains(&Value::from("Sleeping for 0s")), "{ran:?}");
}

#[test]
fn help_and_version_are_the_old_program_s() {
    let service = Service::start(vec![]);
    let mut machine = Machine::new(&service, 0);
    machine.arguments = vec!["-version".to_owned()];
    let ran = machine.run();
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.contains("version") && service.asked().is_empty(), "{ran:?}");
    machine.arguments = vec!["--help".to_owned()];
    let ran = machine.run();
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.contains("-disabled"), "{ran:?}");
}
