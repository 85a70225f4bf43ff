//! Settings of the server: how long history is kept.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

const DAY: i32 = 24 * 60;

static EVENT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(90 * DAY);
static RESTART_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(365 * DAY);
static JOB_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(7 * DAY);

/// Declares the settings.
pub fn register() {
    GucRegistry::define_int_guc(
        c"goahead.event_retention",
        c"How long events are kept.",
        c"A time such as 90d; without a unit minutes.",
        &EVENT_RETENTION,
        1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
    GucRegistry::define_int_guc(
        c"goahead.restart_retention",
        c"How long restarts that have ended are kept; the newest of a cluster always is.",
        c"A time such as 365d; without a unit minutes.",
        &RESTART_RETENTION,
        1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
    GucRegistry::define_int_guc(
        c"goahead.job_retention",
        c"How long finished jobs are kept.",
        c"A time such as 7d; without a unit minutes.",
        &JOB_RETENTION,
        1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
}

/// How long events are kept, in minutes.
pub fn event_retention() -> i32 {
    EVENT_RETENTION.get()
}

/// How long restarts that have ended are kept, in minutes.
pub fn restart_retention() -> i32 {
    RESTART_RETENTION.get()
}

/// How long finished jobs are kept, in minutes.
pub fn job_retention() -> i32 {
    JOB_RETENTION.get()
}
