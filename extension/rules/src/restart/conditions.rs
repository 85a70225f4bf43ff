//! The conditions of a go-ahead, one verdict and one sentence each.

use super::{Ask, Cluster, Kind, Open};
use crate::duration::GoDuration;
use crate::lease::{Clock, whole_seconds};

/// What may stand against a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    /// The cluster is switched on.
    Enabled,
    /// An operator has frozen the cluster.
    Frozen,
    /// No restart window is open.
    Window,
    /// The host has not been up for long enough.
    MinimumUptime,
    /// The host's previous restart still runs its completion check.
    Completion,
    /// The request_id is not the one that was handed out.
    RequestId,
    /// Another restart of the cluster takes too long.
    Overdue,
    /// The last go-ahead was too short a time ago.
    MinimumInterval,
    /// All slots are taken.
    Limit,
    /// The cluster's blocker function gave a reason.
    Blocker,
}

impl Condition {
    /// The condition's name in answers, metrics and views.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Frozen => "frozen",
            Self::Window => "window",
            Self::MinimumUptime => "minimum_uptime",
            Self::Completion => "completion",
            Self::RequestId => "request_id",
            Self::Overdue => "overdue",
            Self::MinimumInterval => "minimum_interval",
            Self::Limit => "limit",
            Self::Blocker => "blocker",
        }
    }
}

/// What one condition says, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The condition.
    pub condition: Condition,
    /// Whether it lets the host pass.
    pub passed: bool,
    /// A sentence for the host's log or the operator.
    pub detail: String,
}

/// Judged already at the first contact, so that a host does not wait for nothing.
pub(super) const AT_FIRST: [Condition; 4] =
    [Condition::Enabled, Condition::Frozen, Condition::Window, Condition::MinimumUptime];
/// The same for FleetLock, whose clients report no uptime.
pub(super) const AT_FLEETLOCK: [Condition; 3] = [Condition::Enabled, Condition::Frozen, Condition::Window];
/// Judged last, right before a slot is taken; the blocker follows when these have passed.
pub(super) const AT_GRANT: [Condition; 3] = [Condition::Overdue, Condition::MinimumInterval, Condition::Limit];

const ALL: [Condition; 8] = [
    Condition::Enabled,
    Condition::Frozen,
    Condition::Window,
    Condition::MinimumUptime,
    Condition::Overdue,
    Condition::MinimumInterval,
    Condition::Limit,
    Condition::Blocker,
];

/// Every condition's verdict for a host that would ask now.
pub fn explain(cluster: &Cluster<'_>, mine: Option<&Open>, ask: &Ask<'_>, clock: Clock) -> Vec<Judgement> {
    let completion = Judgement {
        condition: Condition::Completion,
        passed: mine.is_none_or(|open| !open.rebooted),
        detail: match mine {
            None => "holds no slot".into(),
            Some(open) if open.rebooted => {
                format!("has rebooted, holds slot {}, its completion check has not succeeded yet", open.slot)
            }
            Some(open) => format!(
                "was granted {} ago, holds slot {} and keeps its go-ahead whatever the other conditions say",
                whole_seconds(clock.since(open.granted)),
                open.slot
            ),
        },
    };
    let mut all: Vec<Judgement> = ALL.iter().map(|condition| judge(*condition, cluster, ask, clock)).collect();
    all.push(completion);
    all
}

/// Judges one condition. The sentence of a failed one is what the host is told.
pub fn judge(condition: Condition, cluster: &Cluster<'_>, ask: &Ask<'_>, clock: Clock) -> Judgement {
    let (passed, detail) = match condition {
        Condition::Enabled => enabled(cluster),
        Condition::Frozen => frozen(cluster),
        Condition::Window => window(cluster),
        Condition::MinimumUptime => minimum_uptime(cluster, ask),
        Condition::Overdue => overdue(cluster, ask, clock),
        Condition::MinimumInterval => minimum_interval(cluster, clock),
        Condition::Limit => limit(cluster),
        Condition::Blocker => blocker(cluster, ask),
        // Not conditions of the cluster: judged where the request is.
        Condition::Completion | Condition::RequestId => (true, String::new()),
    };
    Judgement { condition, passed, detail }
}

fn enabled(cluster: &Cluster<'_>) -> (bool, String) {
    match cluster.settings.enabled {
        true => (true, "enabled: true".into()),
        false => (false, format!("Cluster {} is disabled", cluster.name)),
    }
}

fn frozen(cluster: &Cluster<'_>) -> (bool, String) {
    match cluster.frozen {
        None => (true, "not frozen".into()),
        Some(reason) => (false, format!("Denied restart request as cluster {} is frozen: {reason}", cluster.name)),
    }
}

fn window(cluster: &Cluster<'_>) -> (bool, String) {
    let windows = &cluster.settings.restart_windows;
    if windows.is_empty() {
        return (true, "no restart_windows: always".into());
    }
    let open = windows.iter().any(|window| {
        let local = cluster.local.iter().find(|(zone, _)| *zone == window.time_zone);
        local.is_some_and(|(_, local)| window.is_open(*local))
    });
    if open {
        return (true, "a restart window is open".into());
    }
    let next = windows
        .iter()
        .filter_map(|window| {
            let (_, local) = cluster.local.iter().find(|(zone, _)| *zone == window.time_zone)?;
            Some(i64::from(window.next_open(*local)))
        })
        .min();
    let when = next
        .map_or_else(String::new, |minutes| format!("; the next one opens in {}", whole_seconds(minutes * 60_000_000)));
    (false, format!("Denied restart request as no restart window of cluster {} is open{when}", cluster.name))
}

fn minimum_uptime(cluster: &Cluster<'_>, ask: &Ask<'_>) -> (bool, String) {
    let least = cluster.settings.minimum_uptime;
    match ask.uptime < least.as_micros() {
        true => (
            false,
            format!(
                "Configured minimum uptime for cluster: {least} was not reached by client's uptime: {}",
                ask.uptime_text
            ),
        ),
        false => (true, format!("uptime {} has reached {least}", ask.uptime_text)),
    }
}

/// Past its threshold, and not the asking host itself.
fn is_overdue(open: &Open, threshold: GoDuration, ask: &Ask<'_>, clock: Clock) -> bool {
    clock.passed(open.granted, threshold) && !(open.kind == Kind::Goahead && open.holder == ask.holder)
}

fn overdue(cluster: &Cluster<'_>, ask: &Ask<'_>, clock: Clock) -> (bool, String) {
    let Some(threshold) = cluster.settings.reboot_completion_panic_threshold else {
        return (true, "no reboot_completion_panic_threshold: never overdue".into());
    };
    match cluster.open.iter().find(|open| is_overdue(open, threshold, ask, clock)) {
        None => (true, format!("no restart has taken {threshold}")),
        Some(open) => (
            false,
            format!(
                "Denied restart request as the panic threshold met for cluster {}: {} is restarting for {}, reboot_completion_panic_threshold is {threshold}",
                cluster.name,
                open.holder,
                whole_seconds(clock.since(open.granted))
            ),
        ),
    }
}

fn minimum_interval(cluster: &Cluster<'_>, clock: Clock) -> (bool, String) {
    let least = cluster.settings.minimum_interval;
    match cluster.last_grant {
        Some(last) if !clock.passed(last, least) => (
            false,
            format!(
                "Denied restart request as the last go-ahead of cluster {} was given {} ago and minimum_interval is {least}",
                cluster.name,
                whole_seconds(clock.since(last))
            ),
        ),
        _ => (true, format!("minimum_interval {least} has passed")),
    }
}

/// How many names a denial lists.
const NAMES: usize = 20;

fn limit(cluster: &Cluster<'_>) -> (bool, String) {
    let slots = cluster.settings.allowed_parallel_restarts.slots(cluster.known_hosts);
    let running = cluster.open.len();
    if running < slots as usize {
        return (true, format!("{running} of {slots} slots are taken"));
    }
    let mut hosts: Vec<&str> = cluster.open.iter().take(NAMES).map(|open| open.holder.as_str()).collect();
    let more = format!("{} more", running.saturating_sub(NAMES));
    if running > NAMES {
        hosts.push(&more);
    }
    (
        false,
        format!(
            "Denied restart request as the current_ongoing_restarts of cluster {} is larger than the allowed_parallel_restarts: {running} >= {slots} Currently restarting hosts: {}",
            cluster.name,
            hosts.join(",")
        ),
    )
}

fn blocker(cluster: &Cluster<'_>, ask: &Ask<'_>) -> (bool, String) {
    match (&cluster.settings.blocker, ask.blocker) {
        (None, _) => (true, "no blocker".into()),
        (Some(function), Some(Some(reason))) => {
            (false, format!("Denied restart request as {function} of cluster {} blocks it: {reason}", cluster.name))
        }
        (Some(function), _) => (true, format!("{function} has nothing against it")),
    }
}
