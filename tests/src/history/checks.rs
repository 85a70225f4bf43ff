//! What must be true of every history. Each check gives the violations that it finds, in words.

use std::collections::HashMap;

use super::holds::{Hold, holds};
use super::{Answer, Op, Record};

/// How long a call may still be carried out whose answer was lost: longer than any statement may run.
const LATE: u64 = 10_000_000;
/// Who repeats a claim within this time keeps what is kept for it; far below the `claim_within` of claims.
const PROMPT: u64 = 3_000_000;

/// Never more holders rely on a lock at once than it had slots when the last of them was granted.
pub fn exclusion(records: &[Record]) -> Vec<String> {
    let holds = holds(records);
    let mut found = Vec::new();
    for hold in &holds {
        let Some((start, _)) = hold.relied_on() else { continue };
        let at_once: Vec<&Hold> = holds
            .iter()
            .filter(|other| other.lock == hold.lock)
            .filter(|other| other.relied_on().is_some_and(|(from, until)| from <= start && start < until))
            .collect();
        let since = at_once.iter().map(|hold| hold.earliest).min().unwrap_or(start);
        let slots = most_slots(records, hold.lock, since, start);
        if at_once.len() > slots {
            let who: Vec<&str> = at_once.iter().map(|hold| hold.holder.as_str()).collect();
            found.push(format!("{who:?} hold {} at {start} us, which has {slots} slots", hold.lock));
        }
    }
    found
}

/// The most slots that a lock can have had at some time of a span.
fn most_slots(records: &[Record], lock: &str, from: u64, until: u64) -> usize {
    let resizes: Vec<(usize, &Record)> = records
        .iter()
        .filter(|record| record.lock == lock && record.answer != Answer::Refused)
        .filter_map(|record| match record.op {
            Op::Resize { slots } => Some((slots, record)),
            _ => None,
        })
        .collect();
    let possible = resizes.iter().enumerate().filter(|(index, (_, resize))| {
        let next = resizes[index + 1..].iter().find(|(_, next)| next.answer == Answer::Done);
        let replaced = next.map_or(u64::MAX, |(_, next)| next.returned);
        let late = if resize.answer == Answer::Unknown { resize.invoked + LATE } else { 0 };
        resize.invoked <= until && from <= replaced.max(late)
    });
    possible.map(|(_, (slots, _))| *slots).max().unwrap_or(1)
}

/// No hold ends before its time unless its holder or an operator ends it.
pub fn no_early_end(records: &[Record]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, record) in records.iter().enumerate() {
        if record.op != Op::Renew || record.answer != Answer::Refused {
            continue;
        }
        let before: Vec<Record> =
            records[..index].iter().filter(|r| r.lock == record.lock && r.holder == record.holder).cloned().collect();
        let broken = records.iter().any(|other| {
            other.op == Op::Break
                && other.answer != Answer::Refused
                && (other.lock, &other.holder) == (record.lock, &record.holder)
        });
        let relied_on = holds(&before).into_iter().find(|hold| Some(hold.token) == record.token);
        if let Some((_, until)) = relied_on.and_then(|hold| hold.relied_on())
            && record.returned < until
            && !broken
        {
            found.push(format!("{} lost {} at {} us, before {until}", record.holder, record.lock, record.returned));
        }
    }
    found
}

/// A token is of one grant, and what was granted later has a higher one.
pub fn tokens(records: &[Record]) -> Vec<String> {
    let holds = holds(records);
    let mut found = Vec::new();
    let mut owners: HashMap<(&str, i64), &str> = HashMap::new();
    for hold in &holds {
        let owner = *owners.entry((hold.lock, hold.token)).or_insert(&hold.holder);
        if owner != hold.holder {
            found.push(format!("{owner} and {} have token {} of {}", hold.holder, hold.token, hold.lock));
        }
        for earlier in holds.iter().filter(|other| other.lock == hold.lock && other.known < hold.earliest) {
            if earlier.token >= hold.token {
                found.push(format!(
                    "{}: {} of {} came before {} of {}",
                    hold.lock, earlier.token, earlier.holder, hold.token, hold.holder
                ));
            }
        }
    }
    found
}

/// A token that was given back or taken away renews nothing and writes nothing, and neither does one that another has
/// followed; `serial` are the locks that only ever have one slot.
pub fn dead_tokens(records: &[Record], serial: &[&str]) -> Vec<String> {
    let holds = holds(records);
    let mut found = Vec::new();
    for used in records.iter().filter(|r| matches!(r.op, Op::Renew | Op::Write) && r.answer == Answer::Done) {
        let ended = records.iter().any(|end| {
            let of_it = match end.op {
                Op::Release => end.token == used.token,
                Op::Break => end.holder == used.holder,
                _ => false,
            };
            of_it && end.lock == used.lock && end.answer == Answer::Done && end.returned < used.invoked
        });
        let followed = serial.contains(&used.lock)
            && holds
                .iter()
                .any(|hold| hold.lock == used.lock && Some(hold.token) > used.token && hold.known < used.invoked);
        if ended || followed {
            found.push(format!("{:?} with token {:?} of {} at {} us", used.op, used.token, used.lock, used.invoked));
        }
    }
    found
}

/// Who was in the queue before somebody else asked, and repeated its claim, is granted before: judged for locks of one
/// slot. Also gives how many pairs there were to compare.
pub fn order(records: &[Record], serial: &[&str]) -> (Vec<String>, usize) {
    let holds = holds(records);
    let (mut found, mut pairs) = (Vec::new(), 0);
    for claim in claims(records).iter().filter(|claim| serial.contains(&claim.lock)) {
        for other in holds.iter().filter(|other| other.lock == claim.lock && claim.queued < other.asked) {
            pairs += 1;
            let overtaken = match claim.token {
                Some(token) => other.token < token,
                None => other.known < claim.still_queued,
            };
            if overtaken {
                found.push(format!("{} overtook {} at {}", other.holder, claim.holder, claim.lock));
            }
        }
    }
    (found, pairs)
}

/// A place in the queue that its owner keeps repeating.
struct Claim<'a> {
    lock: &'a str,
    holder: &'a str,
    /// It was in the queue from then on
    queued: u64,
    /// And still when this call began
    still_queued: u64,
    token: Option<i64>,
}

/// Claims whose calls were all answered and followed each other closely.
fn claims(records: &[Record]) -> Vec<Claim<'_>> {
    let mut of: HashMap<(&str, &str), Vec<&Record>> = HashMap::new();
    for record in records.iter().filter(|record| matches!(record.op, Op::Acquire { .. })) {
        of.entry((record.lock, &record.holder)).or_default().push(record);
    }
    let mut claims = Vec::new();
    for ((lock, holder), calls) in of {
        let claimed = calls.iter().all(|call| {
            call.op == (Op::Acquire { claims: true }) && !matches!(call.answer, Answer::Unknown | Answer::Refused)
        });
        let prompt = calls.windows(2).all(|pair| pair[1].invoked < pair[0].returned + PROMPT);
        let first = calls.first().filter(|call| call.answer == Answer::Queued);
        let Some(first) = first.filter(|_| claimed && prompt) else { continue };
        let still_queued = calls.iter().rev().find(|call| call.answer == Answer::Queued).map_or(0, |call| call.invoked);
        let token = calls.iter().find_map(|call| call.token);
        claims.push(Claim { lock, holder, queued: first.returned, still_queued, token });
    }
    claims
}

/// Everybody who began to ask after `healed`, and did not give up, was granted within `limit` microseconds.
pub fn liveness(records: &[Record], healed: u64, limit: u64) -> Vec<String> {
    let mut first: HashMap<(&str, &str), (u64, Option<u64>)> = HashMap::new();
    for record in records.iter().filter(|record| matches!(record.op, Op::Acquire { .. } | Op::Withdraw)) {
        let entry = first.entry((record.lock, &record.holder)).or_insert((record.invoked, None));
        let over = record.op == Op::Withdraw || matches!(record.answer, Answer::Granted | Answer::Provisional);
        if over && entry.1.is_none() {
            entry.1 = Some(record.returned);
        }
    }
    let late = first
        .into_iter()
        .filter(|(_, (asked, served))| *asked >= healed && served.is_none_or(|served| served > asked + limit));
    late.map(|((lock, holder), (asked, served))| format!("{holder} asked for {lock} at {asked} us: {served:?}"))
        .collect()
}
