//! The gate's half in the database: pg_hba.conf by SQL, closed at start, and what a node knows of itself.
//!
//! Nothing that touches the file writes a table, so that it works on a standby.

mod apply;
mod audit;
mod calls;
mod force;
mod server;
mod start;
mod state;
pub mod view;

pub use audit::housekeeping;
pub use server::{Own, dialect, hba_file};
pub use start::close_at_start;
