//! Who may restart now: the protocol of goahead as one exhaustive decision over facts.
//!
//! A host asks, is handed a request_id, asks again with it and may be granted. What it was granted stays
//! granted until it is complete, failed or cancelled: time alone frees nobody. The wording of the messages
//! is the original goahead's where it had one.

mod conditions;
mod lifecycle;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use conditions::{Condition, Judgement, explain, judge};
pub use lifecycle::{CheckStep, Contact, Deadline, after_check, deadline, on_contact};

use crate::duration::GoDuration;
use crate::lease::{Clock, Instant};
use crate::settings::Settings;
use crate::window::LocalTime;

/// What kind of holder a restart belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A host that speaks goahead's protocol; its holder is its FQDN.
    Goahead,
    /// A FleetLock client; its holder is the id it sent, byte for byte.
    FleetLock,
}

/// A restart that holds a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// Row of the restart.
    pub id: i64,
    /// FQDN or FleetLock id.
    pub holder: String,
    /// What kind of holder.
    pub kind: Kind,
    /// The slot it holds, from 1.
    pub slot: i32,
    /// When it was granted.
    pub granted: Instant,
    /// Uptime that the holder reported then, in microseconds.
    pub granted_uptime: i64,
    /// Boot id that it reported then.
    pub granted_boot_id: Option<String>,
    /// A contact has shown that the host rebooted.
    pub rebooted: bool,
    /// Its completion check is queued or running.
    pub checking: bool,
    /// How many thresholds had passed when its panic actions last ran; 0 = not overdue.
    pub panics: u32,
}

/// What is known of the cluster in which a host asks.
#[derive(Clone, Debug)]
pub struct Cluster<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its settings.
    pub settings: &'a Settings,
    /// The reason of a freeze that is in force now.
    pub frozen: Option<&'a str>,
    /// Hosts that the cluster is known to have, for limits in percent.
    pub known_hosts: u32,
    /// The restarts that hold slots of it.
    pub open: &'a [Open],
    /// When it last granted anything.
    pub last_grant: Option<Instant>,
    /// Local times of the zones that its windows name.
    pub local: &'a [(String, LocalTime)],
    /// A rollout that is running, if any.
    pub rollout: Option<Rollout<'a>>,
}

/// A rollout: every host of the cluster is to restart once.
#[derive(Clone, Copy, Debug)]
pub struct Rollout<'a> {
    /// Its number.
    pub id: i64,
    /// Why.
    pub reason: &'a str,
    /// When it began.
    pub started: Instant,
    /// Restarts with a higher number were granted after it began.
    pub boundary: i64,
}

/// What is remembered of the asking host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Host {
    /// The request_id that was handed out last, and when.
    pub request: Option<(String, Instant)>,
    /// Its last restart that was seen to reboot.
    pub last_restart: Option<i64>,
}

/// One call of a host.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// FQDN or FleetLock id, normalized.
    pub holder: &'a str,
    /// Reported uptime as sent; empty for FleetLock.
    pub uptime_text: &'a str,
    /// Reported uptime in microseconds.
    pub uptime: i64,
    /// Reported boot id.
    pub boot_id: Option<&'a str>,
    /// The request_id it sent.
    pub request_id: Option<&'a str>,
    /// 8 random letters, used if a request_id is to be handed out.
    pub fresh_id: &'a str,
    /// What the blocker said, if it was asked: a reason against, or nothing against it.
    pub blocker: Option<Option<&'a str>>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// May restart and takes this slot.
    Granted {
        /// The slot, from 1.
        slot: i32,
    },
    /// Was granted before and keeps it; nothing runs again.
    AlreadyGranted,
    /// First contact: ask again with this request_id.
    Handshake {
        /// The request_id to remember and to hand out.
        request_id: String,
        /// It is new, or due to be remembered afresh.
        remember: bool,
    },
    /// Not now.
    Denied {
        /// Which condition said no.
        condition: Condition,
        /// Why, as the host is told.
        message: String,
        /// The host may repeat its request_id: the denial came at the second step.
        at_second_step: bool,
    },
    /// Nothing else speaks against it: ask the blocker, then decide again.
    AskBlocker,
}

/// Judges a request of goahead's protocol by a host whose contact has already been taken note of
/// ([`on_contact`]); `mine` is its open restart, in whatever cluster.
pub fn request(cluster: &Cluster<'_>, host: &Host, mine: Option<&Open>, ask: &Ask<'_>, clock: Clock) -> Verdict {
    let granted = match mine {
        Some(open) if open.rebooted => {
            return Verdict::Denied {
                condition: Condition::Completion,
                message: format!(
                    "Your last restart is not complete: the reboot_completion_check of cluster {} has not succeeded yet",
                    cluster.name
                ),
                at_second_step: false,
            };
        }
        Some(_) => true,
        None => false,
    };
    if !granted && let Some(denied) = first_failed(&conditions::AT_FIRST, cluster, ask, clock) {
        return denied_at(denied, false);
    }
    let current =
        host.request.as_ref().filter(|(_, handed_out)| !clock.passed(*handed_out, cluster.settings.request_timeout));
    match (ask.request_id, current, &host.request) {
        (None, Some((id, handed_out)), _) => Verdict::Handshake {
            request_id: id.clone(),
            remember: clock.passed(*handed_out, GoDuration(cluster.settings.request_timeout.0 / 4)),
        },
        (None, None, _) => Verdict::Handshake { request_id: ask.fresh_id.to_owned(), remember: true },
        // A granted host may repeat its request_id for ever: its first answer may have been lost.
        (Some(sent), _, Some((id, _))) if granted && sent == id => Verdict::AlreadyGranted,
        (Some(sent), Some((id, _)), _) if sent == id => match grantable(cluster, ask, clock) {
            Verdict::Denied { condition, message, .. } => Verdict::Denied { condition, message, at_second_step: true },
            other => other,
        },
        (Some(sent), Some((id, _)), _) => Verdict::Denied {
            condition: Condition::RequestId,
            message: format!("Found mismatching request_id in request: {sent} and found on middle-ware: {id}"),
            at_second_step: true,
        },
        // Its request_id has expired or was never known here: begin again.
        (Some(_), None, _) => Verdict::Handshake { request_id: ask.fresh_id.to_owned(), remember: true },
    }
}

/// Judges FleetLock's RecursiveLock: no pattern, handshake or minimum uptime; every other condition.
pub fn lock(cluster: &Cluster<'_>, ask: &Ask<'_>, clock: Clock) -> Verdict {
    if cluster.open.iter().any(|open| open.kind == Kind::FleetLock && open.holder == ask.holder) {
        return Verdict::AlreadyGranted;
    }
    match first_failed(&conditions::AT_FLEETLOCK, cluster, ask, clock) {
        Some(denied) => denied_at(denied, true),
        None => grantable(cluster, ask, clock),
    }
}

/// Judges what stands between a valid second call and its go-ahead.
fn grantable(cluster: &Cluster<'_>, ask: &Ask<'_>, clock: Clock) -> Verdict {
    if let Some(denied) = first_failed(&conditions::AT_GRANT, cluster, ask, clock) {
        return denied_at(denied, true);
    }
    if cluster.settings.blocker.is_some() {
        match ask.blocker {
            None => return Verdict::AskBlocker,
            Some(Some(_)) => return denied_at(judge(Condition::Blocker, cluster, ask, clock), true),
            Some(None) => {}
        }
    }
    let taken = |slot: i32| cluster.open.iter().any(|open| open.slot == slot);
    let slot = (1..).find(|slot| !taken(*slot)).unwrap_or(i32::MAX);
    Verdict::Granted { slot }
}

fn first_failed(conditions: &[Condition], cluster: &Cluster<'_>, ask: &Ask<'_>, clock: Clock) -> Option<Judgement> {
    conditions.iter().map(|condition| judge(*condition, cluster, ask, clock)).find(|judgement| !judgement.passed)
}

fn denied_at(judgement: Judgement, at_second_step: bool) -> Verdict {
    Verdict::Denied { condition: judgement.condition, message: judgement.detail, at_second_step }
}

/// The answer to an inquiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inquiry {
    /// No reason to restart.
    No,
    /// A reason; the text begins with `YesInquireToRestart`, which is what clients look for.
    Yes(String),
    /// The configured checks are to be run first.
    RunChecks,
}

/// The result of one inquiry check, as the service reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The command as it was run, for the message.
    pub command: String,
    /// Its exit code; None when it was not run to its end.
    pub exit_code: Option<i32>,
}

/// Judges an inquiry by a host whose contact has already been taken note of.
///
/// A rollout asks only hosts that have not restarted since it began; and nobody is asked while a request
/// would be denied anyway. A check that was not run is no reason, ever.
pub fn inquiry(
    cluster: &Cluster<'_>,
    host: &Host,
    mine: Option<&Open>,
    ask: &Ask<'_>,
    checked: Option<&[Checked]>,
    clock: Clock,
) -> Inquiry {
    if mine.is_some_and(|open| open.rebooted) {
        return Inquiry::No;
    }
    if mine.is_none() && first_failed(&conditions::AT_FIRST, cluster, ask, clock).is_some() {
        return Inquiry::No;
    }
    if let Some(rollout) = cluster.rollout
        && host.last_restart.is_none_or(|id| id <= rollout.boundary)
        && ask.uptime >= clock.since(rollout.started)
    {
        return Inquiry::Yes(format!("YesInquireToRestart: rollout {}: {}", rollout.id, rollout.reason));
    }
    if cluster.settings.reboot_goahead_checks.is_empty() {
        return Inquiry::No;
    }
    let wanted = cluster.settings.reboot_goahead_checks_exit_code_for_reboot;
    match checked {
        None => Inquiry::RunChecks,
        Some(results) => match results.iter().find(|result| result.exit_code == Some(wanted)) {
            Some(result) => {
                Inquiry::Yes(format!("YesInquireToRestart: goahead check result of {} is {wanted}", result.command))
            }
            None => Inquiry::No,
        },
    }
}
