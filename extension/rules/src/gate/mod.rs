//! Which node of a cluster takes read-write traffic, and which takes read-only: the decision of the gate.

mod agent;
mod check;
mod decide;
mod facts;
pub mod harepd;
mod heard;
mod lag;
mod patroni;
mod patroni_status;
mod reason;
mod ro;
mod rw;
mod settings;
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
pub use patroni::{Body, Method, Snapshot, patroni};
pub use patroni_status::{Program, Replication, Status, Xlog};
pub use reason::Reason;
pub use settings::{Isolated, Member, Settings};
pub use verdict::{Heard, Manual, Order, Round, Rw, Said, SourceSays, Topology, Verdict, View};
pub use voter::Voter;
pub use wire::{Ack, Answer, Ask, Held, Leader, Micros, PROTOCOL, Refusal, Report, RwDoor, Terms, Vote, Want};
