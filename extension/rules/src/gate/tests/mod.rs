//! Each condition of the decision, one by one.

mod migration;
mod outside;
mod read_only;
mod read_write;
mod sources;
mod votes;

use super::*;
use std::time::Duration;

pub const CLUSTER: SystemId = SystemId(7_311_111_111_111_111_111);
pub const NOW: Micros = 1_000_000_000;

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn at(ms: i64) -> Micros {
    NOW + ms * 1000
}

pub fn settings(node: &str) -> Settings {
    let member = |name: &str| Member { name: name.to_owned(), witness: name == "w" };
    Settings::new(node, vec![member("p"), member("s"), member("w")])
}

pub fn pair(node: &str) -> Settings {
    let member = |name: &str| Member { name: name.to_owned(), witness: false };
    Settings::new(node, vec![member("p"), member("s")])
}

pub fn primary(timeline: u32) -> NodeFacts {
    NodeFacts { lsn: 100 << 20, ..NodeFacts::primary(CLUSTER, timeline) }
}

pub fn standby(timeline: u32) -> NodeFacts {
    let upstream = Upstream {
        streaming: true,
        host: Some("10.0.0.1".to_owned()),
        port: Some(5432),
        latest_end_lsn: Some(100 << 20),
        receipt_age: Some(ms(100)),
        quiet: None,
    };
    NodeFacts { role: Role::Standby, upstream: Some(upstream), ..primary(timeline) }
}

pub fn round() -> Round {
    Round { boot_id: "boot".to_owned(), incarnation: 1, number: 5, asked: NOW }
}

pub fn closed() -> RwDoor {
    RwDoor::Closed { since: ms(0) }
}

pub fn report(facts: Option<NodeFacts>, rw: RwDoor) -> Report {
    Report { facts, rw, ro_open: false, operator_open: false }
}

/// A vote that has been clear for so long.
pub fn vote(ack: Ack, clear: u64) -> Vote {
    Vote { ack, clear_for: ms(clear), held: None, abstains: None, leader: None }
}

pub fn refusal(why: Refusal) -> Vote {
    vote(Ack::Refused { why }, 0)
}

/// A round's answer of a peer, 10 ms after it was asked.
pub fn answer(settings: &Settings, from: &str, vote: Vote, report: Report) -> Heard {
    let ask = round().ask(settings, from, Want::Ack, report.clone());
    let answer = Answer::to(&ask, from, settings.terms(), vote, report);
    Heard { peer: from.to_owned(), received: at(10), said: Said::Answer(Box::new(answer)) }
}

pub fn silent(peer: &str) -> Heard {
    Heard { peer: peer.to_owned(), received: at(800), said: Said::Silent("timed out".to_owned()) }
}

/// What a test changes of a steady primary `p` with all acks.
pub struct Case {
    pub settings: Settings,
    pub me: Option<NodeFacts>,
    pub door: RwDoor,
    pub heard: Vec<Heard>,
    pub sources: Vec<SourceSays>,
    pub witness_names_us: Option<bool>,
    pub manual: Manual,
    pub veto: Option<&'static str>,
    pub previous: Option<Verdict>,
    pub now: Micros,
}

impl Case {
    /// A primary on timeline 1 that everybody acks and has been clear for long.
    pub fn primary() -> Self {
        let settings = settings("p");
        let granted = || vote(Ack::Granted, 3_600_000);
        let heard = vec![
            answer(&settings, "p", granted(), report(Some(primary(1)), closed())),
            answer(&settings, "s", granted(), report(Some(standby(1)), closed())),
            answer(&settings, "w", granted(), report(None, closed())),
        ];
        Self {
            settings,
            me: Some(primary(1)),
            door: closed(),
            heard,
            sources: vec![],
            witness_names_us: None,
            manual: Manual::default(),
            veto: None,
            previous: None,
            now: at(20),
        }
    }

    /// A standby of it.
    pub fn standby() -> Self {
        let mut case = Self::primary();
        case.settings = settings("s");
        case.me = Some(standby(1));
        let none = || vote(Ack::NotAsked, 0);
        case.heard = vec![
            answer(&case.settings, "p", none(), report(Some(primary(1)), RwDoor::Open)),
            answer(&case.settings, "s", none(), report(Some(standby(1)), closed())),
            answer(&case.settings, "w", none(), report(None, closed())),
        ];
        case
    }

    /// Replaces what a peer said.
    pub fn hear(mut self, heard: Heard) -> Self {
        self.heard.retain(|before| before.peer != heard.peer);
        self.heard.push(heard);
        self
    }

    pub fn votes(self, from: &str, vote: Vote, facts: Option<NodeFacts>) -> Self {
        let heard = answer(&self.settings, from, vote, report(facts, closed()));
        self.hear(heard)
    }

    fn ask<T>(&self, rule: fn(&Settings, &View<'_>) -> T) -> T {
        let view = View {
            round: &round(),
            me: self.me.as_ref(),
            door: self.door,
            heard: &self.heard,
            sources: &self.sources,
            witness_names_us: self.witness_names_us,
            manual: &self.manual,
            veto: self.veto,
            previous: self.previous.as_ref(),
            now: self.now,
        };
        rule(&self.settings, &view)
    }

    pub fn decide(&self) -> Verdict {
        self.ask(decide)
    }

    pub fn asks_witness(&self) -> bool {
        self.ask(asks_witness)
    }

    /// The codes that close the read-write door.
    pub fn rw_codes(&self) -> Vec<String> {
        let verdict = self.decide();
        assert_eq!(verdict.rw, Rw::Closed, "{:?}", verdict.rw_reasons);
        verdict.rw_reasons.iter().map(Reason::code).collect()
    }

    pub fn ro_codes(&self) -> Vec<String> {
        let verdict = self.decide();
        assert!(!verdict.ro, "{:?}", verdict.ro_reasons);
        verdict.ro_reasons.iter().map(Reason::code).collect()
    }
}

pub fn order(open: bool) -> Option<Order> {
    Some(Order { open, until: at(60_000), reason: "maintenance".to_owned() })
}
