//! The gate's clock: CLOCK_BOOTTIME, which no stepped wall clock moves and which goes on while the machine sleeps.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Microseconds since this machine booted.
pub type Micros = u64;

/// The present.
pub fn now() -> Micros {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

/// The wall clock's present, in microseconds since 1970; for people and for orders that outlive a boot.
pub fn wall() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A duration in microseconds.
pub fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
