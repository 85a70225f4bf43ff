//! Sets of calls as the service sends them: a JSON array in, an answer for each item out, in the same order.

use crate::store;
use goahead_rules::duration::{self, GoDuration};
use goahead_rules::hostname;
use pgrx::PgSqlErrorCode;
use pgrx::datum::{Interval, TimestampWithTimeZone};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::time::{Duration, SystemTime};

/// Most calls that one set may hold.
const MOST: usize = 1_024;

/// Why a call cannot be judged. Nothing of it reaches a table, and the others of its set are judged.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: &'static str,
}

impl Invalid {
    /// Raises it: for psql an invalid call is an error.
    pub fn raise(self) -> ! {
        store::fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, self.message, self.hint)
    }
}

/// Gives up a call for this reason.
pub fn invalid<T>(message: impl Into<String>, hint: &'static str) -> Result<T, Invalid> {
    Err(Invalid { message: message.into(), hint })
}

/// How a name that stays as it was given has to be.
pub const NAME: &str = "give 1 to 255 bytes without control characters";

/// Judges a name that stays as it was given.
pub fn check_name(what: &'static str, name: &str) -> Result<(), Invalid> {
    hostname::check_plain(what, name).or_else(|problem| invalid(problem.to_string(), NAME))
}

/// The same for an argument of a single call: null or a bad name is an error.
pub fn plain<'a>(argument: Option<&'a str>, what: &'static str) -> &'a str {
    let name = store::said(argument, &format!("the {what}"), NAME);
    check_name(what, name).unwrap_or_else(|invalid| invalid.raise());
    name
}

/// A span of at least a millisecond, written as in 60s or 1h30m.
pub fn time(what: &str, text: &str) -> Result<GoDuration, Invalid> {
    const HINT: &str = "give a time such as 60s or 1h30m, of at least 1ms";
    match duration::parse(text) {
        Ok(time) if time.as_micros() >= 1_000 => Ok(time),
        Ok(_) => invalid(format!("{what} is out of range"), HINT),
        Err(problem) => invalid(format!("{what} {problem}"), HINT),
    }
}

/// An interval as a span of at least `least` microseconds: a day has 24 hours, a month 30 days.
pub fn span(interval: &Interval, what: &str, least: i64) -> GoDuration {
    match i64::try_from(interval.as_micros()) {
        Ok(micros) if (least..=i64::MAX / 1_000).contains(&micros) => GoDuration::from_micros(micros),
        _ => store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("{what} is out of range"),
            format!("give an interval such as '60 s', of {least} microseconds or more"),
        ),
    }
}

/// The wall clock in microseconds since 1970.
pub fn wall() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A point of the wall clock in microseconds since 1970, written as RFC 3339.
#[derive(Clone, Copy)]
pub struct Wall(pub i64);

impl Wall {
    /// As PostgreSQL has it; none beyond its calendar.
    pub fn timestamp(self) -> Option<TimestampWithTimeZone> {
        // PostgreSQL's timestamps begin in 2000.
        TimestampWithTimeZone::try_from(self.0 - 946_684_800_000_000).ok()
    }
}

impl Serialize for Wall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let since = Duration::from_micros(u64::try_from(self.0).unwrap_or(0));
        // Beyond the year 9999 there is no RFC 3339.
        let since = since.min(Duration::from_secs(253_402_300_799));
        serializer.collect_str(&humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since))
    }
}

/// The items of a set; an error if it is none or too large. `example` is an item that would do.
pub fn items<'a>(calls: &'a str, example: &str) -> Vec<&'a RawValue> {
    let items: Vec<&RawValue> = serde_json::from_str(calls).unwrap_or_else(|problem| {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("calls is not a JSON array of objects: {problem}"),
            format!("give [{example}]"),
        )
    });
    if items.len() > MOST {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("a set of {} calls is too large", items.len()),
            format!("send at most {MOST} at once"),
        );
    }
    items
}
