//! The rounds: find out, ask, decide, do, tell. One task, one round after another, none later than it must be.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use goahead_rules::gate::{self, Heard, Report, Round, Said, SourceSays, Standing, Verdict, View};
use goahead_rules::hba::State;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::asking::{Asked, Asking};
use super::audit::Audit;
use super::clock;
use super::doors::Doors;
use super::facts::{Facts, Found, node_facts, source_says};
use super::orders::Orders;
use super::own::OwnVoter;
use super::remarks::Remarks;
use super::settings::Settings;
use super::snapshot::{Order, Snapshot, Why};
use super::view::{self, Findings};
use super::voting::{Door, Own};
use super::watchdog::{self, Watcher};
use super::{Command, Counters, veto};

/// Everything that a round needs.
pub struct Rounds {
    /// What the operator chose
    pub settings: Arc<Settings>,
    /// The same as the decision wants it
    pub rules: gate::Settings,
    /// This machine's boot
    pub boot_id: String,
    /// This process, among all of this name
    pub incarnation: u64,
    /// This node's vote
    pub own: OwnVoter,
    /// The local database
    pub facts: Facts,
    /// The gated lines
    pub doors: Doors,
    /// The operator's order
    pub orders: Orders,
    /// What is written down
    pub audit: Audit,
    /// The peers
    pub asking: Asking,
    /// Closes when this process cannot
    pub watcher: Watcher,
    /// What readers see
    pub shown: Arc<watch::Sender<Arc<Snapshot>>>,
    /// What is counted
    pub counters: Arc<Counters>,
    /// Operators
    pub commands: mpsc::Receiver<Command>,
}

/// What a round leaves for the next.
#[derive(Default)]
struct Memory {
    number: u64,
    found: Found,
    previous: Option<Verdict>,
    veto: Option<String>,
    /// Why this node must stay closed whatever the decision says
    unfit: Option<String>,
    remarks: Remarks,
    notes: Vec<String>,
    operator_open: bool,
    /// How the doors stood when that was last logged and audited
    told: Option<State>,
}

type Answers = Vec<oneshot::Sender<Result<(), String>>>;

impl Rounds {
    /// Goes round until `stop` becomes true, then closes and says so.
    ///
    /// # Errors
    /// That another gate keeps the file; nothing of it is touched then.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), String> {
        let mut memory = Memory::default();
        let mut next = Instant::now();
        loop {
            let mut answers = Answers::new();
            let mut command = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(command) = self.commands.recv() => Some(command),
                () = sleep_until(next) => None,
            };
            while let Some(given) = command.or_else(|| self.commands.try_recv().ok()) {
                answers.extend(self.obey(given, memory.found.local.as_ref()).await);
                command = None;
            }
            let began = Instant::now();
            if began > next + self.settings.timings.round {
                self.counters.late_rounds.fetch_add(1, Relaxed);
                tracing::warn!(late = ?(began - next), "a round begins late: this machine is too slow for its settings");
            }
            self.round(&mut memory).await?;
            self.counters.rounds.fetch_add(1, Relaxed);
            for answer in answers {
                let _ = answer.send(Ok(()));
            }
            // From one beginning to the next, so that rounds do not drift apart by what they take.
            while next <= began {
                next += self.settings.timings.round;
            }
        }
        self.end(&memory).await;
        Ok(())
    }

    async fn round(&mut self, memory: &mut Memory) -> Result<(), String> {
        memory.number += 1;
        let wall_us = clock::wall();
        let began = clock::now();
        self.expire(memory, began);
        self.orders.at(began);
        let manual = self.orders.manual();
        let deadline = self.settings.timings.deadline;
        // Peers wait a little for fresh facts, and not for a database that hangs.
        let grace = ((self.settings.timings.round - deadline) / 2).min(Duration::from_millis(100));
        let mut fresh = None;
        let mut asking_facts = Box::pin(self.facts.ask());
        if let Ok(found) = timeout(grace, &mut asking_facts).await {
            fresh = Some(found);
        }
        let known = fresh.as_ref().unwrap_or(&memory.found).local.as_ref();
        let sources = source_says(&self.settings, known);
        let now = clock::now();
        let me = known.map(|local| node_facts(local, now));
        let closes = memory.veto.as_deref().or(memory.unfit.as_deref());
        let previous = memory.previous.as_ref();
        let want = gate::wants(&self.rules, me.as_ref(), &manual, &sources, closes, previous, now);
        let own = Own { local: known.cloned(), standing: standing(&self.doors, memory, now) };
        let handed = self.own.know(own).await;
        let report = self.own.report();
        let round = Round {
            boot_id: self.boot_id.clone(),
            incarnation: self.incarnation,
            number: memory.number,
            asked: clock::now(),
        };
        let ask_of = |voter: &str| round.ask(&self.rules, voter, want, report.clone());
        let own_ask = ask_of(&self.rules.node);
        let asking_facts = async {
            match fresh {
                Some(found) => found,
                None => asking_facts.await,
            }
        };
        let (found, asked, veto, own_vote) = tokio::join!(
            asking_facts,
            self.asking.all(&ask_of, deadline),
            veto::ask(&self.settings),
            self.own.ask(&own_ask),
        );
        self.counters.unanswered.fetch_add(Asked::silent(&asked), Relaxed);
        if let Some(why) = self.facts.taken.take() {
            return Err(why);
        }
        memory.found = found;
        memory.notes = memory.remarks.look(&self.settings, &memory.found);
        memory.veto = veto;
        memory.unfit = self.unfit(handed.err());
        let mut heard: Vec<Heard> = asked.iter().map(|asked| asked.heard.clone()).collect();
        for answer in &heard {
            if let Said::Answer(said) = &answer.said
                && round.is_answered(&self.rules, &answer.peer, said)
            {
                self.own.hear(&answer.peer, &said.report).await;
            }
        }
        heard.push(Heard {
            peer: self.rules.node.clone(),
            received: clock::now(),
            said: own_vote.map_or_else(Said::Silent, |answer| Said::Answer(Box::new(answer))),
        });
        let verdict = self.decide(memory, &round, &report, (&asked, &heard), &manual).await;
        self.act(memory, verdict, &asked, wall_us).await;
        Ok(())
    }

    /// Takes note of a verdict that ended before this round began: this process was stopped, or starved.
    fn expire(&mut self, memory: &mut Memory, now: clock::Micros) {
        let Some(previous) = memory.previous.as_ref().filter(|previous| !previous.is_live(now)) else { return };
        self.doors.expired();
        // Where rounds went on, its votes ended: what this round finds says why.
        if clock::since(previous.decided) >= self.settings.timings.lease && is_open(memory.told) {
            let late = clock::since(previous.expires);
            self.tell_expired(memory, format!("no round for longer than a lease, by {late:?}"));
        }
    }

    fn tell_expired(&mut self, memory: &mut Memory, text: String) {
        tracing::warn!("the last verdict ended and all was closed since: {text}");
        let why = Why { code: "expired".to_owned(), text };
        self.audit.write("gate_verdict", (Some(false), Some(false)), vec![why], None);
        memory.told = Some(State::CLOSED);
    }

    async fn decide(
        &self,
        memory: &Memory,
        round: &Round,
        report: &Report,
        (asked, heard): (&[Asked], &[Heard]),
        manual: &gate::Manual,
    ) -> Verdict {
        let local = memory.found.local.as_ref();
        let sources: Vec<SourceSays> = source_says(&self.settings, local);
        let now = clock::now();
        let me = local.map(|local| node_facts(local, now));
        let view = View {
            round,
            me: me.as_ref(),
            door: report.rw,
            heard,
            sources: &sources,
            witness_names_us: None,
            manual,
            veto: memory.veto.as_deref().or(memory.unfit.as_deref()),
            previous: memory.previous.as_ref(),
            now,
        };
        if !gate::asks_witness(&self.rules, &view) {
            return gate::decide(&self.rules, &view);
        }
        let witness_names_us = self.asking.witness_names_us(asked, self.settings.timings.deadline / 2).await;
        let now = clock::now();
        let me = local.map(|local| node_facts(local, now));
        gate::decide(&self.rules, &View { me: me.as_ref(), witness_names_us, now, ..view })
    }

    /// Does what the verdict says: what closes is shown before it is done, what opens is done before it is shown.
    async fn act(&mut self, memory: &mut Memory, verdict: Verdict, asked: &[Asked], wall_us: i64) {
        let now = clock::now();
        let wanted = verdict.state(now);
        let before = self.shown.borrow().clone();
        let was = State { rw: before.rw_open(), ro: before.ro_open() };
        let kept = State { rw: wanted.rw && was.rw, ro: wanted.ro && was.ro };
        let order = self.orders.at(now).cloned();
        if kept != was {
            self.show(self.snapshot(memory, &verdict, kept, asked, wall_us, order.clone())).await;
        }
        let mut may_open = true;
        if wanted.rw && self.doors.door() != Door::Open {
            // Others hear it before it begins: from now on nobody may count on this door being closed.
            let mut own = self.known(memory);
            own.standing.door = Door::Open;
            may_open = self.own.know(own).await.is_ok();
        }
        let writes = self.doors.writes;
        let open = self.doors.apply(&verdict, may_open, memory.found.local.as_ref(), &mut self.facts).await;
        self.counters.writes.fetch_add(self.doors.writes - writes, Relaxed);
        memory.operator_open = verdict.rw == gate::Rw::Operator && open.rw;
        let mut own = self.known(memory);
        own.standing.ro_open = open.ro;
        if let Err(why) = self.own.know(own).await {
            tracing::debug!("the local server was not told: {why}");
        }
        let snapshot = self.snapshot(memory, &verdict, open, asked, wall_us, order);
        // The last verdict may have ended in the middle of this round, so what is shown by now is no measure.
        let ended = memory.previous.as_ref().is_some_and(|previous| !previous.is_live(now));
        if ended && is_open(memory.told) && memory.told == Some(open) {
            self.tell_expired(memory, "its votes ended before newer ones came".to_owned());
        }
        if memory.told != Some(open) {
            self.tell(&snapshot, memory.told.is_some());
            memory.told = Some(open);
        }
        self.show(snapshot).await;
        memory.previous = Some(verdict);
    }

    fn known(&self, memory: &Memory) -> Own {
        Own { local: memory.found.local.clone(), standing: standing(&self.doors, memory, clock::now()) }
    }

    fn snapshot(
        &self,
        memory: &Memory,
        verdict: &Verdict,
        open: State,
        asked: &[Asked],
        wall_us: i64,
        order: Option<Order>,
    ) -> Snapshot {
        let notes = &memory.notes;
        let findings = Findings { number: memory.number, found: &memory.found, asked, wall_us, order, notes };
        let door = self.doors.door();
        view::snapshot(&self.settings, &self.rules, verdict, open, door, self.doors.applied(), findings)
    }

    async fn show(&self, snapshot: Snapshot) {
        if let Err(why) = self.own.show(&snapshot).await {
            tracing::debug!("the local server does not show this round: {why}");
        }
        self.shown.send_replace(Arc::new(snapshot));
    }

    /// One line in the log and one in the audit.
    fn tell(&mut self, snapshot: &Snapshot, changed: bool) {
        let verdict = &snapshot.verdict;
        if changed {
            self.counters.changes.fetch_add(1, Relaxed);
        }
        let word = |open| if open { "open" } else { "closed" };
        let texts = |reasons: &[Why]| reasons.iter().map(|why| why.text.clone()).collect::<Vec<_>>().join("; ");
        tracing::info!(
            "read-write {}: {} | read-only {}: {}",
            word(verdict.rw),
            texts(&verdict.rw_reasons),
            word(verdict.ro),
            texts(&verdict.ro_reasons)
        );
        let reasons = verdict.rw_reasons.iter().chain(&verdict.ro_reasons).cloned().collect();
        self.audit.write("gate_verdict", (Some(verdict.rw), Some(verdict.ro)), reasons, None);
    }

    /// Why this process must not open anything, whatever its peers say.
    fn unfit(&mut self, handed: Option<String>) -> Option<String> {
        if let Some(why) = handed {
            return Some(format!("the local server (goahead gate --server-only) does not answer: {why}"));
        }
        if let Some(why) = &self.facts.misled {
            return Some(why.clone());
        }
        let hba_file = self.facts.hba_file.clone()?;
        let order = watchdog::Order {
            hba_file,
            data_directory: self.facts.data_directory.clone(),
            major: self.doors.major(&self.facts),
            period_us: u64::try_from(clock::micros(self.settings.timings.watchdog)).unwrap_or(0),
        };
        self.watcher.watch(&order).err().map(|error| format!("the watchdog cannot be started: {error}"))
    }

    /// Closes, in the order in which everything closes: shown, done, told.
    async fn end(mut self, memory: &Memory) {
        let mut last = (*self.shown.borrow().clone()).clone();
        let why = Why { code: "stopping".to_owned(), text: "the gate was asked to end".to_owned() };
        last.verdict.rw = false;
        last.verdict.ro = false;
        last.verdict.rw_reasons = vec![why.clone()];
        last.verdict.ro_reasons = vec![why.clone()];
        last.expires_us = last.decided_us;
        self.show(last).await;
        match self.doors.close(memory.found.local.as_ref(), &mut self.facts).await {
            Ok(()) => tracing::info!("the gate ends; its lines are closed"),
            Err(why) => tracing::error!("the gate ends and cannot close its lines; the watchdog goes on: {why}"),
        }
        let mut own = self.known(memory);
        (own.standing.ro_open, own.standing.operator_open) = (false, false);
        let _ = self.own.know(own).await;
        if is_open(memory.told) {
            self.audit.write("gate_verdict", (Some(false), Some(false)), vec![why], None);
        }
        let watcher = self.watcher;
        let _ = tokio::task::spawn_blocking(move || watcher.release()).await;
    }
}

fn standing(doors: &Doors, memory: &Memory, now: clock::Micros) -> Standing {
    Standing {
        door: doors.door(),
        ro_open: memory.previous.as_ref().is_some_and(|verdict| verdict.ro_open(now)),
        operator_open: memory.operator_open,
        at: now,
    }
}

fn is_open(state: Option<State>) -> bool {
    state.is_some_and(|state| state != State::CLOSED)
}
