//! How long a hold is good for as its holder may see it, and what is due when: pure arithmetic.
//!
//! The holder counts the TTL from *before* it sent the request that was granted, so its view always ends before the
//! service's does. Everything that has to happen before the end is planned backwards from there.

use std::time::Duration;

use super::OnLost;

/// A point on CLOCK_BOOTTIME, which no stepped wall clock moves and which goes on while the machine sleeps.
pub type Moment = Duration;

/// The shortest and the longest time between the kill and the end of the hold: for the kernel to end a process and
/// for timers that fire late.
const MARGIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// The shortest and the longest that one renewal may take, and the pause between two.
const TRY: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(5));
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A hold with a TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Before the request was sent that got it
    pub sent: Moment,
    /// How long it lasts
    pub ttl: Duration,
}

impl Lease {
    /// When it ends, if nothing renews it.
    pub fn end(self) -> Moment {
        self.sent + self.ttl
    }

    /// When it is to be renewed: after a third, so that two thirds are left for what may go wrong.
    pub fn renew_at(self) -> Moment {
        self.sent + self.ttl / 3
    }

    /// When nothing may run under it any more.
    pub fn kill_at(self) -> Moment {
        self.end() - (self.ttl / 10).clamp(MARGIN.0, MARGIN.1)
    }

    /// When the guard kills what its keeper should have killed: half way from there to the end.
    pub fn guard_at(self) -> Moment {
        self.end() - (self.end() - self.kill_at()) / 2
    }

    /// When what runs is asked to end: `grace` earlier, or a third of the TTL if that is shorter.
    pub fn ask_at(self, grace: Duration) -> Moment {
        self.kill_at() - grace.min(self.ttl / 3)
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Renew the hold, within this time
    Renew(Duration),
    /// The hold is lost or about to be: ask the command to end
    Ask,
    /// The time to end is over: kill it
    Kill,
    /// The hold is over and the command goes on: say so
    Tell,
}

/// How far a loss has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Held,
    /// The command was asked to end and is killed then
    Asked {
        kill_at: Moment,
    },
    /// Nothing is left to be done about it
    Over,
}

/// Keeps track of a hold and of what becomes due. It has no clock of its own.
#[derive(Debug)]
pub struct Watch {
    lease: Lease,
    grace: Duration,
    on_lost: OnLost,
    stage: Stage,
    try_at: Moment,
    trying: bool,
    /// The service has said that the hold is over
    told: bool,
}

impl Watch {
    /// Watches a hold that the service has granted.
    pub fn new(lease: Lease, grace: Duration, on_lost: OnLost) -> Self {
        let try_at = lease.renew_at();
        Self { lease, grace, on_lost, stage: Stage::Held, try_at, trying: false, told: false }
    }

    /// What is to be done at `now`; asked again until nothing is.
    pub fn due(&mut self, now: Moment) -> Option<Due> {
        match self.stage {
            Stage::Held if self.told || now >= self.lose_at() => Some(self.lose(now)),
            Stage::Asked { kill_at } if now >= kill_at => {
                self.stage = Stage::Over;
                Some(Due::Kill)
            }
            _ if self.renews() && now >= self.try_at => {
                self.trying = true;
                let left = self.ask_at().saturating_sub(now) / 2;
                Some(Due::Renew(left.clamp(TRY.0, TRY.1)))
            }
            _ => None,
        }
    }

    /// When [`Watch::due`] is to be asked next; none: no time will change anything.
    pub fn next(&self) -> Option<Moment> {
        let loss = match self.stage {
            Stage::Held => Some(self.lose_at()),
            Stage::Asked { kill_at } => Some(kill_at),
            Stage::Over => None,
        };
        let renewal = self.renews().then_some(self.try_at);
        loss.into_iter().chain(renewal).min()
    }

    /// A renewal that was sent at `sent` has succeeded.
    pub fn renewed(&mut self, sent: Moment) {
        self.trying = false;
        // An answer to an older try may come after that to a newer one.
        if sent >= self.lease.sent {
            self.lease.sent = sent;
        }
        self.try_at = self.lease.renew_at();
    }

    /// A renewal has failed in a way that may pass.
    pub fn failed(&mut self, now: Moment) {
        self.trying = false;
        self.try_at = now + (self.ask_at().saturating_sub(now) / 8).clamp(PAUSE.0, PAUSE.1);
    }

    /// The service says that the hold is over.
    pub fn told(&mut self) {
        self.trying = false;
        self.told = true;
    }

    /// When the guard is to kill the command, if it is to be killed at all.
    pub fn guard_at(&self) -> Option<Moment> {
        (self.on_lost == OnLost::Kill).then(|| self.lease.guard_at())
    }

    /// Whether the hold counts as lost, so that what runs now is not protected or was asked to end.
    pub fn is_lost(&self) -> bool {
        self.stage != Stage::Held
    }

    /// Whether nothing of the command may be left.
    pub fn kills(&self) -> bool {
        self.is_lost() && self.on_lost == OnLost::Kill
    }

    /// Whether the service has said so.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// The hold as it is now.
    pub fn lease(&self) -> Lease {
        self.lease
    }

    fn ask_at(&self) -> Moment {
        self.lease.ask_at(self.grace)
    }

    /// When silence of the service counts as a loss.
    fn lose_at(&self) -> Moment {
        match self.on_lost {
            OnLost::Kill | OnLost::Signal => self.ask_at(),
            OnLost::Ignore => self.lease.end(),
        }
    }

    fn lose(&mut self, now: Moment) -> Due {
        match self.on_lost {
            OnLost::Kill if now >= self.lease.kill_at() => {
                self.stage = Stage::Over;
                Due::Kill
            }
            OnLost::Kill => {
                self.stage = Stage::Asked { kill_at: (now + self.grace).min(self.lease.kill_at()) };
                Due::Ask
            }
            OnLost::Signal => {
                self.stage = Stage::Over;
                Due::Ask
            }
            OnLost::Ignore => {
                self.stage = Stage::Over;
                Due::Tell
            }
        }
    }

    /// What goes on running, or has yet to end, is protected as long as the service allows it.
    fn renews(&self) -> bool {
        !self.told && !self.trying && (self.stage == Stage::Held || self.on_lost != OnLost::Kill)
    }
}

#[cfg(test)]
mod tests;
