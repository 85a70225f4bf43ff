//! Settings of the server: how long history is kept, and whether it has a gate.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

const DAY: i32 = 24 * 60;

static EVENT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(90 * DAY);
static RESTART_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(365 * DAY);
static JOB_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(7 * DAY);

/// What becomes of a start at which the gate's lines cannot be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum CloseAtStart {
    /// The server does not start.
    #[name = c"require"]
    Require,
    /// It starts with them open, and warns.
    #[name = c"try"]
    Try,
}

static GATE: GucSetting<bool> = GucSetting::<bool>::new(false);
static CLOSE_AT_START: GucSetting<CloseAtStart> = GucSetting::<CloseAtStart>::new(CloseAtStart::Require);
static GATE_WATCHDOG: GucSetting<i32> = GucSetting::<i32>::new(250);

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
    // SAFETY: a plain global.
    if unsafe { pgrx::pg_sys::process_shared_preload_libraries_in_progress } {
        register_gate();
    }
}

/// Those of the gate, which mean something only where the library is preloaded.
fn register_gate() {
    GucRegistry::define_bool_guc(
        c"goahead.gate",
        c"Lets a gate open lines of pg_hba.conf, and closes them when it is gone.",
        c"At start, and when the gate's verdict has expired. Wants goahead in shared_preload_libraries.",
        &GATE,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"goahead.close_at_start",
        c"What to do when open lines cannot be closed at start.",
        c"require does not start; try warns and starts with the lines open.",
        &CLOSE_AT_START,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"goahead.gate_watchdog",
        c"How often the watchdog looks whether the gate's verdict has expired.",
        c"A time such as 250ms; without a unit milliseconds. The gate's hold-down counts with it.",
        &GATE_WATCHDOG,
        10,
        60_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
}

/// Whether the server has a gate.
pub fn gate() -> bool {
    GATE.get()
}

/// What becomes of a start at which the gate's lines cannot be closed.
pub fn close_at_start() -> CloseAtStart {
    CLOSE_AT_START.get()
}

/// The period of the watchdog, in milliseconds.
pub fn gate_watchdog() -> u64 {
    u64::try_from(GATE_WATCHDOG.get()).unwrap_or(250)
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
