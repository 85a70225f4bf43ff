//! The file pg_hba.conf on disk: what the extension and the gate's process share.
//!
//! Nothing here knows SQL or the network, and nothing decides who is let in: that is [`goahead_rules`]. A file is only
//! ever replaced as a whole, by a rename that is durable; never written in place, because a server that starts or
//! reloads meanwhile would read half of it.
//!
//! Beside the file lie, in its own directory: the lock of all writers `.goahead_hba.lock`, that of the one gate
//! that keeps it `.goahead_hba.gate`, the gate's stamp `.goahead_gate.stamp`, the mark `.goahead_hba.untold` while the server has yet to be told of a new text, the previous
//! versions `pg_hba.conf.goahead.NNNNNN`, and for a moment `.goahead_hba.aside`: the file itself, while a text that loads
//! stands in for it.

mod clock;
mod close;
mod edit;
mod effect;
mod error;
mod files;
mod force;
mod good;
mod keeper;
mod lease;
mod lock;
mod place;
mod probe;
mod ring;
mod seen;
mod server;
mod shut;
mod spare;
mod stamp;
mod standin;
mod swap;
mod watch;

pub use clock::{boot_id, boottime};
pub use close::{close_gated, open_rules};
pub use edit::{Edited, Locked, edit, read};
pub use effect::{Complaint, Effect, effect};
pub use error::Error;
pub use files::{AsServer, Inside};
pub use force::{InForce, Listens, Wrong, in_force};
pub use good::LastGood;
pub use keeper::Keeper;
pub use probe::{Reply, ask, is_local};
pub use ring::{Version, version, versions};
pub use seen::{Identity, MOST};
pub use server::{OfDirectory, Server};
pub use shut::{Closed, GoesBy, is_shut};
pub use stamp::{STAMP, Stamp};
pub use watch::{Step, Watchdog};

#[cfg(test)]
mod tests;
