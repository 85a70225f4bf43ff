//! From the go-ahead to its end: reboot seen, completion checks, deadlines.

use super::{Kind, Open};
use crate::duration::GoDuration;
use crate::lease::Clock;
use crate::settings::Settings;

/// How much shorter than expected an uptime must be to show a reboot, in microseconds: 1 minute.
///
/// Hosts cut their uptime to seconds and the report travels; a reboot that fits into a minute after the
/// go-ahead is still seen by its boot id.
const REBOOT_MARGIN: i64 = 60_000_000;

/// What a contact of a host means for its open restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// Nothing new.
    Nothing,
    /// It has rebooted; its completion check is to be run from now on.
    RebootedStartChecks,
    /// It has rebooted; its completion check runs already.
    Rebooted,
    /// It has rebooted and nothing is to be checked: complete.
    Complete,
}

/// Judges whether a contact shows that the host rebooted since its go-ahead.
///
/// Two boot ids decide alone. Otherwise the reported uptime must be shorter, by more than a minute, than the
/// uptime at the go-ahead plus the time since; that time is a lower bound, so a doubt keeps the slot held.
/// (The original compared with the uptime at the go-ahead alone and missed hosts that were young then.)
pub fn on_contact(open: &Open, uptime: i64, boot_id: Option<&str>, settings: &Settings, clock: Clock) -> Contact {
    if open.kind != Kind::Goahead || open.rebooted {
        return Contact::Nothing;
    }
    let rebooted = match (&open.granted_boot_id, boot_id) {
        (Some(then), Some(now)) => then != now,
        _ => uptime.saturating_add(REBOOT_MARGIN) < open.granted_uptime.saturating_add(clock.since(open.granted)),
    };
    match (rebooted, &settings.reboot_completion_check) {
        (false, _) => Contact::Nothing,
        (true, None) => Contact::Complete,
        (true, Some(_)) if open.checking => Contact::Rebooted,
        (true, Some(_)) => Contact::RebootedStartChecks,
    }
}

/// What time alone means for an open restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline {
    /// Completion checks start although the host has not called.
    pub start_checks: bool,
    /// So many thresholds have passed since the go-ahead, more than were acted on: run the panic actions once.
    pub panic: Option<u32>,
}

/// Judges the deadlines of an open restart. A deadline that passes never frees the slot.
pub fn deadline(open: &Open, settings: &Settings, clock: Clock) -> Deadline {
    let offset = settings.reboot_completion_check_offset;
    let start_checks = open.kind == Kind::Goahead
        && settings.reboot_completion_check.is_some()
        && !open.checking
        && !open.rebooted
        && offset.0 > 0
        && clock.passed(open.granted, offset);
    let panic = settings.reboot_completion_panic_threshold.and_then(|threshold| {
        let thresholds = clock.since(open.granted) / threshold.as_micros().max(1);
        let thresholds = u32::try_from(thresholds).unwrap_or(u32::MAX);
        (thresholds > open.panics).then_some(thresholds)
    });
    Deadline { start_checks, panic }
}

/// What follows a completion check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStep {
    /// Enough successes in a row.
    Complete,
    /// Run it again.
    Again {
        /// Successes in a row so far.
        successes: u32,
        /// Pause before the next run.
        after: GoDuration,
    },
}

/// Shortest pause after a failed check, so that an interval of 0 does not become a busy loop: 1 s.
const PAUSE_AFTER_FAILURE: GoDuration = GoDuration(1_000_000_000);

/// Judges the result of a completion check; `successes` counts those in a row before it.
pub fn after_check(successes: u32, success: bool, settings: &Settings) -> CheckStep {
    let interval = settings.reboot_completion_check_interval;
    match success {
        true if successes + 1 >= settings.reboot_completion_check_consecutive_successes => CheckStep::Complete,
        true => CheckStep::Again { successes: successes + 1, after: interval },
        false => CheckStep::Again { successes: 0, after: interval.max(PAUSE_AFTER_FAILURE) },
    }
}
