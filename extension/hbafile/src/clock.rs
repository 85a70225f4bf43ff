//! The clock that all times of a gate are told by.

use std::io;
use std::sync::OnceLock;

/// Microseconds of CLOCK_BOOTTIME: since the host booted, suspension included; no step of the wall clock moves it.
#[must_use]
pub fn boottime() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

/// The id of this boot of the host.
///
/// # Errors
/// Where /proc is not mounted.
pub fn boot_id() -> io::Result<&'static str> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = BOOT_ID.get() {
        return Ok(id);
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT_ID.get_or_init(|| id.trim().to_owned()))
}
