//! The calls of a batch one by one: what the rules say of each, under the locks that were taken, and what is answered.

use super::super::wire::{Answer, Ask, Check, Outcome, Wants};
use super::{Batch, Locks, Place, ask_blocker, rules_ask};
use crate::sets::Invalid;
use crate::store::Store;
use goahead_rules::command::{self, Names};
use goahead_rules::restart::{self, Contact, Inquiry, Verdict};

impl Batch {
    pub(super) fn judge(
        &mut self,
        store: &mut Store<'_, '_>,
        asks: &[Result<Ask, Invalid>],
        locks: Locks,
    ) -> Vec<Outcome> {
        for id in self.locked.clone() {
            self.effects.deadlines(&mut self.world, id);
        }
        asks.iter()
            .map(|ask| match ask {
                Err(invalid) => Outcome::from(invalid.clone()),
                Ok(ask) => self.judge_one(store, ask, locks),
            })
            .collect()
    }

    fn judge_one(&mut self, store: &mut Store<'_, '_>, ask: &Ask, locks: Locks) -> Outcome {
        if matches!(ask.wants, Wants::Lock | Wants::Unlock) {
            return self.fleetlock(store, ask, locks);
        }
        if !self.places_nowhere(ask) && self.may_write(ask) && !self.locked_hosts.contains(&ask.holder) {
            return match self.place(ask) {
                Place::Cluster(id) => self.busy(id),
                _ => Outcome::new("busy"),
            };
        }
        // What the call says of the host's restart is taken note of, whatever is answered.
        let mine = self.world.hosts.get(&ask.holder).and_then(|host| host.mine.clone());
        if let Some((id, open)) = mine {
            let contact = self.contact(id, &open, ask);
            if contact != Contact::Nothing {
                if !self.locked.contains(&id) {
                    return self.busy(id);
                }
                self.effects.contact(&mut self.world, id, &open, contact);
            }
        }
        let id = match self.place(ask) {
            Place::Cluster(id) => id,
            Place::Blacklisted(pattern) => {
                self.unknown.push((ask.holder.clone(), Some(pattern.clone())));
                let message = format!(
                    "Found matching blacklist name pattern: {pattern} for FQDN: {} Preventing restart!",
                    ask.sent
                );
                return Outcome { answer: Some(Answer::unknown(ask, message)), ..Outcome::new("unknown") };
            }
            Place::Nowhere => return self.unknown(ask),
        };
        if !self.world.clusters.contains_key(&id) {
            return self.unknown(ask);
        }
        self.effects.seen(&mut self.world, id, self.patterns.version, ask);
        match ask.wants {
            Wants::Reason => self.inquiry(id, ask),
            _ => self.request(store, id, ask, locks),
        }
    }

    /// The call is to be repeated singly; which cluster it waits for lets the caller bound its waiting per cluster.
    fn busy(&self, id: i32) -> Outcome {
        Outcome { cluster: self.world.clusters.get(&id).map(|cluster| cluster.name.clone()), ..Outcome::new("busy") }
    }

    fn unknown(&mut self, ask: &Ask) -> Outcome {
        self.unknown.push((ask.holder.clone(), None));
        let message = format!("FQDN {} did not match any known cluster", ask.sent);
        Outcome { answer: Some(Answer::unknown(ask, message)), ..Outcome::new("unknown") }
    }

    fn request(&mut self, store: &mut Store<'_, '_>, id: i32, ask: &Ask, locks: Locks) -> Outcome {
        let mut blocked = None;
        loop {
            let verdict = {
                let cluster = &self.world.clusters[&id];
                let host = &self.world.hosts[&ask.holder];
                let ask = rules_ask(ask, &blocked);
                let mine = host.mine.as_ref().map(|(_, open)| open);
                restart::request(&cluster.facts(), &host.facts, mine, &ask, self.world.clock)
            };
            let name = self.world.clusters[&id].name.clone();
            let again = |message: &str, request_id: &str| {
                Answer::new(ask, &name, message.to_owned()).ask_again(ask, request_id)
            };
            return match verdict {
                Verdict::AskBlocker if locks != Locks::Wait => Outcome { condition: Some("blocker"), ..self.busy(id) },
                Verdict::AskBlocker if !self.locked.contains(&id) => self.busy(id),
                Verdict::AskBlocker => {
                    blocked = Some(ask_blocker(store, &self.world, id, &ask.holder));
                    continue;
                }
                Verdict::Granted { .. } if !self.locked.contains(&id) => self.busy(id),
                Verdict::Granted { slot } => {
                    self.effects.grant(store, &mut self.world, id, slot, ask);
                    let request_id = ask.request_id.as_deref().unwrap_or_default();
                    Outcome::answered("granted", &name, again("", request_id).granted())
                }
                Verdict::AlreadyGranted => {
                    let request_id = ask.request_id.as_deref().unwrap_or_default();
                    let answer = again("You should already be restarting!", request_id);
                    Outcome::answered("granted", &name, answer.granted())
                }
                Verdict::Handshake { request_id, remember } => {
                    if remember {
                        self.effects.remember_request(&mut self.world, &ask.holder, &request_id);
                    }
                    let message = format!("No previous request file found for fqdn: {}", ask.sent);
                    Outcome::answered("handshake", &name, again(&message, &request_id))
                }
                Verdict::Denied { condition, message, at_second_step } => {
                    self.effects.denied(&mut self.world, &ask.holder, condition, &message);
                    let handed_out = self.world.hosts[&ask.holder].facts.request.as_ref().map(|(id, _)| id.as_str());
                    let answer = match handed_out {
                        Some(request_id) if at_second_step => again(&message, request_id),
                        _ => Answer::new(ask, &name, message),
                    };
                    Outcome { condition: Some(condition.name()), ..Outcome::answered("denied", &name, answer) }
                }
            };
        }
    }

    fn inquiry(&mut self, id: i32, ask: &Ask) -> Outcome {
        let cluster = &self.world.clusters[&id];
        let host = &self.world.hosts[&ask.holder];
        let mine = host.mine.as_ref().map(|(_, open)| open);
        let verdict = restart::inquiry(
            &cluster.facts(),
            &host.facts,
            mine,
            &rules_ask(ask, &None),
            ask.checks.as_deref(),
            self.world.clock,
        );
        match verdict {
            Inquiry::No => {
                Outcome::answered("no", &cluster.name, Answer::new(ask, &cluster.name, "No reason to restart".into()))
            }
            Inquiry::Yes(reason) => Outcome::answered("yes", &cluster.name, Answer::new(ask, &cluster.name, reason)),
            Inquiry::RunChecks => {
                let names = Names {
                    fqdn: &ask.holder,
                    hostname: ask.holder.split('.').next().unwrap_or_default(),
                    cluster: &cluster.name,
                    uptime: &ask.uptime_text,
                };
                let commands = &cluster.settings.reboot_goahead_checks;
                let checks = commands.iter().filter_map(|line| command::render(line, &names).ok());
                let exit_code_for_reboot = cluster.settings.reboot_goahead_checks_exit_code_for_reboot;
                Outcome {
                    checks: Some(checks.map(|command| Check { command, exit_code_for_reboot }).collect()),
                    cluster: Some(cluster.name.clone()),
                    ..Outcome::new("checks")
                }
            }
        }
    }

    fn fleetlock(&mut self, store: &mut Store<'_, '_>, ask: &Ask, locks: Locks) -> Outcome {
        let Place::Cluster(id) = self.place(ask) else { return Outcome::new("unknown_group") };
        let Some(name) = self.world.clusters.get(&id).map(|cluster| cluster.name.clone()) else {
            return Outcome::new("unknown_group");
        };
        let with_cluster = |outcome| Outcome { cluster: Some(name.clone()), ..Outcome::new(outcome) };
        if !self.locked.contains(&id) {
            return self.busy(id);
        }
        if ask.wants == Wants::Unlock {
            self.effects.unlock(&mut self.world, id, &ask.holder);
            return with_cluster("released");
        }
        let mut blocked = None;
        loop {
            let verdict = restart::lock(&self.world.clusters[&id].facts(), &rules_ask(ask, &blocked), self.world.clock);
            return match verdict {
                Verdict::AskBlocker if locks != Locks::Wait => Outcome { condition: Some("blocker"), ..self.busy(id) },
                Verdict::AskBlocker => {
                    blocked = Some(ask_blocker(store, &self.world, id, &ask.holder));
                    continue;
                }
                Verdict::Granted { slot } => {
                    self.effects.grant(store, &mut self.world, id, slot, ask);
                    with_cluster("granted")
                }
                Verdict::AlreadyGranted => with_cluster("granted"),
                Verdict::Denied { condition, message, .. } => {
                    Outcome { condition: Some(condition.name()), message: Some(message), ..with_cluster("denied") }
                }
                Verdict::Handshake { .. } => unreachable!("FleetLock has no handshake"),
            };
        }
    }
}
