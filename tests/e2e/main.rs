//! One promise per module, each against the real binary and a real PostgreSQL.

mod trace;
