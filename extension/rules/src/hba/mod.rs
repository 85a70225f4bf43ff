//! pg_hba.conf of PostgreSQL 14 to 18 as text: what a server makes of it, the rules that are ours in it, and which
//! earlier rule takes a connection away from them.
//!
//! Bytes in, bytes out: a file may be in any encoding, and what is not ours keeps every byte. What is meant by "loads" is
//! what the server's own loader says: a file with one bad line is refused whole, and so is one without any rule.
//! The grammar is that of the server's `hba.c`; the verdicts of real servers of the five majors are in the tests.

mod address;
mod block;
mod check;
mod desired;
mod dialect;
mod drift;
mod emit;
mod fields;
mod file;
mod lex;
mod method;
mod options;
mod probe;
mod problem;
mod record;
mod regex;
mod scan;
mod shadow;
mod tag;
#[cfg(test)]
mod tests;
mod urls;

pub use address::Address;
pub use block::{close, has_part, inspect, install, install_part, open_gated, remove, replace_foreign};
#[doc(hidden)]
pub use check::check_text;
pub use desired::{Applies, Desired, Fields, State};
pub use dialect::{Dialect, Files, NoFiles, Unread};
pub use drift::{Drift, Markers, Misplaced};
pub use emit::{quoted, render};
pub use file::{Entry, loads, parse, problems};
pub use lex::Token;
pub use method::Method;
pub use options::Options;
pub use probe::{Expected, From, Probe, probes};
pub use problem::{Field, Problem};
pub use record::{Kind, Rule};
pub use shadow::{Shadow, shadows};
pub use tag::Keeper;
