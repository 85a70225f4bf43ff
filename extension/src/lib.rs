//! The goahead extension: a fleet of machines coordinates itself in the database that its operators already run.
//!
//! This file is the table of contents: the rooms, and the order in which sql/ is installed.

use pgrx::prelude::*;

mod clock;
mod config;
mod events;
mod gate;
mod jobs;
mod library;
mod locks;
mod rendezvous;
mod restarts;
mod sets;
mod store;
mod sweep;
mod tokens;
mod watchdog;

::pgrx::pg_module_magic!(name, version);

/// The schema of the API; sql/roles.sql creates it, the functions name it.
#[pg_schema]
mod goahead {}

extension_sql_file!("../../sql/roles.sql", name = "roles", bootstrap);
extension_sql_file!("../../sql/foundation.sql", name = "foundation", requires = ["roles"]);
extension_sql_file!("../../sql/restarts.sql", name = "restarts", requires = ["foundation"]);
extension_sql_file!("../../sql/locks.sql", name = "locks", requires = ["restarts"]);
extension_sql_file!("../../sql/views.sql", name = "views", requires = ["locks", library::go_duration]);
extension_sql_file!("../../sql/lists.sql", name = "lists", requires = ["views"]);
extension_sql_file!(
    "../../sql/rendezvous.sql",
    name = "rendezvous",
    requires = ["lists", library::_passed, library::_is_heard]
);
extension_sql_file!("../../sql/operations.sql", name = "operations", requires = ["lists"]);
extension_sql_file!("../../sql/gate.sql", name = "gate", requires = ["operations", gate::view::_hba_lines]);
extension_sql_file!("../../sql/grants.sql", name = "grants", finalize);

/// Called when the library is loaded.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    config::register();
    gate::close_at_start();
    watchdog::register();
}

#[cfg(any(test, feature = "pg_test"))]
mod tests;

/// What pgrx's test harness asks of the crate.
#[cfg(test)]
pub mod pg_test {
    /// Called once before the tests.
    pub fn setup(_options: Vec<&str>) {}

    /// Settings of the test server.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
