//! Sets of calls as the service sends them: a JSON array in, an answer for each item out, in the same order.

use crate::store;
use pgrx::PgSqlErrorCode;
use serde_json::value::RawValue;

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
