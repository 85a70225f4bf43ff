//! Which node of a cluster takes read-write traffic, and which takes read-only: the decision of the gate.
//!
//! Once a round each gate asks every voter, its own included. A primary asks for their *acks*; [`Voter::judge`] says who
//! gets one, [`decide()`] what a round of answers amounts to: a [`Verdict`], which is a lease. Leases are C. Gray's and
//! D. Cheriton's (1989); that a majority of acks grants them is as in Paxos' leader leases, with nothing on disk.
//!
//! # Why two leases cannot overlap
//!
//! What is taken for granted: two clocks come apart by less than `skew` within a lease; every gate has the same list of
//! voters and a voter's lease is not shorter than the asker's (both are checked with every ask; shorten a lease at the
//! primary first and at the voters after that has ended); a machine that is paused as a whole, clock included, is not
//! covered: that is a clock that drifts without bound.
//!
//! 1. *A voter keeps its ack at least as long as the asker counts it.* The asker counts `lease` from before it sent the
//!    ask, the voter `lease + skew` from after it received that. A renewal never shortens what was promised.
//! 2. *A voter's acks exclude each other*, also over its restart: a new voter abstains for `lease + skew`, by when every
//!    ack that it may have forgotten is over.
//! 3. *A lease ends with the majority-th latest of its acks*, so until then a majority keeps its word. Two majorities share
//!    a voter; by 1 and 2 that voter is held by one of two nodes, so only one has a lease.
//! 4. *Nothing else makes a lease.* An answer counts only in the round, process and node that it was given to, and only
//!    within that round. A candidate that restarts has no verdict and begins anew. A verdict that is decided or applied
//!    late has its expiry from the ask: [`Verdict::rw_open`] says no then, a door that is closed may not begin to open
//!    later than [`Verdict::open_by`], and the stamp's watchdog closes what a stopped gate left open.
//!
//! Timelines, conflicts and sources only take acks away; exclusion does not rest on them.
//!
//! # Why the old door is closed long enough before the new one opens
//!
//! A door closes within `watchdog` of its lease's end, and the proxy notices within `detection`. A closed door opens only
//!
//! - when a majority of voters, all acking in this round, have been clear of any other's ack for `hold_down - lease`, which
//!   is at least `watchdog + detection`, by the slowest clock. One of them also acked the old primary, and its ack outlived
//!   that lease (1, 3). It counts from the end of the last such ack, or after a restart from the end of the abstention; or
//! - when every other data node itself says that its door is closed and has been for `detection`. It cannot open right
//!   after saying so: it would need, in that very round, an ack of a voter that we share. Had it got one before it spoke, it
//!   would have said "open", since a gate reports its door open before it begins to open, begins within a `round` of the
//!   ask, and counts only fresh acks then; an ack of `lease >= 2 * round` is too young to end within our round.
//!
//! Whoever is open needs no hold-down to go on: its leases follow one another without a gap.
//!
//! # What is outside of this
//!
//! An operator's open skips the majority. It asks for acks all the same, and does not stand beside anybody whom it can see
//! open or acked; in a partition it can stand beside a lease. harepd's answers under `migrate_from_harepd` exclude nobody:
//! they count as clear only from a lease after this gate itself first saw this node named, so two gates that rely on one
//! harepd overlap only if it changes its mind forth and back between two rounds. A harepd beside data holds its door open
//! by its own rules, for as long as one of its passes takes (`watchDog`) after they changed; whom it contradicts stays
//! closed unless the witness's table names them. With two nodes and `keep_if_sync` the
//! primary goes on with its own ack alone: the other needs that ack too. A gate that is stopped between its last look at
//! the clock and the rename of the file opens a door for as long as the watchdog takes; the hold-down bears that only
//! while the stop is short.

mod agent;
mod check;
mod conninfo;
mod decide;
mod facts;
pub mod harepd;
mod heard;
mod lag;
mod migration;
mod ordered;
mod patroni;
mod patroni_status;
mod reason;
mod repmgr;
mod ro;
mod rw;
mod settings;
mod standing;
mod verdict;
mod voter;
mod wire;

#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use agent::{Agent, agent_check};
pub use check::Finding;
pub use decide::{decide, wants};
pub use facts::{Downstream, NodeFacts, Role, SystemId, Upstream};
pub use lag::ReplayLag;
pub use migration::{asks_witness, harepd_ack};
pub use ordered::{NotTaken, may_open_rw};
pub use patroni::{Body, Method, Snapshot, patroni};
pub use patroni_status::{Program, Replication, Status, Xlog};
pub use reason::Reason;
pub use repmgr::{RepmgrNode, repmgr_says};
pub use settings::{Isolated, Member, Settings};
pub use standing::{Door, Standing};
pub use verdict::{Heard, Manual, Order, Round, Rw, Said, SourceSays, Topology, Verdict, View};
pub use voter::Voter;
pub use wire::{Ack, Answer, Ask, Held, Leader, Micros, PROTOCOL, Refusal, Report, RwDoor, Terms, Vote, Want};
