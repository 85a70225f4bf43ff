//! What was seen of a bed and when: which node let which traffic in, and whether ever two took writes at once.

use std::fmt::Write;
use std::time::{Duration, Instant};

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// What only the primary may take
    ReadWrite,
    /// What standbys take
    ReadOnly,
}

/// Through which door a node was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// As HAProxy's `pgsql-check` asks PostgreSQL
    Check,
    /// As HAProxy's `httpchk` asks the gate
    Http,
    /// HAProxy itself, whether it would send a client there
    Haproxy,
}

/// One question and its answer.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was asked
    pub asked: Instant,
    /// When it was answered
    pub answered: Instant,
    /// The node's name
    pub node: String,
    /// How it was asked
    pub door: Door,
    /// For which traffic
    pub traffic: Traffic,
    /// Whether it was let in
    pub open: bool,
    /// The answer in a few words
    pub words: String,
}

/// A time during which every answer of a node was the same.
#[derive(Debug, Clone)]
pub struct Period {
    /// The first such question
    pub first: Instant,
    /// The last such answer
    pub last: Instant,
    /// The answer
    pub open: bool,
    /// The first such answer in a few words
    pub words: String,
}

/// All samples of a bed, in the order of their answers.
#[derive(Debug, Clone, Default)]
pub struct Timeline(pub Vec<Sample>);

/// A node that was not asked for this long may have been closed meanwhile: no verdict changes twice in it.
const BLIND: Duration = Duration::from_secs(1);

impl Timeline {
    /// The names of the nodes, in the order of their first answers.
    pub fn nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = Vec::new();
        for sample in &self.0 {
            if !nodes.contains(&sample.node.as_str()) {
                nodes.push(&sample.node);
            }
        }
        nodes
    }

    /// The periods of one node at one door.
    pub fn periods(&self, node: &str, door: Door, traffic: Traffic) -> Vec<Period> {
        let mut periods: Vec<Period> = Vec::new();
        for sample in self.0.iter().filter(|s| s.node == node && s.door == door && s.traffic == traffic) {
            match periods.last_mut() {
                Some(last) if last.open == sample.open && sample.asked.saturating_duration_since(last.last) < BLIND => {
                    last.last = sample.answered;
                }
                _ => periods.push(Period {
                    first: sample.asked,
                    last: sample.answered,
                    open: sample.open,
                    words: sample.words.clone(),
                }),
            }
        }
        periods
    }

    /// Two nodes that took writes at the same time, in words; none when that never happened.
    pub fn two_writers(&self, door: Door) -> Option<String> {
        let open: Vec<(&str, Period)> = self
            .nodes()
            .into_iter()
            .flat_map(|node| self.periods(node, door, Traffic::ReadWrite).into_iter().map(move |period| (node, period)))
            .filter(|(_, period)| period.open)
            .collect();
        for (number, (one, a)) in open.iter().enumerate() {
            for (other, b) in &open[number + 1..] {
                if one != other && a.first <= b.last && b.first <= a.last {
                    let both = a.last.min(b.last).saturating_duration_since(a.first.max(b.first));
                    return Some(format!("{one} and {other} both took writes at {door:?} for {both:?}\n{self}"));
                }
            }
        }
        None
    }

    /// When a node was first seen open at or after `since`.
    pub fn opened(&self, node: &str, door: Door, traffic: Traffic, since: Instant) -> Option<Instant> {
        let mut samples =
            self.0.iter().filter(|s| s.node == node && s.door == door && s.traffic == traffic && s.asked >= since);
        samples.find(|sample| sample.open).map(|sample| sample.answered)
    }

    /// When a node was last seen open.
    pub fn last_open(&self, node: &str, door: Door, traffic: Traffic) -> Option<Instant> {
        let mut samples = self.0.iter().rev().filter(|s| s.node == node && s.door == door && s.traffic == traffic);
        samples.find(|sample| sample.open).map(|sample| sample.answered)
    }
}

impl std::fmt::Display for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(start) = self.0.first().map(|sample| sample.asked) else { return f.write_str("(nothing seen)") };
        for node in self.nodes() {
            for traffic in [Traffic::ReadWrite, Traffic::ReadOnly] {
                for door in [Door::Check, Door::Http, Door::Haproxy] {
                    let mut line = String::new();
                    for period in self.periods(node, door, traffic) {
                        let at = period.first.saturating_duration_since(start).as_secs_f64();
                        let state = if period.open { "OPEN" } else { "closed" };
                        let _ = write!(line, "  {at:.2}s {state} ({})", period.words);
                    }
                    if !line.is_empty() {
                        writeln!(f, "{node:8} {traffic:?} {door:?}:{line}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of two nodes, 100 ms apart: `+` is open, `-` closed, a blank was never asked.
    fn seen(one: &str, two: &str) -> Timeline {
        let start = Instant::now();
        let mut samples = Vec::new();
        for (node, answers) in [("one", one), ("two", two)] {
            for (number, answer) in answers.chars().enumerate().filter(|(_, answer)| *answer != ' ') {
                let asked = start + Duration::from_millis(100) * u32::try_from(number).expect("few");
                samples.push(Sample {
                    asked,
                    answered: asked + Duration::from_millis(10),
                    node: node.to_owned(),
                    door: Door::Check,
                    traffic: Traffic::ReadWrite,
                    open: answer == '+',
                    words: String::new(),
                });
            }
        }
        samples.sort_by_key(|sample| sample.answered);
        Timeline(samples)
    }

    #[test]
    fn one_after_the_other_is_fine() {
        assert_eq!(seen("++++----", "-----+++").two_writers(Door::Check), None);
        assert_eq!(seen("++++", "----").two_writers(Door::Check), None);
    }

    #[test]
    fn two_at_once_are_found() {
        assert!(seen("++++----", "---+++++").two_writers(Door::Check).is_some());
        assert!(seen("++++----", "---+++++").two_writers(Door::Http).is_none(), "another door");
    }

    #[test]
    fn two_that_were_asked_in_turn_are_found() {
        assert!(seen("+ + + +", " + + + ").two_writers(Door::Check).is_some());
    }

    #[test]
    fn what_was_not_asked_for_long_is_not_held_to_be_open() {
        assert_eq!(seen("+              +", "     +   +").two_writers(Door::Check), None);
    }

    #[test]
    fn the_moment_of_opening_is_the_first_after() {
        let seen = seen("--++", "----");
        let start = seen.0[0].asked;
        let opened = seen.opened("one", Door::Check, Traffic::ReadWrite, start).expect("it opened");
        assert_eq!(opened - start, Duration::from_millis(210));
        assert_eq!(seen.opened("two", Door::Check, Traffic::ReadWrite, start), None);
    }
}
