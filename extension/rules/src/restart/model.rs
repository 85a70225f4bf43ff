//! Every history of a small cluster, explored: lost replies, repeated calls, reboots, failing checks, crashes of
//! the service, operators. The rules themselves are run, not a copy of them.

use super::*;
use crate::settings::{self, Source};
use serde_json::json;
use stateright::{Checker, Model, Property};

const HOSTS: usize = 3;
const LIMIT: usize = 2;
const NAMES: [&str; HOSTS] = ["web1", "web2", "web3"];
const IDS: [&str; HOSTS] = ["aaaaaaaa", "bbbbbbbb", "cccccccc"];
const MINUTE: i64 = 60_000_000;
/// The model's clock moves by this much with every step.
const STEP: i64 = 5 * MINUTE;
const STEPS: u8 = 12;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Machine {
    /// How often it has booted; its boot id.
    boots: u8,
    /// It knows of a go-ahead for this boot.
    told: bool,
    /// The request_id that it was told.
    request_id: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    steps: u8,
    machines: [Machine; HOSTS],
    hosts: [Host; HOSTS],
    open: Vec<Open>,
    next_id: i64,
    /// Restarts granted, actions queued, actions run at least once, restarts ended: by number.
    granted: Vec<i64>,
    queued: Vec<i64>,
    ran: Vec<i64>,
    ended: Vec<i64>,
    /// Completion checks that are due, and their successes in a row.
    checks: Vec<(i64, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// A host calls; its answer arrives or is lost.
    Call { host: usize, with_id: bool, reply: bool },
    /// A host that was told so reboots.
    Reboot { host: usize },
    /// A host inquires.
    Inquire { host: usize },
    /// A runner runs a queued action; its report may be lost, then it runs again.
    RunAction { restart: i64, reported: bool },
    /// A runner runs a completion check.
    RunCheck { restart: i64, success: bool },
    /// Nothing but time.
    Wait,
}

struct Protocol {
    settings: Settings,
}

impl Protocol {
    fn new() -> Self {
        let value = json!({
            "name_pattern": "^web", "allowed_parallel_restarts": LIMIT, "request_timeout": "20m",
            "reboot_completion_check": "/bin/true", "reboot_completion_check_consecutive_successes": 2,
            "reboot_goahead_actions": ["/bin/true"],
        });
        Self { settings: settings::read(&value, Source::Sql).expect("valid settings").settings }
    }

    fn clock(state: &State) -> Clock {
        Clock { now: Instant { epoch: 1, us: i64::from(state.steps) * STEP }, epoch_start: 0 }
    }

    fn ask<'a>(state: &State, host: usize, boot_id: &'a str, request_id: Option<&'a str>) -> Ask<'a> {
        Ask {
            holder: NAMES[host],
            uptime_text: "",
            // A host's uptime tells nothing here: boot ids decide.
            uptime: i64::from(state.steps) * STEP,
            boot_id: Some(boot_id),
            request_id,
            fresh_id: IDS[host],
            blocker: None,
        }
    }

    /// Takes note of a contact; returns the host's restart after it.
    fn contact(&self, state: &mut State, host: usize, ask: &Ask<'_>) -> Option<Open> {
        let clock = Self::clock(state);
        let mine = state.open.iter().find(|open| open.holder == NAMES[host]).cloned()?;
        match on_contact(&mine, ask.uptime, ask.boot_id, &self.settings, clock) {
            Contact::Nothing => Some(mine),
            Contact::Complete => {
                Self::complete(state, mine.id);
                None
            }
            contact @ (Contact::Rebooted | Contact::RebootedStartChecks) => {
                let held = state.open.iter_mut().find(|open| open.id == mine.id).expect("found above");
                held.rebooted = true;
                held.checking = true;
                let held = held.clone();
                if contact == Contact::RebootedStartChecks {
                    state.checks.push((mine.id, 0));
                }
                state.hosts[host].last_restart = Some(mine.id);
                Some(held)
            }
        }
    }

    fn complete(state: &mut State, id: i64) {
        if let Some(place) = state.open.iter().position(|open| open.id == id) {
            let open = state.open.remove(place);
            let host = NAMES.iter().position(|name| *name == open.holder).expect("one of the hosts");
            state.hosts[host].request = None;
            state.ended.push(id);
            state.checks.retain(|(restart, _)| *restart != id);
        }
    }

    fn call(&self, state: &mut State, host: usize, with_id: bool, reply: bool) {
        let boot_id = state.machines[host].boots.to_string();
        let request_id = state.machines[host].request_id.filter(|_| with_id);
        let ask = Self::ask(state, host, &boot_id, request_id);
        let mine = self.contact(state, host, &ask);
        let clock = Self::clock(state);
        let cluster = Cluster {
            name: "web",
            settings: &self.settings,
            frozen: None,
            known_hosts: 0,
            open: &state.open,
            last_grant: None,
            local: &[],
            rollout: None,
        };
        match request(&cluster, &state.hosts[host], mine.as_ref(), &ask, clock) {
            Verdict::Granted { slot } => {
                let id = state.next_id;
                state.next_id += 1;
                state.open.push(Open {
                    id,
                    holder: NAMES[host].to_owned(),
                    kind: Kind::Goahead,
                    slot,
                    granted: clock.now,
                    granted_uptime: ask.uptime,
                    granted_boot_id: Some(boot_id),
                    rebooted: false,
                    checking: false,
                    panics: 0,
                });
                state.granted.push(id);
                state.queued.push(id);
                state.machines[host].told |= reply;
            }
            Verdict::AlreadyGranted => state.machines[host].told |= reply,
            Verdict::Handshake { remember, .. } => {
                if remember {
                    state.hosts[host].request = Some((IDS[host].to_owned(), clock.now));
                }
                if reply {
                    state.machines[host].request_id = Some(IDS[host]);
                }
            }
            Verdict::Denied { .. } | Verdict::AskBlocker => {}
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let machine = Machine { boots: 1, told: false, request_id: None };
        vec![State {
            steps: 0,
            machines: [machine.clone(), machine.clone(), machine],
            hosts: [Host::default(), Host::default(), Host::default()],
            open: vec![],
            next_id: 1,
            granted: vec![],
            queued: vec![],
            ran: vec![],
            ended: vec![],
            checks: vec![],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        if state.steps >= STEPS {
            return;
        }
        for host in 0..HOSTS {
            for reply in [true, false] {
                actions.push(Step::Call { host, with_id: false, reply });
                if state.machines[host].request_id.is_some() {
                    actions.push(Step::Call { host, with_id: true, reply });
                }
            }
            if state.machines[host].told {
                actions.push(Step::Reboot { host });
            }
            if state.machines[host].boots > 1 {
                actions.push(Step::Inquire { host });
            }
        }
        for restart in &state.queued {
            actions.push(Step::RunAction { restart: *restart, reported: true });
            actions.push(Step::RunAction { restart: *restart, reported: false });
        }
        for (restart, _) in &state.checks {
            actions.push(Step::RunCheck { restart: *restart, success: true });
            actions.push(Step::RunCheck { restart: *restart, success: false });
        }
        actions.push(Step::Wait);
    }

    fn next_state(&self, last: &State, action: Step) -> Option<State> {
        let mut state = last.clone();
        state.steps += 1;
        match action {
            Step::Call { host, with_id, reply } => self.call(&mut state, host, with_id, reply),
            Step::Reboot { host } => {
                let machine = &mut state.machines[host];
                machine.boots += 1;
                machine.told = false;
                machine.request_id = None;
            }
            Step::Inquire { host } => {
                let boot_id = state.machines[host].boots.to_string();
                let ask = Self::ask(&state, host, &boot_id, None);
                self.contact(&mut state, host, &ask);
            }
            Step::RunAction { restart, reported } => {
                if !state.ran.contains(&restart) {
                    state.ran.push(restart);
                }
                if reported {
                    state.queued.retain(|queued| *queued != restart);
                }
            }
            Step::RunCheck { restart, success } => {
                let successes = state.checks.iter().find(|(id, _)| *id == restart).map(|(_, successes)| *successes)?;
                match after_check(successes, success, &self.settings) {
                    CheckStep::Complete => Self::complete(&mut state, restart),
                    CheckStep::Again { successes, .. } => {
                        for check in state.checks.iter_mut().filter(|(id, _)| *id == restart) {
                            check.1 = successes;
                        }
                    }
                }
            }
            Step::Wait => {}
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never more than the limit", |_, state: &State| state.open.len() <= LIMIT),
            Property::always("a slot has one holder", |_, state: &State| {
                state
                    .open
                    .iter()
                    .all(|a| state.open.iter().all(|b| a.id == b.id || (a.slot != b.slot && a.holder != b.holder)))
            }),
            Property::always("slots are within the limit", |_, state: &State| {
                state.open.iter().all(|open| (1..=LIMIT as i32).contains(&open.slot))
            }),
            Property::always("who reboots holds a slot until it is complete", |_, state: &State| {
                // Only a machine that was told may reboot, and it was told of a slot that it holds.
                state.machines.iter().zip(NAMES).all(|(machine, name)| {
                    !machine.told || state.open.iter().any(|open| open.holder == name && !open.rebooted)
                })
            }),
            Property::always("no action is lost", |_, state: &State| {
                state.granted.iter().all(|id| state.queued.contains(id) || state.ran.contains(id))
            }),
            Property::always("a restart is in force or ended, never both or neither", |_, state: &State| {
                state.granted.iter().all(|id| state.open.iter().any(|open| open.id == *id) != state.ended.contains(id))
            }),
            Property::always("a restart ends only after its reboot", |_, state: &State| {
                state
                    .ended
                    .iter()
                    .all(|id| state.hosts.iter().any(|host| host.last_restart.is_some_and(|last| last >= *id)))
            }),
            Property::always("what is being checked is in force", |_, state: &State| {
                state.checks.iter().all(|(id, _)| state.open.iter().any(|open| open.id == *id && open.checking))
            }),
            Property::sometimes("a restart completes", |_, state: &State| !state.ended.is_empty()),
            Property::sometimes("the limit is reached", |_, state: &State| state.open.len() == LIMIT),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.steps <= STEPS
    }
}

#[test]
fn every_short_history_keeps_the_protocols_promises() {
    let checker = Protocol::new().checker().threads(2).target_max_depth(8).spawn_bfs().join();
    checker.assert_no_discovery("never more than the limit");
    checker.assert_no_discovery("a slot has one holder");
    checker.assert_no_discovery("slots are within the limit");
    checker.assert_no_discovery("who reboots holds a slot until it is complete");
    checker.assert_no_discovery("no action is lost");
    checker.assert_no_discovery("a restart is in force or ended, never both or neither");
    checker.assert_no_discovery("a restart ends only after its reboot");
    checker.assert_no_discovery("what is being checked is in force");
    for seen in ["a restart completes", "the limit is reached"] {
        checker.assert_any_discovery(seen);
    }
}
