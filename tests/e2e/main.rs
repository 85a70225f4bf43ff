//! One promise per module, each against the real binary and a real PostgreSQL.

mod client;
mod clock_step;
mod concurrency;
mod crash;
mod database_away;
mod disk_full;
mod dump_restore;
mod embedded;
mod fleetlock;
mod hostile;
mod lock_clock;
mod lock_faults;
mod lock_fence;
mod lock_history;
mod lock_lost_replies;
mod lock_notify;
mod lock_policy;
mod lock_watch;
mod locks;
mod open_transaction;
mod trace;
mod two_databases;
