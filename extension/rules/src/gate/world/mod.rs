//! A small cluster in discrete time, for the model checker and for random schedules: gates, their doors, a proxy's
//! patience, clocks that drift, messages that are late or lost, processes that stop or forget. The rules themselves are
//! run, not a copy of them.

mod doors;
mod healing;
mod laws;
mod looks;

pub use laws::Laws;

use super::*;
use std::time::Duration;

pub const NODES: usize = 3;
/// A tick of real time, in microseconds.
pub const TICK: i64 = 1000;
const CLUSTER: SystemId = SystemId(7);
const LONG_AGO: Micros = -1_000_000;

/// A round that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flight {
    pub number: u64,
    asked: Micros,
    door: RwDoor,
    answers: Vec<Given>,
    /// Everybody was asked and answered at once.
    pub whole: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Given {
    voter: usize,
    received: Micros,
    answer: Answer,
    /// The voter was bound to another, and had not forgotten it.
    bound: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub primary: bool,
    pub timeline: u32,
    incarnation: u64,
    pub voter: Voter,
    pub verdict: Option<Verdict>,
    pub flight: Option<Flight>,
    /// Asks on their way: to whom, and what.
    pub late: Vec<(usize, Ask)>,
    /// An answer on its way.
    pub mail: Option<Given>,
    /// The door as it is, whatever anybody believes; the stamp file with it.
    pub open: bool,
    stamp: Micros,
    /// It is open because an operator said so.
    by_order: bool,
    /// When it closed, in ticks, and since when this process has seen it closed, by its own clock.
    closed: i64,
    seen_closed: Micros,
    /// Until when an operator opens, by its own clock.
    order: Option<Micros>,
    /// When its process started, or long ago.
    started: Micros,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub tick: i64,
    pub nodes: [Node; NODES],
    /// Until when each voter's ack stands for each node, by its clock, whatever it remembers.
    promises: [[Micros; NODES]; NODES],
    /// An operator has opened, or taken part.
    pub operated: bool,
    /// When the second node was promoted, by the clock of the first: it streams no more from then on.
    left: Option<Micros>,
    pub broken: Option<&'static str>,
}

impl World {
    /// Node a leads and has been open for long; nobody has started lately.
    pub fn steady(laws: &Laws) -> Self {
        let node = |index: usize| Node {
            primary: index == 0,
            timeline: 1,
            incarnation: index as u64,
            voter: Voter::new(&laws.settings[index], LONG_AGO),
            verdict: None,
            flight: None,
            late: vec![],
            mail: None,
            open: false,
            stamp: 0,
            by_order: false,
            closed: -1000,
            seen_closed: LONG_AGO,
            order: None,
            started: LONG_AGO,
        };
        let mut world = Self {
            tick: 0,
            nodes: [node(0), node(1), node(2)],
            promises: [[Micros::MIN; NODES]; NODES],
            operated: false,
            left: None,
            broken: None,
        };
        world.round(laws, 0, world.everybody(laws, 0));
        world
    }

    pub fn clock(&self, laws: &Laws, node: usize) -> Micros {
        self.tick * laws.rates[node]
    }

    fn facts(&self, laws: &Laws, node: usize) -> Option<NodeFacts> {
        let it = &self.nodes[node];
        laws.is_data(node).then(|| NodeFacts {
            age: Duration::ZERO,
            role: if it.primary { Role::Primary } else { Role::Standby },
            timeline: it.timeline,
            downstream: if it.primary && node == 0 && laws.is_pair() { self.downstream(laws) } else { vec![] },
            ..NodeFacts::primary(CLUSTER, 1)
        })
    }

    /// The second node as the first sees it, which notices late that nothing comes any more.
    fn downstream(&self, laws: &Laws) -> Vec<Downstream> {
        let silent = self.left.map_or(0, |left| self.clock(laws, 0) - left);
        vec![Downstream {
            name: laws.name(1).to_owned(),
            address: None,
            state: "streaming".to_owned(),
            sync_state: if laws.sync { "sync" } else { "async" }.to_owned(),
            sync_priority: 1,
            reply_age: Some(Duration::from_micros(silent.unsigned_abs())),
        }]
    }

    fn report(&self, laws: &Laws, node: usize) -> Report {
        let it = &self.nodes[node];
        let now = self.clock(laws, node);
        let said_open = it.verdict.as_ref().is_some_and(|verdict| verdict.rw_open(now));
        let since = Duration::from_micros((now - it.seen_closed).max(0).unsigned_abs());
        Report {
            facts: self.facts(laws, node),
            rw: if it.open || said_open { RwDoor::Open } else { RwDoor::Closed { since } },
            ro_open: false,
            operator_open: self.is_ordered(laws, node),
        }
    }

    /// An operator's order is in force.
    pub fn is_ordered(&self, laws: &Laws, node: usize) -> bool {
        self.nodes[node].order.is_some_and(|until| self.clock(laws, node) < until)
    }

    fn manual(&self, node: usize) -> Manual {
        let order = |until| Order { open: true, until, reason: "x".to_owned() };
        Manual { rw: self.nodes[node].order.map(order), ro: None }
    }

    fn round_of(&self, node: usize, asked: Micros, number: u64) -> Round {
        Round { boot_id: node.to_string(), incarnation: self.nodes[node].incarnation, number, asked }
    }

    /// Begins a round: its own voter and those of `reach` answer at once, the others' asks are under way.
    pub fn ask(&mut self, laws: &Laws, node: usize, reach: u8) {
        let now = self.clock(laws, node);
        let number = u64::try_from(self.tick).expect("time goes on") + 1;
        let round = self.round_of(node, now, number);
        let facts = self.facts(laws, node);
        let want = wants(&laws.settings[node], facts.as_ref(), &self.manual(node), &[], None, None, now);
        let report = self.report(laws, node);
        let whole = reach == self.everybody(laws, node);
        self.nodes[node].flight = Some(Flight { number, asked: now, door: report.rw, answers: vec![], whole });
        for voter in std::iter::once(node).chain(laws.peers(node)) {
            let ask = round.ask(&laws.settings[node], laws.name(voter), want, report.clone());
            if voter == node || reach & (1 << voter) != 0 {
                let given = self.judge(laws, node, voter, &ask);
                self.receive(laws, node, given);
            } else {
                self.nodes[node].late.retain(|(to, _)| *to != voter);
                self.nodes[node].late.push((voter, ask));
            }
        }
    }

    /// An ask that was under way arrives; its answer is lost if the round is over.
    pub fn deliver(&mut self, laws: &Laws, node: usize, voter: usize) {
        if let Some(given) = self.arrive(laws, node, voter) {
            self.receive(laws, node, given);
        }
    }

    /// An ask that was under way arrives; its answer is under way now.
    pub fn post(&mut self, laws: &Laws, node: usize, voter: usize) {
        self.nodes[node].mail = self.arrive(laws, node, voter);
    }

    /// An answer that was under way arrives, in whichever round.
    pub fn open_mail(&mut self, laws: &Laws, node: usize) {
        if let Some(given) = self.nodes[node].mail.take() {
            self.receive(laws, node, given);
        }
    }

    fn arrive(&mut self, laws: &Laws, node: usize, voter: usize) -> Option<Given> {
        let place = self.nodes[node].late.iter().position(|(to, _)| *to == voter)?;
        let (_, ask) = self.nodes[node].late.remove(place);
        Some(self.judge(laws, node, voter, &ask))
    }

    fn judge(&mut self, laws: &Laws, node: usize, voter: usize, ask: &Ask) -> Given {
        let now = self.clock(laws, voter);
        let own = self.facts(laws, voter);
        let hold = Micros::try_from(laws.settings[voter].hold().as_micros()).expect("small");
        let other = (0..NODES).any(|other| other != node && self.promises[voter][other] > now);
        let vote = self.nodes[voter].voter.judge(&laws.settings[voter], ask, own.as_ref(), now);
        if vote.ack == Ack::Granted {
            if other {
                self.broken = Some("an ack was given to two");
            }
            self.promises[voter][node] = self.promises[voter][node].max(now + hold);
        }
        let report = self.report(laws, voter);
        let answer = Answer::to(ask, laws.name(voter), laws.settings[voter].terms(), vote, report);
        let bound = other && now >= self.nodes[voter].started + hold;
        Given { voter, received: Micros::MIN, answer, bound }
    }

    fn receive(&mut self, laws: &Laws, node: usize, given: Given) {
        let received = self.clock(laws, node);
        if let Some(flight) = self.nodes[node].flight.as_mut() {
            flight.answers.retain(|before| before.voter != given.voter);
            // Its own vote is read with the last of the others'.
            for own in flight.answers.iter_mut().filter(|own| own.voter == node) {
                own.received = received;
            }
            flight.answers.push(Given { received, ..given });
        }
    }

    /// Decides the round under way, with the answers that are in.
    pub fn finish(&mut self, laws: &Laws, node: usize) {
        let Some(flight) = self.nodes[node].flight.take() else { return };
        let settings = &laws.settings[node];
        let heard = |given: &Given| Heard {
            peer: laws.name(given.voter).to_owned(),
            received: given.received,
            said: Said::Answer(Box::new(given.answer.clone())),
        };
        let heard: Vec<Heard> = flight.answers.iter().map(heard).collect();
        let round = self.round_of(node, flight.asked, flight.number);
        for answer in &heard {
            if let Said::Answer(said) = &answer.said
                && round.is_answered(settings, &answer.peer, said)
            {
                self.nodes[node].voter.hear(settings, &answer.peer, &said.report);
            }
        }
        let facts = self.facts(laws, node);
        let manual = self.manual(node);
        let view = View {
            round: &round,
            me: facts.as_ref(),
            door: flight.door,
            heard: &heard,
            sources: &[],
            witness_names_us: None,
            manual: &manual,
            veto: None,
            previous: self.nodes[node].verdict.as_ref(),
            now: self.clock(laws, node),
        };
        let mut verdict = decide(settings, &view);
        let beside = (0..NODES).any(|other| other != node && self.nodes[other].open);
        if verdict.rw == Rw::Operator && flight.whole && beside {
            self.broken = Some("an operator's open beside an open door that was in sight");
        }
        let bound = |given: &Given| given.bound && given.answer.round == flight.number;
        if verdict.rw == Rw::Operator && flight.answers.iter().any(bound) {
            self.broken = Some("an operator's open beside an ack that was in sight");
        }
        // What tells nothing apart is left out of the state.
        (verdict.rw_reasons, verdict.ro_reasons, verdict.warnings) = (vec![], vec![], vec![]);
        self.nodes[node].verdict = Some(verdict);
    }

    /// Ask, decide and apply without a pause.
    pub fn round(&mut self, laws: &Laws, node: usize, reach: u8) {
        self.ask(laws, node, reach);
        self.finish(laws, node);
        self.apply(laws, node);
    }

    /// The gate's process dies and starts: voter, verdict and rounds are forgotten; file, stamp and orders are not.
    pub fn restart(&mut self, laws: &Laws, node: usize) {
        let now = self.clock(laws, node);
        let it = &mut self.nodes[node];
        it.incarnation += 10;
        it.voter = Voter::new(&laws.settings[node], now);
        (it.verdict, it.flight, it.mail, it.seen_closed, it.started) = (None, None, None, now, now);
    }

    /// A standby becomes a primary.
    pub fn promote(&mut self, laws: &Laws, node: usize) {
        if node == 1 {
            self.left = Some(self.clock(laws, 0));
        }
        let it = &mut self.nodes[node];
        it.primary = true;
        it.timeline += 1;
    }

    /// An operator opens, for so many ticks.
    pub fn order(&mut self, laws: &Laws, node: usize, ticks: i64) {
        self.nodes[node].order = Some(self.clock(laws, node) + ticks * TICK);
        self.operated = true;
    }

    /// An operator takes the order back.
    pub fn clear(&mut self, node: usize) {
        self.nodes[node].order = None;
    }

    /// Everybody whom a node asks, as a mask.
    fn everybody(&self, laws: &Laws, node: usize) -> u8 {
        laws.peers(node).map(|peer| 1 << peer).sum()
    }

    /// Time passes; watchdogs close what is over, as late as they may.
    pub fn pass(&mut self, laws: &Laws) {
        self.tick += 1;
        for node in 0..NODES {
            let late = laws.watchdog * laws.rates[node];
            if self.nodes[node].open && self.clock(laws, node) >= self.nodes[node].stamp + late {
                self.close(laws, node);
            }
        }
        self.look(laws);
        self.forget_the_past(laws);
    }

    /// Forgets what makes no difference any more, so that histories meet.
    fn forget_the_past(&mut self, laws: &Laws) {
        for index in 0..NODES {
            let now = self.clock(laws, index);
            for promise in self.promises[index].iter_mut().filter(|promise| **promise <= now) {
                *promise = Micros::MIN;
            }
            let node = &mut self.nodes[index];
            if !node.open {
                node.stamp = 0;
                if node.closed + laws.detection <= self.tick {
                    node.closed = i64::MIN / 2;
                }
            }
            if let Some(verdict) = &mut node.verdict {
                verdict.acks.retain(|_, until| now < *until);
                if !verdict.is_live(now) {
                    (verdict.rw, verdict.ro, verdict.primary, verdict.expires) = (Rw::Closed, false, None, Micros::MIN);
                }
                if verdict.open_by <= now || !verdict.is_live(now) {
                    (verdict.asked, verdict.decided, verdict.open_by, verdict.round) = (0, 0, Micros::MIN, 0);
                }
            }
            let hold = Micros::try_from(laws.settings[index].hold().as_micros()).expect("small");
            node.started = if now >= node.started + hold { LONG_AGO } else { node.started };
            let long_ago = node.seen_closed < now - 2 * laws.detection * TICK;
            node.seen_closed = if long_ago { LONG_AGO } else { node.seen_closed };
        }
    }
}
