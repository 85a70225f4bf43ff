//! `goahead gate` as processes, without a database: the watchdog, orders, the end.

mod process;
mod support;
mod watchdog;
