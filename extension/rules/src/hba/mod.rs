//! pg_hba.conf of PostgreSQL 14 to 18 as text: what a server makes of it, the rules that are ours in it, and which
//! earlier rule takes a connection away from them.
//!
//! Bytes in, bytes out: a file may be in any encoding, and what is not ours keeps every byte. What is meant by "loads" is
//! what the server's own loader says: a file with one bad line is refused whole, and so is one without any rule.
//! The grammar is that of the server's `hba.c`; the verdicts of real servers of the five majors are in the tests.

mod address;
mod block;
mod desired;
mod dialect;
mod emit;
mod file;
mod lex;
mod options;
mod problem;
mod record;
mod regex;
mod shadow;
#[cfg(test)]
mod tests;

pub use address::Address;
pub use block::{Drift, Markers, Misplaced, close, inspect, install, open_gated, remove};
pub use desired::{Applies, Desired, Fields, State};
pub use dialect::{Dialect, Files, NoFiles, Unread};
pub use emit::{quoted, render};
pub use file::{Entry, loads, parse, problems};
pub use lex::Token;
pub use problem::{Field, Problem};
pub use record::{Kind, Method, Rule};
pub use shadow::{Shadow, shadows};
