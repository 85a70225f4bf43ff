//! The gate's clock: CLOCK_BOOTTIME, which no stepped wall clock moves and which goes on while the machine sleeps.

use std::time::{Duration, SystemTime};

/// Microseconds since this machine booted.
pub type Micros = i64;

/// The present.
pub fn now() -> Micros {
    goahead_hba_file::boottime()
}

/// The wall clock's present, in microseconds since 1970; for people and for orders that outlive a boot.
pub fn wall() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A duration in microseconds.
pub fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// What has passed since `then`; nothing when that is yet to come.
pub fn since(then: Micros) -> Duration {
    Duration::from_micros(u64::try_from(now().saturating_sub(then)).unwrap_or(0))
}

/// The id of this boot of the machine.
///
/// # Errors
/// Where /proc is not mounted.
pub fn boot_id() -> std::io::Result<String> {
    goahead_hba_file::boot_id().map(str::to_owned)
}
