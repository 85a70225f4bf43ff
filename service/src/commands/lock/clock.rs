//! The clock on which a hold runs out, and an alarm on it.

use std::os::fd::OwnedFd;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::lease::Moment;

/// The present.
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    Moment::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Rings at a moment. The runtime's timers stand still while the machine sleeps; this one rings as soon as it wakes.
#[derive(Debug)]
pub struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// One that is not set. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses a timer.
    pub fn new() -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: the descriptor is open, belongs to nobody else, and is closed with what it is given to.
        Ok(Self(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?))
    }

    /// Sets it, to ring at once when the moment has passed; none: it does not ring.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn set(&self, at: Option<Moment>) -> std::io::Result<()> {
        set(self.0.get_ref(), at)
    }

    /// Waits until it rings.
    pub async fn ring(&self) {
        loop {
            // A timer that cannot be read any more is one to look after at once.
            let Ok(mut ready) = self.0.readable().await else { return };
            let rung = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?));
            if rung.is_ok() {
                return;
            }
        }
    }
}

/// Sets a timer of this clock, as [`Alarm::set`].
///
/// # Errors
/// When the operating system refuses.
pub fn set(timer: &OwnedFd, at: Option<Moment>) -> std::io::Result<()> {
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    let at = at.map_or(never, |at| Timespec {
        tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
        // Zero would switch it off.
        tv_nsec: i64::from(at.subsec_nanos()).max(1),
    });
    timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval: never, it_value: at })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_rings_at_its_moment_and_at_once_when_that_has_passed() {
        let alarm = Alarm::new().expect("a timer");
        let at = now() + Duration::from_millis(50);
        alarm.set(Some(at)).expect("set");
        alarm.ring().await;
        assert!(now() >= at);
        alarm.set(Some(Duration::ZERO)).expect("set");
        tokio::time::timeout(Duration::from_secs(20), alarm.ring()).await.expect("at once");
        alarm.set(None).expect("set");
        assert!(tokio::time::timeout(Duration::from_millis(50), alarm.ring()).await.is_err());
    }
}
