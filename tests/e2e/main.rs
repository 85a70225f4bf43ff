//! One promise per module, each against the real binary and a real PostgreSQL.

mod charm;
mod client;
mod clock_step;
mod concurrency;
mod coordinator;
mod crash;
mod database_away;
mod disk_full;
mod dump_restore;
mod embedded;
mod fleetlock;
mod hostile;
mod lock_command;
mod locks;
mod open_transaction;
mod operations;
mod rendezvous;
mod rendezvous_sql;
mod signal;
mod trace;
mod two_databases;
mod wait;
