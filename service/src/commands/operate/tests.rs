//! What is read from the command line.

use clap::Parser;
use serde_json::json;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn parse(arguments: &[&str]) -> Result<Args, String> {
    let line = Line::try_parse_from([&["operate"], arguments].concat());
    line.map(|line| line.args).map_err(|error| error.to_string())
}

#[test]
fn the_usual_restart_is_systemds() {
    let args = parse(&["--unit", "web/0"]).expect("it is right");
    assert_eq!(args.restart.0, ["systemctl", "restart", "{service}"]);
    assert_eq!((args.failure, args.ttl), (Failing::RetryRelease, Duration::from_secs(60)));
}

#[test]
fn commands_are_split_into_words_once() {
    let args = parse(&["--unit", "u", "--check", "sh -c 'exit 3'", "--failure", "retry_hold"]).expect("it is right");
    assert_eq!(args.check.map(|words| words.0), Some(vec!["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()]));
    assert_eq!(args.failure.report(), Report::RetryHold);
}

#[test]
fn a_request_says_what_is_to_be_done() {
    let line = ["--unit", "u", "--request", "restart", "--service", "a", "--service", "b c", "--context", r#"{"v":1}"#];
    let args = parse(&line).expect("it is right");
    assert_eq!(
        (args.requested.services, args.requested.context),
        (vec!["a".to_owned(), "b c".to_owned()], json!({ "v": 1 }))
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    for wrong in [
        &[][..],
        &["--unit", ""],
        &["--unit", "u", "--restart", "{service} restart"],
        &["--unit", "u", "--restart", "a 'b"],
        &["--unit", "u", "--restart", ""],
        &["--unit", "u", "--ttl", "4s"],
        &["--unit", "u", "--timeout", "0s"],
        &["--unit", "u", "--service", "a"],
        &["--unit", "u", "--request", "l", "--once"],
        &["--unit", "u", "--request", "l", "--context", "{"],
        &["--unit", "u", "--request", "l", "--max-retry", "-1"],
    ] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}
