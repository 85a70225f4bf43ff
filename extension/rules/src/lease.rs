//! Spans on the database's monotonic clock that survive its reboots and promotions.
//!
//! A point in time is an epoch (one boot of one host on one timeline) and the microseconds of
//! CLOCK_BOOTTIME in it. Between points of one epoch the span is exact. Across epochs only a lower bound is
//! known, the time since the newer epoch was first seen: what waits for a span to pass then waits it out
//! in full, as Consul does with its session TTLs after a leader failover. A stepped wall clock plays no part.

use crate::duration::GoDuration;

/// A point on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instant {
    /// Number of the epoch; epochs are numbered upward.
    pub epoch: i64,
    /// Microseconds of CLOCK_BOOTTIME.
    pub us: i64,
}

/// The clock as read once for a whole decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    /// The present point.
    pub now: Instant,
    /// Microseconds of CLOCK_BOOTTIME at which the present epoch was first seen.
    pub epoch_start: i64,
}

impl Clock {
    /// Microseconds that have passed since `then` at the least; 0 for a point that is not in the past.
    pub fn since(&self, then: Instant) -> i64 {
        let from = if then.epoch == self.now.epoch {
            then.us
        } else if then.epoch < self.now.epoch {
            self.epoch_start
        } else {
            self.now.us
        };
        self.now.us.saturating_sub(from).max(0)
    }

    /// Whether at least `span` has passed since `then`.
    pub fn passed(&self, then: Instant, span: GoDuration) -> bool {
        self.since(then) >= span.as_micros()
    }

    /// The point `span` from now.
    pub fn after(&self, span: GoDuration) -> Instant {
        Instant { us: self.now.us.saturating_add(span.as_micros()), ..self.now }
    }
}

/// Microseconds as a duration cut to whole seconds, for messages.
pub fn whole_seconds(us: i64) -> GoDuration {
    GoDuration((us / 1_000_000).saturating_mul(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn clock(epoch: i64, us: i64, epoch_start: i64) -> Clock {
        Clock { now: Instant { epoch, us }, epoch_start }
    }

    #[test]
    fn within_an_epoch_the_span_is_exact() {
        let clock = clock(3, 10 * MINUTE, MINUTE);
        assert_eq!(clock.since(Instant { epoch: 3, us: 4 * MINUTE }), 6 * MINUTE);
    }

    #[test]
    fn across_epochs_only_the_newer_one_counts() {
        let clock = clock(4, 10 * MINUTE, 7 * MINUTE);
        assert_eq!(clock.since(Instant { epoch: 3, us: 9_999 * MINUTE }), 3 * MINUTE);
        assert!(!clock.passed(Instant { epoch: 3, us: 0 }, GoDuration(4 * MINUTE * 1_000)));
        assert!(clock.passed(Instant { epoch: 3, us: 0 }, GoDuration(3 * MINUTE * 1_000)));
    }

    #[test]
    fn a_point_that_is_not_past_is_no_time_ago() {
        let clock = clock(3, 10, 5);
        assert_eq!(clock.since(Instant { epoch: 3, us: 99 }), 0);
        assert_eq!(clock.since(Instant { epoch: 9, us: 0 }), 0);
    }
}
