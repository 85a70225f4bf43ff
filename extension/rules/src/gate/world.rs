//! A small cluster in discrete time, for the model checker and for random schedules: gates, their doors, a proxy's
//! patience, clocks that drift, messages that are late or lost, processes that stop or forget. The rules themselves are
//! run, not a copy of them.

use super::*;
use std::time::Duration;

pub const NODES: usize = 3;
pub const NAMES: [&str; NODES] = ["a", "b", "c"];
/// A tick of real time, in microseconds.
pub const TICK: i64 = 1000;
const CLUSTER: SystemId = SystemId(7);

/// What does not change in one world.
#[derive(Clone, Debug)]
pub struct Laws {
    pub settings: [Settings; NODES],
    /// What each clock makes of a tick.
    pub rates: [i64; NODES],
    /// In ticks: how late the watchdog may be, and how long the proxy may go on sending to a closed door.
    pub watchdog: i64,
    pub detection: i64,
}

impl Laws {
    /// In ticks; the third node is a witness or has data.
    pub fn new(lease: u32, round: u32, watchdog: u32, detection: u32, witness: bool, rates: [i64; NODES]) -> Self {
        let tick = Duration::from_micros(TICK.unsigned_abs());
        let member = |index: usize| Member { name: NAMES[index].to_owned(), witness: witness && index == 2 };
        let of = |index: usize| Settings {
            round: tick * round,
            lease: tick * lease,
            deadline: tick * round * 4 / 5,
            watchdog: tick * watchdog,
            detection: tick * detection,
            hold_down: tick * (lease + watchdog + detection),
            // Clocks are 1 % off the truth at most, so 2 % from each other.
            skew: tick * lease / 40,
            ..Settings::new(NAMES[index], vec![member(0), member(1), member(2)])
        };
        let settings = [of(0), of(1), of(2)];
        Self { settings, rates, watchdog: i64::from(watchdog), detection: i64::from(detection) }
    }

    fn is_data(&self, node: usize) -> bool {
        !self.settings[0].members[node].witness
    }
}

/// A round that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flight {
    pub number: u64,
    asked: Micros,
    door: RwDoor,
    answers: Vec<(usize, Micros, Answer)>,
    /// Everybody was asked and answered at once.
    pub whole: bool,
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
    /// The door as it is, whatever anybody believes; the stamp file with it.
    pub open: bool,
    stamp: Micros,
    /// When it closed, in ticks, and since when this process has seen it closed, by its own clock.
    closed: i64,
    seen_closed: Micros,
    pub order: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub tick: i64,
    pub nodes: [Node; NODES],
    /// Until when each voter's ack stands for each node, by its clock, whatever it remembers.
    promises: [[Micros; NODES]; NODES],
    /// An operator has opened, or taken part.
    pub operated: bool,
    pub broken: Option<&'static str>,
}

impl World {
    /// Node a leads and has been open for long; nobody has started lately.
    pub fn steady(laws: &Laws) -> Self {
        let node = |index: usize| Node {
            primary: index == 0,
            timeline: 1,
            incarnation: index as u64,
            voter: Voter::new(&laws.settings[index], -1_000_000),
            verdict: None,
            flight: None,
            late: vec![],
            open: false,
            stamp: 0,
            closed: -1000,
            seen_closed: -1_000_000,
            order: false,
        };
        let mut world = Self {
            tick: 0,
            nodes: [node(0), node(1), node(2)],
            promises: [[Micros::MIN; NODES]; NODES],
            operated: false,
            broken: None,
        };
        world.round(laws, 0, 0b110);
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
            ..NodeFacts::primary(CLUSTER, 1)
        })
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
            operator_open: it.order,
        }
    }

    fn manual(&self, node: usize) -> Manual {
        let order = Order { open: true, until: Micros::MAX, reason: "x".to_owned() };
        Manual { rw: self.nodes[node].order.then_some(order), ro: None }
    }

    fn round_of(&self, node: usize, asked: Micros, number: u64) -> Round {
        Round { boot_id: NAMES[node].to_owned(), incarnation: self.nodes[node].incarnation, number, asked }
    }

    /// Begins a round: its own voter and those of `reach` answer at once, the others' asks are under way.
    pub fn ask(&mut self, laws: &Laws, node: usize, reach: u8) {
        let now = self.clock(laws, node);
        let number = u64::try_from(self.tick).expect("time goes on") + 1;
        let round = self.round_of(node, now, number);
        let facts = self.facts(laws, node);
        let want = wants(&laws.settings[node], facts.as_ref(), &self.manual(node), &[], None, now);
        let report = self.report(laws, node);
        let whole = reach.count_ones() as usize == NODES - 1;
        self.nodes[node].flight = Some(Flight { number, asked: now, door: report.rw, answers: vec![], whole });
        for (voter, name) in NAMES.iter().enumerate() {
            let ask = round.ask(&laws.settings[node], name, want, report.clone());
            if voter == node || reach & (1 << voter) != 0 {
                self.judge(laws, node, voter, &ask);
            } else {
                self.nodes[node].late.retain(|(to, _)| *to != voter);
                self.nodes[node].late.push((voter, ask));
            }
        }
    }

    /// An ask that was under way arrives; its answer is lost if the round is over.
    pub fn deliver(&mut self, laws: &Laws, node: usize, voter: usize) {
        if let Some(place) = self.nodes[node].late.iter().position(|(to, _)| *to == voter) {
            let (_, ask) = self.nodes[node].late.remove(place);
            self.judge(laws, node, voter, &ask);
        }
    }

    fn judge(&mut self, laws: &Laws, node: usize, voter: usize, ask: &Ask) {
        let now = self.clock(laws, voter);
        let own = self.facts(laws, voter);
        let vote = self.nodes[voter].voter.judge(&laws.settings[voter], ask, own.as_ref(), now);
        if vote.ack == Ack::Granted {
            let until = now + i64::try_from(laws.settings[voter].hold().as_micros()).expect("small");
            for other in (0..NODES).filter(|other| *other != node) {
                if self.promises[voter][other] > now {
                    self.broken = Some("an ack was given to two");
                }
            }
            self.promises[voter][node] = self.promises[voter][node].max(until);
        }
        let report = self.report(laws, voter);
        let answer = Answer::to(ask, NAMES[voter], laws.settings[voter].terms(), vote, report);
        let received = self.clock(laws, node);
        if let Some(flight) = self.nodes[node].flight.as_mut() {
            flight.answers.retain(|(from, _, _)| *from != voter);
            flight.answers.push((voter, received, answer));
        }
    }

    /// Decides the round under way, with the answers that are in.
    pub fn finish(&mut self, laws: &Laws, node: usize) {
        let Some(flight) = self.nodes[node].flight.take() else { return };
        let settings = &laws.settings[node];
        let heard = |(voter, received, answer): &(usize, Micros, Answer)| Heard {
            peer: NAMES[*voter].to_owned(),
            received: *received,
            said: Said::Answer(Box::new(answer.clone())),
        };
        let heard: Vec<Heard> = flight.answers.iter().map(heard).collect();
        for answer in &heard {
            if let Said::Answer(said) = &answer.said {
                self.nodes[node].voter.hear(settings, &answer.peer, &said.report);
            }
        }
        let facts = self.facts(laws, node);
        let manual = self.manual(node);
        let view = View {
            round: &self.round_of(node, flight.asked, flight.number),
            me: facts.as_ref(),
            door: flight.door,
            heard: &heard,
            sources: &[],
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
        // What tells nothing apart is left out of the state.
        (verdict.rw_reasons, verdict.ro_reasons, verdict.warnings) = (vec![], vec![], vec![]);
        self.nodes[node].verdict = Some(verdict);
    }

    /// Brings the door into the state of the verdict, unless it is too late for that.
    pub fn apply(&mut self, laws: &Laws, node: usize) {
        let now = self.clock(laws, node);
        let Some(verdict) = self.nodes[node].verdict.clone() else { return };
        if !verdict.rw_open(now) {
            self.close(laws, node);
        } else if self.nodes[node].open || verdict.may_begin(now) {
            if !self.nodes[node].open {
                self.open(laws, node, verdict.rw);
            }
            self.nodes[node].stamp = verdict.expires;
        }
    }

    fn open(&mut self, laws: &Laws, node: usize, rw: Rw) {
        for other in (0..NODES).filter(|other| *other != node && rw == Rw::Lease) {
            let it = &self.nodes[other];
            let by_operator = it.verdict.as_ref().is_some_and(|verdict| verdict.rw == Rw::Operator);
            if it.open && !by_operator && !it.order {
                self.broken = Some("a door opened while another was open");
            } else if !it.open && !self.operated && self.tick < it.closed + laws.detection {
                self.broken = Some("a door opened before the proxy noticed that another had closed");
            }
        }
        self.nodes[node].open = true;
    }

    fn close(&mut self, laws: &Laws, node: usize) {
        if self.nodes[node].open {
            let now = self.clock(laws, node);
            let (tick, it) = (self.tick, &mut self.nodes[node]);
            (it.open, it.closed, it.seen_closed) = (false, tick, now);
        }
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
        (it.verdict, it.flight, it.seen_closed) = (None, None, now);
    }

    /// A standby becomes a primary.
    pub fn promote(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.primary = true;
        it.timeline += 1;
    }

    /// An operator opens.
    pub fn order(&mut self, node: usize) {
        self.nodes[node].order = true;
        self.operated = true;
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
        self.forget_the_past(laws);
    }

    /// Nodes with a live verdict that lets writes in.
    pub fn leases(&self, laws: &Laws) -> Vec<usize> {
        let live = |node: &usize| {
            let now = self.clock(laws, *node);
            let verdict = self.nodes[*node].verdict.as_ref();
            verdict.is_some_and(|verdict| verdict.rw_open(now) && verdict.rw != Rw::Operator)
        };
        (0..NODES).filter(live).collect()
    }

    /// Primaries of the highest timeline.
    pub fn leaders(&self) -> Vec<usize> {
        let highest = self.nodes.iter().map(|node| node.timeline).max().unwrap_or(0);
        (0..NODES).filter(|n| self.nodes[*n].primary && self.nodes[*n].timeline == highest).collect()
    }

    /// Everybody hears everybody again: whether the right doors open in the end.
    pub fn heals(&self, laws: &Laws) -> bool {
        let mut world = self.clone();
        world.settle(laws);
        let leaders = world.leaders();
        let open = |world: &Self| (0..NODES).filter(|n| world.nodes[*n].open).collect::<Vec<_>>();
        let ordered = (0..NODES).filter(|n| world.nodes[*n].order).collect::<Vec<_>>();
        if world.broken.is_some() {
            return false;
        }
        match (ordered.as_slice(), leaders.as_slice()) {
            ([], [_]) => open(&world) == leaders,
            ([], [first, ..]) => {
                // Closed until an operator chooses, and then open.
                let both_closed = open(&world).is_empty();
                world.order(*first);
                world.settle(laws);
                let one_open = open(&world) == [*first];
                world.nodes[*first].order = false;
                world.settle(laws);
                both_closed && one_open && open(&world) == [*first]
            }
            _ => open(&world).len() <= 1,
        }
    }

    fn settle(&mut self, laws: &Laws) {
        let ticks = 3 * i64::try_from(laws.settings[0].hold_down.as_micros()).expect("small") / TICK;
        for _ in 0..ticks {
            for node in 0..NODES {
                self.nodes[node].late.clear();
                self.round(laws, node, 0b111 & !(1 << node));
            }
            self.pass(laws);
        }
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
            let long_ago = node.seen_closed < now - 2 * laws.detection * TICK;
            node.seen_closed = if long_ago { -1_000_000 } else { node.seen_closed };
        }
    }
}
