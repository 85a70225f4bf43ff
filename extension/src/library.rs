//! What the library says of itself, and small conversions for the views.

use crate::{clock, store};
use goahead_rules::duration::{self, GoDuration};
use goahead_rules::lease::Instant;
use goahead_rules::rendezvous;
use pgrx::datum::Interval;
use pgrx::prelude::*;

#[pg_extern(immutable, parallel_safe, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[pg_extern(immutable, parallel_safe, strict, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn go_duration(text: &str) -> Interval {
    let parsed = duration::parse(text).ok().and_then(|span| Interval::new(0, 0, span.as_micros()).ok());
    parsed.unwrap_or_else(|| {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("{text:?} is not a duration as Go writes it"),
            "write 300ms, 15s, 30m or 2h45m",
        )
    })
}

#[pg_extern(stable, parallel_safe, strict, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn _passed(epoch: i64, us: i64, span_us: i64) -> bool {
    store::read(clock::glimpsed).passed(Instant { epoch, us }, GoDuration::from_micros(span_us))
}

#[pg_extern(stable, parallel_safe, strict, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn _is_heard(epoch: i64, us: i64) -> bool {
    !store::read(clock::glimpsed).passed(Instant { epoch, us }, rendezvous::PLACE)
}
