//! What a gate says, for people.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::super::{CommandResult, Failure, print, small_runtime};
use crate::gate::clock;
use crate::gate::control;
use crate::gate::settings::Mode;
use crate::gate::snapshot::{By, Local, PeerView, Snapshot, Vote, Why};

/// Arguments of `goahead gate status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Everything, as JSON
    #[arg(long)]
    json: bool,
}

/// Prints it. Exit code 1: it does not know, because its verdict is too old.
///
/// # Errors
/// When no gate answers.
pub fn show(state_dir: &Path, args: &Args) -> CommandResult {
    let snapshot = small_runtime()?.block_on(control::status(state_dir)).map_err(Failure::new)?;
    let text = if args.json {
        serde_json::to_string_pretty(&snapshot).map_err(|error| Failure::new(error.to_string()))? + "\n"
    } else {
        text(&snapshot)
    };
    print(&text)?;
    let votes_only = snapshot.witness && snapshot.mode == Mode::ServerOnly;
    Ok(ExitCode::from(u8::from(!snapshot.is_live(clock::now()) && !votes_only)))
}

/// A round in plain text.
pub fn text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let verdict = &snapshot.verdict;
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}: {}", snapshot.node, headline(snapshot));
    if snapshot.round == 0 && snapshot.mode == Mode::ServerOnly {
        // It knows of no door, database or peer.
        text.extend(snapshot.vote.as_ref().map(own_vote));
        return text;
    }
    for (what, open, reasons) in [
        ("read-write", snapshot.rw_open(), &verdict.rw_reasons),
        ("read-only", snapshot.ro_open(), &verdict.ro_reasons),
    ] {
        let _ = writeln!(text, "{what:<11}{}", if open { "OPEN" } else { "closed" });
        for why in reasons {
            let _ = writeln!(text, "           - {}", line(why));
        }
    }
    if let Some(order) = &snapshot.order {
        let word = if order.open { "open" } else { "close" };
        let until = jiff::Timestamp::from_microsecond(order.until_us).map(|at| at.to_string()).unwrap_or_default();
        let _ = writeln!(text, "order      {word} by {}, until {until}: {}", order.actor, order.reason);
    }
    let votes = snapshot.votes;
    let _ = writeln!(text, "votes      {} of {}, {} needed", votes.got, votes.voters, votes.needed);
    text.extend(snapshot.vote.as_ref().map(own_vote));
    let _ = writeln!(text, "database   {}", database(snapshot.local.as_ref(), snapshot.local_error.as_deref()));
    let _ = writeln!(text, "lines      {}", lines(snapshot));
    for peer in &snapshot.peers {
        let _ = writeln!(text, "peer       {}: {}", peer.label, heard(peer));
    }
    for note in &snapshot.notes {
        let _ = writeln!(text, "note       {note}");
    }
    text
}

fn headline(snapshot: &Snapshot) -> String {
    if snapshot.round == 0 {
        return match (snapshot.witness, snapshot.mode) {
            (true, _) => "a witness: it votes, and takes no traffic",
            (false, Mode::ServerOnly) => "it votes; no --client-only has handed over a verdict yet, so all is closed",
            (false, _) => "nothing decided yet",
        }
        .to_owned();
    }
    let age = snapshot.age();
    if snapshot.is_live(clock::now()) {
        format!("round {}, {:.1} s ago", snapshot.round, age.as_secs_f64())
    } else {
        format!("the last verdict is {:.1} s old and counts no more: closed", age.as_secs_f64())
    }
}

fn line(why: &Why) -> &str {
    if why.text.is_empty() { &why.code } else { &why.text }
}

fn own_vote(vote: &Vote) -> String {
    let seconds = |micros: u64| Duration::from_micros(micros).as_secs_f64();
    let says = match (&vote.acks, vote.left_us, vote.abstains_us) {
        (Some(node), left, _) => format!("acks {node} for another {:.2} s", seconds(left.unwrap_or(0))),
        (None, _, Some(left)) => format!("acks nobody for another {:.2} s: it has just started", seconds(left)),
        (None, _, None) => "acks nobody".to_owned(),
    };
    format!("own vote   {says}\n")
}

fn database(local: Option<&Local>, error: Option<&str>) -> String {
    let Some(local) = local else { return format!("does not answer: {}", error.unwrap_or("not asked yet")) };
    let role = if local.in_recovery { "standby" } else { "primary" };
    let timeline = local.timeline.map_or("unknown timeline".to_owned(), |timeline| format!("timeline {timeline}"));
    let streams = match &local.receiver {
        Some(receiver) => {
            format!(", {} from {}", receiver.status, receiver.sender_host.as_deref().unwrap_or("an unknown host"))
        }
        None if local.in_recovery => ", not streaming".to_owned(),
        None => format!(", {} streaming from it", local.downstream.len()),
    };
    format!("{role}, {timeline}{streams}")
}

fn lines(snapshot: &Snapshot) -> String {
    let applied = &snapshot.applied;
    let by = match applied.by {
        By::Nothing => "there are none: HTTP alone",
        By::Sql => "written through the extension's rules",
        By::File => "written to the file",
        By::HttpOnly => "the file cannot be written: HTTP alone",
    };
    match (&applied.error, &applied.mistake) {
        (Some(error), _) => format!("{by}; {error}"),
        (None, Some(mistake)) => format!("{by}; the file would not load, so the server keeps what it has: {mistake}"),
        (None, None) => by.to_owned(),
    }
}

fn heard(peer: &PeerView) -> String {
    if let Some(error) = &peer.error {
        return format!("silent: {error}");
    }
    let role = match peer.primary {
        Some(true) => "primary",
        Some(false) => "standby",
        None if peer.witness => "witness",
        None if peer.via.as_deref() == Some("grpc") => "harepd",
        None => "its database does not answer",
    };
    let timeline = peer.timeline.map(|timeline| format!(", timeline {timeline}")).unwrap_or_default();
    let door = match peer.rw {
        Some(true) => ", read-write OPEN",
        Some(false) | None => "",
    };
    let vote = match (&peer.refusal, peer.ack) {
        (_, true) => "; acks this node".to_owned(),
        (Some(why), false) => format!("; does not ack: {why}"),
        (None, false) => String::new(),
    };
    format!("{role}{timeline}{door}{vote}")
}
