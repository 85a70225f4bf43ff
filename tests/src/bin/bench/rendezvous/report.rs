//! The section about rendezvous.

use std::fmt::Write as _;
use std::time::Duration;

use super::crowd::{Keys, Woken};
use crate::machine;
use crate::measured::{Times, ms};

/// The waiting request and the signal at one service.
pub const HERE: &str = "goahead";
/// The waiting request at one service, the signal at another.
pub const THERE: &str = "goahead, signalled at another service";
/// The limit, with something to be kept.
pub const WITH_A_ROW: &str = "raw PostgreSQL, a row and NOTIFY";
/// The limit of a notification.
pub const ALONE: &str = "raw PostgreSQL, NOTIFY alone";
/// Lists.
pub const REDIS: &str = "Redis";

/// Wake-ups of one kind.
#[derive(Debug)]
pub struct Wake {
    /// Who wakes
    pub who: &'static str,
    /// Whether the aims are for it
    pub ours: bool,
    /// How many wait for the key
    pub waiting: usize,
    /// How many keys, one after another
    pub rounds: usize,
    /// Of each who waited in each round
    pub times: Times,
}

/// What it cost to have many wait.
#[derive(Debug)]
pub struct Held {
    /// At whose service
    pub who: &'static str,
    /// For what
    pub keys: Keys,
    /// How many
    pub waiting: usize,
    /// Resident memory in KiB without them
    pub before: u64,
    /// Resident memory in KiB with them
    pub after: u64,
    /// Connections that listen to the database, where there is one
    pub listening: Option<u64>,
    /// And how they were woken
    pub woken: Woken,
}

/// The original's median.
const ORIGINAL: Duration = Duration::from_millis(212);

const WAKE: &str = "\
*Wake-up*, in milliseconds: from the moment at which a PUT is sent until the whole answer to a GET that waits has arrived, at\n\
each who waited. The PUT is sent once all are on the list of those who wait. HTTP without TLS, on keep-alive connections; a\n\
signal is on disk before anybody is told (fsync and synchronous_commit on). The limit is one connection of the same server\n\
that notifies another, alone and with a row inserted in the same transaction. *Redis* keeps its lists in memory: BLPOP\n\
waits, LPUSH gives each its element. web-rendezvous itself polls: 212 ms in the median and 483 ms at worst, as was recorded\n\
elsewhere. Aims: p50 below 2 ms, p99 below 15 ms.\n\n";

const HELD: &str = "\
*Many at once*: resident memory of a service that has done nothing before, with all their connections open and all of them\n\
on the list, and what it was before they came (at most 20 KiB for each is the aim). *Listening* counts the service's\n\
connections to the database that listen (aim: 1). *All returned* is the time from the sending of the first signal until the\n\
last answer had arrived; with a key for each, 16 connections signal one key after another. The load client reads all answers\n\
on one thread, which is part of each figure.\n\n";

/// The text of the section.
pub fn section(redis: &str, wakes: &[Wake], held: &[Held]) -> String {
    let mut text = format!("{}\n\n{WAKE}", machine::line(&[redis.to_owned()]));
    text.push_str("| who wakes | waiting | rounds | p50 | p99 | longest | original's p50 / p50 |\n");
    text.push_str("| :--- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for Wake { who, ours, waiting, rounds, times } in wakes {
        let [p50, p99] = [50, 99].map(|percent| times.percentile(percent));
        let over = if *ours { format!("{:.0}", ORIGINAL.as_secs_f64() / p50.as_secs_f64()) } else { String::new() };
        let longest = ms(times.longest());
        let _ = writeln!(text, "| {who} | {waiting} | {rounds} | {} | {} | {longest} | {over} |", ms(p50), ms(p99));
    }
    let _ = write!(text, "\n{HELD}");
    text.push_str("| at | waiting | keys | MiB before | MiB with them | KiB for each | listening | wake-up p50 ms | p99 ms | all returned ms |\n");
    text.push_str("| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for Held { who, keys, waiting, before, after, listening, woken } in held {
        let keys = match keys {
            Keys::One => 1,
            Keys::Each => *waiting,
        };
        let listening = listening.map_or_else(String::new, |count| count.to_string());
        let _ = writeln!(
            text,
            "| {who} | {waiting} | {keys} | {:.1} | {:.1} | {:.1} | {listening} | {} | {} | {} |",
            machine::mib(*before),
            machine::mib(*after),
            machine::mib(after.saturating_sub(*before)) * 1024.0
                / f64::from(u32::try_from(*waiting).unwrap_or(u32::MAX)),
            ms(woken.times.percentile(50)),
            ms(woken.times.percentile(99)),
            ms(woken.all),
        );
    }
    text
}
