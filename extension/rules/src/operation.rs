//! Operations: the work that a unit does while it holds a lock, such as a restart of services.
//!
//! A unit has a queue of them and does one after another. A request that is equal to the last one queued is that one:
//! ten changes of a configuration cause one restart (ops-coordinator's stacked RestartEvents). An operation that began
//! is not joined any more, since it may have read what has changed since.
//!
//! The unit reports how an attempt ended, in the words of Juju's rollingops: `release`, `retry_release`, `retry_hold`;
//! new is `failed`, which the last retry becomes too. Then the unit is blocked until an operator has looked at it. A
//! hold that was lost is a retry: the work may be half done.

#[cfg(test)]
mod tests;

use crate::hostname;
use crate::lock::{FIRST, RETRY};
use serde_json::Value;

/// The longest context, in bytes of JSON.
pub const CONTEXT: usize = 32_768;
/// The most services of an operation.
pub const SERVICES: usize = 100;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// The lock under which.
    pub lock: String,
    /// What the unit is to do, in words of its own: the name of a callback.
    pub action: String,
    /// Services that are to be restarted, in this order.
    pub services: Vec<String>,
    /// What the action needs to know; kept by unit when it was applied.
    pub context: Value,
    /// How many more attempts follow the first; none: any number.
    pub max_retry: Option<i32>,
}

impl Work {
    /// Judges names and sizes.
    ///
    /// # Errors
    /// What is wrong with the first that is wrong.
    pub fn check(&self) -> Result<(), String> {
        for (what, name) in [("lock", &self.lock), ("action", &self.action)] {
            hostname::check_plain(what, name).map_err(|problem| problem.to_string())?;
        }
        if self.services.len() > SERVICES {
            return Err(format!("an operation has at most {SERVICES} services, not {}", self.services.len()));
        }
        for service in &self.services {
            hostname::check_plain("service", service).map_err(|problem| problem.to_string())?;
            // The program that restarts it would take it for an option.
            if service.starts_with('-') {
                return Err(format!("service {service:?} begins with a hyphen"));
            }
        }
        if self.max_retry.is_some_and(|retries| retries < 0) {
            return Err("max_retry is negative".to_owned());
        }
        let length = self.context.to_string().len();
        if length > CONTEXT {
            return Err(format!("the context has {length} bytes, more than {CONTEXT}"));
        }
        Ok(())
    }
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for its turn.
    Queued,
    /// The unit is at it.
    Running,
    /// An attempt ended with `retry_hold`: the unit keeps the lock for the next one.
    Held,
}

/// How an attempt ended, as the unit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is done.
    Release,
    /// Again later; others come first.
    RetryRelease,
    /// Again soon; nobody comes between.
    RetryHold,
    /// It cannot be done.
    Failed,
}

impl Report {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::RetryRelease => "retry_release",
            Self::RetryHold => "retry_hold",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for Report {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Release, Self::RetryRelease, Self::RetryHold, Self::Failed]
            .into_iter()
            .find(|report| report.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no outcome"))
    }
}

/// What follows from a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The operation has ended, its context is the unit's; the lock is released.
    Done,
    /// The operation stays the unit's first and stands behind all first requests; the lock is released.
    Retry,
    /// The operation goes on under the same hold.
    Hold,
    /// The operation has ended, the unit is blocked; the lock is released.
    Failed,
}

/// What a failure means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// They go on.
    #[default]
    Continue,
    /// Nobody is granted the lock until an operator says so.
    Halt,
}

impl OnFailure {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Halt => "halt",
        }
    }
}

impl std::str::FromStr for OnFailure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Continue, Self::Halt]
            .into_iter()
            .find(|on| on.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not what a failure can mean"))
    }
}

/// An operation that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its number.
    pub id: i64,
    /// What is to be done.
    pub work: Work,
    /// Where it stands.
    pub state: State,
    /// [`FIRST`] or, after an attempt that came to nothing, [`RETRY`].
    pub rank: i32,
    /// How many attempts have begun.
    pub attempt: i32,
    /// The token of the last attempt.
    pub token: Option<i64>,
    /// What was reported of the last attempt.
    pub report: Option<Report>,
}

impl Operation {
    /// One that was requested just now.
    pub fn new(id: i64, work: Work) -> Self {
        Self { id, work, state: State::Queued, rank: FIRST, attempt: 0, token: None, report: None }
    }

    /// An attempt begins under the hold of this token; one that runs under it already goes on.
    pub fn begin(&mut self, token: i64) {
        if self.state == State::Running && self.token == Some(token) {
            return;
        }
        self.state = State::Running;
        self.attempt += 1;
        self.token = Some(token);
        self.report = None;
    }

    /// The attempt ended so.
    fn end(&mut self, report: Report) -> Verdict {
        let exhausted = self.work.max_retry.is_some_and(|retries| self.attempt > retries);
        let verdict = match report {
            Report::Release => Verdict::Done,
            Report::Failed => Verdict::Failed,
            Report::RetryRelease | Report::RetryHold if exhausted => Verdict::Failed,
            Report::RetryRelease => Verdict::Retry,
            Report::RetryHold => Verdict::Hold,
        };
        self.report = Some(report);
        match verdict {
            Verdict::Retry => (self.state, self.rank) = (State::Queued, RETRY),
            Verdict::Hold => self.state = State::Held,
            Verdict::Done | Verdict::Failed => {}
        }
        verdict
    }

    /// The hold under which it ran, or was to go on, is lost. None: it had none to lose.
    pub fn lose(&mut self) -> Option<Verdict> {
        match self.state {
            State::Queued => None,
            State::Running => Some(self.end(Report::RetryRelease)),
            // The attempt was counted when it was reported.
            State::Held => {
                (self.state, self.rank) = (State::Queued, RETRY);
                Some(Verdict::Retry)
            }
        }
    }

    /// The unit reports how the attempt under `token` ended; `holds`: that hold is in force, and this operation is the
    /// unit's next. A grant that ended a wait begins an attempt when the unit shows that it got it: by this at the latest.
    pub fn finish(&mut self, token: i64, report: Report, holds: bool) -> Finish {
        if self.state == State::Queued && self.token != Some(token) && holds {
            self.begin(token);
        }
        if self.token != Some(token) {
            return Finish::Lost(None);
        }
        match self.state {
            State::Running if holds => Finish::Ended(self.end(report)),
            State::Held if self.report == Some(report) => Finish::Repeated(Verdict::Hold),
            State::Queued if self.report == Some(report) => Finish::Repeated(Verdict::Retry),
            _ if holds => Finish::Lost(None),
            _ => Finish::Lost(self.lose()),
        }
    }
}

/// The answer to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It counts.
    Ended(Verdict),
    /// It was said before; nothing changes.
    Repeated(Verdict),
    /// It does not count: the hold of that token is lost, or of another attempt. What became of the attempt, if that
    /// was not known before.
    Lost(Option<Verdict>),
}

/// Whether a request for `work` joins the unit's last operation that has not ended: it does if that is equal and waits
/// for its turn.
pub fn joins(last: &Operation, work: &Work) -> bool {
    last.state == State::Queued && last.work == *work
}
