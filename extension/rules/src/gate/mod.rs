//! Which node of a cluster takes read-write traffic, and which takes read-only: the decision of the gate.

mod agent;
mod check;
mod decide;
pub mod harepd;
mod patroni;
mod reason;
mod settings;
mod verdict;
mod voter;
mod wire;

pub use agent::{Pool, agent_check};
pub use check::Finding;
pub use decide::{decide, wants};
pub use patroni::{Body, Method, Program, Replication, Snapshot, Status, Xlog, patroni};
pub use reason::Reason;
pub use settings::{Isolated, Member, Settings};
pub use verdict::{Heard, Manual, Order, Round, Rw, Said, SourceSays, Topology, Verdict, View};
pub use voter::Voter;
pub use wire::{
    Ack, Answer, Ask, Downstream, Held, Leader, Micros, NodeFacts, PROTOCOL, Refusal, Report, Role, RwDoor, SystemId,
    Terms, Upstream, Vote, Want,
};
