//! What clients of locks did and saw, and what must be true of it whatever was killed meanwhile.
//!
//! A history is judged after the fact by [`checks`]; each takes the clients' point of view, so nothing that a service
//! or the database says about itself is believed. Times are microseconds of this machine's monotonic clock.

pub mod checks;
mod holds;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A slot. With `claims` it is kept for long when the turn comes, so that nobody may be granted before.
    Acquire {
        /// See above
        claims: bool,
    },
    /// A longer hold, or the confirmation of one that ended a wait
    Renew,
    /// The end of the hold
    Release,
    /// The end of the wait
    Withdraw,
    /// The end of somebody's hold, by an operator
    Break,
    /// Another number of slots, by an admin
    Resize {
        /// How many
        slots: usize,
    },
    /// A write into the database in one transaction with `check_fence`
    Write,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Granted at once
    Granted,
    /// Granted, to be confirmed by a renewal
    Provisional,
    /// In the queue
    Queued,
    /// Renewed, released, withdrawn, broken, resized, written
    Done,
    /// Refused: nothing has happened
    Refused,
    /// It may have happened, or may yet
    Unknown,
}

/// One call of one client. A holder's calls about one lock follow each other, and its name is never used again after
/// its hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What was asked for
    pub op: Op,
    /// Of which lock
    pub lock: &'static str,
    /// By whom; of a break whose hold it was
    pub holder: String,
    /// The token that was given or shown
    pub token: Option<i64>,
    /// How long a hold was to last, in microseconds
    pub ttl: u64,
    /// When the call began
    pub invoked: u64,
    /// When it ended
    pub returned: u64,
    /// How it ended
    pub answer: Answer,
}

/// The calls of all clients in one list.
#[derive(Debug)]
pub struct History {
    start: Instant,
    records: Mutex<Vec<Record>>,
}

impl Default for History {
    fn default() -> Self {
        Self { start: Instant::now(), records: Mutex::default() }
    }
}

impl History {
    /// The time since its beginning.
    pub fn now(&self) -> u64 {
        micros(self.start.elapsed())
    }

    /// Adds a call that has ended.
    pub fn add(&self, record: Record) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    /// All calls, in the order in which they began.
    pub fn records(&self) -> Vec<Record> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner).clone();
        records.sort_by_key(|record| record.invoked);
        records
    }

    /// Writes it as lines of JSON.
    pub fn save(&self, path: &Path) {
        let lines: Vec<String> = self.records().iter().map(line).collect();
        std::fs::write(path, lines.join("\n")).expect("write");
    }
}

/// Microseconds of a span.
pub fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).expect("less than ages")
}

fn line(record: &Record) -> String {
    let kind = match record.answer {
        Answer::Granted | Answer::Provisional | Answer::Queued | Answer::Done => "ok",
        Answer::Refused => "fail",
        Answer::Unknown => "unknown",
    };
    json!({
        "op": format!("{:?}", record.op), "lock": record.lock, "holder": record.holder, "token": record.token,
        "ttl": record.ttl, "t_invoke": record.invoked, "t_return": record.returned, "type": kind,
        "answer": format!("{:?}", record.answer),
    })
    .to_string()
}
