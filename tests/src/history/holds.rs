//! Holds, as their holders believe in them.

use std::collections::HashMap;

use super::{Answer, Op, Record};

/// One grant.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Of which lock
    pub lock: &'static str,
    /// To whom
    pub holder: String,
    /// Its token
    pub token: i64,
    /// When the holder first asked
    pub asked: u64,
    /// It was not granted before
    pub earliest: u64,
    /// It was granted before
    pub known: u64,
    /// From when on the holder may rely on it
    start: Option<u64>,
    /// Until when, as far as time goes
    deadline: u64,
    /// Until when, as far as its holder and operators go
    ended: u64,
}

impl Hold {
    /// From when until when the holder relies on it: from an answer on, for the TTL from before the call, unless it is
    /// given back or somebody begins to take it away.
    pub fn relied_on(&self) -> Option<(u64, u64)> {
        let end = self.deadline.min(self.ended);
        self.start.filter(|start| *start < end).map(|start| (start, end))
    }
}

/// The grants of a history, whose records are in the order of their invocations.
pub fn holds(records: &[Record]) -> Vec<Hold> {
    let mut found: HashMap<(&str, &str), Holder> = HashMap::new();
    for record in records.iter().filter(|record| !matches!(record.op, Op::Resize { .. })) {
        found.entry((record.lock, &record.holder)).or_default().follow(record);
    }
    let mut holds: Vec<Hold> = found
        .into_values()
        .flat_map(|holder| {
            let broken = holder.broken;
            holder.holds.into_iter().map(move |hold| Hold { ended: hold.ended.min(broken), ..hold })
        })
        .collect();
    holds.sort_by_key(|hold| (hold.known, hold.token));
    holds
}

/// One holder of one lock, so far.
struct Holder {
    holds: Vec<Hold>,
    asked: Option<u64>,
    /// Since when calls have gone unanswered, any of which may have been granted
    unknown: Option<u64>,
    /// When an operator began to take away what it has
    broken: u64,
}

impl Default for Holder {
    fn default() -> Self {
        Self { holds: Vec::new(), asked: None, unknown: None, broken: u64::MAX }
    }
}

impl Holder {
    fn follow(&mut self, record: &Record) {
        match (record.op, record.answer, record.token) {
            (Op::Acquire { .. }, Answer::Granted | Answer::Provisional, Some(token)) => {
                let asked = *self.asked.get_or_insert(record.invoked);
                let sure = self.unknown.is_none() && record.answer == Answer::Granted;
                let earliest = self.unknown.take().unwrap_or(record.invoked);
                if self.holds.iter().any(|hold| hold.token == token) {
                    // Given again: its time began with the first answer.
                    return;
                }
                self.holds.push(Hold {
                    lock: record.lock,
                    holder: record.holder.clone(),
                    token,
                    asked,
                    earliest,
                    known: record.returned,
                    start: sure.then_some(record.returned),
                    deadline: record.invoked + record.ttl,
                    ended: u64::MAX,
                });
            }
            (Op::Acquire { .. }, answer, _) => {
                self.asked.get_or_insert(record.invoked);
                match answer {
                    Answer::Unknown => self.unknown = self.unknown.or(Some(record.invoked)),
                    _ => self.unknown = None,
                }
            }
            (Op::Renew, Answer::Done, Some(token)) => {
                if let Some(hold) = self.holds.iter_mut().find(|hold| hold.token == token) {
                    let until = record.invoked + record.ttl;
                    hold.deadline = if hold.start.is_some() { hold.deadline.max(until) } else { until };
                    hold.start.get_or_insert(record.returned);
                }
            }
            (Op::Release, _, Some(token)) => {
                if let Some(hold) = self.holds.iter_mut().find(|hold| hold.token == token) {
                    hold.ended = hold.ended.min(record.invoked);
                }
            }
            (Op::Break, Answer::Done | Answer::Unknown, _) => self.broken = self.broken.min(record.invoked),
            _ => {}
        }
    }
}
