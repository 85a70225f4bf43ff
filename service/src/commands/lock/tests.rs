//! What is read from the command line, and what exit codes are made of.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn parse(arguments: &[&str]) -> Result<Args, String> {
    let line = Line::try_parse_from([&["lock"], arguments].concat());
    line.map(|line| line.args).map_err(|error| error.to_string())
}

#[test]
fn the_defaults_are_those_of_the_help() {
    let args = parse(&["etl", "--", "true", "-x", "--wait"]).expect("it is right");
    assert_eq!((args.wait, args.ttl), (Patience(Some(Duration::from_secs(30))), Duration::from_secs(15)));
    assert_eq!((args.on_lost, args.grace), (OnLost::Kill, Duration::from_secs(5)));
    assert_eq!(args.command, ["true", "-x", "--wait"], "flags after -- are the command's");
}

#[test]
fn waiting_has_a_limit_or_says_that_it_has_none() {
    assert_eq!(parse(&["etl", "--wait", "forever", "--", "true"]).map(|args| args.wait), Ok(Patience(None)));
    assert_eq!(parse(&["etl", "--wait=0s", "--", "true"]).map(|args| args.wait), Ok(Patience(Some(Duration::ZERO))));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for wrong in [
        &["etl"][..],
        &["etl", "true"],
        &["", "--", "true"],
        &["a\nb", "--", "true"],
        &["operate", "--", "true"],
        &["etl", "--ttl", "900ms", "--", "true"],
        &["etl", "--ttl", "-5s", "--", "true"],
        &["etl", "--wait", "5", "--", "true"],
        &["etl", "--wait", "-5s", "--", "true"],
        &["etl", "--slots", "0", "--", "true"],
        &["etl", "--holder", "", "--", "true"],
        &["etl", "--on-lost", "pray", "--", "true"],
    ] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn no_two_runs_are_the_same_holder() {
    let one = holder();
    assert_ne!(one, holder());
    assert!(one.starts_with(&machine()) && hostname::check_plain("holder", &one).is_ok(), "{one}");
}

#[test]
fn exit_codes_are_the_command_s() {
    assert_eq!(code(ExitStatus::from_raw(7 << 8)), 7);
    assert_eq!(code(ExitStatus::from_raw(15)), 143);
}

#[test]
fn others_see_the_program_but_not_its_arguments() {
    let args = parse(&["etl", "--", "/usr/bin/load", "--password", "secret"]).expect("it is right");
    let metadata = metadata(&args);
    assert_eq!(metadata["program"], "load");
    assert!(!metadata.to_string().contains("secret"));
}
